//! `rsp publish`: what comes as an argument or on standard input becomes messages of a channel.

use std::{
    io::{self, BufRead, Read, Write},
    process::ExitCode,
};

use http::{HeaderName, HeaderValue, Method, header};

use super::{
    DONE, Failure, NOT_RUNNING, REFUSED, Target,
    call::{Address, Answer, Ask, CallError, call},
    channel_path, find, refusal, token,
};

/// Bytes of a message that is read from standard input: no channel takes a larger one.
const MESSAGE_MAX: usize = 1 << 30;

/// What to publish.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Where.
    pub channel: String,
    /// From where.
    pub source: Source,
    /// Bytes, whatever they look like.
    pub is_binary: bool,
    /// Under which it is published only once.
    pub key: Option<String>,
}

/// Where messages come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// One message, from the command line.
    Given(Vec<u8>),
    /// One message: standard input to its end.
    Input,
    /// Each line of standard input, without its end, as soon as it is there.
    Lines,
}

/// Why it ended early.
enum Fault {
    /// Nobody took it.
    Failed(Failure),
    /// It can't be published.
    Refused(String),
    /// Nobody knows whether it was.
    Unknown(String),
}

/// Publishes, prints where each message stands, and tells the shell: 0 done, 1 not running or not known, 2 refused.
pub fn publish(publication: &Publication, target: &Target) -> ExitCode {
    let published = find(target).map_err(Fault::Failed).and_then(|address| match &publication.source {
        Source::Given(data) => send(publication, &address, data),
        Source::Input => {
            let data = whole(io::stdin().lock()).map_err(Fault::Refused)?;
            send(publication, &address, &data)
        }
        Source::Lines => lines(publication, &address),
    });
    let (text, code) = match published {
        Ok(()) => return ExitCode::from(DONE),
        Err(Fault::Failed(failure)) => (failure.to_string(), NOT_RUNNING),
        Err(Fault::Refused(why)) => (why, REFUSED),
        Err(Fault::Unknown(why)) => {
            (format!("{}; it may have been published, and with --key it can be repeated", why.trim_end()), NOT_RUNNING)
        }
    };
    // Standard error that is closed leaves nobody to tell.
    let _ = writeln!(io::stderr(), "rsp: {}", text.trim_end());
    ExitCode::from(code)
}

fn lines(publication: &Publication, address: &Address) -> Result<(), Fault> {
    let mut input = io::stdin().lock();
    let mut number = 0_u64;
    while let Some(line) = line(&mut input).map_err(Fault::Refused)? {
        number += 1;
        send(publication, address, &line).map_err(|fault| match fault {
            Fault::Refused(why) => Fault::Refused(format!("line {number}: {why}")),
            Fault::Unknown(why) => Fault::Unknown(format!("line {number}: {why}")),
            failed => failed,
        })?;
    }
    Ok(())
}

/// Publishes one message and prints its position.
fn send(publication: &Publication, address: &Address, data: &[u8]) -> Result<(), Fault> {
    let kind = if publication.is_binary { "application/octet-stream" } else { "text/plain; charset=utf-8" };
    let mut fields = vec![(header::CONTENT_TYPE, HeaderValue::from_static(kind))];
    if let Some(key) = &publication.key {
        let key = HeaderValue::from_str(key);
        let key = key.map_err(|_| Fault::Refused("a key has no line ends or other control characters".to_owned()))?;
        fields.push((HeaderName::from_static("idempotency-key"), key));
    }
    let path = channel_path(&publication.channel);
    let ask = Ask { method: Method::POST, path: &path, fields: &fields, body: data };
    let answer = call(address, &ask, token().as_deref()).map_err(|e| Fault::Failed(failure(address, e)))?;
    let position = position(&answer).ok_or_else(|| match answer.status {
        504 => Fault::Unknown(refusal(&answer)),
        _ => Fault::Refused(refusal(&answer)),
    })?;
    // A reader that is gone wants no positions, but the messages are still to be published.
    let _ = writeln!(io::stdout(), "{position}");
    Ok(())
}

/// Where the message stands, if it was taken.
fn position(answer: &Answer) -> Option<String> {
    let object: serde_json::Value = serde_json::from_str(&answer.text).ok()?;
    let position = object["position"].as_str().filter(|_| (200..300).contains(&answer.status))?;
    Some(position.chars().filter(|c| !c.is_control()).collect())
}

fn failure(address: &Address, e: CallError) -> Failure {
    let unknown = |e: io::Error| io::Error::new(e.kind(), format!("{e}; it may have been published"));
    match e {
        CallError::Refused(e) => Failure::NotRunning(address.clone(), e),
        CallError::Ended => Failure::Broken(address.clone(), unknown(io::ErrorKind::UnexpectedEof.into())),
        CallError::Broken(e) => Failure::Broken(address.clone(), unknown(e)),
    }
}

fn whole(input: impl Read) -> Result<Vec<u8>, String> {
    let mut data = Vec::new();
    input.take(MESSAGE_MAX as u64 + 1).read_to_end(&mut data).map_err(|e| format!("standard input: {e}"))?;
    if data.len() > MESSAGE_MAX { Err(TOO_LARGE.to_owned()) } else { Ok(data) }
}

/// The next line without its end; None: there is none.
fn line(input: &mut impl BufRead) -> Result<Option<Vec<u8>>, String> {
    let mut line = Vec::new();
    let read = input.take(MESSAGE_MAX as u64 + 2).read_until(b'\n', &mut line);
    if read.map_err(|e| format!("standard input: {e}"))? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        line.pop_if(|byte| *byte == b'\r');
    }
    if line.len() > MESSAGE_MAX { Err(TOO_LARGE.to_owned()) } else { Ok(Some(line)) }
}

const TOO_LARGE: &str = "larger than any message may be";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_ends_and_nothing_else() {
        let mut input = &b"one\r\n\n two \r\nthree\r"[..];
        let mut lines = Vec::new();
        while let Some(line) = line(&mut input).unwrap() {
            lines.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(lines, ["one", "", " two ", "three\r"]);
        assert_eq!(whole(&b"a\nb\n"[..]).unwrap(), b"a\nb\n");
    }

    #[test]
    fn only_an_answer_with_a_position_is_a_publication() {
        let answer = |status, text: &str| position(&Answer { status, text: text.into() });
        assert_eq!(answer(201, "{\"position\":\"abc-1\",\"subscribers\":1}").as_deref(), Some("abc-1"));
        assert_eq!(answer(202, "{\"position\":\"a\\u001b-1\"}").as_deref(), Some("a-1"));
        assert_eq!((answer(200, "ok"), answer(413, "{\"position\":\"abc-1\"}")), (None, None));
    }
}
