//! Answers without end, read as they come: the events of an event stream, or lines.

use std::io;

use crate::{Client, Response, client::Pieces};

/// One answer without end. Reads that make no progress for ten seconds fail.
#[derive(Debug)]
pub struct EventStream {
    client: Client,
    answer: Response,
    pieces: Pieces,
    text: String,
    ended: bool,
}

/// One event, as a browser reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamEvent {
    /// Its `id`.
    pub id: Option<String>,
    /// Its name; `message` without one.
    pub name: Option<String>,
    /// Its lines of data; None: it has none, and a page is not told of it.
    pub data: Option<String>,
    /// Milliseconds to wait before coming back.
    pub retry: Option<u64>,
}

impl EventStream {
    /// Opens `path` at `host:port` as an event stream; panics with the answer if it is no 200.
    #[track_caller]
    pub fn open(address: &str, path: &str) -> EventStream {
        EventStream::open_with(address, path, "Accept: text/event-stream\r\n")
    }

    /// The same with these fields, each with its line end.
    #[track_caller]
    pub fn open_with(address: &str, path: &str, fields: &str) -> EventStream {
        EventStream::ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{fields}\r\n"))
    }

    /// Sends these bytes and reads the answer as it comes.
    #[track_caller]
    pub fn ask(address: &str, request: &str) -> EventStream {
        let mut client = Client::connect(address);
        client.send(request);
        let (answer, pieces) = client.read_begun();
        assert_eq!(answer.status, 200, "no stream: {answer:?}");
        EventStream { client, answer, pieces, text: String::new(), ended: false }
    }

    /// A field of its head.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.answer.header(name)
    }

    /// The next event that has a field; comments are passed over. None: the stream has ended as it should.
    #[track_caller]
    pub fn next_event(&mut self) -> Option<StreamEvent> {
        let mut event = StreamEvent::default();
        while let Some(line) = self.next_line() {
            if line.is_empty() {
                if event != StreamEvent::default() {
                    return Some(event);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
            match field {
                "id" => event.id = Some(value),
                "event" => event.name = Some(value),
                "retry" => event.retry = value.parse().ok(),
                "data" => event.data = Some(event.data.map_or_else(|| value.clone(), |data| data + "\n" + &value)),
                _ => {}
            }
        }
        None
    }

    /// The next event that a page is told of, which must come: its name and data. Passes over `subscribed`, as a page does
    /// that does not listen for it.
    #[track_caller]
    pub fn told(&mut self) -> (String, String) {
        loop {
            let event = self.next_event().expect("an event, and the stream has ended");
            if let Some(data) = event.data
                && event.name.as_deref() != Some("subscribed")
            {
                return (event.name.unwrap_or_else(|| "message".to_owned()), data);
            }
        }
    }

    /// The next line without its end. None: the stream has ended as it should.
    #[track_caller]
    pub fn next_line(&mut self) -> Option<String> {
        self.try_next_line().unwrap_or_else(|error| panic!("the stream broke: {error}"))
    }

    /// The next line, or how the stream broke: `UnexpectedEof` and `ConnectionReset` are cuts.
    pub fn try_next_line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let line = line.to_owned();
                self.text = rest.to_owned();
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            match self.client.read_piece(&mut self.pieces)? {
                Some(piece) => self.text.push_str(&String::from_utf8_lossy(&piece)),
                None => self.ended = true,
            }
        }
    }

    /// The next line, which must be a JSON object; empty lines are passed over.
    #[track_caller]
    pub fn object(&mut self) -> serde_json::Value {
        loop {
            let line = self.next_line().expect("a line, and the stream has ended");
            if !line.is_empty() {
                return serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?} is no object: {error}"));
            }
        }
    }

    /// The connection itself.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }
}
