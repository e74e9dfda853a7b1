//! Waiting without sleeping in hope: polling with a deadline, a gate a test opens, a port nobody has.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

/// Polls `condition` until it holds; for state that has no event. Panics at the deadline, naming the caller's line.
#[track_caller]
pub fn eventually(deadline: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !condition() {
        assert!(Instant::now() < end, "still not so after {deadline:?}");
        pause(Duration::from_millis(5));
    }
}

/// A port of 127.0.0.1 that nobody listened on a moment ago. Somebody may take it before you do: be ready to try again.
pub fn free_port() -> u16 {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port for a moment");
    socket.local_addr().expect("its address").port()
}

/// A gate that an [`Answer`](crate::Answer) waits at until the test opens it; opened once, it stays open.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Waits until it is open; false if it wasn't within `deadline`.
    pub fn pass(&self, deadline: Duration) -> bool {
        let open = self.0.0.lock().unwrap();
        let (open, _) = self.0.1.wait_timeout_while(open, deadline, |open| !*open).unwrap();
        *open
    }
}

/// The one place that sleeps: a scripted slowness, or the interval of a poll.
#[allow(clippy::disallowed_methods, reason = "slowness on purpose; nothing else waits this way")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
