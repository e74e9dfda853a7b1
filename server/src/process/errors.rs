//! What a process writes to its standard error becomes messages of ours.

use std::{io, time::Duration};

use tokio::{
    net::unix::pipe,
    sync::oneshot,
    task::yield_now,
    time::{Instant, sleep_until},
};

/// Bytes of a line that are shown; the rest of a longer one is left out.
const SHOWN_MAX: usize = 2 << 10;

/// Bytes that are read at once.
const PIECE: usize = 4 << 10;

/// Reads a process's standard error for as long as it lives, so that it never has to wait. Dropped, it goes on for
/// as long as the process may take to end.
pub struct Listener {
    _over: oneshot::Sender<()>,
}

/// Shows each line of `errors` as a message: `cat (process 123): text`; on a task of this thread.
///
/// How many messages there may be is a bound of theirs: those that nobody takes in time are dropped and counted. `ladder`
/// is how long the process may take to end. One that left the group and kept the pipe is listened to no longer than that.
pub fn log_errors(errors: pipe::Receiver, name: impl Into<String>, id: u32, ladder: Duration) -> Listener {
    let (sender, over) = oneshot::channel();
    let name = name.into();
    tokio::task::spawn_local(async move {
        let mut lines = Lines::new(move |line: &str| tracing::info!("{name} (process {id}): {line}"));
        tokio::select! {
            () = listen(&errors, &mut lines) => {}
            () = end(over, ladder) => {}
        }
        lines.end();
    });
    Listener { _over: sender }
}

async fn end(over: oneshot::Receiver<()>, ladder: Duration) {
    // Nothing is ever sent: this is the drop.
    let _ = over.await;
    sleep_until(Instant::now() + ladder).await;
}

async fn listen(errors: &pipe::Receiver, lines: &mut Lines<impl FnMut(&str)>) {
    while errors.readable().await.is_ok() {
        if !take(errors, lines) {
            return;
        }
        // One that says more than can be shown leaves others of the thread their turn.
        yield_now().await;
    }
}

/// Takes what is there; false at the end. The buffer is no part of a future, which lives as long as its process.
fn take(errors: &pipe::Receiver, lines: &mut Lines<impl FnMut(&str)>) -> bool {
    let mut piece = [0; PIECE];
    match errors.try_read(&mut piece) {
        Ok(0) => false,
        Ok(length) => {
            lines.take(&piece[..length]);
            true
        }
        Err(e) => matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
    }
}

/// Cuts a stream into lines to show, 2 KiB of each at most.
pub struct Lines<F> {
    /// The beginning of a line; never more than is shown of one, and empty between two.
    begun: Vec<u8>,
    /// Whether the line has more bytes than are shown.
    is_cut: bool,
    show: F,
}

impl<F: FnMut(&str)> Lines<F> {
    /// Lines that `show` gets.
    pub fn new(show: F) -> Self {
        Self { begun: Vec::new(), is_cut: false, show }
    }

    /// More of the stream.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.add(&bytes[..end]);
            self.show();
            bytes = &bytes[end + 1..];
        }
        self.add(bytes);
    }

    /// The end of the stream: a last line without its end is one, too.
    pub fn end(&mut self) {
        if !self.begun.is_empty() {
            self.show();
        }
    }

    fn add(&mut self, part: &[u8]) {
        let room = SHOWN_MAX - self.begun.len();
        self.is_cut |= part.len() > room;
        self.begun.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn show(&mut self) {
        // Its memory goes, too: most processes say nothing more for a long time.
        let line = std::mem::take(&mut self.begun);
        let mut text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned();
        if std::mem::take(&mut self.is_cut) {
            text.push('…');
        }
        (self.show)(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[&[u8]]) -> Vec<String> {
        let mut all = Vec::new();
        let mut lines = Lines::new(|line: &str| all.push(line.to_owned()));
        pieces.iter().for_each(|piece| lines.take(piece));
        lines.end();
        all
    }

    #[test]
    fn lines_are_shown_however_they_come() {
        assert_eq!(shown(&[b"one\ntw", b"o\r\n\nthr", b"ee"]), ["one", "two", "", "three"]);
        assert_eq!(shown(&[b"not \xff UTF-8\n"]), ["not \u{fffd} UTF-8"]);
        assert_eq!(shown(&[b"", b"\n"]), [""]);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_whole() {
        let long = vec![b'a'; SHOWN_MAX];
        let cut = format!("{}…", "a".repeat(SHOWN_MAX));
        assert_eq!(shown(&[&long, b"\nb"]), [&"a".repeat(SHOWN_MAX), "b"]);
        assert_eq!(shown(&[&long, b"a", &long, b"\nb\n"]), [&cut, "b"]);
        assert_eq!(shown(&[&long, b"a"]), [cut]);
    }

    #[test]
    fn who_says_more_than_can_be_shown_leaves_others_their_turn() {
        tokio::runtime::LocalRuntime::new().unwrap().block_on(async {
            const ALL: usize = 8 * PIECE;
            let (mut sender, receiver) = pipe::pipe().unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut sender, &[b'\n'; ALL]).await.unwrap();
            let shown = std::cell::Cell::new(0);
            let mut lines = Lines::new(|_: &str| shown.set(shown.get() + 1));
            let mut listening = std::pin::pin!(listen(&receiver, &mut lines));
            let mut before = 0;
            std::future::poll_fn(|cx| {
                assert!(listening.as_mut().poll(cx).is_pending());
                let now = shown.get();
                assert!(now - before <= PIECE, "{} at once", now - before);
                before = now;
                if now == ALL { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            })
            .await;
        });
    }
}
