//! 1xx answers on their way to the client.

use http::{HeaderMap, StatusCode};

use super::Outgoing;
use crate::error::{Fault, Kind};

/// 1xx answers before the final one; real servers send one or two.
pub(super) const INTERIMS_MAX: usize = 64;

/// Tells the client.
pub(super) async fn pass_on(outgoing: &Outgoing<'_>, status: StatusCode, headers: &HeaderMap) -> Result<(), Fault> {
    let sent = outgoing.interim.send(status, headers, outgoing.write_timeout).await;
    sent.map_err(|e| Fault::new(Kind::ClientGone, e.to_string()))
}
