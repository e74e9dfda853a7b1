//! A publication by POST: the body, or the field of a form, is the message.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use rsp_core::{channel::KEY_MAX, frame::http1::Framing};

use super::{
    Visitor,
    query::{Twice, form_value},
    refusal,
};
use crate::{
    error::{Fault, Kind},
    message::{Body, Response},
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Bytes of a form beside the message: names and other fields. Its encoding may triple the message.
const FORM: usize = 16 << 10;

/// What is wrong with a publication: a status, and why.
type Wrong = (StatusCode, &'static str);

/// What a POST says of its body.
struct Posted {
    kind: Kinds,
    key: Option<String>,
    /// Bytes of the body, at most.
    body_max: usize,
}

/// A slip, more often than an empty message.
const NOTHING: &str = "neither a body nor a Content-Type; the body is the message";

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kinds {
    /// The message, which is bytes whatever they are.
    Bytes,
    /// The message, which is text if it is UTF-8.
    Any,
    /// A form with the message in a field.
    Form,
}

impl Visitor<'_> {
    /// Publishes the body: 201 if somebody was listening, 202 if nobody.
    pub(super) async fn post(mut self) -> Result<Box<Response>, Fault> {
        let posted = match self.posted() {
            Ok(posted) => posted,
            Err((status, why)) => return Ok(refusal(status, why)),
        };
        if matches!(self.request.head.framing, Framing::Length(length) if length > posted.body_max as u64) {
            return Err(Fault::new(Kind::BodyTooLarge, "a message larger than `message_max`"));
        }
        let body = self.request.body.gather(posted.body_max).await?;
        if body.is_empty() && !self.request.head.headers.contains_key(header::CONTENT_TYPE) {
            return Ok(refusal(StatusCode::BAD_REQUEST, NOTHING));
        }
        let data = match (posted.kind, &self.spec.field) {
            (Kinds::Form, Some(field)) => match field_of(&body, field) {
                Ok(data) => data,
                Err((status, why)) => return Ok(refusal(status, why)),
            },
            _ => body.clone(),
        };
        let is_text = posted.kind != Kinds::Bytes && str::from_utf8(&data).is_ok();
        let receipt = self.publisher_of(&body)?.publish(self.place(), &data, is_text, posted.key.as_deref()).await;
        let receipt = receipt.map_err(|refused| refused.fault())?;
        let status = if receipt.subscribers > 0 { StatusCode::CREATED } else { StatusCode::ACCEPTED };
        let text = format!("{{\"position\":\"{}\",\"subscribers\":{}}}\n", receipt.position, receipt.subscribers);
        let response = Response::new(status, Body::Full(text.into()));
        Ok(Box::new(response.with(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))))
    }

    /// What the head says, before anything of the body is read.
    fn posted(&self) -> Result<Posted, Wrong> {
        let fields = &self.request.head.headers;
        let unsupported = |why| Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        if fields
            .get_all(header::CONTENT_ENCODING)
            .iter()
            .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
        {
            return unsupported("a message is published as it is, so it can't be compressed");
        }
        let stated = fields.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default());
        if stated.is_none() && self.request.head.framing == Framing::Length(0)
            || stated.is_none() && self.request.head.framing == Framing::Empty
        {
            return Err((StatusCode::BAD_REQUEST, NOTHING));
        }
        let mut parts = stated.unwrap_or_default().split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let kind = match (essence.as_str(), &self.spec.field) {
            ("application/octet-stream", _) => Kinds::Bytes,
            ("application/x-www-form-urlencoded", Some(_)) => Kinds::Form,
            ("multipart/form-data", Some(_)) => {
                return unsupported("a form is taken as application/x-www-form-urlencoded only");
            }
            _ => Kinds::Any,
        };
        if kind != Kinds::Bytes && !parts.filter_map(charset).all(is_utf8) {
            return unsupported("text is UTF-8 here");
        }
        let body_max = match kind {
            Kinds::Form => self.spec.message_max.saturating_mul(3).saturating_add(FORM),
            Kinds::Bytes | Kinds::Any => self.spec.message_max,
        };
        Ok(Posted { kind, key: key(fields)?, body_max })
    }
}

/// Two keys that were taken for one would lose a message, so a key is one field of visible characters.
fn key(fields: &HeaderMap) -> Result<Option<String>, Wrong> {
    let mut stated = fields.get_all(IDEMPOTENCY_KEY).iter();
    let (Some(key), more) = (stated.next(), stated.next()) else { return Ok(None) };
    match key.to_str() {
        Ok(text) if more.is_none() && (1..=KEY_MAX).contains(&text.len()) => Ok(Some(text.to_owned())),
        _ => Err((StatusCode::BAD_REQUEST, "an Idempotency-Key is 1 to 128 visible characters, once")),
    }
}

fn charset(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=')?;
    name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
}

fn is_utf8(charset: &str) -> bool {
    ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known))
}

fn field_of(form: &[u8], field: &str) -> Result<Bytes, Wrong> {
    match form_value(form, field) {
        Ok(Some(value)) => Ok(value.into()),
        Ok(None) => Err((StatusCode::BAD_REQUEST, "the form has not the field that is the message")),
        Err(Twice) => Err((StatusCode::BAD_REQUEST, "the form has the field that is the message more than once")),
    }
}
