//! A small ACME authority (RFC 8555, 8737, 9773) that believes nothing: it checks signatures, nonces, URLs and the states
//! of orders, fetches the challenges, and signs.

mod book;
mod jws;
mod probe;
mod server;

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use serde_json::json;

use self::{book::Book, server::Listening};
use crate::{Authority, wait::free_port};

/// An authority on a port of its own, over https.
pub struct AcmeAuthority {
    shared: Arc<Shared>,
    port: u16,
    listening: Option<Listening>,
}

/// What goes wrong once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcmeFault {
    /// The nonce counts as used.
    BadNonce,
    /// 429 `rateLimited`, with these seconds as `Retry-After`.
    RateLimited(u64),
    /// 500 with a page of HTML.
    Broken,
    /// The answer comes so late.
    Slow(Duration),
    /// 200 with bytes that mean nothing.
    Garbage,
}

struct Shared {
    authority: Authority,
    base: String,
    book: Mutex<Book>,
}

impl AcmeAuthority {
    /// One that listens.
    pub fn start() -> Self {
        let mut authority = Self::new();
        authority.open();
        authority
    }

    /// One that can't be reached before [`open`](Self::open).
    #[allow(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        let port = free_port();
        let base = format!("https://127.0.0.1:{port}");
        let shared = Shared { authority: Authority::new(), base, book: Mutex::default() };
        Self { shared: Arc::new(shared), port, listening: None }
    }

    /// Listens from now on.
    pub fn open(&mut self) {
        self.listening = Some(Listening::start(self.port, &self.shared));
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("{}/directory", self.shared.base)
    }

    /// Whom to believe, it and what it signs: a PEM text.
    pub fn ca(&self) -> String {
        self.shared.authority.pem()
    }

    /// Where challenges are looked for, on 127.0.0.1; until this is told they wait.
    pub fn looks_at(&self, http: u16, tls: u16) {
        self.book().ports = Some((http, tls));
    }

    /// The next request whose path begins so goes wrong.
    pub fn fails(&self, path: &str, fault: AcmeFault) {
        self.book().faults.push((path.to_owned(), fault));
    }

    /// Whether challenges are found wrong, whatever is there.
    pub fn finds_challenges_wrong(&self, yes: bool) {
        self.book().is_strict = yes;
    }

    /// How long what it signs from now on lives.
    pub fn signs_for(&self, lifetime: Duration) {
        self.book().lifetime = lifetime;
    }

    /// Asks for renewals between these times from now on, RFC 9773; and to ask again after a second.
    pub fn wants_renewal_within(&self, start: Duration, end: Duration) {
        let now = std::time::SystemTime::now();
        self.book().window = Some((now + start, now + end));
    }

    /// `POST /new-order` and the like, in order.
    pub fn requests(&self) -> Vec<String> {
        self.book().requests.clone()
    }

    /// How many requests had a path that begins so.
    pub fn count(&self, path: &str) -> usize {
        self.requests().iter().filter(|one| one.split(' ').nth(1).is_some_and(|own| own.starts_with(path))).count()
    }

    /// The chains that it has signed: PEM texts.
    pub fn signed(&self) -> Vec<String> {
        self.book().certificates.clone()
    }

    /// Whom it may write to, of the account that was changed last.
    pub fn contact(&self) -> Option<String> {
        self.book().accounts.last().and_then(|account| account.contact.clone())
    }

    /// What was wrong with requests, in its own words; badNonce is not.
    pub fn complaints(&self) -> Vec<String> {
        self.book().complaints.clone()
    }

    /// How many orders said which certificate they replace.
    pub fn replaced(&self) -> usize {
        self.book().orders.iter().filter(|order| order.replaces.is_some()).count()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.book()
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    fn directory(&self) -> serde_json::Value {
        let url = |path: &str| format!("{}{path}", self.base);
        json!({
            "newNonce": url("/new-nonce"),
            "newAccount": url("/new-account"),
            "newOrder": url("/new-order"),
            "renewalInfo": url("/renewal-info"),
        })
    }
}
