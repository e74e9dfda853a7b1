//! What the sessions of a worker have in common: their end, and where messages are posted to them.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use slab::Slab;

use super::{compress::Deflaters, posts::Posts};

/// Between two groups of sessions that are told to end, so that their clients don't all come back at once.
const STEP: Duration = Duration::from_millis(10);

/// Groups, at most.
const STEPS: usize = 100;

/// Sessions of a group at least.
const GROUP_MIN: usize = 10;

/// The sessions of one worker.
pub struct Sessions {
    pub(super) posts: Arc<Posts>,
    pub(super) deflaters: Rc<Deflaters>,
    seats: RefCell<Slab<Place>>,
    is_over: Cell<bool>,
}

/// What the sessions of all workers share.
#[derive(Clone, Default)]
pub struct Shared(Arc<Posts>);

#[derive(Default)]
struct Place {
    is_over: bool,
    waker: Option<Waker>,
}

/// One session among those of its worker.
pub(super) struct Seat {
    sessions: Rc<Sessions>,
    key: usize,
}

impl Sessions {
    /// Those of a worker; `shared` is that of the process.
    pub fn new(shared: &Shared) -> Rc<Self> {
        Rc::new(Self {
            posts: Arc::clone(&shared.0),
            deflaters: Rc::default(),
            seats: RefCell::default(),
            is_over: Cell::new(false),
        })
    }

    /// Ends those that are still there after a time, with 1001, within a second.
    pub fn end_after(self: &Rc<Self>, time: Duration) {
        let sessions = Rc::clone(self);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(time).await;
            sessions.is_over.set(true);
            let keys: Vec<_> = sessions.seats.borrow().iter().map(|(key, _)| key).collect();
            for group in keys.chunks(GROUP_MIN.max(keys.len().div_ceil(STEPS))) {
                group.iter().for_each(|key| sessions.end(*key));
                tokio::time::sleep(STEP).await;
            }
        });
    }

    pub(super) fn sit(self: &Rc<Self>) -> Seat {
        let place = Place { is_over: self.is_over.get(), waker: None };
        Seat { key: self.seats.borrow_mut().insert(place), sessions: Rc::clone(self) }
    }

    fn end(&self, key: usize) {
        // Whoever came in the place of one that left was told at once.
        if let Some(place) = self.seats.borrow_mut().get_mut(key) {
            place.is_over = true;
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Seat {
    /// Ready when the session is to end.
    pub(super) fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        let mut seats = self.sessions.seats.borrow_mut();
        let Some(place) = seats.get_mut(self.key) else { return Poll::Ready(()) };
        if place.is_over {
            return Poll::Ready(());
        }
        if place.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            place.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.sessions.seats.borrow_mut().try_remove(self.key);
    }
}
