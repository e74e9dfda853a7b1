//! Where the clients of a shared program wait for their turn, from whatever threads: who has something to say is asked for
//! one message, and then the next one is.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use super::seat::Seat;

/// Bytes of what clients said that have left, while the program does not read.
const LEFT_MAX: usize = 16 << 20;

/// The clients of one program.
#[derive(Debug, Default)]
pub struct Hall {
    door: Mutex<Door>,
    turns: Mutex<Turns>,
    left: AtomicUsize,
}

/// Who came and who left since the program's task looked.
#[derive(Debug, Default)]
struct Door {
    came: Vec<Arc<Seat>>,
    left: Vec<Arc<Seat>>,
    waker: Option<Waker>,
}

/// Those that have something to say, each once.
#[derive(Debug, Default)]
struct Turns {
    seats: VecDeque<Arc<Seat>>,
    waker: Option<Waker>,
}

/// Who came and who left.
#[derive(Debug, Default)]
pub struct Passed {
    /// In order.
    pub came: Vec<Arc<Seat>>,
    /// Some of those that came.
    pub left: Vec<Arc<Seat>>,
}

impl Hall {
    /// Somebody comes.
    pub fn come(&self, seat: &Arc<Seat>) {
        let mut door = lock(&self.door);
        door.came.push(Arc::clone(seat));
        wake(door, |door| door.waker.take());
    }

    /// Somebody leaves.
    pub fn leave(&self, seat: &Arc<Seat>) {
        let mut door = lock(&self.door);
        // Those that nobody has looked at yet are gone at once, so that there are never more than clients.
        match door.came.iter().position(|one| Arc::ptr_eq(one, seat)) {
            Some(index) => drop(door.came.remove(index)),
            None => door.left.push(Arc::clone(seat)),
        }
        wake(door, |door| door.waker.take());
    }

    /// Who came and left since the last time.
    pub fn passed(&self) -> Passed {
        let mut door = lock(&self.door);
        Passed { came: std::mem::take(&mut door.came), left: std::mem::take(&mut door.left) }
    }

    /// The same, when there is somebody.
    pub fn poll_passed(&self, cx: &mut Context<'_>) -> Poll<Passed> {
        let mut door = lock(&self.door);
        if door.came.is_empty() && door.left.is_empty() {
            door.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Passed { came: std::mem::take(&mut door.came), left: std::mem::take(&mut door.left) })
    }

    /// Somebody has something to say, and does not wait for a turn yet.
    pub fn queue(&self, seat: &Arc<Seat>) {
        let mut turns = lock(&self.turns);
        turns.seats.push_back(Arc::clone(seat));
        wake(turns, |turns| turns.waker.take());
    }

    /// Somebody has nothing to say any more.
    pub fn unqueue(&self, seat: &Arc<Seat>) {
        lock(&self.turns).seats.retain(|one| !Arc::ptr_eq(one, seat));
    }

    /// Whose turn it is.
    pub fn next(&self) -> Option<Arc<Seat>> {
        lock(&self.turns).seats.pop_front()
    }

    /// The same, when there is somebody.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Arc<Seat>> {
        let mut turns = lock(&self.turns);
        match turns.seats.pop_front() {
            Some(seat) => Poll::Ready(seat),
            None => {
                turns.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Room for so many bytes of one that has left; false: too many wait already.
    pub fn keep(&self, bytes: usize) -> bool {
        let kept = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            Some(left + bytes).filter(|left| *left <= LEFT_MAX)
        });
        kept.is_ok()
    }

    /// They were said, or dropped.
    pub fn release(&self, bytes: usize) {
        self.left.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
impl Hall {
    /// How many wait for a turn.
    pub fn waiting(&self) -> usize {
        lock(&self.turns).seats.len()
    }
}

/// Wakes whoever waits behind a lock, after it is let go of.
fn wake<T>(mut locked: MutexGuard<'_, T>, waker: impl FnOnce(&mut T) -> Option<Waker>) {
    let waker = waker(&mut locked);
    drop(locked);
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
