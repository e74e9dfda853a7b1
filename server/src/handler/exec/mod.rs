//! `exec`: a program talks with a client, or with all of them.
//!
//! | request | is |
//! |---|---|
//! | a WebSocket, or a `GET` that accepts `text/event-stream` | the start of a process, and a talk with it |
//! | `POST ?session=…` | a message to the process of an event stream |
//! | a browser's `GET`, where there is a console | its page |
//! | any other | for `otherwise` |
//!
//! **Invariant:** nothing runs for a page that may not come, for a handshake that is wrong, or without a place.
//! **Invariant:** what a client sends is never a part of a command line.

mod console;
mod residents;
mod running;

use std::{borrow::Cow, path::Path as FilePath, sync::Arc};

use http::{HeaderValue, StatusCode, header};
use rsp_core::{
    config::{self, Program},
    route::Path,
};

pub use self::residents::Residents;
use self::running::Running;
use super::{Context, Handler, Unanswered};
use crate::{
    error::{Fault, Kind},
    message::{Request, Response},
    process::{Order, Script, Told, environment, find},
    session::{self, Asked, Handshake},
};

/// An `exec` that is ready to run.
pub struct Exec {
    /// The checked options.
    pub spec: Arc<config::Exec>,
    /// What answers other requests.
    pub otherwise: Option<Box<Handler>>,
}

/// What runs for one request.
struct Chosen<'a> {
    program: Cow<'a, FilePath>,
    arguments: &'a [String],
    script_name: Cow<'a, [u8]>,
    path_info: Cow<'a, [u8]>,
}

impl Exec {
    /// Answers a request.
    pub async fn run(&self, request: Box<Request>, context: &Context<'_>) -> Result<Box<Response>, Unanswered> {
        let spec = &*self.spec;
        let asked = session::asked(&request);
        if asked != Asked::Other
            && let Some(refusal) = session::refused(&spec.talk.pages, &request)
        {
            return Ok(refusal);
        }
        match asked {
            Asked::WebSocket | Asked::Events => Ok(self.begin(asked, &request, context).await?),
            Asked::Head => Ok(session::head(&request, &spec.talk)),
            Asked::Post => Ok(session::post(request, &spec.talk, context.sessions).await?),
            Asked::Other if spec.console && console::is_for(&request) => Ok(Box::new(console::page())),
            Asked::Other => match &self.otherwise {
                Some(handler) => Box::pin(handler.run(request, context)).await,
                None => Err(Fault::new(Kind::NotFound, format!("{} talks by WebSocket", spec.program)).into()),
            },
        }
    }

    /// Starts the process that the client talks with.
    async fn begin(&self, asked: Asked, request: &Request, context: &Context<'_>) -> Result<Box<Response>, Fault> {
        let spec = &*self.spec;
        if asked == Asked::WebSocket
            && let Err(refusal) = Handshake::read(request)
        {
            return Ok(refusal);
        }
        if spec.shared {
            let member = context.residents.join(spec, request)?;
            return Ok(session::talk(request, &spec.talk, context.sessions, member));
        }
        let path = Path::new(request.head.target.path()).map_err(|e| Fault::new(Kind::Malformed, e.to_string()))?;
        let chosen = Chosen::of(&spec.program, path.decoded())?;
        let Some(place) = context.programs.places(&spec.name).take(spec.processes_max) else {
            return Ok(full(spec, request));
        };
        let remote_host = match request.client.ip {
            Some(ip) if spec.reverse_lookup => context.resolver.name_of(ip).await,
            _ => None,
        };
        let told = Told {
            script_name: &chosen.script_name,
            path_info: &chosen.path_info,
            path_translated: path.decoded(),
            content_length: None,
            remote_host: remote_host.as_deref(),
            has_host: false,
        };
        let order = Order {
            program: &chosen.program,
            arguments: chosen.arguments,
            environment: environment(request, &told, &spec.command),
            folder: spec.command.cwd.as_deref().unwrap_or(FilePath::new("/")),
            command: &spec.command,
            close: spec.close,
        };
        // The client of a program that can't be found is told by 502; that of one which can, needn't wait for its start.
        let is_there = asked == Asked::WebSocket && chosen.program.is_file();
        let starting = context.programs.order(order, place).await?;
        if !is_there {
            let running = Running::new(starting.started().await?, &chosen.program, spec);
            return Ok(session::talk(request, &spec.talk, context.sessions, running));
        }
        let (exec, program, id) = (Arc::clone(&self.spec), chosen.program.into_owned(), request.id);
        let running = async move {
            match starting.started().await {
                Ok(process) => Some(Running::new(process, &program, &exec)),
                Err(fault) => {
                    fault.log(id);
                    None
                }
            }
        };
        Ok(session::talk_soon(request, &spec.talk, context.sessions, running))
    }
}

impl<'a> Chosen<'a> {
    /// `path` is decoded.
    fn of(program: &'a Program, path: &'a [u8]) -> Result<Self, Fault> {
        match program {
            Program::One(program, arguments) => Ok(Self {
                program: Cow::Borrowed(program),
                arguments,
                script_name: Cow::Borrowed(b"/"),
                path_info: Cow::Borrowed(path),
            }),
            Program::Of { folder, prefix } => {
                let Script { path, name, info } = find(folder, prefix, path)?;
                Ok(Self {
                    program: Cow::Owned(path),
                    arguments: &[],
                    script_name: Cow::Owned(name),
                    path_info: Cow::Owned(info),
                })
            }
        }
    }
}

/// The answer to one client more than there may be processes.
fn full(spec: &config::Exec, request: &Request) -> Box<Response> {
    let status = StatusCode::TOO_MANY_REQUESTS;
    tracing::debug!("{status}: {} processes run of {} (request {})", spec.processes_max, spec.program, request.id);
    let mut answer = session::refusal(status, "as many processes run as may (processes_max)");
    answer.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}
