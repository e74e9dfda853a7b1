//! Active health checks: each endpoint is asked from time to time, whether requests go to it or not.

use std::{cell::RefCell, io::Write, rc::Rc, sync::Arc, time::Duration};

use http::Method;
use rsp_core::{
    balance::InFlight,
    config::{self, ProbeRequest, Retry},
    frame::{http1::Framing, proxy_protocol},
};
use tokio::{task::JoinHandle, time::Instant};

use super::{
    Endpoint, Group, Outgoing,
    connect::connect,
    exchange::Flight,
    http2::{self, Connection, Line},
    since_start,
};
use crate::{
    error::Fault,
    message::{Body, Interim, Lease, RequestId, Sender, StreamBody, StreamLease, WireBody},
    stream::Wire,
};

/// How much of a body is searched, and read at most at once.
const BODY_MAX: usize = 64 << 10;

/// How often is looked whether names of groups stand for other endpoints.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The probes that run, one task an endpoint on the thread that made them.
#[derive(Default)]
pub struct Probes {
    shared: Rc<RefCell<State>>,
    following: bool,
}

#[derive(Default)]
struct State {
    declared: Vec<Arc<Group>>,
    running: Vec<Running>,
}

struct Running {
    group: Arc<Group>,
    tasks: Vec<JoinHandle<()>>,
}

impl Probes {
    /// Probes the endpoints of these groups from now on, and no others; where a group has names, those that they stand
    /// for. What was found of an endpoint stands as long as it is probed, whatever reload changed its group. Must be
    /// called inside of a `LocalRuntime`.
    pub fn settle(&mut self, groups: &[Arc<Group>]) {
        let probed = groups.iter().filter(|group| group.spec.probe.is_some());
        self.shared.borrow_mut().declared = probed.cloned().collect();
        self.shared.borrow_mut().renew();
        if !self.following {
            self.following = true;
            let shared = Rc::clone(&self.shared);
            tokio::task::spawn_local(async move {
                loop {
                    tokio::time::sleep(LOOK_EVERY).await;
                    shared.borrow_mut().renew();
                }
            });
        }
    }
}

impl State {
    fn renew(&mut self) {
        let groups: Vec<_> =
            self.declared.iter().map(|group| group.live().unwrap_or_else(|| Arc::clone(group))).collect();
        let is_wanted = |running: &Running| groups.iter().any(|group| Arc::ptr_eq(group, &running.group));
        let (mut kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.running).into_iter().partition(is_wanted);
        let was_probed = |endpoint: &Endpoint| {
            let before = gone.iter().flat_map(|running| &running.group.endpoints);
            before.into_iter().any(|other| Arc::ptr_eq(&other.state, &endpoint.state))
        };
        for endpoint in gone.iter().flat_map(|running| &running.group.endpoints) {
            endpoint.counts.set_down(false);
        }
        for group in &groups {
            let Some(probe) = &group.spec.probe else { continue };
            if kept.iter().any(|running| Arc::ptr_eq(&running.group, group)) {
                continue;
            }
            let start = |index: usize| {
                let endpoint = &group.endpoints[index];
                if !was_probed(endpoint) {
                    endpoint.state.forget_probes();
                }
                endpoint.counts.set_down(endpoint.state.is_down());
                tokio::task::spawn_local(probe_for_ever(Arc::clone(group), index, probe.clone()))
            };
            let tasks = (0..group.endpoints.len()).map(start).collect();
            kept.push(Running { group: Arc::clone(group), tasks });
        }
        self.running = kept;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// One probe after the other, never two at once.
async fn probe_for_ever(group: Arc<Group>, index: usize, probe: config::Probe) {
    let endpoint = &group.endpoints[index];
    // Spread over the first interval, so that many endpoints are not asked in step.
    let part = RequestId::next().seed() >> 32;
    tokio::time::sleep(probe.every.mul_f64(part as f64 / f64::from(u32::MAX))).await;
    loop {
        let began = Instant::now();
        let asked = tokio::time::timeout(probe.timeout, ask(&group, endpoint, &probe)).await;
        let found = asked.unwrap_or_else(|_| Err(format!("no answer within {:?}", probe.timeout)));
        hear(&group, endpoint, &probe, found);
        tokio::time::sleep_until(began + probe.every).await;
    }
}

fn hear(group: &Group, endpoint: &Endpoint, probe: &config::Probe, found: Result<(), String>) {
    if found.is_err() {
        endpoint.counts.probe_failures.inc();
    }
    let name = &endpoint.names.endpoint;
    let now = since_start(Instant::now());
    match (endpoint.state.probed(found.is_ok(), probe.fall, probe.rise, now), found) {
        (Some(true), _) => {
            endpoint.counts.set_down(false);
            tracing::info!("{name} of {} is up again, probes say", group.name);
            group.balance.lasting().room.stir();
        }
        (Some(false), Err(why)) => {
            endpoint.counts.set_down(true);
            tracing::warn!("{name} of {} is down, probes say: {why}", group.name);
        }
        (_, Err(why)) => tracing::debug!("a probe of {name} of {} failed: {why}", group.name),
        (_, Ok(())) => {}
    }
}

/// One probe; the error says what was wrong.
async fn ask(group: &Group, endpoint: &Arc<Endpoint>, probe: &config::Probe) -> Result<(), String> {
    let mut first = Vec::new();
    if let Some(version) = group.spec.proxy_protocol {
        proxy_protocol::write(version, None, &mut first);
    }
    let unreachable = |e: std::io::Error| format!("connect: {e}");
    let Some(request) = &probe.ask else {
        return connect(endpoint, &first, probe.timeout).await.map(drop).map_err(unreachable);
    };
    let mut head = Sender::head_buffer();
    let wire = if group.spec.http2 {
        match Line::of_its_own(endpoint, &first, probe.timeout).await.map_err(unreachable)? {
            Line::Stream(connection, _) => return converse_by_http2(&connection, endpoint, (request, probe)).await,
            Line::Http1(Some(opened)) => opened.wire(),
            Line::Http1(None) => return Err("no connection".to_owned()),
        }
    } else {
        let wire = connect(endpoint, &first, probe.timeout).await.map_err(unreachable)?;
        // By TLS it was said already.
        if endpoint.tls.is_none() {
            head.append(&mut first);
        }
        wire
    };
    render(endpoint, request, &mut head).map_err(|e| e.to_string())?;
    converse(head, &wire, request, probe.timeout).await
}

/// The same request and what is good about its answer, on a stream.
async fn converse_by_http2(
    connection: &Connection,
    endpoint: &Endpoint,
    (request, probe): (&ProbeRequest, &config::Probe),
) -> Result<(), String> {
    let rendered = |endpoint: &Endpoint, head: &mut Vec<u8>| {
        // Writing to a vector can't fail.
        let _ = render(endpoint, request, head);
    };
    let mut outgoing = Outgoing { render: &rendered, ..outgoing(&request.method, probe.timeout) };
    let (head, _) = http2::request(endpoint, &outgoing).map_err(|fault| fault.cause.to_string())?;
    let flight = http2::Flight::begin(connection, head, &mut outgoing);
    let mut flight = flight.map_err(|stopped| stopped.fault.cause.to_string())?;
    let (answer, stream) = flight.answer(&outgoing).await.map_err(|stopped| stopped.fault.cause.to_string())?;
    let (sending, place, _) = flight.into_parts();
    let lease = StreamLease { sending, good: false, in_flight: InFlight::uncounted(), place: Some(place) };
    let body = StreamBody::response(stream, None, probe.timeout, lease);
    judge(request, answer.status.as_u16(), Body::Stream(Box::new(body))).await
}

async fn converse(head: Vec<u8>, wire: &Rc<Wire>, request: &ProbeRequest, timeout: Duration) -> Result<(), String> {
    let outgoing = outgoing(&request.method, timeout);
    let sender = Sender::new(Rc::clone(wire), head, Body::Empty, Framing::Empty, timeout);
    let mut flight = Flight::new(wire, sender, None, Instant::now());
    let answer = flight.answer(&outgoing).await.map_err(|fault| fault.cause.to_string())?;
    let buffer = flight.buffer.take().unwrap_or_default();
    let lease = Lease { sending: None, keep: None, good: false, in_flight: InFlight::uncounted() };
    let body = WireBody::response(Rc::clone(wire), buffer, answer.framing, (BODY_MAX, timeout), lease);
    judge(request, answer.status.as_u16(), Body::Wire(Box::new(body))).await
}

async fn judge(request: &ProbeRequest, status: u16, body: Body) -> Result<(), String> {
    if !request.statuses.iter().any(|(from, to)| (*from..=*to).contains(&status)) {
        return Err(format!("status {status}"));
    }
    let Some(wanted) = &request.body else { return Ok(()) };
    match contains(body, wanted.as_bytes()).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("no \"{wanted}\" in its body")),
        Err(fault) => Err(fault.cause.to_string()),
    }
}

fn render(endpoint: &Endpoint, request: &ProbeRequest, head: &mut Vec<u8>) -> std::io::Result<()> {
    let host = request.host.as_ref().unwrap_or(&endpoint.authority);
    write!(head, "{} {} HTTP/1.1\r\nhost: ", request.method, request.path)?;
    head.extend_from_slice(host.as_bytes());
    write!(head, "\r\nuser-agent: rsp\r\naccept: */*\r\nconnection: close\r\n\r\n")
}

/// What the codec needs to know; nothing of it is a client's.
fn outgoing(method: &Method, timeout: Duration) -> Outgoing<'_> {
    Outgoing {
        render: &|_, _| {},
        method,
        body: Body::Empty,
        framing: Framing::Empty,
        upgrade: false,
        timeout,
        body_timeout: timeout,
        write_timeout: timeout,
        capacity: BODY_MAX,
        retry: Retry { tries: 1, budget: 0.0 },
        silence: None,
        interim: Interim::None,
        seed: 0,
        fastcgi: None,
        affinity: None,
        now: Instant::now(),
    }
}

/// Whether the first 64 KiB of a body contain the text.
async fn contains(mut body: Body, wanted: &[u8]) -> Result<bool, Fault> {
    let mut seen = Vec::new();
    while seen.len() < BODY_MAX && std::future::poll_fn(|cx| body.poll_chunk(cx)).await? {
        let chunk = body.chunk();
        let n = chunk.len();
        seen.extend_from_slice(&chunk[..n.min(BODY_MAX - seen.len())]);
        body.consume(n);
        if memchr::memmem::find(&seen, wanted).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
