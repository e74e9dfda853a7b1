//! One target of the access log: its bounded queue, and the thread that writes it out.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use rsp_core::config::LogFormat;

use super::line;
use crate::observe::Metrics;

/// Bytes that wait for the writer: several seconds of a busy site. As many may be in the writer's hands.
const QUEUED_BYTES_MAX: usize = 4 << 20;

/// Lines that wait for the writer.
const QUEUED_LINES_MAX: usize = 65_536;

/// From here on the writer is woken before its pause is over.
const BATCH: usize = 256 << 10;

/// How long the writer gathers lines after the first one: 50 system calls a second at most, however busy the site.
const GATHER: Duration = Duration::from_millis(20);

/// Between two attempts to write to a disk that refused.
const RETRY: Duration = Duration::from_secs(1);

/// One file, or standard output.
pub struct Target {
    shared: Arc<Shared>,
}

struct Shared {
    /// None: standard output.
    path: Option<PathBuf>,
    /// Of the line that says how many are missing; the format of who opened the target first.
    format: LogFormat,
    metrics: Arc<Metrics>,
    queue: Mutex<Queue>,
    /// Something for the writer to do.
    work: Condvar,
    /// The writer has ended.
    ended: Condvar,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    lines: usize,
    /// Lines that did not fit since the last batch was taken.
    dropped: u64,
    reopen: bool,
    closing: bool,
    ended: bool,
}

/// What the writer thread owns.
struct Writer {
    shared: Arc<Shared>,
    /// None: standard output.
    file: Option<File>,
    /// Whole lines on their way out.
    batch: Vec<u8>,
    /// Bytes of the batch that are out.
    written: usize,
    /// Whether the last attempt failed; the first failure is reported, its repetitions are counted.
    failing: bool,
}

impl Target {
    /// Opens the file and starts its writer.
    pub fn open(path: Option<PathBuf>, format: LogFormat, metrics: Arc<Metrics>) -> io::Result<Arc<Self>> {
        let file = path.as_ref().map(open_file).transpose()?;
        let shared = Arc::new(Shared {
            path,
            format,
            metrics,
            queue: Mutex::default(),
            work: Condvar::new(),
            ended: Condvar::new(),
        });
        let writer = Writer { shared: shared.clone(), file, batch: Vec::new(), written: 0, failing: false };
        thread::Builder::new().name("access-log".into()).stack_size(128 << 10).spawn(move || writer.run())?;
        Ok(Arc::new(Self { shared }))
    }

    /// Queues one line, or drops and counts it.
    pub fn push(&self, line: &[u8]) {
        let mut queue = self.shared.lock();
        let full = queue.bytes.len() + line.len() > QUEUED_BYTES_MAX || queue.lines >= QUEUED_LINES_MAX;
        if full || queue.closing {
            queue.dropped += 1;
            drop(queue);
            self.shared.metrics.access_log_dropped.inc();
            return;
        }
        let before = queue.bytes.len();
        queue.bytes.extend_from_slice(line);
        queue.lines += 1;
        let wake = before == 0 || (before < BATCH && queue.bytes.len() >= BATCH);
        drop(queue);
        if wake {
            self.shared.work.notify_one();
        }
    }

    /// Asks the writer to open its path anew.
    pub fn reopen(&self) {
        self.shared.lock().reopen = true;
        self.shared.work.notify_one();
    }

    /// Asks the writer to write what is queued, and to end.
    pub fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
    }

    /// Waits until the writer has ended, or until `deadline`.
    pub fn wait_closed(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let queue = self.shared.lock();
        let waited = self.shared.ended.wait_timeout_while(queue, left, |queue| !queue.ended);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn is_urgent(&self) -> bool {
        self.reopen || self.closing || self.bytes.len() >= BATCH
    }
}

impl Writer {
    fn run(mut self) {
        while self.turn() {}
        self.shared.lock().ended = true;
        self.shared.ended.notify_all();
    }

    /// One batch, or one more attempt at it; false at the end.
    fn turn(&mut self) -> bool {
        let (reopen, closing) = self.take_work();
        if reopen {
            self.reopen();
        }
        let attempt = self.write_batch();
        let failed = attempt.is_err();
        self.note(attempt);
        // At the end a disk that refuses is not waited for, but what was queued behind a batch still goes out.
        !closing || !(failed || self.shared.lock().bytes.is_empty())
    }

    /// Waits for lines, a wish or the time of the next attempt; tells whether to reopen and whether this is the end.
    fn take_work(&mut self) -> (bool, bool) {
        let shared = self.shared.clone();
        let mut queue = shared.lock();
        let unfinished = self.written < self.batch.len();
        if unfinished {
            let waited = shared.work.wait_timeout_while(queue, RETRY, |queue| !queue.reopen && !queue.closing);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        } else {
            let waited = shared.work.wait_while(queue, |queue| queue.bytes.is_empty() && !queue.is_urgent());
            queue = waited.unwrap_or_else(PoisonError::into_inner);
            let waited = shared.work.wait_timeout_while(queue, GATHER, |queue| !queue.is_urgent());
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            self.batch.clear();
            self.written = 0;
            std::mem::swap(&mut queue.bytes, &mut self.batch);
            queue.lines = 0;
            let dropped = std::mem::take(&mut queue.dropped);
            if dropped > 0 {
                line::push_dropped(&mut self.batch, shared.format, dropped, SystemTime::now());
            }
        }
        (std::mem::take(&mut queue.reopen), queue.closing)
    }

    fn write_batch(&mut self) -> io::Result<()> {
        while self.written < self.batch.len() {
            let rest = &self.batch[self.written..];
            let tried = match &mut self.file {
                Some(file) => file.write(rest),
                None => write_to_stdout(rest),
            };
            match tried {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.written += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        // One burst must not hold megabytes for ever.
        self.batch.shrink_to(BATCH);
        Ok(())
    }

    fn note(&mut self, attempt: io::Result<()>) {
        match attempt {
            Ok(()) => self.failing = false,
            Err(e) => {
                self.shared.metrics.access_log_errors.inc();
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!("can't write the access log {}: {e}; trying again", self.name());
                }
            }
        }
    }

    /// Keeps the old file if the path can't be opened.
    fn reopen(&mut self) {
        let Some(path) = &self.shared.path else { return };
        match open_file(path) {
            Ok(file) => self.file = Some(file),
            Err(e) => {
                self.shared.metrics.access_log_errors.inc();
                tracing::error!("can't reopen the access log {}: {e}; writing to the old file", self.name());
                return;
            }
        }
        // A line that a full disk cut in two starts over in the new file.
        let whole = memchr::memrchr(b'\n', &self.batch[..self.written]).map_or(0, |at| at + 1);
        self.written = whole;
    }

    fn name(&self) -> std::borrow::Cow<'_, str> {
        self.shared.path.as_ref().map_or("on standard output".into(), |path| path.to_string_lossy())
    }
}

fn open_file(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Past std's line buffer, which would make a system call of each line.
fn write_to_stdout(bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::write(io::stdout(), bytes)?)
}
