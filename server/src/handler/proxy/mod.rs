//! `proxy`: the request goes to an upstream, its answer comes back.

use std::{net::IpAddr, sync::Arc};

use http::HeaderValue;
use rsp_core::{
    config::{self, ProxyHost},
    frame::http1::Framing,
    head::{Upstreamward, write_upstream_request},
};

use super::{Context, Unanswered};
use crate::{
    error::{Fault, Kind},
    message::{Body, Request, Response},
    stream::Peer,
    upstream::{Endpoint, Group, Outgoing, affinity},
};

/// A proxy with its running upstream.
pub struct Proxy {
    /// The checked options.
    pub spec: Arc<config::Proxy>,
    /// Shared with every other proxy to the same upstream.
    pub group: Arc<Group>,
}

impl Proxy {
    /// Forwards a request.
    pub async fn run(&self, mut request: Box<Request>, context: &Context<'_>) -> Result<Box<Response>, Unanswered> {
        let spec = &*self.spec;
        let mut body = std::mem::replace(&mut request.body, Body::Empty);
        body.leave_continue_to_upstream();
        let framing = body.framing();
        let framing = if request.head.framing == Framing::Length(0) { Framing::Length(0) } else { framing };
        let upgrade = spec.upgrade && request.head.upgrade.is_some() && body.framing() == Framing::Empty;
        if upgrade && is_full(context) {
            return Err(Fault::new(Kind::Full, "as many tunnels are open as the limit allows").into());
        }
        // A cookie and what sets it must mean the same endpoints, whatever DNS says meanwhile.
        let live = if self.group.balance.has_rules() { self.group.live() } else { None };
        let group = live.as_ref().unwrap_or(&self.group);
        let affinity = if group.balance.has_rules() { affinity::read(group, &mut request) } else { None };
        let before = affinity.as_ref().and_then(|affinity| affinity.before);
        let target = stripped(&request, spec.strip.as_deref());
        let peer = match request.client.peer {
            Peer::Ip(address) => Some(address.ip()),
            Peer::Unix => None,
        };
        let head = Head { request: &request, target: &target, spec, framing, upgrade, peer };
        let mut outgoing = Outgoing {
            render: &|endpoint, out| head.render(endpoint, out),
            method: &request.head.method,
            body,
            framing,
            fastcgi: None,
            upgrade,
            timeout: spec.timeout,
            body_timeout: spec.body_timeout,
            write_timeout: context.limits.write_timeout,
            capacity: spec.buffer.unwrap_or(context.limits.buffer),
            retry: spec.retry.unwrap_or(self.group.spec.retry),
            silence: spec.tunnel_timeout,
            interim: request.interim.clone(),
            seed: request.id.seed(),
            affinity,
            now: request.received,
        };
        let mut response = context.pools.exchange(group, &mut outgoing).await?;
        if group.sticky.is_some() {
            affinity::bind(group, before, request.scheme, &mut response);
        }
        Ok(response)
    }
}

struct Head<'a> {
    request: &'a Request,
    target: &'a [u8],
    spec: &'a config::Proxy,
    framing: Framing,
    upgrade: bool,
    peer: Option<IpAddr>,
}

impl Head<'_> {
    fn render(&self, endpoint: &Endpoint, out: &mut Vec<u8>) {
        let host: Option<&HeaderValue> = match &self.spec.host {
            ProxyHost::Keep => None,
            ProxyHost::Upstream => Some(&endpoint.authority),
            ProxyHost::Fixed(host) => Some(host),
        };
        let client = &self.request.client;
        write_upstream_request(
            out,
            &Upstreamward {
                head: &self.request.head,
                target: self.target,
                host,
                client: self.peer,
                real_ip: client.ip,
                trusted: client.trusted,
                scheme: self.request.scheme,
                forwarded: self.spec.forwarded,
                framing: self.framing,
                upgrade: self.upgrade,
            },
        );
    }
}

/// Whether one tunnel more would be too many. Asked before the upstream is: several that are being opened at once may
/// overstep the limit by their number.
fn is_full(context: &Context<'_>) -> bool {
    let open = usize::try_from(context.metrics.tunnels_open.get()).unwrap_or_default();
    context.limits.tunnels.is_some_and(|max| open >= max)
}

/// The raw target without the prefix that `strip` names; what does not begin with it stays whole.
fn stripped<'a>(request: &'a Request, strip: Option<&str>) -> std::borrow::Cow<'a, [u8]> {
    let target = request.head.target.as_bytes();
    let Some(prefix) = strip.map(|prefix| prefix.trim_end_matches('/')) else { return target.into() };
    match target.strip_prefix(prefix.as_bytes()) {
        Some(rest) if rest.first() == Some(&b'/') => rest.into(),
        Some(rest) if rest.is_empty() || rest[0] == b'?' => [b"/", rest].concat().into(),
        _ => target.into(),
    }
}
