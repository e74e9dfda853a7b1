//! One stream of a client's HTTP/2 connection, as a socket of its own: for what takes a connection over (RFC 8441), and for
//! whoever wants to know whether the client is still there.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, Response, StatusCode};

use super::{StreamPlace, Watched};

/// The most that one write takes: two frames of the usual size.
const PIECE: usize = 32 << 10;

/// A stream whose connection others drive.
///
/// What was written waits with the connection, within the windows of the client and the bound that the connection has.
pub struct Http2 {
    sending: Sending,
    /// What the client sends, where that is no request's body.
    receiving: Option<RecvStream>,
    unread: Bytes,
    /// Whether the client has ended its direction.
    ended: bool,
    /// Whether the end of ours must not look like a clean one.
    cut: bool,
    /// Counts it among the streams of its connection, where we are the client.
    _place: Option<StreamPlace>,
}

enum Sending {
    /// The head is not out yet.
    Head(SendResponse<Bytes>),
    Body(SendStream<Bytes>),
    /// Another one's, or ended.
    Gone,
}

impl Http2 {
    /// The stream of a request that is not answered yet. `receiving`: what the client sends, if that is no body.
    pub fn new(answer: SendResponse<Bytes>, receiving: Option<RecvStream>) -> Self {
        Self { sending: Sending::Head(answer), receiving, unread: Bytes::new(), ended: false, cut: false, _place: None }
    }

    /// A stream of ours to a server that has agreed to another protocol on it.
    pub fn agreed(sending: SendStream<Bytes>, receiving: RecvStream, place: StreamPlace) -> Self {
        Self {
            sending: Sending::Body(sending),
            receiving: Some(receiving),
            unread: Bytes::new(),
            ended: false,
            cut: false,
            _place: Some(place),
        }
    }

    /// Sends a 1xx head.
    pub fn inform(&mut self, status: StatusCode, headers: HeaderMap) -> io::Result<()> {
        let Sending::Head(answer) = &mut self.sending else { return Err(io::ErrorKind::NotConnected.into()) };
        answer.send_informational(with_head(status, headers)).map_err(gone)
    }

    /// Sends the head of the final answer, which is all of it if it `ends` the stream.
    pub fn respond(&mut self, status: StatusCode, headers: HeaderMap, ends: bool) -> io::Result<()> {
        let Sending::Head(answer) = &mut self.sending else { return Err(io::ErrorKind::NotConnected.into()) };
        let stream = answer.send_response(with_head(status, headers), ends).map_err(gone)?;
        self.sending = if ends { Sending::Gone } else { Sending::Body(stream) };
        Ok(())
    }

    /// The way out of the body, for one who writes it without this.
    pub fn take_body(&mut self) -> Option<SendStream<Bytes>> {
        match std::mem::replace(&mut self.sending, Sending::Gone) {
            Sending::Body(stream) => Some(stream),
            other => {
                self.sending = other;
                None
            }
        }
    }

    /// Ends the stream as an error.
    pub fn reset(&mut self, reason: Reason) {
        match std::mem::replace(&mut self.sending, Sending::Gone) {
            Sending::Head(mut answer) => answer.send_reset(reason),
            Sending::Body(mut stream) => stream.send_reset(reason),
            Sending::Gone => {}
        }
    }

    /// As [`Socket::poll_read`](super::Socket::poll_read).
    pub fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_readable(cx))?;
        let n = self.unread.len().min(into.len());
        into[..n].copy_from_slice(&self.unread[..n]);
        self.unread.advance(n);
        if let Some(stream) = &mut self.receiving {
            // A stream that was reset needs no window.
            let _ = stream.flow_control().release_capacity(n);
        }
        Poll::Ready(Ok(n))
    }

    /// Ready when a read would not wait: bytes, the end of what a client may send, or a reset.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_empty() && !self.ended {
            let Some(stream) = &mut self.receiving else {
                // All of the request is here, and its end says nothing of who sent it.
                ready!(self.poll_broken(cx));
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            };
            match ready!(stream.poll_data(cx)) {
                Some(Ok(bytes)) => self.unread = bytes,
                Some(Err(e)) => return Poll::Ready(Err(gone(e))),
                None => self.ended = true,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// As much as the windows take.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let wanted = wanted(parts);
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        let Sending::Body(stream) = &mut self.sending else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        if stream.capacity() < wanted {
            stream.reserve_capacity(wanted);
        }
        while stream.capacity() == 0 {
            match ready!(stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(e)) => return Poll::Ready(Err(gone(e))),
                None => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            }
        }
        Poll::Ready(send(stream, parts, wanted))
    }

    /// What goes at once; `WouldBlock` when that is nothing.
    pub fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Sending::Body(stream) = &mut self.sending else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let parts = [IoSlice::new(bytes)];
        let wanted = wanted(&parts);
        if wanted == 0 {
            return Ok(0);
        }
        stream.reserve_capacity(wanted);
        if stream.capacity() == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        send(stream, &parts, wanted)
    }

    /// Ends our direction: as a cut, if that was asked for.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        if self.cut {
            self.reset(Reason::CANCEL);
            return Ok(());
        }
        match std::mem::replace(&mut self.sending, Sending::Gone) {
            Sending::Body(mut stream) => stream.send_data(Bytes::new(), true).map_err(gone),
            other => {
                self.sending = other;
                Ok(())
            }
        }
    }

    /// Makes the end that follows a cut.
    pub fn reset_on_close(&mut self) {
        self.cut = true;
    }

    /// Whether bytes of the client are here.
    pub fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// As [`Wire::watch`](super::Wire::watch) says.
    pub fn watch(&mut self, cx: &mut Context<'_>) -> Watched {
        if self.poll_broken(cx).is_ready() {
            return Watched::Ended;
        }
        if self.receiving.is_none() || self.poll_readable(cx).is_pending() {
            return Watched::Quiet;
        }
        if self.unread.is_empty() { Watched::Ended } else { Watched::Unread }
    }

    /// Ready when the client has reset the stream, or its connection broke.
    pub fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sending {
            Sending::Head(answer) => answer.poll_reset(cx).map(|_| ()),
            Sending::Body(stream) => stream.poll_reset(cx).map(|_| ()),
            Sending::Gone => Poll::Pending,
        }
    }
}

fn wanted(parts: &[IoSlice<'_>]) -> usize {
    parts.iter().map(|part| part.len()).sum::<usize>().min(PIECE)
}

/// Sends what there is room for.
fn send(stream: &mut SendStream<Bytes>, parts: &[IoSlice<'_>], wanted: usize) -> io::Result<usize> {
    let n = stream.capacity().min(wanted);
    let mut piece = BytesMut::with_capacity(n);
    for part in parts {
        let rest = n - piece.len();
        piece.extend_from_slice(&part[..part.len().min(rest)]);
    }
    stream.send_data(piece.freeze(), false).map_err(gone)?;
    Ok(n)
}

fn with_head(status: StatusCode, headers: HeaderMap) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn gone(e: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, e)
}
