//! The life of one request on one page: site and route, limits, filters, handler, filters again, log.
//!
//! **Invariant:** every request ends in exactly one answer and one line of the log, whatever failed.

mod grpc;
mod page;
mod refusal;
mod secure;
mod ticket;

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use http::{HeaderValue, Method, StatusCode, header};
use rsp_core::{
    config::{Address, Config, FunctionId, Limits},
    cors,
    frame::http1::Framing,
    route::{Params, Path},
};

pub use self::ticket::Ticket;
use self::{page::Asking, ticket::Place};
use crate::{
    broker::Broker,
    error::{Fault, Kind, Whose},
    filter::{Filter, Kept, Pass, Refusal, auth::Auth},
    handler::{Context, Handler, Unanswered, channel::Hub, exec::Residents},
    message::{Request, Response},
    observe::Metrics,
    process::{Programs, Spawner},
    route::{Found, Route, Snapshot},
    script::{Engine, Outcome, Visit},
    session::{self, Sessions},
    shutdown::Drain,
    stream::Peer,
    tls::{Acme, acme::Challenges},
    upstream::{Pools, Registry},
};

/// How often a request may be put in the place of another: more are a circle.
const ELSEWHERE_MAX: usize = 10;

/// What one worker serves requests with.
pub struct Worker {
    current: RefCell<Rc<Current>>,
    /// Idle upstream connections.
    pub pools: Pools,
    /// Upstreams of the process.
    pub registry: Arc<Registry>,
    /// Subscribers of channels.
    pub hub: Rc<Hub>,
    /// The line to the spawner of processes.
    pub programs: Rc<Programs>,
    /// Talks with clients.
    pub sessions: Rc<Sessions>,
    /// Programs that serve all clients.
    pub residents: Arc<Residents>,
    /// What authorities of certificates ask for.
    pub challenges: Arc<Challenges>,
    /// Counters of the process.
    pub metrics: Arc<Metrics>,
    /// Its end.
    pub drain: Rc<Drain>,
}

/// What the workers of the process share.
#[derive(Clone)]
pub struct Shared {
    /// Upstreams by name.
    pub registry: Arc<Registry>,
    /// Channels.
    pub broker: Arc<Broker>,
    /// What starts processes.
    pub spawner: Arc<Spawner>,
    /// Programs that serve all clients.
    pub residents: Arc<Residents>,
    /// What sessions share.
    pub sessions: session::Shared,
    /// Certificates of an authority.
    pub acme: Arc<Acme>,
    /// Counters of the process.
    pub metrics: Arc<Metrics>,
}

impl Shared {
    /// Runs what a config needs beside the workers: the spawner, the programs that serve all clients, and who gets
    /// certificates.
    ///
    /// # Errors
    /// A line that says why there can be no processes or certificates.
    pub fn settle(&self, config: &Config) -> Result<(), String> {
        if config.runs_programs() {
            self.spawner.start().map_err(|e| format!("no programs can be started: {e}\n"))?;
        }
        self.residents.settle(config);
        self.acme.settle(config)
    }
}

/// The running config as this worker sees it.
pub struct Current {
    /// Sites and routes.
    pub snapshot: Arc<Snapshot>,
    /// The functions of the same load; None when the config has none.
    pub engine: Option<Rc<Engine>>,
}

/// A response, and what must be told when it is out.
pub struct Answer {
    /// What the client gets.
    pub response: Box<Response>,
    /// Counts and logs the request.
    pub ticket: Ticket,
    /// Without progress of a write.
    pub write_timeout: Duration,
}

impl Worker {
    /// A worker that serves `current`.
    pub fn new(current: Current, shared: &Shared) -> Rc<Self> {
        let Shared { registry, broker, spawner, residents, sessions, acme, metrics } = shared.clone();
        Rc::new(Self {
            current: RefCell::new(Rc::new(current)),
            pools: Pools::default(),
            registry,
            hub: Hub::new(broker, Arc::clone(&metrics)),
            programs: Programs::new(spawner, Arc::clone(&metrics)),
            sessions: Sessions::new(&sessions),
            residents,
            challenges: Arc::clone(acme.challenges()),
            metrics,
            drain: Rc::default(),
        })
    }

    /// The running config; hold it for a moment, not for a request.
    pub fn current(&self) -> Rc<Current> {
        Rc::clone(&self.current.borrow())
    }

    /// Serves the next request from another config.
    pub fn replace(&self, current: Current) {
        *self.current.borrow_mut() = Rc::new(current);
    }

    /// Answers one request.
    pub async fn serve(&self, listener: &Address, mut request: Box<Request>) -> Answer {
        let mut ticket = Ticket::new(&request);
        let outcome = self.route(listener, &mut request, &mut ticket).await;
        let outcome = match outcome {
            Ok((route, params, engine)) => {
                let outcome = self.run(&route, &params, engine, request, &mut ticket).await;
                ticket.came_to(Place::Route(route));
                outcome
            }
            Err(refused) => Err(refused),
        };
        let response = match outcome {
            Ok(response) => response,
            // Boxed, so that requests that go well don't pay for its state.
            Err(refused) => Box::pin(self.instead(listener, refused, &mut ticket)).await,
        };
        let write_timeout = ticket.limits().map_or(Limits::default().write_timeout, |limits| limits.write_timeout);
        Answer { response, ticket, write_timeout }
    }

    /// What a client gets in place of the response that there is none of.
    async fn instead(&self, listener: &Address, mut refused: Refused, ticket: &mut Ticket) -> Box<Response> {
        for _ in 0..ELSEWHERE_MAX {
            let Refused::Elsewhere(request) = refused else { break };
            match self.elsewhere(listener, request, ticket).await {
                Ok(response) => return response,
                Err(next) => refused = next,
            }
        }
        if matches!(&refused, Refused::Fault(fault) if fault.kind == Kind::Script) {
            self.metrics.script_errors.inc();
        }
        Box::new(refusal::respond(refused, ticket, &self.metrics).await)
    }

    /// Answers a request that a handler put in the place of the one that came, as if it had come itself; the log goes on
    /// showing that one.
    async fn elsewhere(
        &self,
        listener: &Address,
        mut request: Box<Request>,
        ticket: &mut Ticket,
    ) -> Result<Box<Response>, Refused> {
        *ticket.kept() = Kept::default();
        let (route, params, engine) = self.route(listener, &mut request, ticket).await?;
        let outcome = self.run(&route, &params, engine, request, ticket).await;
        ticket.came_to(Place::Route(route));
        outcome
    }

    /// Answers what never became a request.
    pub fn refuse(&self, fault: Fault, peer: Peer) -> Answer {
        let mut ticket = Ticket::unknown(peer, &self.current().snapshot.nowhere);
        let response = Box::new(refusal::respond_at_once(fault.into(), &mut ticket));
        Answer { response, ticket, write_timeout: Limits::default().write_timeout }
    }

    /// Answers a request whose response failed before a byte of it was out.
    pub async fn fail(&self, mut ticket: Ticket, fault: Fault) -> Answer {
        self.broke_off(&ticket, &fault);
        let response = Box::new(refusal::respond(fault.into(), &mut ticket, &self.metrics).await);
        Answer { response, ticket, write_timeout: Limits::default().write_timeout }
    }

    /// Hears why an answer ended before its end; an upstream's own fault counts against its endpoint.
    pub fn broke_off(&self, ticket: &Ticket, fault: &Fault) {
        if fault.kind.whose() == Whose::Upstream
            && let Some(names) = ticket.answered_by()
        {
            self.registry.blame(names);
        }
    }

    /// Finds the route and applies the site's limits.
    async fn route(
        &self,
        listener: &Address,
        request: &mut Request,
        ticket: &mut Ticket,
    ) -> Result<(Arc<Route>, Params, Option<Rc<Engine>>), Refused> {
        let current = self.current();
        let is_secure = current.snapshot.is_secure();
        if is_secure && current.snapshot.verifies_clients() {
            secure::disbelieve(request);
        }
        let target = request.head.target.clone();
        // Before redirects and filters: an authority comes by plain HTTP and has no password.
        if is_secure && let Some(answer) = self.challenges.answer(target.path()) {
            ticket.log_to(&current.snapshot.nowhere, request);
            ticket.came_to(Place::Site(Arc::clone(&current.snapshot.nowhere)));
            return Err(Refused::Challenge(answer));
        }
        let nowhere = || Arc::clone(&current.snapshot.nowhere);
        let host = request.head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let method = &request.head.method;
        let wanted = cors::preflighted(method, &request.head.headers);
        let preflight = |path: &Path<'_>| current.snapshot.find_preflight(listener, host, &wanted?, path);
        let found = match Path::new(target.path()) {
            Ok(path) => Ok(match preflight(&path) {
                Some(found) => found,
                None => current.snapshot.find(listener, host, method, &path).await,
            }),
            Err(e) => Err(e),
        };
        let (site, refused) = match found {
            Ok(Found::Route(route, params)) => {
                ticket.log_to(&route.site, request);
                if route.site.errors_ask {
                    ticket.ask_later(Asking::new(request, &params, &route.site, current.engine.as_ref()));
                }
                let admitted = if is_secure { secure::admit(request, &route.site, ticket) } else { Ok(()) };
                let within = admitted.and_then(|()| Ok(apply_limits(request, &route.site.limits)?));
                if let Err(refused) = within {
                    ticket.came_to(Place::Route(route));
                    return Err(refused);
                }
                if is_secure {
                    secure::introduce(request);
                }
                return Ok((route, params, current.engine.clone()));
            }
            Err(e) => (nowhere(), Fault::new(Kind::Malformed, e.to_string()).into()),
            Ok(Found::NoSite) => (nowhere(), Fault::new(Kind::NotFound, "no site has this host").into()),
            Ok(Found::NoRoute(site)) => (site, Fault::new(Kind::NotFound, "no route has this path").into()),
            Ok(Found::Ambiguous(site)) => (site, Fault::new(Kind::Malformed, "the path could mean two routes").into()),
            Ok(Found::MethodNotAllowed(site, methods)) => (site, Refused::Method(methods)),
            Ok(Found::AddSlash(site)) => (site, Refused::AddSlash(with_slash(&target))),
        };
        ticket.log_to(&site, request);
        if site.errors_ask {
            ticket.ask_later(Asking::new(request, &Params::default(), &site, current.engine.as_ref()));
        }
        let is_nowhere = Arc::ptr_eq(&site, &current.snapshot.nowhere);
        let admitted = if is_secure && !is_nowhere { secure::admit(request, &site, ticket) } else { Ok(()) };
        ticket.came_to(Place::Site(site));
        Err(admitted.err().unwrap_or(refused))
    }

    /// Filters, handler, filters in reverse.
    async fn run(
        &self,
        route: &Route,
        params: &Params,
        engine: Option<Rc<Engine>>,
        mut request: Box<Request>,
        ticket: &mut Ticket,
    ) -> Result<Box<Response>, Refused> {
        let context = Context {
            pools: &self.pools,
            limits: &route.site.limits,
            params,
            metrics: &self.metrics,
            hub: &self.hub,
            programs: &self.programs,
            sessions: &self.sessions,
            residents: &self.residents,
            resolver: self.registry.resolver(),
            engine: &engine,
            site: &route.site.name,
            route: &route.pattern,
        };
        let mut made = None;
        let mut passed = route.filters.len();
        for (index, filter) in route.filters.iter().enumerate() {
            match filter {
                Filter::Function(id) => {
                    let (given_back, outcome) = call(&engine, *id, request, route, params).await;
                    request = given_back;
                    if let Outcome::Handler(handler) = outcome? {
                        made = Some(Handler::made(&handler, &self.registry));
                        passed = index;
                        break;
                    }
                }
                filter => {
                    // One that waits has an arm like the function's, boxed: its wait must not grow every request's future.
                    let pass = match filter {
                        Filter::Auth(auth) => Box::pin(authorize(auth, &mut request, &context, ticket)).await?,
                        filter => filter.inward(&mut request, &context, ticket.kept())?,
                    };
                    match pass {
                        Pass::Go => {}
                        Pass::Answer(response) => return Ok(outward(&route.filters[..index], response, ticket)),
                        Pass::Refuse(refusal) => return Err(Refused::ByFilter(refusal)),
                    }
                }
            }
        }
        if let (None, Handler::Function(id)) = (&made, &route.handler) {
            let (given_back, outcome) = call(&engine, *id, request, route, params).await;
            request = given_back;
            made = match outcome? {
                Outcome::Handler(handler) => Some(Handler::made(&handler, &self.registry)),
                Outcome::Next => return Err(Fault::new(Kind::NotFound, "the function returned nil").into()),
            };
        }
        let handler = made.as_ref().unwrap_or(&route.handler);
        let response = handler.run(request, &context).await?;
        Ok(outward(&route.filters[..passed], response, ticket))
    }
}

/// Whether a request may pass; the log shows who sent it.
async fn authorize(
    auth: &Auth,
    request: &mut Request,
    context: &Context<'_>,
    ticket: &mut Ticket,
) -> Result<Pass, Fault> {
    let pass = auth.inward(request, context).await;
    ticket.sent_by(request.user.as_ref());
    pass
}

/// Shows an answer to the filters that let its request pass, the last one first.
fn outward(passed: &[Filter], mut response: Box<Response>, ticket: &mut Ticket) -> Box<Response> {
    ticket.answered(&mut response);
    for filter in passed.iter().rev() {
        filter.outward(&mut response, ticket.kept());
    }
    ticket.kept().insist(&mut response.headers);
    response
}

/// Why there is no response of a handler.
enum Refused {
    Fault(Fault),
    ByFilter(Box<Refusal>),
    Method(Vec<Method>),
    AddSlash(HeaderValue),
    /// This is what an authority of certificates wants to read.
    Challenge(Arc<str>),
    /// To where the site is by `https`.
    Moved(Box<(StatusCode, HeaderValue)>),
    /// This one is to be answered in its place.
    Elsewhere(Box<Request>),
}

impl From<Unanswered> for Refused {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Fault(fault) => Self::Fault(fault),
            Unanswered::Elsewhere(request) => Self::Elsewhere(request),
        }
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

async fn call(
    engine: &Option<Rc<Engine>>,
    id: FunctionId,
    request: Box<Request>,
    route: &Route,
    params: &Params,
) -> (Box<Request>, Result<Outcome, Fault>) {
    let Some(engine) = engine else {
        return (request, Err(Fault::new(Kind::Script, "this worker has no functions")));
    };
    let visit = Visit { site: &route.site.name, route: &route.pattern, params };
    let (request, outcome) = engine.call(id, *request, visit).await;
    (Box::new(request), outcome)
}

/// The site's own bounds, which may be narrower than those the head was read with.
fn apply_limits(request: &mut Request, limits: &Limits) -> Result<(), Fault> {
    if request.head_bytes > limits.head || request.head.headers.len() > limits.headers {
        return Err(Fault::new(Kind::HeadTooLarge, "the head is larger than this site allows"));
    }
    if request.head.target.as_bytes().len() > limits.uri {
        return Err(Fault::new(Kind::UriTooLong, "the target is longer than this site allows"));
    }
    if let (Framing::Length(length), Some(max)) = (request.head.framing, limits.body)
        && length > max
    {
        return Err(Fault::new(Kind::BodyTooLarge, format!("a body of {length} bytes, {max} are allowed")));
    }
    request.body.bound(limits.buffer, limits.body_timeout, limits.body);
    Ok(())
}

/// The same target with a slash behind its path.
fn with_slash(target: &rsp_core::frame::http1::Target) -> HeaderValue {
    HeaderValue::from_bytes(&target.with_slash()).unwrap_or(HeaderValue::from_static("/"))
}

/// Status alone, for answers that no handler gives.
fn status_of(refused: &Refused) -> StatusCode {
    match refused {
        Refused::Fault(fault) => fault.kind.status(),
        Refused::ByFilter(refusal) => refusal.status,
        Refused::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
        Refused::Challenge(_) => StatusCode::OK,
        Refused::AddSlash(_) => StatusCode::MOVED_PERMANENTLY,
        Refused::Moved(moved) => moved.0,
        Refused::Elsewhere(_) => Kind::UpstreamMalformed.status(),
    }
}
