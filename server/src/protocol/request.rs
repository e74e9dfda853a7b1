//! A head and a body become a request, whatever protocol they came by.

use std::{
    net::{IpAddr, Ipv6Addr},
    rc::Rc,
};

use http::{StatusCode, Version};
use rsp_core::{
    config::Networks,
    frame::http1::{self, RequestHead},
    head,
};
use tokio::time::Instant;

use crate::{
    dispatch::Worker,
    error::Kind,
    message::{Body, Client, Interim, Request, RequestId},
    stream::Wire,
};

/// 499 is a word of the log: a client that ended its direction inside its body reads a 400.
pub(super) fn on_the_wire(status: StatusCode) -> StatusCode {
    if status.as_u16() == 499 { StatusCode::BAD_REQUEST } else { status }
}

/// What a head that was refused counts as.
pub(super) fn kind_of(e: http1::HeadError) -> Kind {
    match e.status() {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Kind::HeadTooLarge,
        StatusCode::URI_TOO_LONG => Kind::UriTooLong,
        StatusCode::EXPECTATION_FAILED => Kind::Expectation,
        StatusCode::NOT_IMPLEMENTED => Kind::TransferCoding,
        _ => Kind::Malformed,
    }
}

/// A request, and who sent it. `wire`: the client's, or the stream's.
pub(super) fn request(
    worker: &Worker,
    wire: &Rc<Wire>,
    (head, head_bytes): (RequestHead, usize),
    body: Body,
) -> Box<Request> {
    let current = worker.current();
    let trust = &current.snapshot.config.trust;
    let peer = wire.peer();
    let trusted = trust.contains(peer.ip());
    let ip = match peer.ip() {
        Some(ip) if trusted => Some(head::client_ip(ip, &head.headers, |ip| trust.contains(Some(ip)))),
        None if trusted => stated_client(&head, trust),
        untrusted => untrusted,
    };
    let wire = Rc::clone(wire);
    let (scheme, security) = (wire.scheme(), wire.security().cloned());
    let interim = if head.version == Version::HTTP_10 { Interim::Never(wire) } else { Interim::Wire(wire) };
    Box::new(Request {
        head,
        head_bytes,
        body,
        client: Client { ip, peer, trusted },
        id: RequestId::next(),
        received: Instant::now(),
        scheme,
        security,
        interim,
        user: None,
    })
}

/// The client's address as a trusted peer on a unix socket states it.
fn stated_client(head: &RequestHead, trust: &Networks) -> Option<IpAddr> {
    let here = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let stated = head::client_ip(here, &head.headers, |ip| ip == here || trust.contains(Some(ip)));
    (stated != here).then_some(stated)
}
