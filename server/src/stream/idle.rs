//! Idle keep-alive connections to one endpoint, a worker's own.

use std::{cell::RefCell, future::poll_fn, rc::Rc, task::Poll, time::Duration};

use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;

use super::Wire;

/// Idle connections, the latest first, bounded in number and age.
pub struct IdleSet {
    wires: RefCell<Vec<(Rc<Wire>, Instant)>>,
    max: usize,
    timeout: Duration,
    /// Counts what is kept here and in the other sets of the same upstream.
    kept: Gauge,
}

impl IdleSet {
    /// Keeps at most `max` connections, each for at most `timeout`; one too many is closed at once.
    pub fn new(max: usize, timeout: Duration, kept: Gauge) -> Self {
        Self { wires: RefCell::new(Vec::new()), max, timeout, kept }
    }

    /// The connection used last that is still open and silent; a closed one on the way is dropped.
    pub async fn take(&self) -> Option<Rc<Wire>> {
        loop {
            let (wire, since) = self.wires.borrow_mut().pop()?;
            self.kept.dec();
            if since.elapsed() < self.timeout && is_silent(&wire).await {
                return Some(wire);
            }
        }
    }

    /// Keeps a connection whose last message ended cleanly.
    pub fn put(&self, wire: Rc<Wire>) {
        let mut wires = self.wires.borrow_mut();
        if wires.len() < self.max {
            wires.push((wire, Instant::now()));
            self.kept.inc();
        }
    }

    /// Closes what is too old or was closed by the peer; returns how many are left.
    pub async fn sweep(&self) -> usize {
        let waiting = std::mem::take(&mut *self.wires.borrow_mut());
        for (wire, since) in waiting {
            if since.elapsed() < self.timeout && is_silent(&wire).await {
                self.wires.borrow_mut().push((wire, since));
            } else {
                self.kept.dec();
            }
        }
        self.len()
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.wires.borrow().len()
    }
}

impl Drop for IdleSet {
    fn drop(&mut self) {
        let left = i64::try_from(self.len()).unwrap_or(i64::MAX);
        self.kept.dec_by(left);
    }
}

/// Whether nothing was received since the last answer: bytes or an end make a connection useless.
async fn is_silent(wire: &Wire) -> bool {
    poll_fn(|cx| Poll::Ready(wire.poll_readable(cx, None).is_pending())).await
}
