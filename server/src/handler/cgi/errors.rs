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

    /// Takes what is here.
    ///
    /// # Errors
    /// `UpstreamMalformed`: more came than anybody would read.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        while let Some(pipe) = &self.pipe {
            if pipe.poll_read_ready(cx).is_pending() {
                return Ok(());
            }
            let mut piece = [0; PIECE];
            match pipe.try_read(&mut piece) {
                Ok(n @ 1..) => {
                    self.lines.take(&piece[..n]);
                    self.taken += n as u64;
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => {
                    self.pipe = None;
                    self.lines.end();
                }
            }
            if self.taken > ERRORS_MAX {
                self.pipe = None;
                return Err(Fault::new(Kind::UpstreamMalformed, "more on standard error than anybody would read"));
            }
        }
        Ok(())
    }

    /// The last line that said something; empty: there was none. Whatever follows is a line of its own.
    pub fn last(&mut self) -> String {
        self.lines.end();
        self.last.take()
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        self.lines.end();
    }
}
