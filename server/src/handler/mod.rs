//! The closed set of handlers: what a route answers with.

pub mod admin;
mod bridge;
mod cgi;
pub mod channel;
pub mod exec;
mod fastcgi;
mod files;
mod proxy;
mod reply;

pub use files::{content_type, sweep_for_ever};

use std::{path::Path, rc::Rc, sync::Arc};

use rsp_core::{
    config::{self, FunctionId, Limits},
    route::{Params, Pattern},
};

use crate::{
    error::{Fault, Kind},
    message::{Request, Response},
    observe::Metrics,
    process::Programs,
    script::{Engine, Visit},
    session::Sessions,
    upstream::{Group, Pools, Registry, Resolver},
};

/// A handler that is ready to run: checked data with its upstream found.
pub enum Handler {
    /// To an upstream.
    Proxy(proxy::Proxy),
    /// From a folder.
    Files(Arc<config::Files>),
    /// To a FastCGI application.
    Fastcgi(fastcgi::Fastcgi),
    /// A fixed answer.
    Reply(Arc<config::Reply>),
    /// To another URL.
    Redirect(Arc<config::Redirect>),
    /// Messages to whoever listens.
    Channel(Arc<config::Channel>),
    /// A program that talks.
    Exec(exec::Exec),
    /// A program that answers.
    Cgi(cgi::Cgi),
    /// A socket that talks.
    Bridge(bridge::Bridge),
    /// A function that returns the handler; dispatch runs it.
    Function(FunctionId),
    /// The admin API.
    Admin(Box<admin::Admin>),
}

/// What a handler may use while it runs.
pub struct Context<'a> {
    /// The worker's idle connections.
    pub pools: &'a Pools,
    /// The bounds of the request's site.
    pub limits: &'a Limits,
    /// What the route's pattern took from the path.
    pub params: &'a Params,
    /// Counters of the process.
    pub metrics: &'a Metrics,
    /// The worker's subscribers.
    pub hub: &'a Rc<channel::Hub>,
    /// The worker's line to the spawner of processes.
    pub programs: &'a Rc<Programs>,
    /// The worker's talks.
    pub sessions: &'a Rc<Sessions>,
    /// Programs that serve all clients.
    pub residents: &'a Arc<exec::Residents>,
    /// What clients are called.
    pub resolver: &'a Resolver,
    /// The functions of the request's config.
    pub engine: &'a Option<Rc<Engine>>,
    /// The name of the request's site.
    pub site: &'a Arc<str>,
    /// The pattern of the request's route.
    pub route: &'a Pattern,
}

impl<'a> Context<'a> {
    /// Where the request got to, as functions see it.
    pub fn visit(&self) -> Visit<'a> {
        Visit { site: self.site, route: self.route, params: self.params }
    }
}

/// Why there is no response of a handler.
pub enum Unanswered {
    /// It failed.
    Fault(Fault),
    /// Another request to the same site is answered in the place of the one that came (RFC 3875 §6.2.2).
    Elsewhere(Box<Request>),
}

impl From<Fault> for Unanswered {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Handler {
    /// A declared handler; `group` gives the running upstream of a declared one.
    pub fn declared(handler: &config::Handler, mut group: impl FnMut(&Arc<config::Upstream>) -> Arc<Group>) -> Self {
        Self::build(handler, &mut group)
    }

    /// A handler that a function returned for one request.
    pub fn made(handler: &config::Handler, registry: &Registry) -> Self {
        Self::build(handler, &mut |upstream| registry.make(upstream))
    }

    fn build(handler: &config::Handler, group: &mut dyn FnMut(&Arc<config::Upstream>) -> Arc<Group>) -> Self {
        let mut otherwise =
            |other: &Option<Box<config::Handler>>| other.as_ref().map(|handler| Box::new(Self::build(handler, group)));
        match handler {
            config::Handler::Proxy(spec) => {
                Self::Proxy(proxy::Proxy { group: group(&spec.upstream), spec: Arc::clone(spec) })
            }
            config::Handler::Files(files) => Self::Files(Arc::clone(files)),
            config::Handler::Fastcgi(spec) => {
                Self::Fastcgi(fastcgi::Fastcgi { group: group(&spec.upstream), spec: Arc::clone(spec) })
            }
            config::Handler::Reply(reply) => Self::Reply(Arc::clone(reply)),
            config::Handler::Redirect(redirect) => Self::Redirect(Arc::clone(redirect)),
            config::Handler::Channel(channel) => Self::Channel(Arc::clone(channel)),
            config::Handler::Exec(spec) => match &spec.channel {
                Some(channel) => Self::Channel(Arc::clone(channel)),
                None => Self::Exec(exec::Exec { otherwise: otherwise(&spec.otherwise), spec: Arc::clone(spec) }),
            },
            config::Handler::Cgi(spec) => {
                Self::Cgi(cgi::Cgi { otherwise: otherwise(&spec.otherwise), spec: Arc::clone(spec) })
            }
            config::Handler::Bridge(spec) => Self::Bridge(bridge::Bridge {
                otherwise: otherwise(&spec.otherwise),
                group: group(&spec.upstream),
                spec: Arc::clone(spec),
            }),
            config::Handler::Function(id) => Self::Function(*id),
        }
    }

    /// The running upstream that requests go to.
    pub fn upstream(&self) -> Option<&Arc<Group>> {
        match self {
            Self::Proxy(proxy) => Some(&proxy.group),
            Self::Fastcgi(fastcgi) => Some(&fastcgi.group),
            Self::Bridge(bridge) => Some(&bridge.group),
            _ => None,
        }
    }

    /// The program that talks with clients, or the folder of those that do.
    pub fn command(&self) -> Option<&Path> {
        match self {
            Self::Exec(exec) => Some(match &exec.spec.program {
                config::Program::One(path, _) => path,
                config::Program::Of { folder, .. } => folder,
            }),
            _ => None,
        }
    }

    /// Whether it answers preflights itself.
    pub fn answers_preflights(&self) -> bool {
        matches!(self, Self::Channel(spec) if spec.origins.is_some())
    }

    /// Answers a request.
    pub async fn run(&self, request: Box<Request>, context: &Context<'_>) -> Result<Box<Response>, Unanswered> {
        match self {
            Self::Proxy(proxy) => proxy.run(request, context).await,
            Self::Files(spec) => match files::run(spec, &request)? {
                files::Served::Now(response) => Ok(Box::new(response)),
                files::Served::Listing(listing) => Ok(Box::new(listing.await?)),
            },
            // Boxed, so that the future of a proxied request is not as large as this one.
            Self::Fastcgi(fastcgi) => Ok(Box::pin(fastcgi.run(request, context)).await?),
            Self::Reply(spec) => Ok(Box::new(reply::reply(spec))),
            Self::Redirect(spec) => Ok(Box::new(reply::redirect(spec, &request, context.params))),
            Self::Channel(spec) => Ok(Box::pin(channel::run(spec, request, context)).await?),
            Self::Exec(exec) => Box::pin(exec.run(request, context)).await,
            Self::Cgi(cgi) => Box::pin(cgi.run(request, context)).await,
            Self::Bridge(bridge) => Box::pin(bridge.run(request, context)).await,
            Self::Admin(admin) => match admin.run(*request).await? {
                admin::Outcome::Answered(response) => Ok(response),
                admin::Outcome::AtChannel(visit) => {
                    let admin::Visit { spec, name, request } = *visit;
                    Ok(Box::pin(channel::operate(&spec, name, Box::new(request), context)).await?)
                }
            },
            Self::Function(_) => Err(Fault::new(Kind::Script, "a function returned a function").into()),
        }
    }
}

/// The answer of a handler that asks nobody, as an error page is: `reply` and `redirect`; None for all others.
pub fn answer(handler: &config::Handler, request: &Request, params: &Params) -> Option<Response> {
    match handler {
        config::Handler::Reply(spec) => Some(reply::reply(spec)),
        config::Handler::Redirect(spec) => Some(reply::redirect(spec, request, params)),
        _ => None,
    }
}
