//! One connection of an origin: heads in, the script's steps out.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    time::Duration,
};

use super::{Answer, RequestHead, Shared, Step};
use crate::{
    Pattern, Socket,
    wait::pause,
    wire::{Framing, Wire},
};

/// Serves until the peer or the script ends it. What it returns is dropped by the caller, which closes.
pub(super) fn serve(socket: Socket, number: u64, origin: &Shared) -> Wire {
    let mut wire = Wire::new(socket);
    let mut on_connection = 0;
    while let Ok(Some(raw)) = wire.head() {
        on_connection += 1;
        let request = origin.journal.open(&raw, number, on_connection);
        let answer = (origin.script)(&request);
        match (Exchange { wire: &mut wire, origin, unread: request.head.framing(Framing::Length(0)), request })
            .run(answer)
        {
            Ok(After::NextRequest) => {}
            Ok(After::Close) | Err(_) => break,
        }
    }
    wire
}

enum After {
    NextRequest,
    Close,
}

/// A request and what of it is still to be read.
struct Exchange<'a> {
    wire: &'a mut Wire,
    origin: &'a Shared,
    request: RequestHead,
    unread: Framing,
}

impl Exchange<'_> {
    fn run(mut self, answer: Answer) -> io::Result<After> {
        if self.unread == Framing::Length(0) {
            self.origin.journal.update(&self.request, |received| received.complete = true);
        }
        for step in answer.0 {
            match step {
                Step::ReadBody => self.read_body()?,
                Step::ReadSome(length) => self.read_some(length)?,
                Step::Write(bytes) => self.write(&bytes)?,
                Step::WritePattern(length) => self.write_pattern(length)?,
                Step::WriteReceived => self.write_received()?,
                Step::Wait(time) => pause(time),
                Step::Pass(gate) => _ = gate.pass(Duration::from_secs(30)),
                Step::Tunnel => return self.tunnel(),
                Step::Hang => return self.discard(),
                Step::HalfClose => {
                    self.wire.socket.shutdown(Shutdown::Write)?;
                    return self.discard();
                }
                Step::Close => return Ok(After::Close),
                Step::Reset => {
                    self.wire.socket.reset_on_close()?;
                    return Ok(After::Close);
                }
            }
        }
        Ok(if self.unread == Framing::Length(0) { After::NextRequest } else { After::Close })
    }

    fn read_body(&mut self) -> io::Result<()> {
        let (journal, request) = (&self.origin.journal, &self.request);
        let mut sink = |raw: &[u8], data: &[u8]| journal.update(request, |received| received.add(raw, data));
        let trailers = self.wire.body(self.unread, &mut sink)?;
        self.unread = Framing::Length(0);
        journal.update(request, |received| (received.trailers, received.complete) = (trailers, true));
        Ok(())
    }

    /// Only for bodies with a length; of a chunked one the framing would be lost.
    fn read_some(&mut self, length: u64) -> io::Result<()> {
        let Framing::Length(left) = self.unread else {
            return Err(io::Error::other("ReadSome needs a body with Content-Length"));
        };
        let (journal, request) = (&self.origin.journal, &self.request);
        let mut sink = |raw: &[u8], data: &[u8]| journal.update(request, |received| received.add(raw, data));
        self.wire.exactly(length.min(left), &mut sink)?;
        self.unread = Framing::Length(left - length.min(left));
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.wire.socket).write_all(bytes)
    }

    fn write_pattern(&self, mut length: u64) -> io::Result<()> {
        let mut pattern = Pattern::new();
        let mut piece = vec![0; 64 * 1024];
        while length > 0 {
            let part = usize::try_from(length).unwrap_or(usize::MAX).min(piece.len());
            pattern.fill(&mut piece[..part]);
            self.write(&piece[..part])?;
            length -= part as u64;
        }
        Ok(())
    }

    fn write_received(&self) -> io::Result<()> {
        let raw = self.origin.journal.raw(&self.request);
        self.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", raw.len()).as_bytes())?;
        self.write(&raw)
    }

    fn tunnel(self) -> io::Result<After> {
        let back = self.wire.socket.share()?;
        let mut echoed = Ok(());
        while echoed.is_ok() && self.wire.some(u64::MAX, &mut |raw, _| echoed = (&back).write_all(raw))? > 0 {}
        Ok(After::Close)
    }

    fn discard(self) -> io::Result<After> {
        let mut piece = [0; 16 * 1024];
        while (&self.wire.socket).read(&mut piece)? > 0 {}
        Ok(After::Close)
    }
}
