//! Idle keep-alive connections to one endpoint, a worker's own.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::Poll,
};

use prometheus_client::metrics::gauge::Gauge;

use super::Wire;

/// Idle connections, the latest first, bounded in number and age.
///
/// Age is counted in sweeps, so that keeping and taking a connection costs no look at the clock.
pub struct IdleSet {
    wires: RefCell<Vec<(Rc<Wire>, u32)>>,
    max: usize,
    sweeps_max: u32,
    sweep: Cell<u32>,
    /// How many there were at the last sweep, and the gauge that they were added to.
    counted: Cell<i64>,
    gauge: Gauge,
}

impl IdleSet {
    /// Keeps at most `max` connections, each for at most `sweeps_max` sweeps; one too many is closed at once.
    /// `gauge` counts what the sets of one upstream keep, as of their last sweeps.
    pub fn new(max: usize, sweeps_max: u32, gauge: Gauge) -> Self {
        Self { wires: RefCell::new(Vec::new()), max, sweeps_max, sweep: Cell::new(0), counted: Cell::new(0), gauge }
    }

    /// The connection used last that is still open and silent; a closed one on the way is dropped.
    pub async fn take(&self) -> Option<Rc<Wire>> {
        loop {
            let (wire, _) = self.wires.borrow_mut().pop()?;
            if is_silent(&wire).await {
                return Some(wire);
            }
        }
    }

    /// Keeps a connection whose last message ended cleanly.
    pub fn put(&self, wire: Rc<Wire>) {
        let mut wires = self.wires.borrow_mut();
        if wires.len() < self.max {
            wires.push((wire, self.sweep.get()));
        }
    }

    /// Closes what is too old or was closed by the peer; returns how many are left.
    pub async fn sweep(&self) -> usize {
        let sweep = self.sweep.get().wrapping_add(1);
        self.sweep.set(sweep);
        let waiting = std::mem::take(&mut *self.wires.borrow_mut());
        for (wire, since) in waiting {
            if sweep.wrapping_sub(since) <= self.sweeps_max && is_silent(&wire).await {
                self.wires.borrow_mut().push((wire, since));
            }
        }
        self.count(self.len());
        self.len()
    }

    fn count(&self, now: usize) {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        self.gauge.inc_by(now - self.counted.replace(now));
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.wires.borrow().len()
    }
}

impl Drop for IdleSet {
    fn drop(&mut self) {
        self.count(0);
    }
}

/// Whether nothing was received since the last answer: bytes or an end make a connection useless.
async fn is_silent(wire: &Wire) -> bool {
    poll_fn(|cx| Poll::Ready(wire.poll_readable(cx, None).is_pending())).await
}
