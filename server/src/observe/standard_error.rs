//! Standard error behind a bounded queue: who reads it slowly, or closed it, stops nobody.

use std::{
    io::{self, Write},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

/// Messages that may wait; further ones are dropped, and their number is said once there is room.
const WAITING_MAX: usize = 1000;

/// How long the end of the program waits for the last messages.
const LAST_MESSAGES: Duration = Duration::from_millis(500);

static QUEUE: OnceLock<SyncSender<Item>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

enum Item {
    Message(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Takes each write as one message, and never waits or fails.
pub(super) struct StandardError;

impl Write for StandardError {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = queue().try_send(Item::Message(message.to_vec())) {
            DROPPED.fetch_add(1, Relaxed);
        }
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits, half a second at most, until everything said so far is written.
pub fn flush() {
    let Some(queue) = QUEUE.get() else { return };
    let (done, flushed) = sync_channel(1);
    if queue.try_send(Item::Flush(done)).is_ok() {
        // An end that nobody reads waits no longer.
        let _ = flushed.recv_timeout(LAST_MESSAGES);
    }
}

fn queue() -> &'static SyncSender<Item> {
    QUEUE.get_or_init(|| {
        let (queue, waiting) = sync_channel(WAITING_MAX);
        // Without the thread nobody is told anything, and the rest goes on.
        let _ = thread::Builder::new().name("messages".to_owned()).spawn(move || write_out(&waiting));
        queue
    })
}

fn write_out(waiting: &Receiver<Item>) {
    let mut out = io::stderr();
    for item in waiting {
        let dropped = DROPPED.swap(0, Relaxed);
        // Standard error that is closed leaves nobody to tell.
        if dropped > 0 {
            let _ = writeln!(out, "{} warn: {dropped} messages were dropped", super::timestamp());
        }
        match item {
            Item::Message(message) => _ = out.write_all(&message),
            Item::Flush(done) => _ = done.send(()),
        }
    }
}
