//! The access log: a line a request, formatted on the worker, written by one thread a target.
//!
//! **Invariant:** a slow or full disk never holds up a request: the queue is bounded, what does not fit is dropped,
//! counted, and said in the log when there is room again.

mod line;
mod writer;

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant, SystemTime},
};

use rsp_core::config::{self, LogFormat};

use self::writer::Target;
use super::Metrics;

/// All access logs of the process, by target, so that a reload goes on with the same queue and file.
pub struct AccessLogs {
    metrics: Arc<Metrics>,
    /// None: standard output. A target that no site names any more is written out and closed.
    targets: Mutex<HashMap<Option<PathBuf>, Weak<Target>>>,
}

/// Where one site's requests are logged; a clone is the same log.
#[derive(Clone)]
pub struct AccessLog {
    format: LogFormat,
    target: Option<Arc<Target>>,
}

/// What is logged of one request.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// None: a unix socket.
    pub client: Option<IpAddr>,
    /// Who is known to have sent it, by `auth`.
    pub user: Option<&'a str>,
    /// When the request came.
    pub time: SystemTime,
    /// As received.
    pub method: &'a str,
    /// As received.
    pub target: &'a [u8],
    /// `HTTP/1.1`
    pub version: &'a str,
    /// What the client was told; 499: it went away before.
    pub status: u16,
    /// Bytes of the answer that went out.
    pub bytes_out: u64,
    /// The `Referer` field.
    pub referer: Option<&'a [u8]>,
    /// The `User-Agent` field.
    pub user_agent: Option<&'a [u8]>,
    /// The `Host` field.
    pub host: Option<&'a [u8]>,
    /// The request id's number; printed as 16 hex digits.
    pub id: u64,
    /// The site's name.
    pub site: &'a str,
    /// Upstream and endpoint that answered; None: rsp itself.
    pub upstream: Option<(&'a str, &'a str)>,
    /// Request head complete to answer sent.
    pub took: Duration,
    /// Request sent to the upstream's answer head.
    pub upstream_took: Option<Duration>,
    /// One word for what went wrong.
    pub fault: Option<&'a str>,
    /// Whether it is the beginning or the end of a session; None: neither, a request.
    pub session: Option<Moment>,
    /// The `Origin` field, where the format shows it.
    pub origin: Option<&'a [u8]>,
    /// The program that talks with the client.
    pub command: Option<&'a Path>,
}

/// When a line of a session is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It begins.
    Connect,
    /// It has ended.
    Disconnect,
}

impl AccessLogs {
    /// No log is open yet; dropped lines and write errors are counted in `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, targets: Mutex::default() }
    }

    /// The log that `wanted` describes: the one that is open for its target, or a new one.
    ///
    /// # Errors
    /// The file can't be opened for appending, or its writer thread can't be started.
    pub fn open(&self, wanted: &config::AccessLog) -> io::Result<AccessLog> {
        if wanted.format == LogFormat::None {
            return Ok(AccessLog::off());
        }
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let target = match targets.get(&wanted.to).and_then(Weak::upgrade) {
            Some(target) => target,
            None => {
                let target = Target::open(wanted.to.clone(), wanted.format, self.metrics.clone());
                let target = target.map_err(|e| named(wanted.to.as_deref(), &e))?;
                targets.retain(|_, target| target.strong_count() > 0);
                targets.insert(wanted.to.clone(), Arc::downgrade(&target));
                target
            }
        };
        Ok(AccessLog { format: wanted.format, target: Some(target) })
    }

    /// Opens every file anew at its path: after a log was renamed. Returns at once.
    pub fn reopen(&self) {
        self.live().iter().for_each(|target| target.reopen());
    }

    /// Writes out what is queued and ends all writers; waits for `at_most` in all. Later lines are lost.
    pub fn flush_and_close(&self, at_most: Duration) {
        let deadline = Instant::now() + at_most;
        let live = self.live();
        live.iter().for_each(|target| target.close());
        live.iter().for_each(|target| target.wait_closed(deadline));
    }

    fn live(&self) -> Vec<Arc<Target>> {
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        targets.values().filter_map(Weak::upgrade).collect()
    }
}

fn named(path: Option<&Path>, e: &io::Error) -> io::Error {
    let name = path.map_or("standard output".into(), Path::to_string_lossy);
    io::Error::new(e.kind(), format!("cannot open the access log {name}: {e}"))
}

impl AccessLog {
    /// The log that writes nothing.
    pub const fn off() -> Self {
        Self { format: LogFormat::None, target: None }
    }

    /// Whether a record is worth gathering.
    pub fn is_on(&self) -> bool {
        self.target.is_some()
    }

    /// Whether sessions are told when they begin, too, and with the `Origin` of the page.
    pub fn tells_of_sessions(&self) -> bool {
        self.format == LogFormat::Websocketd
    }

    /// Queues one line, or drops and counts it when the queue is full; never waits for the disk.
    pub fn write(&self, record: &Record<'_>) {
        thread_local! {
            static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let Some(target) = &self.target else { return };
        LINE.with_borrow_mut(|line| {
            line.clear();
            line::push(line, self.format, record);
            target.push(line);
        });
    }
}

#[cfg(test)]
mod tests;
