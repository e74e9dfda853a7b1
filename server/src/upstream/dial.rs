//! A connection to a group for a conversation in whatever language: which endpoint, and what a failure means.

use std::{io, rc::Rc, sync::Arc, time::Duration};

use http::Method;
use rsp_core::{
    balance::{InFlight, Outcome, Tried},
    frame::{
        http1::Framing,
        proxy_protocol::{self, Said, SaidTls},
    },
};
use tokio::time::Instant;

use super::{
    Affinity, Group, Outgoing,
    choice::{self, Lack},
    connect::connect,
    failed::not_connected,
};
use crate::{
    error::{Fault, Kind},
    message::{Answered, Body, Interim, Request, RequestId},
    stream::{Security, Wire},
};

/// A connection of its own.
pub struct Dialled {
    /// It.
    pub wire: Rc<Wire>,
    /// Counts it as work of its endpoint.
    pub in_flight: InFlight,
    /// Whose it is, and how long it took.
    pub answered: Answered,
}

/// Whom a connection is for.
pub struct Caller<'a> {
    /// The client's connection: it is watched while there is no endpoint, and the PROXY protocol tells its ends.
    pub interim: Interim,
    /// What the PROXY protocol tells beside them.
    pub said: Said<'a>,
    /// For random choices.
    pub seed: u64,
    /// Since when it is here.
    pub received: Instant,
}

impl<'a> Caller<'a> {
    /// Whoever sent a request.
    pub fn of(request: &'a Request) -> Self {
        let said = request.security.as_deref().map(said).unwrap_or_default();
        Self { interim: request.interim.clone(), said, seed: request.id.seed(), received: request.received }
    }

    /// Whoever is at the other end of a connection of which nothing is read here.
    pub fn at(wire: &Rc<Wire>, said: Said<'a>) -> Self {
        let (seed, received) = (RequestId::next().seed(), Instant::now());
        Self { interim: Interim::Never(Rc::clone(wire)), said, seed, received }
    }
}

/// What endpoints are told of TLS that ended here.
pub fn said(security: &Security) -> Said<'_> {
    let alpn: Option<&[u8]> = if security.http2 { Some(b"h2") } else { None };
    Said {
        authority: security.server_name.as_deref(),
        alpn: alpn.map(Into::into),
        tls: Some(SaidTls { version: security.version, subject: security.subject.as_deref() }),
    }
}

/// Connects to one of the group's endpoints, another one where that fails: nothing was said yet, so that an attempt costs
/// nothing of the budget of retries.
///
/// # Errors
/// `UpstreamDead`, `UpstreamSlow` or `Full`.
pub async fn dial(group: &Arc<Group>, caller: &Caller<'_>, affinity: Option<Box<Affinity>>) -> Result<Dialled, Fault> {
    let mut outgoing = wish(group, caller, affinity);
    let mut live = group.live();
    let mut tried = Tried::default();
    let (mut tries, mut waits) = (0, None);
    let mut last = Fault::new(Kind::UpstreamDead, "no endpoint is available");
    loop {
        let asked = live.as_ref().unwrap_or(group);
        let chosen = match waits.take() {
            None => choice::now(asked, &outgoing, &tried),
            Some(lack) => Err(lack),
        };
        let (index, in_flight) = match chosen {
            Ok(chosen) => chosen,
            Err(lack) if asked.queues() => {
                (tried, tries) = (Tried::default(), 0);
                let (after, index, held) = Box::pin(choice::wait(asked, &mut outgoing, lack)).await?;
                live = after.or(live);
                (index, held)
            }
            Err(Lack::Full) if tries == 0 => return Err(choice::full(asked)),
            Err(_) => return Err(last),
        };
        let group = live.as_ref().unwrap_or(group);
        let endpoint = &group.endpoints[index];
        let started = Instant::now();
        let introduction = introduction(group, caller);
        let (by_tls, by_us) = match endpoint.tls {
            Some(_) => (&introduction[..], &[][..]),
            None => (&[][..], &introduction[..]),
        };
        let connected = connect(endpoint, by_tls, group.spec.connect_timeout).await;
        let failed = match connected.and_then(|wire| introduced(wire, by_us)) {
            Ok(wire) => {
                group.counts.opened.inc();
                // It has no end that would say so.
                in_flight.succeed();
                let answered = Answered { by: Arc::clone(&endpoint.names), took: started.elapsed() };
                return Ok(Dialled { wire, in_flight, answered });
            }
            Err(e) => not_connected(e),
        };
        outgoing.now = Instant::now();
        if let Some(outcome) = failed.outcome {
            group.note(index, outcome, outgoing.now);
        }
        tried.insert(index);
        tries += 1;
        let Fault { kind, cause } = failed.fault;
        last = Fault::new(kind, format!("{} of {}: {cause}", endpoint.names.endpoint, group.name));
        let is_unreachable = failed.outcome == Some(Outcome::ConnectFailed);
        if is_unreachable && choice::is_unreachable(group, &outgoing, &tried) {
            waits = Some(Lack::Down);
        } else if !is_unreachable || tries >= outgoing.retry.tries {
            return Err(last);
        }
    }
}

/// The same once it was told whose it is, where the group wants to know.
fn introduced(wire: Rc<Wire>, introduction: &[u8]) -> io::Result<Rc<Wire>> {
    if introduction.is_empty() {
        return Ok(wire);
    }
    // A connection on which nothing was written has room for it.
    match wire.write_now(introduction)? == introduction.len() {
        true => Ok(wire),
        false => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// What the group wants to be told first; mostly nothing.
fn introduction(group: &Group, caller: &Caller<'_>) -> Vec<u8> {
    let mut header = Vec::new();
    if let Some(version) = group.spec.proxy_protocol {
        let ends = caller.interim.client().and_then(Wire::ends);
        proxy_protocol::write_saying(version, ends, &caller.said, &mut header);
    }
    header
}

/// What a choice goes by; nothing of it is sent.
fn wish<'a>(group: &Group, caller: &Caller<'_>, affinity: Option<Box<Affinity>>) -> Outgoing<'a> {
    Outgoing {
        render: &|_, _| {},
        method: &Method::GET,
        body: Body::Empty,
        framing: Framing::Empty,
        fastcgi: None,
        upgrade: false,
        timeout: Duration::ZERO,
        body_timeout: Duration::ZERO,
        write_timeout: Duration::ZERO,
        capacity: 0,
        retry: group.spec.retry,
        silence: None,
        interim: caller.interim.clone(),
        seed: caller.seed,
        affinity,
        now: caller.received,
    }
}
