//! `limit`: how often, and how many at once.

use std::{hash::Hasher, net::IpAddr, sync::Arc};

use http::{HeaderValue, header};
use prometheus_client::metrics::counter::Counter;
use rsp_core::{
    config::{self, LimitKey},
    route::{Path, normalise_host},
};

use super::{Kept, Pass, Refusal, Shared};
use crate::{
    error::{Fault, Kind},
    limit::{Limiter, TooMuch},
    message::Request,
};

/// A limit with the state that all routes and workers share.
pub struct Limit {
    limiter: Arc<Limiter>,
    /// Of the site that it stands in here.
    refused: Arc<Counter>,
}

impl Limit {
    /// The running limit of a declaration, as it stands in a site.
    pub fn declared(spec: &Arc<config::Limit>, site: &str, shared: &Shared<'_>) -> Self {
        Self { limiter: shared.limiters.declare(spec), refused: shared.metrics.limited(site) }
    }

    /// Lets a request pass, with the place it takes until its answer is out; or refuses it.
    pub fn inward(&self, request: &Request, kept: &mut Kept) -> Pass {
        let key = self.limiter.key(|hasher| key(&self.limiter.spec().key, request, hasher));
        let too_much = match self.limiter.admit(key, request.received) {
            Ok(place) => {
                if let Some(place) = place {
                    kept.things().places.push(place);
                }
                return Pass::Go;
            }
            Err(too_much) => too_much,
        };
        self.refused.inc();
        let (cause, wait) = match too_much {
            TooMuch::Often(wait) => ("more often than `limit` allows", Some(wait)),
            TooMuch::AtOnce => ("more at once than `limit` allows", None),
        };
        // A client that comes a nanosecond early is refused again.
        let seconds = |wait: std::time::Duration| wait.as_nanos().div_ceil(1_000_000_000);
        let field =
            wait.map(|wait| (header::RETRY_AFTER, HeaderValue::from(u64::try_from(seconds(wait)).unwrap_or(u64::MAX))));
        let fault = Fault::new(Kind::Limited, cause);
        Pass::Refuse(Box::new(Refusal { fault, status: self.limiter.spec().status, field, says: None }))
    }
}

/// Feeds in what is counted together. What one kind of key gives, no other does.
fn key(of: &LimitKey, request: &Request, hasher: &mut dyn Hasher) {
    let head = &request.head;
    let path = || Path::new(head.target.path()).map_or(head.target.path().to_vec(), |path| path.decoded().to_vec());
    match of {
        LimitKey::ClientIp => client(request, hasher),
        LimitKey::Header(name) if head.headers.contains_key(name) => {
            hasher.write_u8(3);
            head.headers.get_all(name).iter().for_each(|value| part(hasher, value.as_bytes()));
        }
        LimitKey::Cookie(name) => match cookie(request, name.as_bytes()) {
            Some(value) => {
                hasher.write_u8(4);
                part(hasher, value);
            }
            None => client(request, hasher),
        },
        LimitKey::Header(_) => client(request, hasher),
        LimitKey::Uri => {
            part(hasher, &path());
            part(hasher, head.target.query().unwrap_or_default());
        }
        LimitKey::Path => part(hasher, &path()),
        LimitKey::Host => {
            let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            let name = normalise_host(host);
            part(hasher, name.as_deref().unwrap_or(host).as_bytes());
        }
    }
}

/// By address; a customer's IPv6 is a /64 at least, so that single addresses would be no limit at all. All clients on
/// unix sockets are one.
fn client(request: &Request, hasher: &mut dyn Hasher) {
    match request.client.ip.map(|ip| ip.to_canonical()) {
        None => hasher.write_u8(0),
        Some(IpAddr::V4(ip)) => {
            hasher.write_u8(1);
            hasher.write(&ip.octets());
        }
        Some(IpAddr::V6(ip)) => {
            hasher.write_u8(2);
            hasher.write(&ip.octets()[..8]);
        }
    }
}

fn part(hasher: &mut dyn Hasher, bytes: &[u8]) {
    hasher.write_usize(bytes.len());
    hasher.write(bytes);
}

/// The first cookie of that name (RFC 6265 §5.4).
fn cookie<'r>(request: &'r Request, name: &[u8]) -> Option<&'r [u8]> {
    let fields = request.head.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let mut pairs = fields.flat_map(|field| field.split(|&byte| byte == b';')).map(<[u8]>::trim_ascii);
    pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use std::collections::hash_map::DefaultHasher;

    use super::*;

    fn digest(of: &LimitKey, request: &Request) -> u64 {
        let mut hasher = DefaultHasher::new();
        key(of, request, &mut hasher);
        hasher.finish()
    }

    fn from(ip: &str) -> Request {
        let mut request = Request::example(http::Method::GET, "/");
        request.client.ip = Some(ip.parse().unwrap());
        request
    }

    #[test]
    fn clients_are_told_apart_by_address_and_of_ipv6_by_network() {
        let same = |a: &str, b: &str| digest(&LimitKey::ClientIp, &from(a)) == digest(&LimitKey::ClientIp, &from(b));
        assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(same("2001:db8:0:1::1", "2001:db8:0:1:ffff::2"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert!(!same("2001:db8:0:1::1", "2001:db8:0:2::1"));
    }

    #[test]
    fn a_request_without_the_header_or_cookie_is_counted_by_its_client() {
        let name = header::HeaderName::from_static("x-key");
        let of = LimitKey::Header(name.clone());
        let with = |value: &str| digest(&of, &from("192.0.2.1").with(name.clone(), value));
        assert_eq!(digest(&of, &from("192.0.2.1")), digest(&LimitKey::ClientIp, &from("192.0.2.1")));
        assert_eq!(with("a"), digest(&of, &from("192.0.2.9").with(name.clone(), "a")));
        assert_ne!(with("a"), with("b"));
        let of = LimitKey::Cookie("sid".to_owned());
        let with = |value: &str| digest(&of, &from("192.0.2.1").with(header::COOKIE, value));
        assert_eq!(with("a=b; sid=1"), with("sid=1;xsid=2"));
        assert_ne!(with("sid=1"), with("sid=2"));
        assert_eq!(with("xsid=1"), digest(&LimitKey::ClientIp, &from("192.0.2.1")));
    }

    #[test]
    fn one_path_is_one_key_however_it_is_encoded() {
        let path = |target| digest(&LimitKey::Path, &Request::example(http::Method::GET, target));
        let uri = |target| digest(&LimitKey::Uri, &Request::example(http::Method::GET, target));
        assert_eq!(path("/login?a"), path("/%6cogin?b"));
        assert_ne!(path("/login"), path("/logout"));
        assert_eq!(uri("/login?a"), uri("/%6cogin?a"));
        assert_ne!(uri("/login?a"), uri("/login?b"));
        let host = |name: &str| digest(&LimitKey::Host, &from("::1").with(header::HOST, name));
        assert_eq!(host("a.example:80"), host("A.example."));
        assert_ne!(host("a.example"), host("b.example"));
    }
}
