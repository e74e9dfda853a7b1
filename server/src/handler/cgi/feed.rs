//! The way in: the body of the request goes to a program's standard input as fast as the program takes it.

use std::{
    io,
    task::{Context, Poll},
};

use tokio::net::unix::pipe;

use crate::{error::Fault, message::Body};

/// A request body on its way; at its end the program's input is closed.
pub struct Feed(Option<(pipe::Sender, Body)>);

/// Whom the way in waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Nobody: it is over.
    Over,
    /// The client has to send; its time-out is the body's own.
    Client,
    /// The program has to take what is here.
    Program,
}

impl Feed {
    /// `input` is the program's; without one the body is left.
    pub fn new(input: Option<pipe::Sender>, body: Body) -> Self {
        Self(input.map(|input| (input, body)))
    }

    /// Moves what can be moved; also whether the program took anything.
    ///
    /// # Errors
    /// The client's: it sends no more, or what is no body.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Result<(Waits, bool), Fault> {
        let mut moved = false;
        let Some((input, body)) = &mut self.0 else { return Ok((Waits::Over, moved)) };
        loop {
            if body.chunk().is_empty() {
                match body.poll_chunk(cx)? {
                    Poll::Pending => return Ok((Waits::Client, moved)),
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => break,
                }
            }
            if input.poll_write_ready(cx).is_pending() {
                return Ok((Waits::Program, moved));
            }
            match input.try_write(body.chunk()) {
                Ok(n) => {
                    body.consume(n);
                    moved = true;
                }
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                // It reads no more; it may answer all the same.
                Err(_) => break,
            }
        }
        self.0 = None;
        Ok((Waits::Over, moved))
    }

    /// Closes the program's input, whatever is still to come.
    pub fn end(&mut self) {
        self.0 = None;
    }
}
