//! Faults as gRPC tells them: a good answer of HTTP whose only field says what failed.

use http::{HeaderName, HeaderValue, StatusCode, header};

use super::page;
use crate::message::{Body, Response};

const TYPE: &[u8] = b"application/grpc";

/// Whether a type is that of gRPC, in whatever format; not that of gRPC for browsers.
pub(super) fn is_grpc(kind: &HeaderValue) -> bool {
    let rest = kind.as_bytes().strip_prefix(TYPE);
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// An answer without a body that says why there is none.
pub(super) fn failed(status: StatusCode) -> Response {
    let message = page::reason(status).replace(' ', "%20");
    let message = HeaderValue::try_from(message).unwrap_or(HeaderValue::from_static("Error"));
    Response::new(StatusCode::OK, Body::Empty)
        .with(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"))
        .with(HeaderName::from_static("grpc-status"), code(status).into())
        .with(HeaderName::from_static("grpc-message"), message)
}

/// As clients translate a status that is none of gRPC (its `http-grpc-status-mapping`), but that a time-out is one.
fn code(status: StatusCode) -> u16 {
    const DEADLINE_EXCEEDED: u16 = 4;
    const PERMISSION_DENIED: u16 = 7;
    const RESOURCE_EXHAUSTED: u16 = 8;
    const UNIMPLEMENTED: u16 = 12;
    const INTERNAL: u16 = 13;
    const UNAVAILABLE: u16 = 14;
    const UNAUTHENTICATED: u16 = 16;
    const UNKNOWN: u16 = 2;
    match status.as_u16() {
        400 | 500 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 | 405 => UNIMPLEMENTED,
        408 | 504 => DEADLINE_EXCEEDED,
        413 | 431 => RESOURCE_EXHAUSTED,
        429 | 502 | 503 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_grpc_are_told_from_others() {
        let is = |kind| is_grpc(&HeaderValue::from_static(kind));
        assert!(is("application/grpc") && is("application/grpc+proto") && is("application/grpc; a=b"));
        assert!(!is("application/grpc-web") && !is("application/json") && !is("application/grpcx"));
    }

    #[test]
    fn a_fault_is_a_good_answer_that_says_what_failed() {
        let response = failed(StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(response.status, StatusCode::OK);
        assert_eq!(response.headers["grpc-status"], "4");
        assert_eq!(response.headers["grpc-message"], "Gateway%20Timeout");
        assert_eq!(failed(StatusCode::BAD_GATEWAY).headers["grpc-status"], "14");
    }
}
