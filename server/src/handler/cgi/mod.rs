//! `cgi`: each request is answered by a program of a folder (RFC 3875).
//!
//! **Invariant:** only a regular file below the folder is ever run, and nothing of a request is on its command line.
//! **Invariant:** an answer ends where its program says it does; one that ended otherwise is a cut, and what a program
//! says behind that end is never sent.

mod elsewhere;
mod errors;
mod feed;
mod output;
mod program;

use std::{
    borrow::Cow,
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path as FilePath,
    sync::Arc,
    time::Duration,
};

use http::{Method, StatusCode};
use rsp_core::{
    config,
    frame::{cgi, http1::Framing},
    route::Path,
};

use self::{output::Output, program::Program};
use super::{Context, Handler, Unanswered};
use crate::{
    error::{Fault, Kind},
    message::{Body, Request, Response},
    process::{Order, Script, Told, environment, find},
};

/// How long a request may wait for a place. A program is gone a moment after its answer, and the next request, or the one
/// that it put in its place, may be here before.
const PLACE_MAX: Duration = Duration::from_millis(100);

/// A `cgi` that is ready to run.
pub struct Cgi {
    /// The checked options.
    pub spec: Arc<config::Cgi>,
    /// What answers where there is no such program.
    pub otherwise: Option<Box<Handler>>,
}

impl Cgi {
    /// Answers a request.
    ///
    /// # Errors
    /// `NotFound` for a program that is not there, `Forbidden` for one that can't be run, `NoSuchFeature` for one that
    /// would write its own head, `LengthRequired` for a body of unknown length, `Limited` where as many run as may.
    pub async fn run(&self, mut request: Box<Request>, context: &Context<'_>) -> Result<Box<Response>, Unanswered> {
        let target = request.head.target.clone();
        let path = Path::new(target.path()).map_err(|e| Fault::new(Kind::Malformed, e.to_string()))?;
        let script = match (find(&self.spec.folder, &self.spec.prefix, path.decoded()), &self.otherwise) {
            (Ok(script), _) => script,
            (Err(fault), Some(handler)) if fault.kind == Kind::NotFound => {
                return Box::pin(handler.run(request, context)).await;
            }
            (Err(fault), _) => return Err(fault.into()),
        };
        may_run(&script)?;
        let mut program = self.start(&mut request, &script, context).await?;
        let head = program.head().await?;
        if let Some(to) = head.elsewhere() {
            let next = elsewhere::request(request, to, context.limits)?;
            program.leave(self.spec.timeout);
            return Err(Unanswered::Elsewhere(next));
        }
        Ok(self.respond(head, program, &request.head.method))
    }

    async fn start(&self, request: &mut Request, script: &Script, context: &Context<'_>) -> Result<Program, Fault> {
        let spec = &*self.spec;
        let length = length(request)?;
        let places = context.programs.places(&spec.name);
        let place = places.take_within(PLACE_MAX, spec.processes_max).await.ok_or_else(|| {
            let cause = format!("{} processes run below {}", spec.processes_max, spec.folder.display());
            Fault::new(Kind::Limited, cause)
        })?;
        let translated = match &script.info[..] {
            [] => Cow::Borrowed(&[][..]),
            info => Cow::Owned([spec.folder.as_os_str().as_bytes(), info].concat()),
        };
        let remote_host = match request.client.ip {
            Some(ip) if spec.reverse_lookup => context.resolver.name_of(ip).await,
            _ => None,
        };
        let told = Told {
            script_name: &script.name,
            path_info: &script.info,
            path_translated: &translated,
            content_length: length,
            remote_host: remote_host.as_deref(),
            has_host: true,
        };
        let mut environment = environment(request, &told, &spec.command);
        // Not of RFC 3875, but of every server since: interpreters that a `#!` names look for their script there.
        if spec.command.env.iter().all(|(name, _)| name != "SCRIPT_FILENAME") {
            environment.add("SCRIPT_FILENAME", script.path.as_os_str().as_bytes());
        }
        let order = Order {
            program: &script.path,
            arguments: &[],
            environment,
            folder: script.path.parent().unwrap_or(FilePath::new("/")),
            command: &spec.command,
            close: Duration::ZERO,
        };
        let process = context.programs.start(order, place).await?;
        let name = script.path.file_name().unwrap_or(script.path.as_os_str()).to_string_lossy();
        Ok(Program::new(process, &name, request, (spec.timeout, context.limits.buffer)))
    }

    /// The answer whose head this is.
    fn respond(&self, head: cgi::Head, program: Program, method: &Method) -> Box<Response> {
        let mut response = Box::new(Response::new(head.status, Body::Empty));
        response.headers = head.headers;
        response.stated_length = head.content_length;
        let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if bodiless || *method == Method::HEAD {
            program.leave(self.spec.timeout);
        } else {
            response.body = Body::Source(Box::new(Output::new(program, head.content_length, self.spec.timeout)));
        }
        response
    }
}

/// A program whose name says that it answers the client itself, past everything that we promise, is none of ours; one
/// that is not marked as a program is a slip that its owner must hear of.
fn may_run(script: &Script) -> Result<(), Fault> {
    let name = script.name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    if name.starts_with(b"nph-") {
        return Err(Fault::new(Kind::NoSuchFeature, "programs that write their own heads (nph-) are not run"));
    }
    match fs::metadata(&script.path) {
        Ok(found) if found.permissions().mode() & 0o111 == 0 => {
            tracing::warn!("{} is not executable", script.path.display());
            Err(Fault::new(Kind::Forbidden, "a program that is not executable"))
        }
        // One that went away meanwhile can't be started, and that is said then.
        _ => Ok(()),
    }
}

/// The length of the body, which the program is told before it: gathering one of unknown length is what rsp never does.
fn length(request: &Request) -> Result<Option<u64>, Fault> {
    match (request.head.framing, request.body.framing()) {
        // A body that was stated to be empty, or one that a function has read.
        (stated, Framing::Empty) => Ok((stated != Framing::Empty).then_some(0)),
        (_, Framing::Length(length)) => Ok(Some(length)),
        _ => Err(Fault::new(Kind::LengthRequired, "a body of unknown length for a program")),
    }
}
