//! The operator's place at a channel: whoever may ask the admin API may do everything.

use std::sync::Arc;

use http::{Method, header};
use rsp_core::config;

use super::{super::Context, Visitor, access::METHODS_AND_DELETE, serve};
use crate::{
    broker::Name,
    error::Fault,
    message::{Request, Response},
};

/// Answers one request of the operator; `spec` restricts nobody. `DELETE` drops the history and begins a new epoch.
pub async fn operate(
    spec: &Arc<config::Channel>,
    name: Name,
    request: Box<Request>,
    context: &Context<'_>,
) -> Result<Box<Response>, Fault> {
    if request.head.method == Method::DELETE {
        return Visitor { request, spec, name, context, who: None }.drop_history().await;
    }
    let mut answer = serve(spec, name, request, context).await?;
    if let Some(allow) = answer.headers.get_mut(header::ALLOW) {
        *allow = METHODS_AND_DELETE;
    }
    Ok(answer)
}
