//! What a worker is told of the channels it subscribed to; bounded, in order.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use rsp_core::channel::{Item, Member, Position};

use super::Name;

/// Bytes of messages that wait for one worker: a worker that has not looked for so long reads them from the history.
const BYTES_MAX: usize = 16 << 20;

/// What a notice costs beside its message.
const NOTICE: usize = 128;

/// Something happened on a channel.
#[derive(Debug, Clone)]
pub struct Notice {
    /// Which one.
    pub channel: Name,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum What {
    /// A message.
    Item(Item),
    /// Somebody came.
    Join(Arc<Member>),
    /// Somebody left.
    Leave(Arc<Member>),
    /// The stream was lost or dropped; it goes on from here.
    Reset(Position),
    /// There may be messages that this worker was not told of: it must read what is since the last one.
    Behind,
}

/// The notices that wait for one worker.
#[derive(Debug, Default)]
pub struct Inbox {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    notices: VecDeque<Notice>,
    bytes: usize,
    /// Notices were dropped.
    overflowed: bool,
    waker: Option<Waker>,
}

/// What waited.
#[derive(Debug)]
pub struct Batch {
    /// In order.
    pub notices: VecDeque<Notice>,
    /// Some were dropped behind these: every channel of the worker is behind.
    pub overflowed: bool,
}

impl Inbox {
    /// Tells the worker. A full inbox drops the notice, and the worker learns that it missed some.
    pub fn push(&self, notice: Notice) {
        let mut waiting = self.lock();
        let bytes = NOTICE
            + match &notice.what {
                What::Item(item) => item.message.data.len(),
                _ => 0,
            };
        // One that is larger than all that may wait must come through, too.
        if waiting.bytes + bytes > BYTES_MAX && !waiting.notices.is_empty() {
            waiting.overflowed = true;
        } else {
            waiting.bytes += bytes;
            waiting.notices.push_back(notice);
        }
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes everything that waits.
    pub fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Batch> {
        let mut waiting = self.lock();
        if waiting.notices.is_empty() && !waiting.overflowed {
            if waiting.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
                waiting.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        waiting.bytes = 0;
        let notices = std::mem::take(&mut waiting.notices);
        Poll::Ready(Batch { notices, overflowed: std::mem::take(&mut waiting.overflowed) })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_message_of_any_size_comes_through_an_empty_inbox() {
        use rsp_core::channel::{Epoch, Message};
        let inbox = Inbox::default();
        let data = vec![0; BYTES_MAX + 1].into();
        let message = Arc::new(Message { data, is_text: false, time: std::time::Duration::ZERO, by: None });
        let item = Item { position: Position { epoch: Epoch::new(1), offset: 1 }, message };
        inbox.push(Notice { channel: "a".into(), what: What::Item(item) });
        inbox.push(Notice { channel: "a".into(), what: What::Behind });
        let Poll::Ready(batch) = inbox.poll_take(&mut Context::from_waker(Waker::noop())) else { panic!("nothing") };
        assert_eq!((batch.notices.len(), batch.overflowed), (1, true));
    }

    #[test]
    fn a_full_inbox_says_that_something_is_missing() {
        let inbox = Inbox::default();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(inbox.poll_take(&mut cx).is_pending());
        for _ in 0..BYTES_MAX / NOTICE + 1 {
            inbox.push(Notice { channel: "a".into(), what: What::Behind });
        }
        let Poll::Ready(batch) = inbox.poll_take(&mut cx) else { panic!("nothing") };
        assert!(batch.overflowed);
        assert_eq!(batch.notices.len(), BYTES_MAX / NOTICE);
        assert!(inbox.poll_take(&mut cx).is_pending());
    }
}
