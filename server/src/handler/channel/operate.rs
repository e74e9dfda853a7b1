//! The operator's place at a channel: whoever may ask the admin API may do everything.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use rsp_core::config;

use super::{super::Context, publish::NotPublished, serve};
use crate::{
    broker::Name,
    error::Fault,
    message::{Body, Request, Response},
};

/// Answers one request of the operator; `spec` restricts nobody. `DELETE` drops the history and begins a new epoch.
pub async fn operate(
    spec: &Arc<config::Channel>,
    name: Name,
    request: Box<Request>,
    context: &Context<'_>,
) -> Result<Box<Response>, Fault> {
    if request.head.method != Method::DELETE {
        return serve(spec, name, request, context).await;
    }
    let reset = context.hub.broker.reset(&name).await;
    let position = reset.map_err(|refused| NotPublished::Broker(refused).fault())?;
    let text = format!("{{\"position\":\"{position}\"}}\n");
    let kind = HeaderValue::from_static("application/json");
    let response = Response::new(StatusCode::OK, Body::Full(text.into())).with(header::CONTENT_TYPE, kind);
    Ok(Box::new(response.with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))))
}
