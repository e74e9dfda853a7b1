//! A fault becomes the answer that the client gets: short text, or JSON where it is preferred, with the request's id.

use http::{HeaderValue, StatusCode, header};

use super::{Refused, Ticket, status_of};
use crate::{
    error::Fault,
    filter::Refusal,
    message::{Body, Response},
};

/// The answer for a request that no handler answered.
pub(super) fn respond(refused: Refused, ticket: &mut Ticket) -> Response {
    let status = status_of(&refused);
    let response = page(status, ticket);
    let mut response = match refused {
        Refused::AddSlash(location) => Response::new(status, Body::Empty).with(header::LOCATION, location),
        Refused::Method(methods) => {
            let allow = methods.iter().map(http::Method::as_str).collect::<Vec<_>>().join(", ");
            response.with(header::ALLOW, HeaderValue::try_from(allow).unwrap_or(HeaderValue::from_static("GET")))
        }
        Refused::ByFilter(refusal) => {
            let Refusal { fault, field, .. } = *refusal;
            noted(fault, ticket);
            field.into_iter().fold(response, |response, (name, value)| response.with(name, value))
        }
        Refused::Fault(fault) => {
            noted(fault, ticket);
            match status {
                StatusCode::SERVICE_UNAVAILABLE => response.with(header::RETRY_AFTER, HeaderValue::from_static("1")),
                _ => response,
            }
        }
    };
    ticket.kept().write(&mut response.headers);
    response
}

/// Into the log, and onto the request's line of the access log.
fn noted(fault: Fault, ticket: &mut Ticket) {
    fault.log(ticket.id());
    ticket.failed(fault);
}

fn page(status: StatusCode, ticket: &Ticket) -> Response {
    let reason = status.canonical_reason().unwrap_or("Error");
    let (code, id) = (status.as_u16(), ticket.id());
    if ticket.prefers_json() {
        let body = format!("{{\"status\":{code},\"error\":\"{reason}\",\"request\":\"{id}\"}}\n");
        return Response::new(status, body.into())
            .with(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Response::text(status, format!("{code} {reason}\nrequest {id}\n"))
}
