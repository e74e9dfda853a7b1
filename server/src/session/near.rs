//! The near side of a talk: a client, as it is listened to.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use rsp_core::frame::{
    event_stream,
    websocket::{Event, Opcode},
};
use tokio::time::Instant;

use super::{Brought, Far, goodbye::CLOSING, incoming::Incoming, posts::Posted, pulse::Pulse, talk::Ending};
use crate::stream::{Buffer, Timer, Watched, Wire};

/// Reads of a client before the far side has its turn.
const READS: u8 = 4;

/// How often a client is looked at whose unread bytes hide its end.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A client.
pub(super) enum Near {
    /// By WebSocket.
    Socket(Box<Socket>),
    /// By event stream and POST.
    Stream(Box<Posted>),
}

/// The reading side of a WebSocket.
pub(super) struct Socket {
    incoming: Incoming,
    /// What was read and not taken yet.
    input: Buffer,
    /// The answer to the last ping (RFC 6455 §5.5.3).
    pong: Option<Bytes>,
    leaving: Leaving,
}

/// What is known of the end of a client that is not read.
#[derive(Default)]
pub(super) struct Leaving {
    /// When it is gone, unless some more of what it said is taken.
    until: Option<Instant>,
    timer: Timer,
}

impl Near {
    /// One by WebSocket, of whom something may have been read already.
    pub fn socket(incoming: Incoming, input: Buffer) -> Self {
        Self::Socket(Box::new(Socket { incoming, input, pong: None, leaving: Leaving::default() }))
    }

    /// Gives the far side what the client says, as long as it has room for it. False: there may be more.
    pub fn take(
        &mut self,
        cx: &mut Context<'_>,
        wire: &Wire,
        far: &mut impl Far,
        pulse: &mut Pulse,
    ) -> Result<bool, Ending> {
        match self {
            Self::Socket(socket) => socket.take(cx, wire, far, pulse),
            Self::Stream(posted) => posted.take(cx, wire, far),
        }
    }

    /// Whether the client is owed an answer of ours.
    pub fn owes(&self) -> bool {
        matches!(self, Self::Socket(socket) if socket.pong.is_some())
    }

    /// Answers its last ping.
    pub fn pay(&mut self, brought: &mut Brought) {
        if let Self::Socket(socket) = self
            && let Some(payload) = socket.pong.take()
        {
            brought.frame(Opcode::Pong, &payload, false);
        }
    }

    /// Asks for a sign of life.
    pub fn ping(&self, brought: &mut Brought) {
        match self {
            Self::Socket(_) => brought.frame(Opcode::Ping, b"", false),
            Self::Stream(_) => brought.piece(event_stream::HEARTBEAT),
        }
    }

    /// Says goodbye. None: without a code.
    pub fn close(&self, brought: &mut Brought, (code, reason): (Option<u16>, &str)) {
        match self {
            Self::Socket(_) => {
                let mut payload = code.map_or(Vec::new(), |code| code.to_be_bytes().to_vec());
                payload.extend_from_slice(reason.as_bytes());
                brought.frame(Opcode::Close, &payload, false);
            }
            Self::Stream(_) => {
                let code = code.unwrap_or(1000);
                brought.event(Some("close"), &format!("{{\"code\":{code},\"reason\":\"{reason}\"}}"));
                brought.last_piece();
            }
        }
    }
}

impl Socket {
    fn take(
        &mut self,
        cx: &mut Context<'_>,
        wire: &Wire,
        far: &mut impl Far,
        pulse: &mut Pulse,
    ) -> Result<bool, Ending> {
        for _ in 0..READS {
            while !self.input.is_empty() {
                if far.poll_room(cx).is_pending() {
                    pulse.heard();
                    return self.leaving.watch(cx, wire, !self.input.is_empty());
                }
                self.leaving.until = None;
                match self.incoming.next(&mut self.input).map_err(Ending::Fault)? {
                    None => break,
                    Some(Event::Text(text)) => far.give(&text, true),
                    Some(Event::Binary(bytes)) => far.give(&bytes, false),
                    Some(Event::Ping(payload)) => self.pong = Some(payload),
                    Some(Event::Pong(_)) => {}
                    Some(Event::Close(close)) => return Err(Ending::Closed(close.map(|close| close.code))),
                }
            }
            self.input = Buffer::default();
            if far.poll_room(cx).is_pending() {
                pulse.heard();
                return self.leaving.watch(cx, wire, !self.input.is_empty());
            }
            match wire.poll_readable(cx, None) {
                Poll::Pending => return Ok(true),
                Poll::Ready(Err(_)) => return Err(Ending::Gone),
                Poll::Ready(Ok(())) => {}
            }
            match self.incoming.poll_read(cx, wire) {
                Poll::Pending => return Ok(true),
                Poll::Ready(Err(_)) => return Err(Ending::Gone),
                Poll::Ready(Ok(None)) => return Err(Ending::Left),
                Poll::Ready(Ok(Some(input))) => self.input = input,
            }
            pulse.heard();
        }
        Ok(false)
    }
}

impl Leaving {
    /// Whether a client that can't be read now has left: what it said before is taken for a while still. `has_more`: not
    /// all that was read is taken yet.
    fn watch(&mut self, cx: &mut Context<'_>, wire: &Wire, has_more: bool) -> Result<bool, Ending> {
        if wire.poll_broken(cx).is_ready() {
            return Err(Ending::Gone);
        }
        let look = match wire.watch(cx) {
            Watched::Quiet => return Ok(true),
            Watched::Unread => Instant::now() + LOOK_EVERY,
            Watched::Ended if !has_more && !wire.has_unread() => return Err(Ending::Left),
            Watched::Ended => *self.until.get_or_insert_with(|| Instant::now() + CLOSING),
        };
        match self.timer.poll(cx, look) {
            Poll::Ready(()) if self.until.is_some() => Err(Ending::Gone),
            Poll::Ready(()) => Ok(false),
            Poll::Pending => Ok(true),
        }
    }
}
