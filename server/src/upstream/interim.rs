//! 1xx answers on their way to the client.

use http::{HeaderMap, StatusCode};
use rsp_core::frame::http1;

use super::Outgoing;
use crate::error::{Fault, Kind};

/// 1xx answers before the final one; real servers send one or two.
pub(super) const INTERIMS_MAX: usize = 64;

/// Tells the client.
pub(super) async fn pass_on(outgoing: &Outgoing<'_>, status: StatusCode, headers: &HeaderMap) -> Result<(), Fault> {
    let mut interim = Vec::with_capacity(256);
    http1::write_status_line(&mut interim, status);
    http1::write_headers(&mut interim, headers);
    interim.extend_from_slice(b"\r\n");
    let sent = outgoing.interim.send(&interim, outgoing.write_timeout).await;
    sent.map_err(|e| Fault::new(Kind::ClientGone, e.to_string()))
}
