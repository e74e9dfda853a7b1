//! A client and a far side, and what they say to each other.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rsp_core::frame::websocket::{CloseCode, Fault};
use tokio::{
    task::yield_now,
    time::{Instant, timeout},
};

use super::{
    Brought, End, Far,
    goodbye::{CLOSING, DISCARDED_MAX, part},
    near::Near,
    pulse::{Pulse, Silent},
    sessions::Seat,
};
use crate::stream::Wire;

/// Short turns before others of the worker have theirs; a long one, with a full buffer of either side, is the last.
const TURNS: u8 = 16;

/// A talk that goes on.
pub(super) struct Talk<F> {
    pub wire: Rc<Wire>,
    pub near: Near,
    pub far: F,
    pub brought: Brought,
    pub pulse: Pulse,
    pub seat: Seat,
    pub write_timeout: Duration,
    /// Bytes that are out.
    pub sent: u64,
}

/// Why a talk ends.
pub(super) enum Ending {
    /// The client said so, and with which code.
    Closed(Option<CloseCode>),
    /// The client ended its direction without a word.
    Left,
    /// The connection is gone, or as good as that.
    Gone,
    /// The client broke the protocol.
    Fault(Fault),
    /// The far side ended.
    Far(End),
    /// rsp goes.
    Away,
}

impl<F: Far> Talk<F> {
    /// The whole life; the bytes that went to the client.
    pub async fn lead(mut self) -> u64 {
        let ending = poll_fn(|cx| self.poll(cx)).await;
        Box::pin(self.end(ending)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        for _ in 0..TURNS {
            if let Poll::Ready(Err(_)) = self.poll_out(cx) {
                return Poll::Ready(Ending::Gone);
            }
            let took_all = match self.near.take(cx, &self.wire, &mut self.far, &mut self.pulse) {
                Ok(took_all) => took_all,
                Err(ending) => return Poll::Ready(ending),
            };
            let _ = self.far.poll_given(cx);
            if self.seat.poll_over(cx).is_ready() {
                return Poll::Ready(Ending::Away);
            }
            let has_room = self.brought.unsent().is_empty();
            let brought = match has_room {
                true => self.far.poll_bring(cx, &mut self.brought),
                false => self.far.poll_end(cx).map(Err),
            };
            match brought {
                Poll::Ready(Ok(())) if !took_all || self.brought.is_full() => break,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(end)) => return Poll::Ready(Ending::Far(end)),
                Poll::Pending if !took_all => break,
                Poll::Pending if has_room && self.near.owes() => {}
                Poll::Pending => match self.poll_pulse(cx, has_room) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Ending::Gone),
                },
            }
        }
        // Whoever waits for the kernel comes before us, too: a plain wake would be the next of this worker's tasks, which
        // looks there after dozens of them only.
        let _ = pin!(yield_now()).poll(cx);
        Poll::Pending
    }

    /// Asks for a sign of life when it is time.
    fn poll_pulse(&mut self, cx: &mut Context<'_>, has_room: bool) -> Poll<Result<(), Silent>> {
        if !has_room {
            // It is slow, and can't answer what it did not read yet: that has a time-out of its own.
            self.pulse.heard();
        }
        ready!(self.pulse.poll(cx))?;
        if has_room {
            self.near.ping(&mut self.brought);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what there is for the client; ready when it is out.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.brought.unsent().is_empty() {
                self.near.pay(&mut self.brought);
            }
            let unsent = self.brought.unsent();
            if unsent.is_empty() {
                return self.wire.poll_flush(cx, Some(self.write_timeout));
            }
            let n = ready!(self.wire.poll_write(cx, &[IoSlice::new(unsent)], Some(self.write_timeout)))?;
            self.brought.forget(n);
            self.sent += n as u64;
        }
    }

    /// Tells each side of the end of the other one.
    async fn end(mut self, ending: Ending) -> u64 {
        let said = match ending {
            Ending::Gone => {
                self.wire.reset_on_close();
                return self.sent;
            }
            Ending::Closed(code) => (code.map(CloseCode::get), ""),
            Ending::Left => (None, ""),
            Ending::Fault(fault) => {
                tracing::debug!("a client of {:?} ends: {fault}", self.wire.peer());
                (Some(fault.code.get()), fault.reason)
            }
            Ending::Far(end) => (Some(end.said().0), end.said().1),
            Ending::Away => (Some(CloseCode::AWAY.get()), "the server goes down"),
        };
        self.near.close(&mut self.brought, said);
        let has_left = matches!(ending, Ending::Closed(_) | Ending::Left);
        let Self { wire, far, brought, write_timeout, sent, near, pulse, seat } = self;
        drop((near, pulse, seat));
        let given = pin!(async move {
            let mut far = far;
            if has_left {
                // What a client says before it leaves is for the far side still; mostly it is out already.
                let _ = timeout(CLOSING, poll_fn(|cx| far.poll_given(cx))).await;
            }
        });
        let told = pin!(tell(&wire, brought, write_timeout, !has_left));
        sent + tokio::join!(given, told).1
    }
}

/// Writes the last that a client is told, and parts from it; the bytes that are out.
async fn tell(wire: &Wire, mut brought: Brought, timeout: Duration, must_wait: bool) -> u64 {
    let mut sent = 0;
    while !brought.unsent().is_empty() {
        let unsent = brought.unsent();
        let Ok(n) = poll_fn(|cx| wire.poll_write(cx, &[IoSlice::new(unsent)], Some(timeout))).await else {
            wire.reset_on_close();
            return sent;
        };
        brought.forget(n);
        sent += n as u64;
    }
    if poll_fn(|cx| wire.poll_flush(cx, Some(timeout))).await.is_err() {
        wire.reset_on_close();
        return sent;
    }
    part(wire, must_wait, Instant::now() + CLOSING, DISCARDED_MAX).await;
    sent
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;
    use crate::{
        session::{Sessions, Shared, brought::Speech, incoming::Incoming},
        stream::{Buffer, Peer, Socket},
    };

    /// A far side that takes everything, and says as much as there is room for, so many times.
    struct Flood {
        given: usize,
        brought: usize,
        most: usize,
    }

    impl Far for Flood {
        fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }

        fn give(&mut self, _: &[u8], _: bool) {
            self.given += 1;
        }

        fn poll_bring(&mut self, _: &mut Context<'_>, brought: &mut Brought) -> Poll<Result<(), End>> {
            if self.brought == self.most {
                return Poll::Pending;
            }
            self.brought += 1;
            brought.message(&[b'x'; 70_000], true);
            Poll::Ready(Ok(()))
        }
    }

    fn talk(ours: UnixStream, most: usize) -> Talk<Flood> {
        Talk {
            wire: Rc::new(Wire::new(Socket::Unix(ours), Peer::Unix)),
            near: Near::socket(Incoming::new(1000, None), Buffer::default()),
            far: Flood { given: 0, brought: 0, most },
            brought: Brought::new(Speech::Frames(None)),
            pulse: Pulse::new(None, true, 0),
            seat: Sessions::new(&Shared::default()).sit(),
            write_timeout: Duration::from_secs(5),
            sent: 0,
        }
    }

    #[test]
    fn who_says_much_to_a_client_leaves_other_talks_their_turn() {
        tokio::runtime::LocalRuntime::new().unwrap().block_on(async {
            let (ours, _theirs) = UnixStream::pair().unwrap();
            let mut talk = talk(ours, 2);
            poll_fn(|cx| {
                let before = talk.far.brought;
                assert!(talk.poll(cx).is_pending());
                assert!(talk.far.brought - before <= 1, "{} at once", talk.far.brought - before);
                if talk.far.brought == 2 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        });
    }

    #[test]
    fn a_client_that_says_much_leaves_other_talks_their_turn() {
        const FRAME: &[u8] = b"\x81\x81\0\0\0\0x";
        tokio::runtime::LocalRuntime::new().unwrap().block_on(async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            theirs.writable().await.unwrap();
            let frames = theirs.try_write(&FRAME.repeat(20_000)).unwrap() / FRAME.len();
            assert!(frames > 15_000, "{frames}");
            let mut talk = talk(ours, 0);
            poll_fn(|cx| {
                let before = talk.far.given;
                assert!(talk.poll(cx).is_pending());
                assert!(talk.far.given - before < 12_000, "{} at once", talk.far.given - before);
                if talk.far.given == frames { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        });
    }
}
