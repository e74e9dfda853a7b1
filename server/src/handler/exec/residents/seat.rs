//! One client's place at a shared program: what it said and what it is told, between the thread of its connection and the
//! program's.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use super::{
    hall::Hall,
    objects::{self, Id},
};
use crate::session::{Brought, End, Far};

/// Bytes that a client said and the program has not read, beyond which the client is not read.
const SAID_MAX: usize = 64 << 10;

/// Bytes that wait for a client; one for whom more would wait is too slow.
const TOLD_MAX: usize = 1 << 20;

/// What a message costs beside its bytes, and a client that has left beside what it said.
const COST: usize = 64;

/// A message, and whether it is text.
pub type Message = (Bytes, bool);

/// A client's place.
#[derive(Debug)]
pub struct Seat {
    /// By what the program knows the client.
    pub id: Id,
    /// What the program is told first, by every process.
    open: Box<[u8]>,
    hall: Arc<Hall>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    said: Waiting,
    told: Waiting,
    end: Option<End>,
    has_left: bool,
    /// The process that was told of it; they are numbered from 1 on.
    known_to: u64,
    /// Whether it waits for a turn.
    is_queued: bool,
    /// Bytes that it holds of what those may who have left.
    kept: usize,
}

/// Messages that wait for one side.
#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Message>,
    bytes: usize,
    /// Of whoever waits for a change.
    waker: Option<Waker>,
}

/// The client's end of a seat: what it talks with. Dropped, it has left.
pub struct Member(Arc<Seat>);

impl Waiting {
    fn push(&mut self, message: Message) {
        self.bytes += message.0.len() + COST;
        self.messages.push_back(message);
    }

    fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.0.len() + COST;
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
        Some(message)
    }

    fn clear(&mut self) {
        (self.messages, self.bytes) = (VecDeque::new(), 0);
    }

    fn has_room(&self, bytes: usize, max: usize) -> bool {
        // One that is larger than all that may wait must come through, too.
        self.messages.is_empty() || self.bytes + bytes + COST <= max
    }
}

impl Seat {
    /// A client comes.
    pub fn take(id: Id, open: Box<[u8]>, hall: &Arc<Hall>) -> Member {
        let state = State { is_queued: true, ..State::default() };
        let seat = Arc::new(Self { id, open, hall: Arc::clone(hall), state: Mutex::new(state) });
        hall.come(&seat);
        hall.queue(&seat);
        Member(seat)
    }

    /// Says one thing to a process, if there is one to say; the next one is another turn's.
    pub fn say(self: &Arc<Self>, process: u64) -> Option<Vec<u8>> {
        let (said, waker) = {
            let mut state = self.lock();
            let said = state.next(self, process);
            state.is_queued = state.has_more(process);
            if state.is_queued {
                self.hall.queue(self);
            } else {
                self.hall.release(std::mem::take(&mut state.kept));
            }
            let has_room = state.said.bytes <= SAID_MAX / 2;
            (said, if has_room { state.said.waker.take() } else { None })
        };
        wake(waker);
        said
    }

    /// Another process is to be told of it.
    pub fn begin_anew(self: &Arc<Self>) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.is_queued, true) {
            self.hall.queue(self);
        }
    }

    /// The program said something to this client. False: it was too slow, and is sent away.
    pub fn tell(&self, message: &Message) -> bool {
        let mut state = self.lock();
        if state.has_left || state.end.is_some() {
            return true;
        }
        let has_room = state.told.has_room(message.0.len(), TOLD_MAX);
        if has_room {
            state.told.push(message.clone());
        } else {
            state.told.clear();
            state.end = Some(End::Slow);
        }
        let waker = state.told.waker.take();
        drop(state);
        wake(waker);
        has_room
    }

    /// The client is sent away, after what it has been told.
    pub fn send_away(&self, end: End) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        state.said.clear();
        let wakers = [state.told.waker.take(), state.said.waker.take()];
        drop(state);
        wakers.into_iter().for_each(wake);
    }

    fn leave(self: &Arc<Self>) {
        self.hall.leave(self);
        let mut state = self.lock();
        state.has_left = true;
        state.told.clear();
        // It is said to the end, if that is not too much; whoever was told of a client is told that it has left.
        let cost = COST + self.open.len() + state.said.bytes;
        if self.hall.keep(cost) {
            state.kept = cost;
        } else {
            state.said.clear();
            if state.known_to == 0 && std::mem::take(&mut state.is_queued) {
                self.hall.unqueue(self);
            }
        }
        if state.known_to > 0 && !std::mem::replace(&mut state.is_queued, true) {
            self.hall.queue(self);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Seat {
    /// How many messages wait for the client.
    pub fn waits(&self) -> usize {
        self.lock().told.messages.len()
    }
}

impl State {
    fn next(&mut self, seat: &Seat, process: u64) -> Option<Vec<u8>> {
        let is_known = self.known_to == process;
        if !is_known && self.has_left && self.said.messages.is_empty() {
            return None;
        }
        if !is_known {
            self.known_to = process;
            return Some(seat.open.to_vec());
        }
        if let Some((data, _)) = self.said.pop() {
            return Some(objects::message(seat.id, &data));
        }
        self.has_left.then(|| {
            self.known_to = 0;
            objects::close(seat.id)
        })
    }

    fn has_more(&self, process: u64) -> bool {
        !self.said.messages.is_empty() || self.has_left && self.known_to == process
    }
}

impl Far for Member {
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.said.bytes < SAID_MAX || state.end.is_some() {
            return Poll::Ready(());
        }
        state.said.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn give(&mut self, message: &[u8], is_text: bool) {
        let mut state = self.0.lock();
        if state.end.is_some() {
            return;
        }
        state.said.push((Bytes::copy_from_slice(message), is_text));
        if !std::mem::replace(&mut state.is_queued, true) {
            self.0.hall.queue(&self.0);
        }
    }

    fn poll_bring(&mut self, cx: &mut Context<'_>, brought: &mut Brought) -> Poll<Result<(), End>> {
        let mut state = self.0.lock();
        if state.told.messages.is_empty() {
            if let Some(end) = state.end {
                return Poll::Ready(Err(end));
            }
            state.told.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        while !brought.is_full()
            && let Some((message, is_text)) = state.told.pop()
        {
            brought.message(&message, is_text);
        }
        Poll::Ready(Ok(()))
    }

    /// What it was told already is given up.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let mut state = self.0.lock();
        if let Some(end @ (End::Slow | End::Away)) = state.end {
            return Poll::Ready(end);
        }
        state.told.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.leave();
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
