//! stub
use crate::{
    error::Fault,
    message::{Request, Response},
};
pub fn run(_: &rsp_core::config::Files, _: &Request) -> Result<Response, Fault> {
    Ok(Response::text(http::StatusCode::OK, "x"))
}
