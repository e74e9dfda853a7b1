//! A program while it runs: the body goes in, what it says comes out, both at once.

use std::{
    future::poll_fn,
    io,
    os::unix::process::ExitStatusExt,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rsp_core::frame::{cgi, http1::HeadLimits};
use tokio::{net::unix::pipe, time::Instant};

use super::{
    errors::Errors,
    feed::{Feed, Waits},
};
use crate::{
    error::{Fault, Kind},
    message::{Body, Request, RequestId},
    process::{Process, Running},
    stream::{Buffer, Timer, Watched, Wire},
};

/// Heads of programs: as those of upstreams.
const HEAD_LIMITS: HeadLimits = HeadLimits { head: 64 << 10, headers: 128, uri: 0 };

/// How long a program may take to exit when it has said everything. Only then is it known that it came to its own end.
const EXIT_MAX: Duration = Duration::from_secs(1);

/// A running program with its pipes. Dropped, it is let to end.
pub struct Program {
    feed: Feed,
    output: pipe::Receiver,
    errors: Errors,
    running: Running,
    /// What it said; None while that is nothing.
    pub said: Option<Buffer>,
    clock: Clock,
    capacity: usize,
    /// Whoever waits for the answer.
    client: Option<Rc<Wire>>,
    name: Box<str>,
    id: RequestId,
}

/// Bounds how long a program may do nothing.
struct Clock {
    timer: Timer,
    /// When the present wait ends; set at its beginning.
    deadline: Option<Instant>,
    timeout: Duration,
}

impl Program {
    /// A program that has just started, to answer `request`, whose body goes in. `timeout` bounds each of its steps,
    /// `capacity` what is on its way.
    pub fn new(process: Process, name: &str, request: &mut Request, (timeout, capacity): (Duration, usize)) -> Self {
        let Process { input, output, errors, running } = process;
        let body = std::mem::replace(&mut request.body, Body::Empty);
        Self {
            feed: Feed::new(input, body),
            output,
            errors: Errors::new(errors, name, running.id(), request.id),
            running,
            said: None,
            clock: Clock { timer: Timer::default(), deadline: None, timeout },
            capacity,
            client: request.interim.wire(),
            name: name.into(),
            id: request.id,
        }
    }

    /// The head of its answer; what follows is in `said`.
    ///
    /// # Errors
    /// `UpstreamDead`, `UpstreamMalformed`, `UpstreamSlow`: none came. `ClientGone` and other faults of the client.
    pub async fn head(&mut self) -> Result<cgi::Head, Fault> {
        let mut searched = 0;
        let head = poll_fn(|cx| self.poll_head(cx, &mut searched)).await;
        head.map_err(|fault| self.blamed(fault))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, searched: &mut usize) -> Poll<Result<cgi::Head, Fault>> {
        loop {
            let read = ready!(self.poll_read(cx, HEAD_LIMITS.head))?;
            let Some(said) = self.said.as_mut().filter(|_| read > 0) else { return Poll::Ready(Err(self.no_head())) };
            if let Some(end) = cgi::head_end(said.filled(), *searched) {
                let head = cgi::parse_head(&said.filled()[..end], &HEAD_LIMITS);
                said.consume(end);
                self.clock.deadline = None;
                return Poll::Ready(head.map_err(|e| Fault::new(Kind::UpstreamMalformed, e.to_string())));
            }
            *searched = said.filled().len();
            if *searched >= HEAD_LIMITS.head {
                return Poll::Ready(Err(Fault::new(Kind::UpstreamMalformed, "head too large")));
            }
        }
    }

    fn no_head(&mut self) -> Fault {
        let begun = if self.said.as_ref().is_some_and(|said| !said.is_empty()) { "inside of its" } else { "without a" };
        let last = self.errors.last();
        let last = if last.is_empty() { String::new() } else { format!("; its last words: {last}") };
        let status = self.running.status().map(|status| format!(" ({status})")).unwrap_or_default();
        Fault::new(Kind::UpstreamDead, format!("it ended {begun} head{status}{last}"))
    }

    /// Reads more of what it says behind its head; 0 at the end. Each read is a step.
    pub fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        let read = ready!(self.poll_read(cx, self.capacity));
        self.clock.deadline = None;
        Poll::Ready(read)
    }

    /// Reads with room for `capacity` bytes; 0 at the end. Meanwhile its input and its standard error go on.
    fn poll_read(&mut self, cx: &mut Context<'_>, capacity: usize) -> Poll<Result<usize, Fault>> {
        let waits = self.drive(cx)?;
        if let Poll::Ready(read) = poll_read(&self.output, &mut self.said, capacity, cx) {
            // What it wrote before its last output is here by now.
            self.errors.poll(cx)?;
            return Poll::Ready(read.map_err(|e| Fault::new(Kind::UpstreamCut, e.to_string())));
        }
        let is_gone = |client: &Rc<Wire>| client.watch(cx) == Watched::Ended;
        let is_late = match waits {
            Waits::Client => {
                self.clock.deadline = None;
                return Poll::Pending;
            }
            // It costs a process: who ends its direction is taken for one who left.
            Waits::Over if self.client.as_ref().is_some_and(is_gone) => {
                return Poll::Ready(Err(Fault::new(Kind::ClientGone, "the client went away before the end")));
            }
            Waits::Over | Waits::Program => self.clock.poll(cx),
        };
        is_late.map(|()| Err(Fault::new(Kind::UpstreamSlow, "it neither reads nor says more in time")))
    }

    /// Lets its input and its standard error go on.
    pub fn drive(&mut self, cx: &mut Context<'_>) -> Result<Waits, Fault> {
        self.errors.poll(cx)?;
        let (waits, moved) = self.feed.poll(cx)?;
        if moved {
            self.clock.deadline = None;
        }
        Ok(waits)
    }

    /// Waits until it has taken the whole body, or takes no more of it.
    pub fn poll_fed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        match self.drive(cx)? {
            Waits::Over => Poll::Ready(Ok(())),
            Waits::Client => Poll::Pending,
            // It has answered, so that the rest is not worth an error.
            Waits::Program => self.clock.poll(cx).map(Ok),
        }
    }

    /// Waits until it has exited, for a moment: one that was killed did not come to the end of what it had to say.
    pub fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.errors.poll(cx)?;
        self.clock.timeout = EXIT_MAX;
        if let Poll::Ready(exited) = self.running.poll_exited(cx) {
            let signal = self.running.status().and_then(|status| status.signal());
            return Poll::Ready(match (exited, signal) {
                (Ok(()), None) => Ok(()),
                (Ok(()), Some(signal)) => {
                    Err(Fault::new(Kind::UpstreamCut, format!("it was ended by signal {signal}")))
                }
                (Err(e), _) => Err(Fault::new(Kind::UpstreamCut, e.to_string())),
            });
        }
        self.clock.poll(cx).map(Ok)
    }

    /// The fault with the name of the program.
    pub fn blamed(&self, fault: Fault) -> Fault {
        Fault { cause: format!("{}: {}", self.name, fault.cause).into(), ..fault }
    }

    /// Says that it broke its word, though the client got a whole answer.
    pub fn warn(&self, what: &str) {
        tracing::warn!("{} {what} (request {})", self.name, self.id);
    }

    /// Lets a program whose answer is known come to its end by itself; what it still says is dropped. After `at_most` it
    /// is let to end as any other.
    pub fn leave(mut self, at_most: Duration) {
        self.feed.end();
        self.said = None;
        tokio::task::spawn_local(async move {
            // Nobody is told any more: it has answered, and the ladder ends it whatever it did.
            let _ = tokio::time::timeout(at_most, poll_fn(|cx| self.poll_silence(cx))).await;
        });
    }

    /// Ready when it has nothing more to say; what it says until then is dropped.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let complained = self.errors.poll(cx);
            let read = ready!(poll_read(&self.output, &mut self.said, self.capacity, cx));
            self.said = None;
            if complained.is_err() || !matches!(read, Ok(1..)) {
                return Poll::Ready(());
            }
        }
    }
}

impl Clock {
    /// Ready when the present wait is too long.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + self.timeout);
        self.timer.poll(cx, deadline)
    }
}

/// Reads once into `said`, which is borrowed only when there is something to read.
fn poll_read(
    output: &pipe::Receiver,
    said: &mut Option<Buffer>,
    capacity: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(output.poll_read_ready(cx))?;
        let buffer = said.get_or_insert_with(|| Buffer::take(capacity));
        match output.try_read(buffer.spare()) {
            Ok(n) => {
                buffer.commit(n);
                return Poll::Ready(Ok(n));
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                if buffer.is_empty() {
                    *said = None;
                }
            }
            Err(e) => return Poll::Ready(Err(e)),
        }
    }
}
