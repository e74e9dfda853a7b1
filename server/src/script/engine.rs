//! Runs the functions of a config on requests: one Lua state a worker, many calls at once.

use std::{
    future::{Future, poll_fn},
    path::{Path, PathBuf},
    pin::pin,
    rc::Rc,
    sync::Arc,
};

use http::StatusCode;
use mlua::{AnyUserData, IntoLuaMulti, Lua, LuaOptions, StdLib, Value as LuaValue};
use rsp_core::{
    config::{
        Address, Config, Context, FunctionId, Handler, RequestContext, Upstream, check_handler,
        raw::{Made, Span},
    },
    route::{Params, Pattern},
};

use super::{
    call::Live,
    channels::{self, Services},
    construct::Handle,
    convert::kind,
    evaluate::{self, Failed},
    files,
    meter::{Meter, Taken},
    recorder::Recorder,
    request::RequestHandle,
    sources::Sources,
    trouble,
};
use crate::{
    error::{Fault, Kind},
    message::Request,
};

/// Coroutines kept for the next calls.
const COROUTINES_KEPT: usize = 128;

/// The Lua state of one worker.
///
/// Calls take turns where they wait for a body, so a file-level local may change between two lines that wait.
pub struct Engine {
    pub(super) lua: Lua,
    recorder: Rc<Recorder>,
    meter: Rc<Meter>,
    sources: Arc<Sources>,
    config: Arc<Config>,
    folder: PathBuf,
    admin_socket: PathBuf,
}

/// What a function decided.
#[derive(Debug)]
pub enum Outcome {
    /// This answers.
    Handler(Handler),
    /// It returned nil: the next one's turn.
    Next,
}

/// Where a request got to before a function was asked.
#[derive(Clone, Copy)]
pub struct Visit<'a> {
    /// The site's name.
    pub site: &'a Arc<str>,
    /// The route's pattern.
    pub route: &'a Pattern,
    /// What the pattern's names stand for.
    pub params: &'a Params,
}

impl Engine {
    /// Evaluates the config again, and keeps its functions.
    ///
    /// Errors: the evaluation fails now, or gives other functions than the first one.
    pub fn new(sources: &Arc<Sources>, config: &Arc<Config>, services: Services) -> Result<Self, Failed> {
        let options = LuaOptions::new().thread_pool_size(COROUTINES_KEPT);
        let lua = Lua::new_with(StdLib::ALL_SAFE, options)
            .map_err(|error| Failed::without_place(format!("Lua did not start: {error}")))?;
        let recorder = evaluate::repeat(&lua, sources)?;
        recorder.serving.set(true);
        channels::serve(&lua, Arc::clone(config), services);
        // Sites and routes are garbage here: only the functions and what they hold on to are kept.
        let _ = lua.gc_collect();
        let meter = Meter::install(&lua, &recorder, config.limits.script_cpu, config.limits.script_memory);
        let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let admin_socket = match &config.admin.address {
            Some(Address::Unix(path)) => path.clone(),
            _ => folder.join(format!("{}.sock", sources.paths().next().unwrap_or(Path::new("")).display())),
        };
        Ok(Self {
            lua,
            recorder,
            meter,
            sources: Arc::clone(sources),
            config: Arc::clone(config),
            folder,
            admin_socket,
        })
    }

    /// Calls a function with a request, and gives the request back, changed or not.
    ///
    /// Faults: `Script` for whatever goes wrong in the function, with the line and the reason; those of the body where
    /// the function let them pass.
    pub async fn call(&self, id: FunctionId, request: Request, visit: Visit<'_>) -> (Request, Result<Outcome, Fault>) {
        let live = Live::new(request, visit);
        let result = self.run(id, &live, |request| request).await;
        let outcome = result.and_then(|value| self.outcome(id, &value, visit));
        live.finish(outcome)
    }

    /// Calls the function of an error page with a copy of the request and the status: `reply`, `redirect`, or None for
    /// the built-in page.
    ///
    /// Faults: `Script`.
    pub async fn page(
        &self,
        id: FunctionId,
        request: Request,
        status: StatusCode,
        visit: Visit<'_>,
    ) -> (Request, Result<Option<Handler>, Fault>) {
        let live = Live::new(request, visit);
        let result = self.run(id, &live, |request| (request, status.as_u16())).await;
        let outcome = result.and_then(|value| self.outcome(id, &value, visit));
        let (request, outcome) = live.finish(outcome);
        let page = outcome.and_then(|outcome| match outcome {
            Outcome::Next => Ok(None),
            Outcome::Handler(handler @ (Handler::Reply(_) | Handler::Redirect(_))) => Ok(Some(handler)),
            Outcome::Handler(_) => {
                let cause = format!("{}: an error page is `reply`, `redirect` or nil", self.name(id));
                Err(Fault::new(Kind::Script, cause))
            }
        });
        (request, page)
    }

    pub(super) async fn run<A: IntoLuaMulti>(
        &self,
        id: FunctionId,
        live: &Live,
        arguments: impl FnOnce(AnyUserData) -> A,
    ) -> Result<LuaValue, Fault> {
        let Some(function) = self.recorder.function(id) else {
            return Err(Fault::new(Kind::Script, "a worker hasn't this function"));
        };
        let failed = |error: mlua::Error| self.failed(id, &error);
        let handle = self.lua.create_userdata(RequestHandle::new(live)).map_err(failed)?;
        let mut call = pin!(function.call_async::<LuaValue>(arguments(handle)));
        let mut taken = Taken::default();
        poll_fn(|cx| self.meter.run(&self.lua, &mut taken, || call.as_mut().poll(cx))).await.map_err(failed)
    }

    fn outcome(&self, id: FunctionId, value: &LuaValue, visit: Visit<'_>) -> Result<Outcome, Fault> {
        let handle = match value {
            LuaValue::Nil => return Ok(Outcome::Next),
            LuaValue::UserData(data) => data.borrow::<Handle>().ok(),
            _ => None,
        };
        let Some(handle) = handle else {
            let cause = format!("{} returned {}, not a handler or nil", self.name(id), kind(value));
            return Err(Fault::new(Kind::Script, cause));
        };
        if let Some(known) = handle.checked.get() {
            return Ok(Outcome::Handler(known.clone()));
        }
        let handler = self.check(&handle.made(), visit)?;
        let is_anywhere = match &handler {
            Handler::Proxy(_) | Handler::Fastcgi(_) | Handler::Reply(_) => true,
            // What answers otherwise may depend on the route.
            Handler::Exec(_) | Handler::Cgi(_) | Handler::Bridge(_) => false,
            Handler::Channel(channel) => channel.name.names().next().is_none(),
            Handler::Files(_) | Handler::Redirect(_) | Handler::Function(_) => false,
        };
        if is_anywhere {
            // Calls don't run side by side on one state, so nobody else has set it in between.
            let _ = handle.checked.set(handler.clone());
        }
        Ok(Outcome::Handler(handler))
    }

    fn check(&self, made: &Made, visit: Visit<'_>) -> Result<Handler, Fault> {
        let texts = self.sources.texts();
        let context = Context {
            folder: &self.folder,
            admin_socket: &self.admin_socket,
            probe: &files::probe,
            real: &files::real,
            read: &files::read_file,
            // A function makes handlers, and `user` is none.
            account: &|_, _| Ok(()),
            program: &files::find_program,
            // No more than a certificate.
            certificate: &|_| Ok(()),
            authorities: &|_| Ok(()),
        };
        let upstream = |name: &str| self.declared(name);
        let request = RequestContext {
            context,
            sources: texts,
            upstream: &upstream,
            pattern: visit.route,
            hidden: &self.config.hidden,
        };
        check_handler(made, &request).map_err(|error| {
            let place = trouble::place(error.span, texts);
            let label = if error.label.is_empty() { String::new() } else { format!(" ({})", error.label) };
            Fault::new(Kind::Script, format!("{place}: {}{label}", error.message))
        })
    }

    fn declared(&self, name: &str) -> Option<Arc<Upstream>> {
        self.config.upstreams.iter().find(|upstream| upstream.name == name).cloned()
    }

    pub(super) fn failed(&self, id: FunctionId, error: &mlua::Error) -> Fault {
        if let Some(fault) = trouble::fault(error) {
            return fault;
        }
        let reason = match trouble::is_memory(error) {
            true => self.meter.memory_refused(),
            false => trouble::describe(error, self.sources.texts()),
        };
        Fault::new(Kind::Script, format!("{}: {reason}", self.name(id)))
    }

    /// `function at site.lua:12`
    pub(super) fn name(&self, id: FunctionId) -> String {
        let (file, line) = self.sources.functions.get(id.0 as usize).copied().unwrap_or_default();
        let span = Span { file, line, ..Span::default() };
        format!("function at {}", trouble::place(span, self.sources.texts()))
    }
}
