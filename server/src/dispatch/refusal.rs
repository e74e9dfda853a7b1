//! A fault becomes the answer that the client gets: its status and fields, on the site's error page or the built-in one.

use http::{HeaderValue, StatusCode, header};

use super::{Refused, Ticket, grpc, page, status_of};
use crate::{
    error::{Fault, Kind},
    filter::Refusal,
    message::{Body, Response},
    observe::Metrics,
    route::SiteInfo,
};

/// The answer for a request that no handler answered; a function of the config may write it.
///
/// A function that fails here is not asked again: the built-in page stands.
pub(super) async fn respond(refused: Refused, ticket: &mut Ticket, metrics: &Metrics) -> Response {
    let page = ticket.ask_for_page(status_of(&refused), metrics).await;
    complete(refused, ticket, page)
}

/// The answer for what never became a request; no function can be asked about it.
pub(super) fn respond_at_once(refused: Refused, ticket: &mut Ticket) -> Response {
    complete(refused, ticket, None)
}

/// What a function wrote, or the page of a file or the built-in one, with the fields that belong to the refusal.
fn complete(refused: Refused, ticket: &mut Ticket, written: Option<Response>) -> Response {
    let status = status_of(&refused);
    let response = written.unwrap_or_else(|| page_of(status, says(&refused), ticket));
    let mut response = match refused {
        Refused::AddSlash(location) => Response::new(status, Body::Empty).with(header::LOCATION, location),
        Refused::Challenge(answer) => Response::new(status, Body::Full(answer.as_bytes().to_vec().into()))
            .with(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        Refused::Moved(moved) => Response::new(status, Body::Empty).with(header::LOCATION, moved.1),
        Refused::Method(methods) => {
            let allow = methods.iter().map(http::Method::as_str).collect::<Vec<_>>().join(", ");
            response.with(header::ALLOW, HeaderValue::try_from(allow).unwrap_or(HeaderValue::from_static("GET")))
        }
        Refused::ByFilter(refusal) => {
            let Refusal { fault, field, .. } = *refusal;
            noted(fault, ticket);
            field.into_iter().fold(response, |response, (name, value)| response.with(name, value))
        }
        Refused::Elsewhere(_) => {
            noted(Fault::new(Kind::UpstreamMalformed, "local redirects in a circle"), ticket);
            response
        }
        Refused::Fault(fault) => {
            noted(fault, ticket);
            match status {
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                    response.with(header::RETRY_AFTER, HeaderValue::from_static("1"))
                }
                _ => response,
            }
        }
    };
    if ticket.is_grpc() {
        response = grpc::failed(status);
    }
    ticket.kept().write(&mut response.headers);
    response
}

/// Into the log, and onto the request's line of the access log.
fn noted(fault: Fault, ticket: &mut Ticket) {
    fault.log(ticket.id());
    ticket.failed(fault);
}

fn says(refused: &Refused) -> Option<&'static str> {
    match refused {
        Refused::ByFilter(refusal) => refusal.says,
        _ => None,
    }
}

fn page_of(status: StatusCode, says: Option<&'static str>, ticket: &Ticket) -> Response {
    let (id, prefers_json) = (ticket.id(), ticket.prefers_json());
    let file = |site: &SiteInfo| page::from_file(site, status, id, prefers_json);
    ticket.site().and_then(file).unwrap_or_else(|| page::built_in(status, says, id, prefers_json))
}
