//! stub
use crate::{
    error::Fault,
    message::{Request, Response},
    observe::Metrics,
};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
pub struct Admin {
    pub operations: Operations,
    pub metrics: Arc<Metrics>,
    pub token: Option<String>,
}
pub struct Operations {
    pub commands: mpsc::Sender<Command>,
}
pub enum Command {
    Reload(oneshot::Sender<Result<String, String>>),
    Drain,
    Stop,
    Status(oneshot::Sender<serde_json::Value>),
}
impl Admin {
    pub async fn run(&self, _: Request) -> Result<Response, Fault> {
        Ok(Response::text(http::StatusCode::OK, self.metrics.render()))
    }
}
