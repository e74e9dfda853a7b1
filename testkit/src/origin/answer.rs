//! What an origin does with a request: a list of steps, and the usual lists by name.

use std::time::Duration;

use crate::Gate;

/// The steps taken once a request's head is there. If the last one leaves the connection open and the request was
/// read whole, the next request is awaited; else the connection is closed.
#[derive(Debug, Clone)]
pub struct Answer(pub Vec<Step>);

/// One thing an origin does.
#[derive(Debug, Clone)]
pub enum Step {
    /// Reads the rest of the request.
    ReadBody,
    /// Reads that many bytes of the request's body, as they are on the wire.
    ReadSome(u64),
    /// Sends these bytes.
    Write(Vec<u8>),
    /// Sends that many bytes of the [`Pattern`](crate::Pattern), from its beginning.
    WritePattern(u64),
    /// Sends a 200 whose body is the request as it was received so far.
    WriteReceived,
    /// Does nothing for a while.
    Wait(Duration),
    /// Waits until the test opens the gate, 30 s at most.
    Pass(Gate),
    /// Sends back whatever comes, until the peer ends.
    Tunnel,
    /// Reads and drops until the peer ends; never answers.
    Hang,
    /// Ends our direction and goes on reading until the peer ends.
    HalfClose,
    /// Closes.
    Close,
    /// Closes with a reset.
    Reset,
}

impl Answer {
    /// 200 with this body and its length.
    pub fn ok(body: impl AsRef<[u8]>) -> Answer {
        Answer::status("200 OK", body)
    }

    /// Any status (`"503 Service Unavailable"`) with this body and its length.
    pub fn status(status: &str, body: impl AsRef<[u8]>) -> Answer {
        Answer::with_headers(status, "", body)
    }

    /// As [`Answer::status`], with header lines, each with its CRLF.
    pub fn with_headers(status: &str, lines: &str, body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let mut bytes = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{lines}\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        Answer::raw(bytes)
    }

    /// Reads the request, then sends exactly these bytes: garbage, lies about lengths, smuggled heads.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Answer {
        Answer(vec![Step::ReadBody, Step::Write(bytes.into())])
    }

    /// 200 with the request's own bytes, head and body, as its body.
    pub fn echo() -> Answer {
        Answer(vec![Step::ReadBody, Step::WriteReceived])
    }

    /// 200 with `length` bytes of the pattern.
    pub fn pattern(length: u64) -> Answer {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        Answer::raw(head).then(Step::WritePattern(length))
    }

    /// The head only after `delay`.
    pub fn slow_head(delay: Duration, body: &str) -> Answer {
        let mut answer = Answer::ok(body);
        answer.0.insert(1, Step::Wait(delay));
        answer
    }

    /// A chunked 200: a chunk for each of `pieces`, with a pause before each.
    pub fn slow_body(pieces: &[&str], pause: Duration) -> Answer {
        let mut answer = Answer::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in pieces {
            answer = answer.then(Step::Wait(pause)).then(Step::Write(chunk(piece)));
        }
        answer.then(Step::Write(b"0\r\n\r\n".to_vec()))
    }

    /// A chunked 200 with trailer lines, each with its CRLF.
    pub fn chunked(pieces: &[&str], trailer_lines: &str) -> Answer {
        let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        pieces.iter().for_each(|piece| bytes.extend(chunk(piece)));
        bytes.extend_from_slice(format!("0\r\n{trailer_lines}\r\n").as_bytes());
        Answer::raw(bytes)
    }

    /// Promises `promised` bytes, sends `body`, closes.
    pub fn cut_short(promised: u64, body: &str) -> Answer {
        Answer::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {promised}\r\n\r\n{body}")).then(Step::Close)
    }

    /// A body that ends with the connection: no length, no chunks.
    pub fn until_close(body: &str) -> Answer {
        Answer::raw(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}")).then(Step::Close)
    }

    /// `self` after an interim head, which is sent before the request's body is read
    /// (`"100 Continue"`, or `"103 Early Hints\r\nLink: </a.css>"`).
    pub fn after_interim(mut self, interim: &str) -> Answer {
        self.0.insert(0, Step::Write(format!("HTTP/1.1 {interim}\r\n\r\n").into_bytes()));
        self
    }

    /// Answers before it reads the request's body, which it reads afterwards.
    pub fn early(status: &str, body: &str) -> Answer {
        let mut answer = Answer::status(status, body);
        answer.0.reverse();
        answer
    }

    /// 101 to the protocol asked for, then an echo of every byte.
    pub fn upgrade(protocol: &str) -> Answer {
        let head = format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n");
        Answer(vec![Step::Write(head.into_bytes()), Step::Tunnel])
    }

    /// Reads the request and never answers.
    pub fn never() -> Answer {
        Answer(vec![Step::ReadBody, Step::Hang])
    }

    /// Closes without a byte. On a request whose `on_connection` is above 1 this is the race of every keep-alive pool.
    pub fn close() -> Answer {
        Answer(vec![Step::ReadBody, Step::Close])
    }

    /// One step more.
    pub fn then(mut self, step: Step) -> Answer {
        self.0.push(step);
        self
    }
}

fn chunk(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}
