//! TLS over a plain socket: records go through pooled buffers, and none is held while nothing is in flight.
//!
//! **Invariant:** what the peer sent is decrypted once and in order; what follows its close, or a failure, is never read.
//! **Invariant:** an end without `close_notify` is an error, so that a cut is never taken for an end.

mod records;

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, ServerConfig,
    client::UnbufferedClientConnection,
    pki_types::{CertificateDer, ServerName},
};

use self::records::{Buffers, End, RECORD, Step, Task, failure, room};
use super::{Buffer, Security, Socket, Watched};

/// Plaintext of one record (RFC 8446 §5.1).
const PLAINTEXT: usize = 16 << 10;

/// Plaintext that one write accepts: four records, whose room is a buffer of 64 KiB.
const ACCEPTED: usize = (64 << 10) - 256;

/// The longest input of a handshake that is kept for one message in several records.
const HANDSHAKE: usize = 64 << 10;

/// A socket that speaks TLS, at either end.
///
/// What is written is accepted as soon as its records are made: at most one buffer of them waits for the kernel, and
/// [`poll_flush`](Socket::poll_flush) is ready when none does.
pub struct Secure {
    socket: Socket,
    end: End,
    buffers: Buffers,
    /// rustls keeps plaintext, or may find some in what came.
    holds_input: bool,
    /// The outgoing records were not offered to the kernel yet: they go with the next write, or before the next wait.
    corked: bool,
    input: Input,
    output: Output,
}

/// What is to be had of the peer.
enum Input {
    Open,
    /// It said that it writes no more.
    Closed,
    /// It ended without saying so.
    Cut,
    Failed(Box<rustls::Error>),
}

/// What becomes of our direction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    Open,
    /// Ends as soon as all is out.
    Closing,
    Closed,
    /// Broken, or to be reset: nothing more is sent.
    Dead,
}

impl Secure {
    /// The server's end of a plain socket of which nothing was read yet.
    pub fn accept(socket: Socket, config: Arc<ServerConfig>) -> io::Result<Self> {
        Ok(Self::new(socket, End::server(config).map_err(failure)?))
    }

    /// The client's end.
    pub fn connect(socket: Socket, config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<Self> {
        let end = UnbufferedClientConnection::new(config, name).map_err(failure)?;
        Ok(Self::new(socket, End::Client(end)))
    }

    fn new(socket: Socket, end: End) -> Self {
        Self {
            socket,
            end,
            buffers: Buffers::default(),
            // A client's first word waits in rustls.
            holds_input: true,
            corked: false,
            input: Input::Open,
            output: Output::Open,
        }
    }

    /// Ready when both sides have agreed. After an error an alert is with the kernel and our direction has ended: whoever
    /// closes then [discards](Self::poll_discard) for a while, as a reset may overtake the alert.
    pub fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.end.state().is_handshaking() && matches!(self.input, Input::Open) {
            self.holds_input = self.advance(&mut Task::Peek);
            if !self.holds_input && self.end.state().is_handshaking() {
                ready!(self.poll_out(cx))?;
                if matches!(self.input, Input::Open) {
                    ready!(self.poll_fill(cx))?;
                }
            }
        }
        if !self.end.state().is_handshaking() && !matches!(self.input, Input::Failed(_)) {
            return Poll::Ready(Ok(()));
        }
        let failed = self.fault();
        if self.output == Output::Open {
            self.output = Output::Closing;
        }
        // Whether the alert gets out changes nothing about the failure.
        let _ = ready!(self.poll_out(cx));
        Poll::Ready(Err(failed))
    }

    /// Throws away what arrives, undecrypted: how much, or 0 at the end or when the connection broke.
    pub fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let mut buffer = Buffer::take(RECORD);
        self.socket.poll_read(cx, buffer.spare()).map(|read| read.unwrap_or_default())
    }

    /// What the handshake found out. rustls tells nobody the name that was asked for: who looked into the ClientHello
    /// adds it, with the site and the subject of the [certificate](Self::peer_certificates).
    pub fn security(&self) -> Security {
        let state = self.end.state();
        Security {
            server_name: None,
            version: match state.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            },
            http2: state.alpn_protocol() == Some(b"h2"),
            subject: None,
            site: None,
        }
    }

    /// The peer's certificates, its own first.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.end.state().peer_certificates().unwrap_or_default()
    }

    /// Whether the handshake resumed an earlier session.
    pub fn resumed(&self) -> bool {
        self.end.state().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Our end; None on a unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.socket.local_address()
    }

    /// Reads plaintext. 0 is the end as the peer announced it, an end without is `UnexpectedEof`.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Some(spilled) = &mut self.buffers.spilled {
            let n = spilled.filled().len().min(into.len());
            into[..n].copy_from_slice(&spilled.filled()[..n]);
            spilled.consume(n);
            if spilled.is_empty() {
                self.buffers.spilled = None;
            }
            return Poll::Ready(Ok(n));
        }
        loop {
            if self.holds_input {
                let mut filled = 0;
                self.holds_input = self.advance(&mut Task::Read { into: &mut *into, filled: &mut filled });
                if filled > 0 || into.is_empty() {
                    return Poll::Ready(Ok(filled));
                }
            }
            match self.input {
                Input::Open => ready!(self.poll_fill(cx))?,
                Input::Closed => return Poll::Ready(Ok(0)),
                Input::Cut | Input::Failed(_) => return Poll::Ready(Err(self.fault())),
            }
        }
    }

    /// Ready when a read would not wait: plaintext, the end, or an error. Reads and decrypts, so that what is no data
    /// (a ticket, new keys) wakes nobody.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.buffers.spilled.is_some() {
                return Poll::Ready(Ok(()));
            }
            if self.holds_input {
                self.holds_input = self.advance(&mut Task::Peek);
                if self.holds_input {
                    return Poll::Ready(Ok(()));
                }
            }
            if !matches!(self.input, Input::Open) {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_fill(cx))?;
        }
    }

    /// Accepts up to four records' worth, once all that was accepted before is with the kernel.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if !self.corked {
            ready!(self.poll_out(cx))?;
        }
        let accepted = self.seal(parts)?;
        if let Poll::Ready(Err(e)) = self.poll_out(cx) {
            return Poll::Ready(Err(e));
        }
        Poll::Ready(Ok(accepted))
    }

    /// As [`poll_write`](Self::poll_write), for bytes that our `close_notify` follows at once.
    pub fn poll_write_last(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if !self.corked {
            ready!(self.poll_out(cx))?;
        }
        let accepted = self.seal(parts)?;
        if let Some(buffer) = &self.buffers.outgoing
            && let Poll::Ready(written) = self.socket.poll_write_last(cx, &[IoSlice::new(buffer.filled())])
        {
            self.corked = false;
            self.went_out(written)?;
        }
        Poll::Ready(Ok(accepted))
    }

    /// As [`poll_write`](Self::poll_write), without a runtime's knowledge: `WouldBlock` when nothing is accepted.
    pub fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.corked {
            self.out_now()?;
        }
        let accepted = self.seal(&[IoSlice::new(bytes)])?;
        match self.out_now() {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => Err(e),
            _ => Ok(accepted),
        }
    }

    /// Ready when all that was accepted is with the kernel.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_out(cx)
    }

    /// Bytes of records that wait for the kernel.
    pub fn unflushed(&self) -> usize {
        self.buffers.outgoing.as_ref().map_or(0, |buffer| buffer.filled().len())
    }

    /// Says `close_notify` and ends our direction behind it; what the kernel does not take at once follows with the next
    /// read, write or flush.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        if self.output != Output::Open {
            return if self.output == Output::Dead { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) };
        }
        self.announce_end();
        self.output = Output::Closing;
        match self.out_now() {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            done => done,
        }
    }

    /// Whether bytes wait to be read, here or with the kernel.
    pub fn has_unread(&self) -> bool {
        self.buffers.spilled.is_some() || self.holds_input || self.socket.has_unread()
    }

    /// Makes the close that follows a reset, without a `close_notify`.
    pub fn reset_on_close(&mut self) {
        self.output = Output::Dead;
        self.socket.reset_on_close();
    }

    /// As [`Wire::watch`](super::Wire::watch) says; a peer that said `close_notify` has ended its direction.
    pub fn watch(&mut self, cx: &mut Context<'_>) -> Watched {
        if self.poll_readable(cx).is_pending() {
            return Watched::Quiet;
        }
        match self.input {
            Input::Open if self.socket.watch(cx) != Watched::Ended => Watched::Unread,
            _ => Watched::Ended,
        }
    }

    /// As [`Socket::poll_broken`] says.
    pub fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.output == Output::Dead { Poll::Ready(()) } else { self.socket.poll_broken(cx) }
    }

    /// The socket beneath.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Steps until the task is done, or all input is processed; whether plaintext is left where it is.
    fn advance(&mut self, task: &mut Task<'_>) -> bool {
        let waiting = self.unflushed();
        let held = loop {
            match self.end.step(&mut self.buffers, task) {
                Step::Again if self.has_read_all(task) => break false,
                Step::Again => {}
                Step::Plaintext => break true,
                Step::PeerClosed => {
                    self.input = Input::Closed;
                    self.buffers.incoming = None;
                }
                Step::Handshaking | Step::Done => break false,
                Step::Failed(e) => {
                    self.fail(e);
                    break false;
                }
            }
        };
        self.corked |= waiting == 0 && self.unflushed() > 0;
        held
    }

    /// Whether a read took the last of what came, so that a step more would find nothing.
    fn has_read_all(&self, task: &Task<'_>) -> bool {
        let Task::Read { filled, .. } = task else { return false };
        **filled > 0 && self.buffers.incoming.is_none() && !self.end.state().wants_write()
    }

    fn announce_end(&mut self) {
        let is_up = !self.end.state().is_handshaking() && !matches!(self.input, Input::Failed(_));
        if is_up && self.output == Output::Open {
            self.advance(&mut Task::Close);
            self.holds_input = false;
        }
    }

    /// Keeps the reason, and has the alert ready to go.
    fn fail(&mut self, e: rustls::Error) {
        // While rustls wants to write, a step looks at no input.
        while self.end.state().wants_write() {
            self.end.step(&mut self.buffers, &mut Task::Write(&[]));
        }
        self.buffers.incoming = None;
        self.input = Input::Failed(Box::new(e));
    }

    fn fault(&self) -> io::Error {
        match &self.input {
            Input::Failed(e) => failure((**e).clone()),
            Input::Open | Input::Closed | Input::Cut => io::ErrorKind::UnexpectedEof.into(),
        }
    }

    /// Reads records once. Before it waits, what was held back to go with an answer goes out.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let filled = self.buffers.incoming.as_ref().map_or(0, |buffer| buffer.filled().len());
        let most = if self.end.state().is_handshaking() { HANDSHAKE } else { RECORD };
        if filled >= most {
            self.fail(rustls::Error::General("a message longer than its bound".to_owned()));
            return Poll::Ready(Ok(()));
        }
        let buffer = room(&mut self.buffers.incoming, if filled < RECORD { RECORD - filled } else { most - filled });
        let read = self.socket.poll_read(cx, buffer.spare());
        if let Poll::Ready(Ok(n)) = read
            && n > 0
        {
            buffer.commit(n);
            self.holds_input = true;
            return Poll::Ready(Ok(()));
        }
        if filled == 0 {
            self.buffers.incoming = None;
        }
        let read = match read {
            Poll::Ready(read) => read,
            Poll::Pending => {
                if self.buffers.outgoing.is_some() {
                    // A connection that broke is found by whoever reads next.
                    let _ = self.poll_out(cx);
                }
                return Poll::Pending;
            }
        };
        self.buffers.incoming = None;
        self.input = Input::Cut;
        if read.is_err() {
            // The kernel tells it once only.
            self.output = Output::Dead;
        }
        Poll::Ready(read.map(drop))
    }

    /// Makes records: small parts together in one, so that a head and its body are one.
    fn seal(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.output != Output::Open || self.end.state().is_handshaking() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut parts = parts.iter().filter(|part| !part.is_empty()).peekable();
        let Some(first) = parts.next() else { return Ok(0) };
        if parts.peek().is_none() || first.len() >= PLAINTEXT {
            let n = first.len().min(ACCEPTED);
            self.encrypt(&first[..n])?;
            return Ok(n);
        }
        let (mut record, mut rest) = (Buffer::take(PLAINTEXT), &[][..]);
        record.extend(first);
        for part in parts {
            let n = part.len().min(PLAINTEXT - record.filled().len());
            record.extend(&part[..n]);
            if n < part.len() {
                rest = &part[n..part.len().min(n + ACCEPTED - PLAINTEXT)];
                break;
            }
        }
        self.encrypt(record.filled())?;
        if !rest.is_empty() {
            self.encrypt(rest)?;
        }
        Ok(record.filled().len() + rest.len())
    }

    /// Plaintext that is held is spilled for it: rustls writes only when it has nothing to give.
    fn encrypt(&mut self, bytes: &[u8]) -> io::Result<()> {
        if matches!(self.input, Input::Failed(_)) {
            return Err(self.fault());
        }
        self.advance(&mut Task::Write(bytes));
        self.holds_input = false;
        if matches!(self.input, Input::Failed(_)) { Err(self.fault()) } else { Ok(()) }
    }

    /// Ready when all that was accepted is with the kernel, and our end if it was announced.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(buffer) = &self.buffers.outgoing {
            self.corked = false;
            let written = ready!(self.socket.poll_write(cx, &[IoSlice::new(buffer.filled())]));
            self.went_out(written)?;
        }
        Poll::Ready(self.end_if_closing())
    }

    fn out_now(&mut self) -> io::Result<()> {
        while let Some(buffer) = &self.buffers.outgoing {
            self.corked = false;
            match self.socket.write_now(buffer.filled()) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(e),
                written => self.went_out(written)?,
            }
        }
        self.end_if_closing()
    }

    fn went_out(&mut self, written: io::Result<usize>) -> io::Result<()> {
        let written = match written {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            written => written,
        };
        match written {
            Ok(n) => {
                let Some(buffer) = &mut self.buffers.outgoing else { return Ok(()) };
                buffer.consume(n);
                if buffer.is_empty() {
                    self.buffers.outgoing = None;
                }
                Ok(())
            }
            Err(e) => {
                self.buffers.outgoing = None;
                self.output = Output::Dead;
                Err(e)
            }
        }
    }

    fn end_if_closing(&mut self) -> io::Result<()> {
        match self.output {
            Output::Open | Output::Closed => Ok(()),
            Output::Dead => Err(io::ErrorKind::BrokenPipe.into()),
            Output::Closing => {
                self.output = Output::Closed;
                self.socket.shutdown_write()
            }
        }
    }
}

impl Drop for Secure {
    /// A peer that is told of the end can resume the session, and does not take it for a cut.
    fn drop(&mut self) {
        if self.output == Output::Dead {
            return;
        }
        self.announce_end();
        // Nobody waits any more.
        let _ = self.out_now();
    }
}

#[cfg(test)]
pub mod pair;
#[cfg(test)]
mod tests;
