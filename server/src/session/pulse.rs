//! Signs of life: pings on time, and the silence that follows them.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use crate::stream::Timer;

/// Pings without a sign of life, after which a client is gone.
const SILENT_MAX: u8 = 2;

/// The pings of one client.
pub(super) struct Pulse {
    interval: Option<Duration>,
    next: Instant,
    timer: Timer,
    /// Whether it can be heard at all: an event stream never is.
    answers: bool,
    heard: bool,
    silent: u8,
}

/// It was silent for two pings.
pub(super) struct Silent;

impl Pulse {
    /// `seed` spreads the first pings of clients that came together.
    pub fn new(interval: Option<Duration>, answers: bool, seed: u64) -> Self {
        let part = f64::from((seed >> 32) as u32) / f64::from(u32::MAX);
        let first = interval.map_or(Duration::ZERO, |interval| interval.mul_f64(0.5 + 0.5 * part));
        Self { interval, next: Instant::now() + first, timer: Timer::default(), answers, heard: true, silent: 0 }
    }

    /// Something came, or can't come because we don't read.
    pub fn heard(&mut self) {
        self.heard = true;
    }

    /// Ready when it is time for a ping.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Silent>> {
        let Some(interval) = self.interval else { return Poll::Pending };
        ready!(self.timer.poll(cx, self.next));
        self.next = Instant::now() + interval;
        self.silent = if self.heard || !self.answers { 0 } else { self.silent + 1 };
        self.heard = false;
        Poll::Ready(if self.silent < SILENT_MAX { Ok(()) } else { Err(Silent) })
    }
}
