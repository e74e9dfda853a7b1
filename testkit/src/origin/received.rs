//! What an origin remembers of the requests it got.

use std::{
    fmt,
    sync::{Condvar, Mutex},
    time::Duration,
};

use crate::{Pattern, wire::Head, wire::Headers};

/// A request whose head has arrived: what a script chooses its answer by.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// As received.
    pub method: String,
    /// As received.
    pub target: String,
    /// Request line and headers.
    pub head: Head,
    /// The origin's connections, counted from 1.
    pub connection: u64,
    /// The requests of that connection, counted from 1.
    pub on_connection: u64,
    /// The requests of the origin, counted from 1.
    pub number: usize,
}

/// A request as the origin received it.
#[derive(Clone)]
pub struct Received {
    /// What the script saw.
    pub request: RequestHead,
    /// Head and body as they came over the wire, the first mebibyte of it.
    pub raw: Vec<u8>,
    /// The body without its framing, the first mebibyte of it.
    pub body: Vec<u8>,
    /// How long the body is, however much of it was kept.
    pub body_length: u64,
    /// Whether the body is the beginning of the [`Pattern`].
    pub body_is_pattern: bool,
    /// After a chunked body.
    pub trailers: Headers,
    /// Whether it arrived to its end.
    pub complete: bool,
    pattern: Pattern,
}

/// Enough for every assertion; longer bodies are checked by [`Pattern`].
const KEPT_MAX: usize = 1 << 20;

impl Received {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.request.head.headers.get(name)
    }

    /// All of [`Received::raw`] as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    pub(super) fn add(&mut self, raw: &[u8], data: &[u8]) {
        keep(&mut self.raw, raw);
        keep(&mut self.body, data);
        self.body_length += data.len() as u64;
        self.body_is_pattern &= self.pattern.matches(data);
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Received { request, body_length, complete, .. } = self;
        let mut shown = out.debug_struct("Received");
        shown.field("start", &request.head.start).field("connection", &request.connection);
        shown.field("headers", &request.head.headers).field("body_length", body_length).field("complete", complete);
        shown.finish_non_exhaustive()
    }
}

fn keep(kept: &mut Vec<u8>, more: &[u8]) {
    let room = KEPT_MAX.saturating_sub(kept.len());
    kept.extend_from_slice(&more[..more.len().min(room)]);
}

/// All requests in the order of their heads.
#[derive(Default)]
pub(super) struct Journal {
    all: Mutex<Vec<Received>>,
    changed: Condvar,
}

impl Journal {
    pub(super) fn all(&self) -> Vec<Received> {
        self.all.lock().unwrap().clone()
    }

    /// Writes down a head; what it is known by from now on is its index, one less than its number.
    pub(super) fn open(&self, raw: &[u8], connection: u64, on_connection: u64) -> RequestHead {
        let mut all = self.all.lock().unwrap();
        let head = Head::parse(raw);
        let (method, target) = (head.word(0).to_owned(), head.word(1).to_owned());
        let request = RequestHead { method, target, head, connection, on_connection, number: all.len() + 1 };
        all.push(Received {
            request: request.clone(),
            raw: raw.to_vec(),
            body: Vec::new(),
            body_length: 0,
            body_is_pattern: true,
            trailers: Headers::default(),
            complete: false,
            pattern: Pattern::new(),
        });
        self.changed.notify_all();
        request
    }

    pub(super) fn update(&self, request: &RequestHead, change: impl FnOnce(&mut Received)) {
        change(&mut self.all.lock().unwrap()[request.number - 1]);
        self.changed.notify_all();
    }

    pub(super) fn raw(&self, request: &RequestHead) -> Vec<u8> {
        self.all.lock().unwrap()[request.number - 1].raw.clone()
    }

    #[track_caller]
    pub(super) fn wait_for(&self, deadline: Duration, enough: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let guard = self.all.lock().unwrap();
        let (guard, timeout) = self.changed.wait_timeout_while(guard, deadline, |all| !enough(all)).unwrap();
        let all = guard.clone();
        // Unlocked before the panic, which would poison it.
        drop(guard);
        assert!(!timeout.timed_out(), "not the requests waited for within {deadline:?}, only {all:#?}");
        all
    }
}
