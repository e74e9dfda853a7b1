//! What belongs to a client's connection for as long as it lives.

use std::{
    cell::{Ref, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use rsp_core::config::{Address, Listener};

use crate::{dispatch::Worker, limit::Permit, observe::ListenerCounts, shutdown::Guard, stream::Wire};

/// How long a drain waits for a request that may be on its way, where a connection has none in work.
pub const LAST_REQUEST: Duration = Duration::from_secs(1);

/// Where connections of one listener come from.
pub struct Origin {
    /// The listener's address as configured.
    pub address: Address,
    /// Counts its connections.
    pub counts: Arc<ListenerCounts>,
    /// What its connections speak; a reload may change it.
    spec: RefCell<Listener>,
}

impl Origin {
    /// A listener as the config has it.
    pub fn new(spec: &Listener, counts: Arc<ListenerCounts>) -> Self {
        Self { address: spec.address.clone(), counts, spec: RefCell::new(spec.clone()) }
    }

    /// What connections that come now speak; hold it for a moment.
    pub fn spec(&self) -> Ref<'_, Listener> {
        self.spec.borrow()
    }

    /// Connections that come from now on speak this.
    pub fn change(&self, spec: &Listener) {
        *self.spec.borrow_mut() = spec.clone();
    }
}

/// One client connection; counted as open until it is dropped.
pub struct Connection {
    /// Its socket.
    pub wire: Rc<Wire>,
    /// The listener that accepted it.
    pub origin: Rc<Origin>,
    /// The worker that serves it.
    pub worker: Rc<Worker>,
    /// Its place in the worker's drain.
    pub guard: Guard,
    _permit: Permit,
}

impl Connection {
    /// A connection that was admitted.
    pub fn new(wire: Rc<Wire>, origin: Rc<Origin>, worker: Rc<Worker>, permit: Permit) -> Self {
        origin.counts.open.inc();
        let guard = worker.drain.guard();
        Self { wire, origin, worker, guard, _permit: permit }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.origin.counts.open.dec();
    }
}
