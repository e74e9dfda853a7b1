//! A worker's HTTP/2 connections to one endpoint, shared by its requests.
//!
//! **Invariant:** a stream is asked for only where the peer has room for it as far as we know; what it did not look at may
//! be sent again.

mod connection;
mod exchange;
mod flight;

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Notify, oneshot};

pub(super) use self::{
    connection::Connection,
    exchange::ask,
    flight::{Flight, request},
};
use super::{
    Endpoint,
    connect::{Opened, open},
};

/// Connections of one worker to one endpoint: with so many, a thousand requests are in flight there.
const CONNECTIONS_MAX: usize = 8;

/// The connections to one endpoint.
pub struct Lines {
    open: RefCell<Vec<Rc<Connection>>>,
    /// Who waits for the connection that somebody opens at this moment; None: nobody opens one.
    waiting: RefCell<Option<Vec<Told>>>,
    /// A stream has ended, or a connection.
    freed: Rc<Notify>,
    /// What the endpoint chose by ALPN the last time.
    speaks_http1: Cell<bool>,
    /// How many streams it allowed the last time: until a new connection says it again, more might be refused.
    allowed: Cell<usize>,
    sweeps_max: u32,
    /// How many there were at the last sweep, and the gauge that they were added to.
    counted: Cell<i64>,
    gauge: Gauge,
}

/// Tells one who waits what became of it.
type Told = oneshot::Sender<Result<(), Failure>>;

/// Why there is no connection, for all who waited for it.
#[derive(Clone)]
struct Failure {
    code: Option<i32>,
    kind: io::ErrorKind,
    text: Rc<str>,
}

/// What an endpoint offers for a request.
pub enum Line {
    /// A connection with room for a stream; whether there was one before.
    Stream(Rc<Connection>, bool),
    /// It speaks HTTP/1.1 only; the connection by which that was found out.
    Http1(Option<Opened>),
}

impl Lines {
    /// Idle connections are kept for so many sweeps; `gauge` counts them.
    pub fn new(sweeps_max: u32, gauge: Gauge) -> Self {
        Self {
            open: RefCell::default(),
            waiting: RefCell::default(),
            freed: Rc::default(),
            speaks_http1: Cell::new(false),
            allowed: Cell::new(usize::MAX),
            sweeps_max,
            counted: Cell::new(0),
            gauge,
        }
    }

    /// A connection with room, a new one if need be. Waits for room on all there may be for `timeout` at most.
    pub async fn line(&self, endpoint: &Arc<Endpoint>, timeout: Duration) -> io::Result<Line> {
        let patience = tokio::time::sleep(timeout);
        tokio::pin!(patience);
        loop {
            if let Some(connection) = self.with_room() {
                return Ok(Line::Stream(connection, true));
            }
            if self.speaks_http1.get() {
                return Ok(Line::Http1(None));
            }
            let freed = self.freed.notified();
            if self.open.borrow().len() >= CONNECTIONS_MAX {
                tokio::select! {
                    () = freed => continue,
                    () = &mut patience => return Err(io::Error::new(io::ErrorKind::ResourceBusy, "no stream was free")),
                }
            }
            let Some(told) = self.wait_for_another() else { return self.open(endpoint, timeout).await };
            // Whoever opened it may have gone away: then it is somebody else's turn.
            if let Ok(Err(failure)) = told.await {
                return Err(failure.into());
            }
        }
    }

    /// A place among those who wait for a connection that is being opened; None: nobody opens one, and it is up to the caller.
    fn wait_for_another(&self) -> Option<oneshot::Receiver<Result<(), Failure>>> {
        let mut waiting = self.waiting.borrow_mut();
        let Some(others) = &mut *waiting else {
            *waiting = Some(Vec::new());
            return None;
        };
        let (tell, told) = oneshot::channel();
        others.push(tell);
        Some(told)
    }

    async fn open(&self, endpoint: &Arc<Endpoint>, timeout: Duration) -> io::Result<Line> {
        let opening = Opening(self);
        let line = Line::begin(endpoint, &[], timeout, &self.freed).await;
        if let Ok(Line::Stream(connection, _)) = &line {
            self.open.borrow_mut().push(Rc::clone(connection));
        }
        self.speaks_http1.set(matches!(line, Ok(Line::Http1(_))));
        opening.tell(&line.as_ref().map(|_| ()).map_err(Failure::of));
        line
    }

    /// The first one with room, so that those that are not needed become idle; ended ones are dropped on the way.
    fn with_room(&self) -> Option<Rc<Connection>> {
        let mut open = self.open.borrow_mut();
        open.retain(|connection| connection.is_open());
        if let Some(allowed) = open.iter().find_map(|connection| connection.allowed()) {
            self.allowed.set(allowed);
        }
        open.iter().find(|connection| connection.has_room(self.allowed.get())).cloned()
    }

    /// Lets go of what has been idle too long or was closed; whether nothing is left.
    pub fn sweep(&self) -> bool {
        let mut open = self.open.borrow_mut();
        open.retain(|connection| connection.is_open() && connection.sweep() <= self.sweeps_max);
        // What it speaks is asked anew when it was not needed for a while.
        self.speaks_http1.set(false);
        let idle = open.iter().filter(|connection| connection.is_idle()).count();
        self.count(idle);
        open.is_empty() && self.waiting.borrow().is_none()
    }

    fn count(&self, now: usize) {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        self.gauge.inc_by(now - self.counted.replace(now));
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.count(0);
    }
}

impl Line {
    /// A connection that is nobody else's, and begins with this.
    pub async fn of_its_own(endpoint: &Arc<Endpoint>, first: &[u8], timeout: Duration) -> io::Result<Self> {
        Self::begin(endpoint, first, timeout, &Rc::default()).await
    }

    async fn begin(endpoint: &Arc<Endpoint>, first: &[u8], timeout: Duration, freed: &Rc<Notify>) -> io::Result<Self> {
        let began = tokio::time::Instant::now();
        let opened = open(endpoint, first, true, timeout).await?;
        // Without TLS both ends know what they speak.
        if opened.security.as_ref().is_some_and(|security| !security.http2) {
            return Ok(Self::Http1(Some(opened)));
        }
        let left = timeout.saturating_sub(began.elapsed());
        let connection = tokio::time::timeout(left, Connection::begin(opened.socket, endpoint, freed)).await;
        let connection = connection.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        Ok(Self::Stream(Rc::new(connection), false))
    }
}

/// While somebody opens a connection.
struct Opening<'a>(&'a Lines);

impl Opening<'_> {
    fn tell(self, outcome: &Result<(), Failure>) {
        let waiting = self.0.waiting.borrow_mut().take();
        for tell in waiting.into_iter().flatten() {
            // Who went away meanwhile wants to know nothing.
            let _ = tell.send(outcome.clone());
        }
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.waiting.borrow_mut().take();
    }
}

impl Failure {
    fn of(e: &io::Error) -> Self {
        Self { code: e.raw_os_error(), kind: e.kind(), text: e.to_string().into() }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure.code {
            Some(code) => Self::from_raw_os_error(code),
            None => Self::new(failure.kind, &*failure.text),
        }
    }
}
