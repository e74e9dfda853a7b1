//! Streams of one connection in use: each has a place, and whoever waits for one is told.

use std::{cell::Cell, rc::Rc};

use tokio::sync::Notify;

/// The streams of one connection.
pub struct Places {
    taken: Cell<usize>,
    freed: Rc<Notify>,
}

/// One of them, while it lives.
pub struct StreamPlace(Rc<Places>);

impl Places {
    /// None is taken yet. `freed` is told of each one that ends.
    pub fn new(freed: Rc<Notify>) -> Self {
        Self { taken: Cell::new(0), freed }
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.taken.get()
    }

    /// One more.
    pub fn take(self: &Rc<Self>) -> StreamPlace {
        self.taken.set(self.taken.get() + 1);
        StreamPlace(Rc::clone(self))
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.0.taken.set(self.0.taken.get() - 1);
        self.0.freed.notify_waiters();
    }
}
