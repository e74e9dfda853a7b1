//! What a WebSocket's client sends, taken out of whatever reads it comes in; no buffer is held between two of them.

use std::{
    io,
    task::{Context, Poll},
};

use rsp_core::frame::websocket::{CloseCode, Deflate, Event, Fault, Inflater, Receiver, Role, Rules};

use crate::stream::{Buffer, Wire};

/// Bytes of a frame's head that may have come without the rest of it.
const HEAD_MAX: usize = 14;

/// Events that are taken before others have their turn.
const TURN: u8 = 32;

/// The reading side of one WebSocket.
pub struct Incoming {
    receiver: Receiver,
    /// The beginning of a frame's head.
    head: [u8; HEAD_MAX],
    head_length: u8,
    /// Events since others had their turn.
    taken: u8,
}

impl Incoming {
    /// `message_max`: bytes of a message.
    pub fn new(message_max: usize, deflate: Option<&Deflate>) -> Self {
        let rules = Rules { role: Role::Server, message_max };
        Self {
            receiver: Receiver::new(rules, deflate.map(Inflater::new)),
            head: [0; HEAD_MAX],
            head_length: 0,
            taken: 0,
        }
    }

    /// Reads what there is, behind what was kept; None: the client has ended. Waits for nothing.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, wire: &Wire) -> Poll<io::Result<Option<Buffer>>> {
        let mut buffer = Buffer::take(16 << 10);
        let head = &self.head[..usize::from(self.head_length)];
        buffer.spare()[..head.len()].copy_from_slice(head);
        buffer.commit(head.len());
        match wire.poll_read(cx, &mut buffer, None) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Ready(Ok(0)) => Poll::Ready(Ok(None)),
            Poll::Ready(Ok(_)) => {
                self.head_length = 0;
                Poll::Ready(Ok(Some(buffer)))
            }
        }
    }

    /// The next event of what was read. None: more is needed, and the rest, which is not to be given again, is kept.
    ///
    /// # Errors
    /// What the connection must end with.
    pub fn next(&mut self, buffer: &mut Buffer) -> Result<Option<Event>, Fault> {
        let (taken, event) = self.receiver.receive(buffer.filled_mut())?;
        buffer.consume(taken);
        match event {
            None => self.keep(buffer)?,
            Some(_) => self.taken = self.taken.saturating_add(1),
        }
        Ok(event)
    }

    /// Whether it is time that others have their turn; asked once for each.
    pub fn ends_turn(&mut self) -> bool {
        let is_over = self.taken >= TURN;
        if is_over {
            self.taken = 0;
        }
        is_over
    }

    fn keep(&mut self, buffer: &mut Buffer) -> Result<(), Fault> {
        let rest = buffer.filled();
        let Some(room) = self.head.get_mut(..rest.len()) else {
            return Err(Fault { code: CloseCode::INTERNAL, reason: "a head that is too long" });
        };
        room.copy_from_slice(rest);
        self.head_length = rest.len() as u8;
        buffer.consume(rest.len());
        Ok(())
    }
}
