//! A publication by POST.

use http::{HeaderValue, StatusCode, header};

use super::{Visitor, publish::Publisher};
use crate::{
    error::Fault,
    message::{Body, Response},
};

impl Visitor<'_> {
    /// Publishes the body: 201 if somebody was listening, 202 if nobody.
    pub(super) async fn post(mut self) -> Result<Box<Response>, Fault> {
        let data = self.request.body.gather(self.spec.message_max).await?;
        let fields = &self.request.head.headers;
        let kind = fields.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let is_binary = kind.to_ascii_lowercase().starts_with(b"application/octet-stream");
        let is_text = !is_binary && str::from_utf8(&data).is_ok();
        let key = fields.get("idempotency-key").map(|key| String::from_utf8_lossy(key.as_bytes()));
        let publisher = Publisher { who: self.who.clone() };
        let receipt = publisher.publish(self.place(), &data, is_text, key.as_deref()).await;
        let receipt = receipt.map_err(|refused| refused.fault())?;
        let status = if receipt.subscribers > 0 { StatusCode::CREATED } else { StatusCode::ACCEPTED };
        let text = format!("{{\"position\":\"{}\",\"subscribers\":{}}}\n", receipt.position, receipt.subscribers);
        let response = Response::new(status, Body::Full(text.into()));
        Ok(Box::new(response.with(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))))
    }
}
