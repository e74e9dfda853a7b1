//! The end of a connection that was taken over: the peer reads all of it, if it reads at all.

use std::{future::poll_fn, time::Duration};

use tokio::time::Instant;

use crate::stream::{Buffer, Wire};

/// How long a peer has to answer our goodbye, and the last bytes to leave.
pub const CLOSING: Duration = Duration::from_secs(5);

/// Bytes of a client that are discarded meanwhile, at most.
pub const DISCARDED_MAX: usize = 64 << 20;

/// Ends our direction, and then reads until the peer has ended its own: a close with input unread would be a reset, which
/// may overtake what we said. `must_wait`: also when nothing is unread, as the server ends the connection first.
/// `most`: bytes that are read.
pub async fn part(wire: &Wire, must_wait: bool, until: Instant, mut most: usize) {
    if wire.shutdown_write().is_err() || !(must_wait || wire.has_unread()) {
        return;
    }
    while poll_fn(|cx| wire.poll_readable_until(cx, until)).await.is_ok() {
        let mut buffer = Buffer::take(16 << 10);
        match poll_fn(|cx| wire.poll_read_until(cx, &mut buffer, until)).await {
            Ok(n) if 0 < n && n < most => most -= n,
            _ => return,
        }
    }
}
