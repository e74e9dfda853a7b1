//! The way out: what a program says behind its head is the body of the answer.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use rsp_core::frame::http1::Framing;

use super::program::Program;
use crate::{
    error::{Fault, Kind},
    message::Source,
    stream::Buffer,
};

/// The body of a program's answer.
pub struct Output {
    /// None when it is over.
    program: Option<Program>,
    /// Bytes that were read and not yet consumed.
    said: Option<Buffer>,
    /// Bytes that are still to be read; None: as many as come.
    left: Option<u64>,
    /// Whether it has said everything.
    silent: bool,
    fault: Option<Fault>,
    timeout: Duration,
}

impl Output {
    /// The body behind a head that stated this length, if it did.
    pub fn new(mut program: Program, length: Option<u64>, timeout: Duration) -> Self {
        let said = program.said.take();
        let mut output = Self { program: Some(program), said: None, left: length, silent: false, fault: None, timeout };
        output.take(said);
        output
    }

    /// Takes what was read: no more of it than was stated.
    fn take(&mut self, said: Option<Buffer>) {
        let Some(mut said) = said.filter(|said| !said.is_empty()) else { return };
        if let Some(left) = &mut self.left {
            let have = said.filled().len();
            let fits = usize::try_from(*left).unwrap_or(have).min(have);
            *left -= fits as u64;
            if fits < have
                && let Some(program) = &self.program
            {
                program.warn("says more than its Content-Length: the rest is not sent");
            }
            said.truncate(fits);
        }
        self.said = Some(said).filter(|said| !said.is_empty());
    }

    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        loop {
            if self.said.is_some() {
                return Poll::Ready(Ok(true));
            }
            let Some(program) = &mut self.program else { return Poll::Ready(Ok(false)) };
            if self.left == Some(0) {
                ready!(program.poll_fed(cx))?;
                if let Some(program) = self.program.take() {
                    program.leave(self.timeout);
                }
                return Poll::Ready(Ok(false));
            }
            if self.silent {
                ready!(program.poll_ended(cx))?;
                self.program = None;
                return Poll::Ready(Ok(false));
            }
            match ready!(program.poll_more(cx))? {
                0 if self.left.is_some() => {
                    let cause = "it said less than its Content-Length";
                    return Poll::Ready(Err(Fault::new(Kind::UpstreamCut, cause)));
                }
                0 => self.silent = true,
                _ => {
                    let said = program.said.take();
                    self.take(said);
                }
            }
        }
    }

    /// The program is let to end at once; a fault stays.
    fn fail(&mut self, fault: Fault) -> Fault {
        let fault = match self.program.take() {
            Some(program) => program.blamed(fault),
            None => fault,
        };
        self.fault.insert(fault).clone()
    }
}

impl Source for Output {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        if let Some(fault) = &self.fault {
            return Poll::Ready(Err(fault.clone()));
        }
        self.poll_pull(cx).map_err(|fault| self.fail(fault))
    }

    fn chunk(&self) -> &[u8] {
        self.said.as_ref().map_or(&[], Buffer::filled)
    }

    fn consume(&mut self, n: usize) {
        if let Some(said) = &mut self.said {
            said.consume(n);
            if said.is_empty() {
                self.said = None;
            }
        }
    }

    fn framing(&self) -> Framing {
        let here = self.chunk().len() as u64;
        match self.left {
            Some(left) => Framing::Length(left + here),
            None => Framing::Chunked,
        }
    }

    fn poll_background(&mut self, cx: &mut Context<'_>) {
        let Some(program) = self.program.as_mut().filter(|_| self.fault.is_none()) else { return };
        if let Err(fault) = program.drive(cx) {
            self.fail(fault);
        }
    }
}
