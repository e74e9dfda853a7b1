//! What a program writes to its standard error, in the log.

use std::{cell::RefCell, rc::Rc, task::Context};

use tokio::net::unix::pipe;

use crate::{
    error::{Fault, Kind},
    message::RequestId,
    process::Lines,
};

/// Bytes of a request's standard error: a program that floods us with them is not the one that was meant.
const ERRORS_MAX: u64 = 16 << 20;

/// Bytes that are read at once.
const PIECE: usize = 4 << 10;

/// Bytes that a pipe holds.
const PIPE: usize = 64 << 10;

/// Takes a line.
type Show = Box<dyn FnMut(&str)>;

/// A program's standard error.
pub struct Errors {
    /// None after its end.
    pipe: Option<pipe::Receiver>,
    lines: Lines<Show>,
    /// The last line that says something.
    last: Rc<RefCell<String>>,
    taken: u64,
}

impl Errors {
    /// The standard error of program `name` with this number, which answers request `id`.
    pub fn new(pipe: pipe::Receiver, name: &str, process: u32, id: RequestId) -> Self {
        let (name, last) = (name.to_owned(), Rc::<RefCell<String>>::default());
        let kept = Rc::clone(&last);
        let show = move |line: &str| {
            tracing::info!("{name} (process {process}, request {id}): {line}");
            if !line.trim().is_empty() {
                line.clone_into(&mut kept.borrow_mut());
            }
        };
        Self { pipe: Some(pipe), lines: Lines::new(Box::new(show)), last, taken: 0 }
    }

    /// Takes a piece of what is here. Each of its lines is work, so that between two pieces it is the turn of others.
    ///
    /// # Errors
    /// `UpstreamMalformed`: more came than anybody would read.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        let Some(pipe) = &self.pipe else { return Ok(()) };
        if pipe.poll_read_ready(cx).is_pending() {
            return Ok(());
        }
        self.take();
        if self.taken > ERRORS_MAX {
            self.pipe = None;
            return Err(Fault::new(Kind::UpstreamMalformed, "more on standard error than anybody would read"));
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Reads once; false: there is nothing more, or not yet.
    fn take(&mut self) -> bool {
        let Some(pipe) = &self.pipe else { return false };
        let mut piece = [0; PIECE];
        match pipe.try_read(&mut piece) {
            Ok(n @ 1..) => {
                self.lines.take(&piece[..n]);
                self.taken += n as u64;
                true
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => false,
            Ok(0) | Err(_) => {
                self.pipe = None;
                self.lines.end();
                false
            }
        }
    }

    /// Takes what is left in the pipe, which is never much.
    fn take_rest(&mut self) {
        let mut left = PIPE / PIECE;
        while left > 0 && self.take() {
            left -= 1;
        }
        self.lines.end();
    }

    /// The last line that said something; empty: there was none. Whatever follows is a line of its own.
    pub fn last(&mut self) -> String {
        self.take_rest();
        self.last.take()
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        self.take_rest();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Wake, Waker},
    };

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn full() -> (pipe::Sender, Errors) {
        let (sender, receiver) = pipe::pipe().unwrap();
        sender.writable().await.unwrap();
        assert_eq!(sender.try_write(&b"\n".repeat(PIPE - 5)).unwrap(), PIPE - 5);
        assert_eq!(sender.try_write(b"end\n").unwrap(), 4);
        receiver.readable().await.unwrap();
        (sender, Errors::new(receiver, "test", 1, RequestId::next()))
    }

    #[tokio::test]
    async fn a_flood_is_taken_a_piece_a_turn() {
        let (_sender, mut errors) = full().await;
        let wakes = Arc::<Wakes>::default();
        let waker = Waker::from(Arc::clone(&wakes));
        for turn in 1..4 {
            errors.poll(&mut Context::from_waker(&waker)).unwrap();
            assert_eq!(errors.taken, turn * PIECE as u64);
            assert_eq!(wakes.0.load(Ordering::Relaxed) as u64, turn, "the next turn comes by itself");
        }
    }

    #[tokio::test]
    async fn the_last_words_stand_behind_all_that_was_said() {
        let (_sender, mut errors) = full().await;
        assert_eq!(errors.last(), "end");
    }
}
