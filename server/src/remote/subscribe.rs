//! `rsp subscribe`: prints the messages of a channel as they come, and comes back with its position when it has to.

use std::{
    io::{self, Write},
    process::ExitCode,
    str::FromStr,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rsp_core::channel::Position;
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::Value;

use super::{
    DONE, Failure, NOT_RUNNING, REFUSED, Target,
    call::{Address, Answer, Ask, CallError, call, open},
    channel_path, find, refusal,
    reply::Reply,
    token,
};

/// Bytes of one object: a message is in it, escaped.
const LINE_MAX: usize = 256 << 20;

/// Before the first attempt to come back, and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A position stays as it is.
const IN_A_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-');

/// What to print.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Of which channel.
    pub channel: String,
    /// Objects instead of messages alone.
    pub is_json: bool,
    /// After this position; None: from now on.
    pub since: Option<String>,
    /// So many of the latest messages first.
    pub history: Option<usize>,
}

/// Why it no longer listens.
enum End {
    /// Nobody reads what it prints.
    Unread,
    /// It is not wanted there.
    Refused(String),
    /// Nobody is there, or no longer; None: it ended as it should.
    Gone(Option<CallError>),
}

/// One that prints.
struct Subscriber<'a> {
    subscription: &'a Subscription,
    address: Address,
    token: Option<String>,
    /// How far it has printed.
    position: Option<String>,
    /// The latest messages are still to be printed.
    history: Option<usize>,
    was_connected: bool,
    is_connected: bool,
    back_off: Duration,
    is_terminal: bool,
}

/// Prints until it is told to end or nobody reads it: 0. 1: nobody was there at first; 2: refused.
pub fn subscribe(subscription: &Subscription, target: &Target) -> ExitCode {
    end_at_a_signal();
    let ended = find(target).map_err(|failure| (failure.to_string(), NOT_RUNNING)).and_then(|address| {
        let mut subscriber = Subscriber {
            subscription,
            address,
            token: token(),
            position: subscription.since.clone(),
            history: subscription.history,
            was_connected: false,
            is_connected: false,
            back_off: BACK_OFF.0,
            is_terminal: io::IsTerminal::is_terminal(&io::stdout()),
        };
        subscriber.run()
    });
    match ended {
        Ok(()) => ExitCode::from(DONE),
        Err((why, code)) => {
            say(&why);
            ExitCode::from(code)
        }
    }
}

impl Subscriber<'_> {
    fn run(&mut self) -> Result<(), (String, u8)> {
        loop {
            self.is_connected = false;
            let begun = Instant::now();
            let end = self.listen();
            match end {
                End::Unread => return Ok(()),
                End::Refused(why) => return Err((why, REFUSED)),
                End::Gone(e) if !self.was_connected => return Err((self.failure(e).to_string(), NOT_RUNNING)),
                End::Gone(e) if self.is_connected => self.tell_of_the_end(e),
                // That it tries again has been told.
                End::Gone(_) => {}
            }
            if self.is_connected && begun.elapsed() > BACK_OFF.1 {
                self.back_off = BACK_OFF.0;
            }
            if is_unread(self.back_off) {
                return Ok(());
            }
            self.back_off = (self.back_off * 2).min(BACK_OFF.1);
        }
    }

    /// Connects and prints for as long as it lasts.
    fn listen(&mut self) -> End {
        let mut path = channel_path(&self.subscription.channel);
        if let Some(position) = &self.position {
            path += &format!("?since={}", utf8_percent_encode(position, IN_A_QUERY));
        }
        let fields = [(header::ACCEPT, HeaderValue::from_static("application/x-ndjson"))];
        let ask = Ask { method: Method::GET, path: &path, fields: &fields, body: b"" };
        let mut reply = match open(&self.address, &ask, self.token.as_deref()) {
            Ok(reply) => reply,
            Err(e) => return End::Gone(Some(e)),
        };
        if reply.status != 200 {
            let status = reply.status;
            return match reply.text(64 << 10) {
                Err(e) => End::Gone(Some(e)),
                // One that is ending or has only begun, or whose broker is away.
                Ok(_) if status >= 500 && self.was_connected => End::Gone(None),
                Ok(text) => End::Refused(refusal(&Answer { status, text })),
            };
        }
        if self.was_connected {
            say("connected again");
        }
        (self.was_connected, self.is_connected) = (true, true);
        match reply.set_patience(None) {
            Ok(()) => self.print_all(&mut reply),
            Err(e) => End::Gone(Some(CallError::Broken(e))),
        }
    }

    fn print_all(&mut self, reply: &mut Reply) -> End {
        let mut lines = Lines::default();
        loop {
            if !reply.has_early() && is_unread_before(reply) {
                return End::Unread;
            }
            match reply.piece() {
                Ok(Some(piece)) => lines.push(&piece),
                Ok(None) => return End::Gone(None),
                Err(e) => return End::Gone(Some(e)),
            }
            let mut out = Vec::new();
            while let Some(line) = lines.next() {
                if let Err(e) = self.take(&line, &mut out) {
                    return End::Gone(Some(e));
                }
            }
            if lines.is_too_long() {
                return End::Refused("a message that is too long to be printed".to_owned());
            }
            if io::stdout().write_all(&out).and_then(|()| io::stdout().flush()).is_err() {
                return End::Unread;
            }
        }
    }

    /// Takes one object; what is to be printed goes to `out`.
    fn take(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<(), CallError> {
        if line.trim_ascii().is_empty() {
            // Only a sign that somebody is there.
            return Ok(());
        }
        let object: Value = serde_json::from_slice(line)
            .map_err(|e| CallError::Broken(io::Error::new(io::ErrorKind::InvalidData, e)))?;
        let position = object["position"].as_str();
        match object["event"].as_str() {
            Some("subscribed") => {
                if let (Some(most), Some(position)) = (self.history.take(), position) {
                    self.look_back(most, position, out)?;
                }
            }
            Some("reset") => say(&format!("some messages are lost; going on from {}", position.unwrap_or("the end"))),
            _ => {}
        }
        self.print(&object, line, out);
        if let Some(position) = position {
            self.position = Some(position.to_owned());
        }
        Ok(())
    }

    /// The latest messages up to a position; those behind it are on their way.
    fn look_back(&self, most: usize, end: &str, out: &mut Vec<u8>) -> Result<(), CallError> {
        let path = format!("{}?history={most}", channel_path(&self.subscription.channel));
        let answer = call(&self.address, &Ask::plain(Method::GET, &path), self.token.as_deref())?;
        let past: Value = serde_json::from_str(&answer.text).unwrap_or_default();
        let Some(items) = past["items"].as_array().filter(|_| answer.status == 200) else {
            say(&format!("no history: {}", answer.text.trim_end()));
            return Ok(());
        };
        let end = Position::from_str(end).ok();
        for item in items {
            let position = item["position"].as_str().and_then(|position| Position::from_str(position).ok());
            if let (Some(position), Some(end)) = (position, end)
                && position.epoch == end.epoch
                && position.offset <= end.offset
            {
                self.print(item, item.to_string().as_bytes(), out);
            }
        }
        Ok(())
    }

    fn print(&self, object: &Value, line: &[u8], out: &mut Vec<u8>) {
        let decoded;
        let text = match (&object["data"], &object["base64"]) {
            _ if self.subscription.is_json => line.trim_ascii_end(),
            _ if object.get("event").is_some() => return,
            (Value::String(text), _) => text.as_bytes(),
            (_, Value::String(base64)) => match STANDARD.decode(base64) {
                Ok(bytes) => {
                    decoded = bytes;
                    &decoded
                }
                Err(_) => return,
            },
            _ => return,
        };
        match self.is_terminal {
            true => out.extend_from_slice(harmless(&String::from_utf8_lossy(text)).as_bytes()),
            false => out.extend_from_slice(text),
        }
        out.push(b'\n');
    }

    fn failure(&self, e: Option<CallError>) -> Failure {
        let address = self.address.clone();
        match e {
            Some(CallError::Refused(e)) => Failure::NotRunning(address, e),
            Some(CallError::Broken(e)) => Failure::Broken(address, e),
            Some(CallError::Ended) | None => Failure::Broken(address, io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn tell_of_the_end(&self, e: Option<CallError>) {
        let why = match e {
            Some(CallError::Refused(e) | CallError::Broken(e)) => format!(": {e}"),
            Some(CallError::Ended) | None => String::new(),
        };
        let from = self.position.as_deref().unwrap_or("the end");
        say(&format!("the connection has ended{why}; coming back from {from}"));
    }
}

/// Bytes that become lines.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    /// What was given out already.
    taken: usize,
    /// Where no line end was found yet.
    searched: usize,
}

impl Lines {
    fn push(&mut self, piece: &[u8]) {
        self.bytes.drain(..self.taken);
        self.searched -= std::mem::take(&mut self.taken);
        self.bytes.extend_from_slice(piece);
    }

    /// The next whole line, without its end.
    fn next(&mut self) -> Option<Vec<u8>> {
        match memchr::memchr(b'\n', &self.bytes[self.searched..]) {
            Some(at) => {
                let end = self.searched + at;
                let line = self.bytes[self.taken..end].to_vec();
                (self.taken, self.searched) = (end + 1, end + 1);
                Some(line)
            }
            None => {
                self.searched = self.bytes.len();
                None
            }
        }
    }

    fn is_too_long(&self) -> bool {
        self.bytes.len() - self.taken > LINE_MAX
    }
}

/// Nothing that steers the terminal.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '?' } else { c }).collect()
}

fn say(what: &str) {
    // Standard error that is closed leaves nobody to tell.
    let _ = writeln!(io::stderr(), "rsp: {}", harmless(what.trim_end()));
}

/// Waits for something to read; true: nobody reads our output any more.
fn is_unread_before(reply: &Reply) -> bool {
    let output = io::stdout();
    let mut both = [PollFd::new(reply, PollFlags::IN), PollFd::new(&output, PollFlags::empty())];
    // What fails here fails again where it is said.
    poll(&mut both, None).is_ok() && is_broken(both[1].revents())
}

/// Waits so long; true: nobody reads our output any more.
fn is_unread(wait: Duration) -> bool {
    let output = io::stdout();
    let mut one = [PollFd::new(&output, PollFlags::empty())];
    let wait = rustix::event::Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
    poll(&mut one, Some(&wait)).is_ok() && is_broken(one[0].revents())
}

fn is_broken(events: PollFlags) -> bool {
    events.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL)
}

/// INT and TERM end it well, whatever it waits for.
fn end_at_a_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (ready, waits) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            let _ = ready.send(());
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            std::process::exit(i32::from(DONE));
        });
    });
    // Without the thread the signals do what they do to every program.
    let _ = waits.recv();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_lines_however_they_are_cut() {
        let text = b"one\n\ntwo\nthree";
        for cut in 1..text.len() {
            let (mut lines, mut all) = (Lines::default(), Vec::new());
            for piece in text.chunks(cut) {
                lines.push(piece);
                while let Some(line) = lines.next() {
                    all.push(String::from_utf8(line).unwrap());
                }
            }
            assert_eq!(all, ["one", "", "two"], "{cut}");
            assert_eq!(&lines.bytes[lines.taken..], b"three");
        }
    }

    fn printed(is_json: bool, is_terminal: bool, line: &str) -> (String, Option<String>) {
        let subscription = Subscription { channel: "a".into(), is_json, since: None, history: None };
        let mut subscriber = Subscriber {
            subscription: &subscription,
            address: Address::parse(":1"),
            token: None,
            position: None,
            history: None,
            was_connected: true,
            is_connected: true,
            back_off: BACK_OFF.0,
            is_terminal,
        };
        let mut out = Vec::new();
        subscriber.take(line.as_bytes(), &mut out).unwrap();
        (String::from_utf8_lossy(&out).into_owned(), subscriber.position)
    }

    #[test]
    fn a_message_is_printed_as_it_was_published() {
        let item = r#"{"position":"e-1","time":"t","data":"a\nb\u001b[2J"}"#;
        assert_eq!(printed(false, false, item), ("a\nb\x1b[2J\n".into(), Some("e-1".into())));
        assert_eq!(printed(false, true, item).0, "a\nb?[2J\n", "nothing steers the terminal");
        assert_eq!(printed(true, false, item).0, format!("{item}\n"));
        let binary = r#"{"position":"e-2","time":"t","base64":"/wA="}"#;
        assert_eq!(printed(false, false, binary).0, "\u{fffd}\0\n");
    }

    #[test]
    fn what_is_no_message_is_printed_among_objects_only() {
        for line in [r#"{"event":"join","id":"1"}"#, r#"{"event":"subscribed","position":"e-3"}"#] {
            assert_eq!(printed(false, false, line).0, "");
            assert_eq!(printed(true, false, line).0, format!("{line}\n"));
        }
        assert_eq!(printed(false, false, r#"{"event":"reset","position":"f-0"}"#), (String::new(), Some("f-0".into())));
        assert_eq!(printed(true, false, ""), (String::new(), None));
    }
}
