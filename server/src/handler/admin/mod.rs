//! The admin API: status, metrics, channels, reload, upgrade, drain and stop, as HTTP.
//!
//! | request | answer |
//! |---|---|
//! | `GET /status` | 200, JSON |
//! | `GET /metrics` | 200, OpenMetrics text |
//! | `GET /channels` | 200, JSON: the first 1,000 by name, of names with `?prefix=` |
//! | `/channels/NAME` | as the channel's own URL, with everything allowed; `DELETE` drops the history |
//! | `POST /reload` | 200 with the warnings, or 422 with the diagnostic; nothing has changed then |
//! | `POST /upgrade` | 200 once the new binary serves, or 422 with its diagnostic; nothing has changed then |
//! | `POST /drain`, `POST /stop` | 202 |
//!
//! **Invariant:** over TCP nothing is done or shown without the token, and nothing for a page of another origin; on a
//! unix socket its permissions decide.

mod channels;
mod socket;

use std::{hint::black_box, sync::Arc};

use arc_swap::ArcSwap;
use http::{HeaderValue, Method, StatusCode, header};
use rsp_core::config::Config;
use tokio::sync::{mpsc, oneshot};

pub use self::channels::Visit;
pub use self::socket::{command_admin_path, default_admin_path, runtime_folder};
use crate::{
    broker::Broker,
    error::{Fault, Kind},
    message::{Request, Response},
    observe::Metrics,
    stream::Peer,
};

/// The handler of the admin listener.
pub struct Admin {
    /// What it may ask of the process.
    pub operations: Operations,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// The running config; boot swaps it.
    pub config: Arc<ArcSwap<Config>>,
    /// Channels of the process.
    pub broker: Arc<Broker>,
    /// What a client over TCP must bear; None: nobody gets in over TCP.
    pub token: Option<String>,
}

/// What the admin API may ask of the process; boot hands it in.
pub struct Operations {
    /// To the control thread; a full channel is 503.
    pub commands: mpsc::Sender<Command>,
}

/// A wish of the admin API.
pub enum Command {
    /// Read the config again: the warnings, or the diagnostic of a config that was refused.
    Reload(oneshot::Sender<Result<String, String>>),
    /// Let the binary at our path take over: what was done, or why the new one did not.
    Upgrade(oneshot::Sender<Result<String, String>>),
    /// Finish the requests and end.
    Drain,
    /// End at once.
    Stop,
    /// What `/status` shows.
    Status(oneshot::Sender<serde_json::Value>),
}

/// What becomes of a request.
pub enum Outcome {
    /// The API has answered it.
    Answered(Box<Response>),
    /// A channel answers it.
    AtChannel(Box<Visit>),
}

/// What a path of the API does.
#[derive(Clone, Copy)]
enum Action {
    Status,
    Metrics,
    Channels,
    Reload,
    Upgrade,
    Drain,
    Stop,
}

impl Admin {
    /// Answers one request, or says which channel does.
    ///
    /// # Errors
    /// `NotFound` for another path, `Full` when the control thread has too much to do or is ending.
    pub async fn run(&self, request: Request) -> Result<Outcome, Fault> {
        let answer = match (self.refusal(&request), channels::named(request.head.target.path())) {
            (Some(refusal), _) => refusal,
            (None, Some(Ok(name))) => {
                let visit = channels::visit(name, request, &self.config.load(), &self.broker);
                return Ok(Outcome::AtChannel(Box::new(visit)));
            }
            (None, Some(Err(why))) => Response::text(StatusCode::BAD_REQUEST, format!("400 Bad Request: {why}\n")),
            (None, None) => self.act(&request).await?,
        };
        Ok(Outcome::Answered(Box::new(answer.with(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))))
    }

    /// Refuses pages of other origins, then whoever lacks the token.
    fn refusal(&self, request: &Request) -> Option<Response> {
        if is_foreign(request) {
            return Some(Response::text(StatusCode::FORBIDDEN, "403 Forbidden: a page of another origin\n"));
        }
        if request.client.peer == Peer::Unix || self.has_token(request) {
            return None;
        }
        let refusal = Response::text(StatusCode::UNAUTHORIZED, "401 Unauthorized\n");
        Some(refusal.with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"rsp\"")))
    }

    fn has_token(&self, request: &Request) -> bool {
        let given = request.head.headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
        match (&self.token, given) {
            (Some(token), Some(given)) => is_same(given, token.as_bytes()),
            _ => false,
        }
    }

    async fn act(&self, request: &Request) -> Result<Response, Fault> {
        let action = Action::of(request.head.target.path())
            .ok_or_else(|| Fault::new(Kind::NotFound, "no such path of the admin API"))?;
        if !action.methods().contains(&request.head.method) {
            let allow = HeaderValue::from_static(if action.is_change() { "POST" } else { "GET, HEAD" });
            return Ok(
                Response::text(StatusCode::METHOD_NOT_ALLOWED, "405 Method Not Allowed\n").with(header::ALLOW, allow)
            );
        }
        match action {
            Action::Status => self.status().await,
            Action::Metrics => {
                let kind = HeaderValue::from_static(Metrics::CONTENT_TYPE);
                Ok(Response::new(StatusCode::OK, self.metrics.render().into()).with(header::CONTENT_TYPE, kind))
            }
            Action::Channels => Ok(channels::list(&self.broker, request)),
            Action::Reload => self.outcome(Command::Reload, "reloaded\n").await,
            Action::Upgrade => self.outcome(Command::Upgrade, "").await,
            Action::Drain => self.accepted(Command::Drain, "draining\n"),
            Action::Stop => self.accepted(Command::Stop, "stopping\n"),
        }
    }

    async fn status(&self) -> Result<Response, Fault> {
        let (sender, answer) = oneshot::channel();
        self.ask(Command::Status(sender))?;
        let mut text = answer.await.map_err(|_| ending())?.to_string();
        text.push('\n');
        let kind = HeaderValue::from_static("application/json");
        Ok(Response::new(StatusCode::OK, text.into()).with(header::CONTENT_TYPE, kind))
    }

    /// Asks for what may be refused, and waits for what becomes of it.
    async fn outcome(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<String, String>>) -> Command,
        done: &str,
    ) -> Result<Response, Fault> {
        let (sender, answer) = oneshot::channel();
        self.ask(command(sender))?;
        Ok(match answer.await.map_err(|_| ending())? {
            Ok(said) => Response::text(StatusCode::OK, said + done),
            Err(diagnostic) => Response::text(StatusCode::UNPROCESSABLE_ENTITY, diagnostic),
        })
    }

    fn accepted(&self, command: Command, text: &'static str) -> Result<Response, Fault> {
        self.ask(command)?;
        Ok(Response::text(StatusCode::ACCEPTED, text))
    }

    fn ask(&self, command: Command) -> Result<(), Fault> {
        self.operations.commands.try_send(command).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => Fault::new(Kind::Full, "too many commands at once"),
            mpsc::error::TrySendError::Closed(_) => ending(),
        })
    }
}

impl Action {
    fn of(path: &[u8]) -> Option<Self> {
        Some(match path {
            b"/status" => Self::Status,
            b"/metrics" => Self::Metrics,
            b"/channels" => Self::Channels,
            b"/reload" => Self::Reload,
            b"/upgrade" => Self::Upgrade,
            b"/drain" => Self::Drain,
            b"/stop" => Self::Stop,
            _ => return None,
        })
    }

    fn is_change(self) -> bool {
        matches!(self, Self::Reload | Self::Upgrade | Self::Drain | Self::Stop)
    }

    fn methods(self) -> &'static [Method] {
        if self.is_change() { &[Method::POST] } else { &[Method::GET, Method::HEAD] }
    }
}

/// Whether a browser sent it for a page that is not the admin API's own; other clients send no `Origin`.
fn is_foreign(request: &Request) -> bool {
    let field = |name| request.head.headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
    let origin = field(header::ORIGIN);
    let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
    let own = authority.is_some_and(|authority| authority.eq_ignore_ascii_case(field(header::HOST)));
    request.head.headers.contains_key(header::ORIGIN) && !own
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750 §2.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(6)?;
    let token = token.strip_prefix(b" ")?.trim_ascii();
    scheme.eq_ignore_ascii_case(b"bearer").then_some(token)
}

/// Takes a time that depends on what was given only, so that nobody can guess the token byte by byte.
fn is_same(given: &[u8], token: &[u8]) -> bool {
    if token.is_empty() {
        return false;
    }
    let unlike = given.iter().zip(token.iter().cycle()).fold(0, |unlike, (given, token)| unlike | (given ^ token));
    black_box(unlike) == 0 && given.len() == token.len()
}

fn ending() -> Fault {
    Fault::new(Kind::Full, "rsp is ending")
}

#[cfg(test)]
mod tests;
