//! What is remembered of a request until its last byte is out: for the counters and the log.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use rsp_core::{
    auth::token,
    config::{ErrorPage, Limits},
    frame::http1::RequestHead,
};
use tokio::time::Instant;

use super::{grpc, page::Asking};
use crate::{
    error::Fault,
    filter::Kept,
    message::{Answered, Names, Request, RequestId, Response, User},
    observe::{Metrics, Moment, Record, Series},
    route::{Route, SiteInfo},
    stream::Peer,
};

/// One request's entry; [`finish`](Self::finish) counts and logs it.
pub struct Ticket {
    id: RequestId,
    received: Instant,
    /// What the client takes: of a call of gRPC the type of that, which it takes, too.
    accept: Option<HeaderValue>,
    bytes_in: u64,
    place: Place,
    answered: Option<Answered>,
    fault: Option<Fault>,
    logged: Option<Box<Logged>>,
    kept: Kept,
    /// Where a function writes the error pages.
    asking: Option<Box<Asking>>,
}

/// The entry of a request whose answer may last for days.
pub struct Lasting {
    id: RequestId,
    received: Instant,
    bytes_in: u64,
    place: Place,
    answered: Option<Box<Answered>>,
    logged: Option<Box<Logged>>,
    kept: Kept,
}

impl Lasting {
    /// Counts and logs the request, with what went out.
    pub fn finish(self, status: StatusCode, bytes_out: u64) {
        let Self { id, received, bytes_in, place, answered, logged, kept } = self;
        let answered = answered.map(|answered| *answered);
        let (accept, fault, asking) = (None, None, None);
        Ticket { id, received, accept, bytes_in, place, answered, fault, logged, kept, asking }.end(
            status,
            bytes_out,
            Some(Moment::Disconnect),
        );
    }
}

/// How far the request came.
pub(super) enum Place {
    Nowhere,
    Site(Arc<SiteInfo>),
    Route(Arc<Route>),
}

/// What the log shows of the request; kept only where there is a log.
struct Logged {
    /// None: it could not be read.
    head: Option<RequestHead>,
    client: Option<std::net::IpAddr>,
    /// Who is known to have sent it.
    user: Option<Arc<User>>,
}

impl Ticket {
    pub(super) fn new(request: &Request) -> Self {
        Self {
            id: request.id,
            received: request.received,
            accept: accept(&request.head),
            bytes_in: request.head_bytes as u64,
            place: Place::Nowhere,
            answered: None,
            fault: None,
            logged: None,
            kept: Kept::default(),
            asking: None,
        }
    }

    /// For bytes that never became a request; `nowhere` stands for the site that they never named.
    pub(super) fn unknown(peer: Peer, nowhere: &Arc<SiteInfo>) -> Self {
        let client = peer.ip();
        Self {
            id: RequestId::next(),
            received: Instant::now(),
            accept: None,
            bytes_in: 0,
            place: Place::Site(Arc::clone(nowhere)),
            answered: None,
            fault: None,
            logged: nowhere.access_log.is_on().then(|| Box::new(Logged { head: None, client, user: None })),
            kept: Kept::default(),
            asking: None,
        }
    }

    /// Keeps what the site's log will show, before the request goes its way; what came first is shown.
    pub(super) fn log_to(&mut self, site: &SiteInfo, request: &Request) {
        if site.access_log.is_on() && self.logged.is_none() {
            let (mut head, client) = (request.head.clone(), request.client.ip);
            // Here, and not where a token is looked for: a request that never gets there may have one, too.
            if let Some(names) = &site.secrets {
                token::mask(&mut head, names);
            }
            self.logged = Some(Box::new(Logged { head: Some(head), client, user: None }));
        }
    }

    pub(super) fn came_to(&mut self, place: Place) {
        self.place = place;
    }

    /// Keeps what a function needs to write an error page.
    pub(super) fn ask_later(&mut self, asking: Option<Box<Asking>>) {
        self.asking = asking;
    }

    /// The error page that a function writes; None: it is a file's, or the built-in one.
    pub(super) async fn ask_for_page(&mut self, status: StatusCode, metrics: &Metrics) -> Option<Response> {
        let asking = self.asking.take()?;
        let site = self.site()?;
        let Some(ErrorPage::Function(id)) = site.errors.as_ref()?.find(status.as_u16()) else { return None };
        let route = match &self.place {
            Place::Route(route) => Some(&**route),
            Place::Site(_) | Place::Nowhere => None,
        };
        asking.ask(*id, status, (site, route), metrics).await
    }

    pub(super) fn site(&self) -> Option<&SiteInfo> {
        match &self.place {
            Place::Nowhere => None,
            Place::Site(site) => Some(site),
            Place::Route(route) => Some(&route.site),
        }
    }

    fn series(&self) -> Option<&Series> {
        match &self.place {
            Place::Nowhere => None,
            Place::Site(site) => Some(&site.series),
            Place::Route(route) => Some(&route.series),
        }
    }

    pub(super) fn answered(&mut self, response: &mut Response) {
        self.answered = response.upstream.take();
        if response.takeover.is_some() {
            // It may live for days, and has no error page.
            self.asking = None;
        }
    }

    /// Keeps whoever is known to have sent the request.
    pub(super) fn sent_by(&mut self, user: Option<&Arc<User>>) {
        if let Some(logged) = &mut self.logged {
            logged.user = user.cloned();
        }
    }

    /// The endpoint that answered; None: rsp itself, or nobody yet.
    pub(super) fn answered_by(&self) -> Option<&Names> {
        self.answered.as_ref().map(|answered| &*answered.by)
    }

    /// What filters keep until the answer is out.
    pub(super) fn kept(&mut self) -> &mut Kept {
        &mut self.kept
    }

    /// Remembers why the request failed; the first reason stands.
    pub fn failed(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// Counts what was read of the request's body.
    pub fn read(&mut self, bytes: u64) {
        self.bytes_in += bytes;
    }

    /// The request's id.
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// Its site's limits.
    pub fn limits(&self) -> Option<&Limits> {
        self.site().map(|site| &*site.limits)
    }

    /// Whether it is a call of gRPC, whose client reads no page.
    pub(super) fn is_grpc(&self) -> bool {
        self.accept.as_ref().is_some_and(grpc::is_grpc)
    }

    pub(super) fn prefers_json(&self) -> bool {
        let accept = self.accept.as_ref().and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        match (accept.find("json"), accept.find("text/")) {
            (Some(json), Some(text)) => json < text,
            (json, _) => json.is_some(),
        }
    }

    /// Keeps only what is needed at the end, for an answer that may last for days; a log that tells of sessions is told that
    /// one begins.
    pub fn lasting(mut self, status: StatusCode, bytes_out: u64) -> Box<Lasting> {
        let tells = self.site().is_some_and(|site| site.access_log.tells_of_sessions());
        if tells {
            self.log(status, bytes_out, self.received.elapsed(), Some(Moment::Connect));
        }
        if let Some(head) = self.logged.as_mut().and_then(|logged| logged.head.as_mut()) {
            let names = [header::REFERER, header::USER_AGENT, header::HOST, header::ORIGIN];
            let names = if tells { &names[..] } else { &names[..3] };
            let mut shown = HeaderMap::with_capacity(names.len());
            for name in names {
                if let Some(value) = head.headers.remove(name) {
                    // A copy, so that the buffer of the whole head can go.
                    shown.insert(name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap_or(value));
                }
            }
            head.headers = shown;
        }
        let Self { id, received, bytes_in, place, answered, logged, kept, .. } = self;
        Box::new(Lasting { id, received, bytes_in, place, answered: answered.map(Box::new), logged, kept })
    }

    /// Counts and logs the request, with what went out.
    pub fn finish(self, status: StatusCode, bytes_out: u64) {
        self.end(status, bytes_out, None);
    }

    fn end(self, status: StatusCode, bytes_out: u64, session: Option<Moment>) {
        let took = self.received.elapsed();
        let upstream_took = self.answered.as_ref().map(|answered| answered.took);
        if let Some(series) = self.series() {
            series.record(status.as_u16(), took, upstream_took, self.bytes_in, bytes_out);
        }
        self.log(status, bytes_out, took, session);
    }

    fn log(&self, status: StatusCode, bytes_out: u64, took: Duration, session: Option<Moment>) {
        if let (Some(site), Some(logged)) = (self.site(), &self.logged) {
            let record = Record { session, ..self.record(site, logged, status, bytes_out, took) };
            site.access_log.write(&record);
        }
    }

    /// The program of the route's `exec`.
    fn command(&self) -> Option<&Path> {
        match &self.place {
            Place::Route(route) => route.handler.command(),
            Place::Site(_) | Place::Nowhere => None,
        }
    }

    fn record<'a>(
        &'a self,
        site: &'a SiteInfo,
        logged: &'a Logged,
        status: StatusCode,
        bytes_out: u64,
        took: Duration,
    ) -> Record<'a> {
        let (head, tells) = (logged.head.as_ref(), site.access_log.tells_of_sessions());
        let field = |name| head.and_then(|head| head.headers.get(name)).map(HeaderValue::as_bytes);
        Record {
            client: logged.client,
            user: logged.user.as_ref().map(|user| &*user.name),
            time: SystemTime::now(),
            method: head.map_or("-", |head| head.method.as_str()),
            target: head.map_or(b"-", |head| head.target.as_bytes()),
            version: match head.map(|head| head.version) {
                None => "-",
                Some(Version::HTTP_10) => "HTTP/1.0",
                Some(Version::HTTP_2) => "HTTP/2.0",
                Some(_) => "HTTP/1.1",
            },
            status: status.as_u16(),
            bytes_out,
            referer: field(header::REFERER),
            user_agent: field(header::USER_AGENT),
            host: field(header::HOST),
            id: self.id.seed(),
            site: &site.name,
            upstream: self.answered.as_ref().map(|answered| (&*answered.by.upstream, &*answered.by.endpoint)),
            took,
            upstream_took: self.answered.as_ref().map(|answered| answered.took),
            fault: self.fault.as_ref().map(|fault| fault.kind.word()),
            session: None,
            origin: if tells { field(header::ORIGIN) } else { None },
            command: if tells { self.command() } else { None },
        }
    }
}

/// Calls of gRPC come by HTTP/2.
fn accept(head: &RequestHead) -> Option<HeaderValue> {
    if head.version == Version::HTTP_2
        && let Some(kind) = head.headers.get(header::CONTENT_TYPE).filter(|kind| grpc::is_grpc(kind))
    {
        return Some(kind.clone());
    }
    head.headers.get(header::ACCEPT).cloned()
}
