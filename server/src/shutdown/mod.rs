//! The drain of one worker: idle connections are woken to close, busy ones are waited for.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use slab::Slab;

/// Whether this worker drains, and which of its connections wait for that.
#[derive(Default)]
pub struct Drain {
    begun: Cell<bool>,
    waiting: RefCell<Slab<Option<Waker>>>,
    emptied: tokio::sync::Notify,
}

/// One connection's place; the worker is empty when all are dropped.
pub struct Guard {
    drain: Rc<Drain>,
    key: usize,
}

impl Drain {
    /// Tells every connection to finish.
    pub fn begin(&self) {
        self.begun.set(true);
        for (_, waker) in self.waiting.borrow_mut().iter_mut() {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
    }

    /// Whether the drain has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.get()
    }

    /// Counts a connection.
    pub fn guard(self: &Rc<Self>) -> Guard {
        Guard { key: self.waiting.borrow_mut().insert(None), drain: Rc::clone(self) }
    }

    /// Waits until no connection is left.
    pub async fn emptied(&self) {
        while !self.waiting.borrow().is_empty() {
            self.emptied.notified().await;
        }
    }
}

impl Guard {
    /// Ready once the drain has begun.
    pub fn poll_begun(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.drain.begun.get() {
            return Poll::Ready(());
        }
        if let Some(place) = self.drain.waiting.borrow_mut().get_mut(self.key)
            && place.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker()))
        {
            *place = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut waiting = self.drain.waiting.borrow_mut();
        waiting.try_remove(self.key);
        if waiting.is_empty() {
            self.drain.emptied.notify_waiters();
        }
    }
}
