//! One request to a group: attempts, and what makes another one allowed.

use std::{
    future::poll_fn,
    io,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, StatusCode};
use rsp_core::{
    balance::{InFlight, Outcome, Tried},
    config::{self, ProxyProtocol},
    frame::http1::{self, Framing, HeadLimits, ResponseHead},
    frame::proxy_protocol,
};
use tokio::time::Instant;

use super::{
    Endpoint, Group, Pools,
    choice::{self, Affinity, Lack},
    connect::connect,
    dial::said,
    failed::{Failed, Retryable, bad_answer, classify, is_good, not_connected},
    http2,
    interim::{INTERIMS_MAX, pass_on},
};
use crate::{
    error::{Fault, Kind},
    message::{
        Answered, Body, Interim, Lease, Records, RequestId, Response, SendFault, Sender, Takeover, Tunnel, WireBody,
    },
    observe::UpstreamCounts,
    stream::{Buffer, IdleSet, Wire},
};

/// Heads of upstreams: larger than any client would be allowed, smaller than a buffer.
const HEAD_LIMITS: HeadLimits = HeadLimits { head: 64 << 10, headers: 128, uri: 0 };

/// A request as the upstream room needs it.
pub struct Outgoing<'a> {
    /// Renders the head for an endpoint.
    pub render: &'a dyn Fn(&Endpoint, &mut Vec<u8>),
    /// Decides about retries and about the answer's body.
    pub method: &'a Method,
    /// Sent behind the head, framed as the head says.
    pub body: Body,
    /// The body's framing.
    pub framing: Framing,
    /// The endpoints speak FastCGI: the head is made of records, and the body follows in more of them.
    pub fastcgi: Option<&'a Fastcgi>,
    /// Whether the head asks for an upgrade.
    pub upgrade: bool,
    /// Request sent to response head.
    pub timeout: Duration,
    /// Between two reads of the response.
    pub body_timeout: Duration,
    /// Without progress of a write.
    pub write_timeout: Duration,
    /// Bytes in flight, a direction.
    pub capacity: usize,
    /// Overrides of the group's retries.
    pub retry: config::Retry,
    /// Silence after which a tunnel is cut.
    pub silence: Option<Duration>,
    /// Where 1xx answers go; its connection is watched while we wait.
    pub interim: Interim,
    /// For random choices.
    pub seed: u64,
    /// What binds the request to an endpoint; None for a group that asks for nothing of the kind.
    pub affinity: Option<Box<Affinity>>,
    /// Now, as the caller knows it: a look at the clock less.
    pub now: Instant,
}

/// A request to a FastCGI application.
#[derive(Debug, Clone, Copy)]
pub struct Fastcgi {
    /// Stands beside what the application says on its error stream.
    pub id: RequestId,
    /// Whether the application was asked to keep the connection.
    pub keep: bool,
}

impl Pools {
    /// Sends a request to one of the group's endpoints and waits for the head of the final response.
    pub async fn exchange(&self, group: &Arc<Group>, outgoing: &mut Outgoing<'_>) -> Result<Box<Response>, Fault> {
        let mut live = group.live();
        let mut tried = Tried::default();
        let mut tries = 0;
        live.as_ref().unwrap_or(group).budget.request();
        let mut last = Fault::new(Kind::UpstreamDead, "no endpoint is available");
        let mut costs = false;
        let mut waits = None;
        loop {
            let asked = live.as_ref().unwrap_or(group);
            let chosen = match waits.take() {
                None => choice::now(asked, outgoing, &tried),
                Some(lack) => Err(lack),
            };
            let (index, held) = match chosen {
                Ok(chosen) => chosen,
                Err(lack) if asked.queues() && (tries == 0 || !costs) => {
                    tried = Tried::default();
                    tries = 0;
                    let (after, index, held) = Box::pin(choice::wait(asked, outgoing, lack)).await?;
                    live = after.or(live);
                    (index, held)
                }
                Err(Lack::Full) if tries == 0 => return Err(choice::full(asked)),
                Err(_) => break,
            };
            let group = live.as_ref().unwrap_or(group);
            if costs && !group.budget.try_retry(since_start(outgoing.now)) {
                last.cause = format!("{}; no retry left in the budget", last.cause).into();
                break;
            }
            if tries > 0 {
                group.counts.retries.inc();
            }
            let failed = match self.on_endpoint(group, index, held, outgoing).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            outgoing.now = Instant::now();
            tried.insert(index);
            tries += 1;
            // An endpoint that was not reached had no work of the attempt, so the next one is free; a budget of none
            // stays none.
            costs = failed.outcome != Some(Outcome::ConnectFailed) || outgoing.retry.budget <= 0.0;
            last = failed.fault;
            if failed.outcome == Some(Outcome::ConnectFailed) && choice::is_unreachable(group, outgoing, &tried) {
                waits = Some(Lack::Down);
            } else if failed.retry == Retryable::Never || tries >= outgoing.retry.tries {
                break;
            }
        }
        Err(last)
    }

    /// One endpoint: an idle connection, and a fresh one when that had ended.
    async fn on_endpoint(
        &self,
        group: &Arc<Group>,
        index: usize,
        held: InFlight,
        outgoing: &mut Outgoing<'_>,
    ) -> Result<Box<Response>, Failed> {
        let endpoint = &group.endpoints[index];
        let mut attempt = if group.spec.http2 && outgoing.fastcgi.is_none() {
            Box::pin(http2::ask(self, (group, index, held), outgoing)).await
        } else {
            let idle = self.idle(group, endpoint, outgoing.fastcgi.is_some());
            let given = idle.take().await.map(Given::Idle);
            let mut attempt = self.attempt((group, index, held), &idle, given, outgoing).await;
            if let Err(Failed { retry: Retryable::Afresh, held, .. }) = &mut attempt
                && let Some(held) = held.take()
            {
                attempt = self.attempt((group, index, held), &idle, None, outgoing).await;
            }
            attempt
        };
        if let Err(failed) = &mut attempt {
            failed.held = None;
            if let Some(outcome) = failed.outcome {
                group.note(index, outcome, Instant::now());
            }
            failed.fault.cause =
                format!("{} of {}: {}", endpoint.names.endpoint, group.name, failed.fault.cause).into();
        }
        attempt
    }

    /// One connection. A good answer ends a row of failures at its own end, not before: it may break off.
    pub(super) async fn attempt(
        &self,
        (group, index, held): (&Arc<Group>, usize, InFlight),
        idle: &Rc<IdleSet>,
        given: Option<Given>,
        outgoing: &mut Outgoing<'_>,
    ) -> Result<Box<Response>, Failed> {
        let endpoint = &group.endpoints[index];
        let is_reused = matches!(given, Some(Given::Idle(_)));
        let introduction = group.spec.proxy_protocol;
        let wire = match given {
            Some(given) => given.counted(&group.counts),
            None => {
                let mut first = Vec::new();
                if endpoint.tls.is_some() {
                    introduce(introduction, outgoing, &mut first);
                }
                let connected = connect(endpoint, &first, group.spec.connect_timeout).await;
                Given::Fresh(connected.map_err(not_connected)?).counted(&group.counts)
            }
        };
        let (sender, records) = sender(&wire, (endpoint, introduction), outgoing);
        let started = if is_reused { outgoing.now } else { Instant::now() };
        let mut flight = Flight::new(&wire, sender, records, started);
        let answer = flight.answer(outgoing).await;
        let Flight { sender, state, buffer, records, .. } = flight;
        match answer {
            Ok(head) => {
                let at = Instant::now();
                let good = is_good(&head, at - started, group);
                if !good || group.queues() {
                    group.note(index, if good { Outcome::Ok } else { Outcome::BadAnswer }, at);
                }
                let answered = Answered { by: Arc::clone(&endpoint.names), took: at - started };
                let may_keep = head.keep_alive && state != Sending::Broken && introduction.is_none();
                let keep = may_keep.then(|| Rc::clone(idle));
                let sending = (state == Sending::Going).then(|| Box::new(sender));
                let lease = Lease { sending, keep, good, in_flight: held };
                let buffer = buffer.unwrap_or_default();
                let mut response = match records {
                    None => respond(head, wire, buffer, lease, outgoing)?,
                    Some(records) => respond_fastcgi(head, wire, (buffer, records), lease, outgoing),
                };
                response.upstream = Some(answered);
                Ok(response)
            }
            Err(fault) => {
                let silent = buffer.is_none() && records.is_none_or(|records| !records.heard());
                // One that has no room says that it did not look at the request.
                let unseen = fault.kind == Kind::UpstreamFull || silent && outgoing.method.is_idempotent();
                let repeatable = unseen && sender.body_sent() == 0;
                outgoing.body = sender.into_body();
                Err(Failed { held: Some(held), ..classify(fault, repeatable, is_reused && silent) })
            }
        }
    }
}

/// A connection that is there already.
pub(super) enum Given {
    /// Kept since its last answer.
    Idle(Rc<Wire>),
    /// Nothing was said on it yet.
    Fresh(Rc<Wire>),
}

impl Given {
    /// The connection, as one more that is used.
    fn counted(self, counts: &UpstreamCounts) -> Rc<Wire> {
        match self {
            Self::Idle(wire) => {
                counts.reused.inc();
                wire
            }
            Self::Fresh(wire) => {
                counts.opened.inc();
                wire
            }
        }
    }
}

/// Appends what an endpoint wants to be told of the client, before anything else.
pub(super) fn introduce(introduction: Option<ProxyProtocol>, outgoing: &Outgoing<'_>, out: &mut Vec<u8>) {
    let Some(version) = introduction else { return };
    let client = outgoing.interim.client();
    let said = client.and_then(Wire::security).map(|known| said(known)).unwrap_or_default();
    proxy_protocol::write_saying(version, client.and_then(Wire::ends), &said, out);
}

/// What sends the request to this endpoint, and what takes the answer out of its records if they speak FastCGI.
fn sender(
    wire: &Rc<Wire>,
    (endpoint, introduction): (&Endpoint, Option<ProxyProtocol>),
    outgoing: &mut Outgoing<'_>,
) -> (Sender, Option<Box<Records>>) {
    let mut head = Sender::head_buffer();
    // By TLS it was said already.
    if endpoint.tls.is_none() {
        introduce(introduction, outgoing, &mut head);
    }
    (outgoing.render)(endpoint, &mut head);
    let body = std::mem::replace(&mut outgoing.body, Body::Empty);
    match outgoing.fastcgi {
        None => (Sender::new(Rc::clone(wire), head, body, outgoing.framing, outgoing.write_timeout), None),
        Some(fastcgi) => {
            let records = Box::new(Records::new(fastcgi.id, Arc::clone(&endpoint.names)));
            (Sender::records(Rc::clone(wire), head, body, outgoing.write_timeout), Some(records))
        }
    }
}

/// One attempt's connection while the response head is awaited.
pub(super) struct Flight<'a> {
    wire: &'a Wire,
    sender: Sender,
    state: Sending,
    /// What was received; None before the first byte.
    pub(super) buffer: Option<Buffer>,
    /// Takes the answer out of its FastCGI records; None: HTTP.
    records: Option<Box<Records>>,
    scanned: usize,
    started: Instant,
    /// Whether sending took more than one try.
    waited: bool,
    /// When the head must be here; set when everything is sent.
    deadline: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    Going,
    Done,
    /// The upstream reads no more; it may have answered all the same.
    Broken,
}

impl<'a> Flight<'a> {
    /// An attempt that begins at `started`.
    pub(super) fn new(wire: &'a Wire, sender: Sender, records: Option<Box<Records>>, started: Instant) -> Self {
        let state = Sending::Going;
        Self { wire, sender, state, buffer: None, records, scanned: 0, started, waited: false, deadline: None }
    }

    /// The head of the final response; 1xx ones are passed on.
    pub(super) async fn answer(&mut self, outgoing: &Outgoing<'_>) -> Result<ResponseHead, Fault> {
        for _ in 0..INTERIMS_MAX {
            let head = poll_fn(|cx| self.poll_head(cx, outgoing)).await?;
            if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(head);
            }
            pass_on(outgoing, head.status, &head.headers).await?;
            // While there is always more to read, no wait would find that the time is over.
            if self.deadline.is_some_and(|at| Instant::now() >= at) {
                return Err(Fault::new(Kind::UpstreamSlow, "interim answers only, and no response head in time"));
            }
        }
        Err(Fault::new(Kind::UpstreamMalformed, "1xx answers without end"))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, outgoing: &Outgoing<'_>) -> Poll<Result<ResponseHead, Fault>> {
        self.drive_sending(cx, outgoing)?;
        loop {
            if let Some(head) = self.parse(outgoing.method)? {
                return Poll::Ready(Ok(head));
            }
            let Poll::Ready(read) = self.poll_read(cx, outgoing.capacity) else { break };
            match read {
                Ok(0) => return Poll::Ready(Err(Fault::new(Kind::UpstreamDead, "closed before it answered"))),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                    return Poll::Ready(Err(Fault::new(Kind::UpstreamSlow, "no response head in time")));
                }
                Err(e) => return Poll::Ready(Err(Fault::new(Kind::UpstreamDead, e.to_string()))),
            }
        }
        if let Some(client) = outgoing.interim.client()
            && client.poll_broken(cx).is_ready()
        {
            return Poll::Ready(Err(Fault::new(Kind::ClientGone, "the client went away before the answer")));
        }
        Poll::Pending
    }

    fn drive_sending(&mut self, cx: &mut Context<'_>, outgoing: &Outgoing<'_>) -> Result<(), Fault> {
        if self.state != Sending::Going {
            return Ok(());
        }
        self.state = match self.sender.poll(cx) {
            Poll::Pending => {
                self.waited = true;
                return Ok(());
            }
            Poll::Ready(Ok(())) => Sending::Done,
            Poll::Ready(Err(SendFault::Source(fault))) => return Err(fault),
            Poll::Ready(Err(SendFault::Sink(e))) if e.kind() == io::ErrorKind::TimedOut => {
                return Err(Fault::new(Kind::UpstreamSlow, "the upstream did not take the request in time"));
            }
            Poll::Ready(Err(SendFault::Sink(_))) => Sending::Broken,
        };
        let sent = if self.waited { Instant::now() } else { self.started };
        self.deadline = Some(sent + outgoing.timeout);
        Ok(())
    }

    fn parse(&mut self, method: &Method) -> Result<Option<ResponseHead>, Fault> {
        let Some(buffer) = &mut self.buffer else { return Ok(None) };
        if let Some(records) = &mut self.records {
            return records.read_head(buffer, method, &HEAD_LIMITS);
        }
        let seen = std::mem::replace(&mut self.scanned, buffer.filled().len());
        // Most heads come whole, so the first bytes are parsed at once; later ones only when the end is there.
        if seen > 0 && http1::head_end(buffer.filled(), seen).is_none() && !buffer.is_full() {
            return Ok(None);
        }
        let parsed = http1::parse_response(buffer.filled(), method, &HEAD_LIMITS);
        let parsed = parsed.map_err(|e| Fault::new(Kind::UpstreamMalformed, e.to_string()))?;
        let Some((head, consumed)) = parsed else { return Ok(None) };
        buffer.consume(consumed);
        self.scanned = 0;
        Ok(Some(head))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, capacity: usize) -> Poll<io::Result<usize>> {
        let readable = match self.deadline {
            Some(at) => self.wire.poll_readable_until(cx, at),
            None => self.wire.poll_readable(cx, None),
        };
        std::task::ready!(readable)?;
        let mut buffer = self.buffer.take().unwrap_or_else(|| Buffer::take(capacity.max(HEAD_LIMITS.head)));
        let read = self.wire.poll_read(cx, &mut buffer, None);
        self.buffer = (!buffer.is_empty()).then_some(buffer);
        read
    }
}

/// Makes a response of a head and of what comes behind it.
fn respond(
    head: ResponseHead,
    wire: Rc<Wire>,
    buffer: Buffer,
    lease: Lease,
    outgoing: &Outgoing<'_>,
) -> Result<Box<Response>, Failed> {
    let mut response = Box::new(Response::new(head.status, Body::Empty));
    response.headers = head.headers;
    response.via = Some(head.version);
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let Some(protocol) = head.upgrade.filter(|_| outgoing.upgrade && lease.sending.is_none()) else {
            return Err(bad_answer(Fault::new(Kind::UpstreamMalformed, "a 101 that nobody asked for")));
        };
        let (silence, capacity, in_flight) = (outgoing.silence, outgoing.capacity, lease.in_flight);
        // A tunnel has no end that would say so.
        in_flight.succeed();
        let tunnel = Tunnel { protocol, wire, leftover: buffer, silence, capacity, in_flight };
        response.takeover = Some(Box::new(Takeover::Tunnel(tunnel)));
        return Ok(response);
    }
    response.stated_length = head.content_length;
    let settings = (outgoing.capacity, outgoing.body_timeout);
    let mut body = WireBody::response(wire, buffer, head.framing, settings, lease);
    if !body.end_if_empty() {
        response.body = Body::Wire(Box::new(body));
    }
    Ok(response)
}

/// The same of an application's answer. It has no version to name in `Via`: it is no server of its own.
fn respond_fastcgi(
    head: ResponseHead,
    wire: Rc<Wire>,
    (buffer, records): (Buffer, Box<Records>),
    lease: Lease,
    outgoing: &Outgoing<'_>,
) -> Box<Response> {
    let mut response = Box::new(Response::new(head.status, Body::Empty));
    response.headers = head.headers;
    response.stated_length = head.content_length;
    let keep = lease.keep.filter(|_| outgoing.fastcgi.is_some_and(|fastcgi| fastcgi.keep));
    let settings = (outgoing.capacity, outgoing.body_timeout);
    let body = WireBody::records(wire, buffer, records, settings, Lease { keep, ..lease });
    match head.framing {
        Framing::Empty => body.discard(),
        _ => response.body = Body::Wire(Box::new(body)),
    }
    response
}

/// A time as the pure core knows it: since the process first asked.
pub fn since_start(now: Instant) -> Duration {
    now.saturating_duration_since(start())
}

/// What [`since_start`] counts from.
pub(super) fn start() -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now)
}
