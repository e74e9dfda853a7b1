//! The request that a program puts in the place of the one it was asked (RFC 3875 §6.2.2).

use bytes::Bytes;
use http::Method;
use rsp_core::{
    config::Limits,
    frame::http1::{Framing, Target},
    route::Path,
};

use crate::{
    error::{Fault, Kind},
    message::{Body, Request},
};

/// A `GET` of `to`, or a `HEAD` where that was asked for, with the fields of the first request that are not about its body.
///
/// # Errors
/// `UpstreamMalformed` for what is no path, or a longer one than a client might ask for.
pub fn request(mut request: Box<Request>, to: &[u8], limits: &Limits) -> Result<Box<Request>, Fault> {
    let refused = |why: &str| Fault::new(Kind::UpstreamMalformed, format!("a Location that {why}"));
    if to.len() > limits.uri {
        return Err(refused("is longer than the limit for targets"));
    }
    let target = Target::new(Bytes::copy_from_slice(to)).map_err(|_| refused("is no path"))?;
    Path::new(target.path()).map_err(|_| refused("is no path"))?;
    let head = &mut request.head;
    head.target = target;
    if head.method != Method::HEAD {
        head.method = Method::GET;
    }
    let about_content: Vec<_> =
        head.headers.keys().filter(|name| name.as_str().starts_with("content-")).cloned().collect();
    about_content.iter().for_each(|name| {
        head.headers.remove(name);
    });
    (head.framing, head.expect_continue, head.upgrade) = (Framing::Empty, false, None);
    request.body = Body::Empty;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[test]
    fn a_get_without_the_fields_of_the_first_content_takes_its_place() {
        let first = || {
            let request = Request::example(Method::POST, "/a?b").with(header::CONTENT_TYPE, "text/plain");
            Box::new(request.with(header::COOKIE, "c=d").with(header::CONTENT_ENCODING, "gzip"))
        };
        let next = request(first(), b"/e?f=g", &Limits::default()).unwrap();
        assert_eq!((next.head.method, next.head.target.as_str()), (Method::GET, "/e?f=g"));
        assert_eq!(next.head.headers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["cookie"]);
        let head = Request::example(Method::HEAD, "/a");
        assert_eq!(request(Box::new(head), b"/", &Limits::default()).unwrap().head.method, Method::HEAD);
        for to in ["/a b".to_owned(), "/%zz".to_owned(), "/é".to_owned(), format!("/{}", "a".repeat(8192))] {
            let refused = request(first(), to.as_bytes(), &Limits::default()).err().map(|fault| fault.kind);
            assert_eq!(refused, Some(Kind::UpstreamMalformed), "{to}");
        }
    }
}
