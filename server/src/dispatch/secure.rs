//! Which requests a site answers over which connections, and what it is told of the client's certificate.
//!
//! **Invariant:** what a site with `client_ca` answers came over a handshake that was for it; no field of a client says that
//! it showed a certificate.

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use rsp_core::route::normalise_host;

use super::{Refused, Ticket};
use crate::{
    error::{Fault, Kind},
    message::{Request, variables},
    route::{Redirect, SiteInfo, SiteSecurity},
};

/// The subject of the client's certificate (RFC 4514), for upstreams.
const SUBJECT: HeaderName = HeaderName::from_static("x-ssl-client-s-dn");
/// `SUCCESS` where it showed one.
const VERIFIED: HeaderName = HeaderName::from_static("x-ssl-client-verify");

/// Takes away what a client says of its own certificate.
#[cold]
pub(super) fn disbelieve(request: &mut Request) {
    for name in [&SUBJECT, &VERIFIED] {
        request.head.headers.remove(name);
        request.body.withhold_trailer(name);
    }
}

/// Tells the handler what the handshake found out about the client.
#[cold]
pub(super) fn introduce(request: &mut Request) {
    let Some(subject) = request.security.as_ref().and_then(|security| security.subject.as_deref()) else { return };
    // It is visible ASCII; a longer one ended the handshake.
    let Ok(subject) = HeaderValue::from_str(subject) else { return };
    request.head.headers.insert(SUBJECT, subject);
    request.head.headers.insert(VERIFIED, HeaderValue::from_static("SUCCESS"));
}

/// Lets a request pass that this site answers over this connection; every answer of it says what `hsts` wants.
#[cold]
pub(super) fn admit(request: &Request, site: &SiteInfo, ticket: &mut Ticket) -> Result<(), Refused> {
    let own = site.security.as_deref();
    if request.security.is_some() {
        if !own.is_some_and(|own| is_meant(request, own)) {
            return Err(Fault::new(Kind::Misdirected, "the handshake was for another site").into());
        }
    } else if let Some(own) = own {
        if let Some(redirect) = own.redirect.filter(|_| !variables::is_https(request)) {
            return Err(to_https(request, redirect));
        }
        if own.verifies_clients() {
            return Err(
                Fault::new(Kind::Misdirected, "the site asks for certificates, and TLS did not end here").into()
            );
        }
    }
    if let Some(hsts) = own.and_then(|own| own.hsts.as_ref())
        && variables::is_https(request)
    {
        ticket.kept().insist_on_tls(hsts.clone());
    }
    Ok(())
}

/// Whether the handshake was for this site: by its name, or without one for no site that asks for certificates.
fn is_meant(request: &Request, site: &SiteSecurity) -> bool {
    let Some(security) = &request.security else { return false };
    security.site.as_deref() == Some(&*site.key)
        || (security.server_name.is_none() && site.terminates() && !site.verifies_clients())
}

/// The same by `https`; a client that asks for no host can't be told where.
fn to_https(request: &Request, Redirect { port }: Redirect) -> Refused {
    let head = &request.head;
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let Ok(name) = normalise_host(host) else {
        return Fault::new(Kind::Malformed, "no host to redirect to").into();
    };
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let target = if head.target.path().starts_with(b"/") { head.target.as_str() } else { "/" };
    let Ok(location) = HeaderValue::try_from(format!("https://{name}{port}{target}")) else {
        return Fault::new(Kind::Malformed, "no target to redirect to").into();
    };
    // Old clients know the first one; only the second keeps other methods.
    let status = match head.method {
        Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::PERMANENT_REDIRECT,
    };
    Refused::Moved(Box::new((status, location)))
}
