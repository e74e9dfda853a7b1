//! The answer of a FastCGI application, taken out of its records as they come.

use std::sync::Arc;

use http::{Method, StatusCode, Version};
use rsp_core::frame::{
    cgi,
    fastcgi::{Decoded, End, RecordDecoder},
    http1::{Framing, HeadLimits, ResponseHead},
};

use super::{Names, RequestId};
use crate::{
    error::{Fault, Kind},
    stream::Buffer,
};

/// One answer: its head first, then its body, then its end. What the application says on its error stream is logged
/// when this is dropped, as one line.
pub struct Records {
    decoder: RecordDecoder,
    /// Bytes of output at the front of the buffer, and of those the ones searched for the head's end.
    output: usize,
    searched: usize,
    head: bool,
    /// Bytes of the body still to be decoded; None: as many as come before the end.
    left: Option<u64>,
    over: bool,
    heard: bool,
    id: RequestId,
    from: Arc<Names>,
}

impl Records {
    /// The answer to request `id` that `from` will give.
    pub fn new(id: RequestId, from: Arc<Names>) -> Self {
        Self {
            decoder: RecordDecoder::default(),
            output: 0,
            searched: 0,
            head: false,
            left: None,
            over: false,
            heard: false,
            id,
            from,
        }
    }

    /// Whether a byte came.
    pub fn heard(&self) -> bool {
        self.heard
    }

    /// Whether the application has said its last word.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// How the body's length is known, when `ready` bytes of it are decoded and not yet consumed.
    pub fn framing(&self, ready: usize) -> Framing {
        match self.left {
            _ if self.over => Framing::Length(ready as u64),
            Some(left) => Framing::Length(left + ready as u64),
            None => Framing::Chunked,
        }
    }

    /// Reads what came in until there is a head. Then the buffer holds decoded bytes of the body, and nothing else.
    pub fn read_head(
        &mut self,
        buffer: &mut Buffer,
        method: &Method,
        limits: &HeadLimits,
    ) -> Result<Option<ResponseHead>, Fault> {
        let decoded = self.decode(&mut buffer.filled_mut()[self.output..])?;
        self.output += decoded.data;
        buffer.truncate(self.output);
        let Some(end) = cgi::head_end(buffer.filled(), self.searched) else {
            self.searched = self.output;
            return match self.over {
                true => Err(Fault::new(Kind::UpstreamMalformed, "the application ended without a head")),
                false if self.output >= limits.head => Err(Fault::new(Kind::UpstreamMalformed, "head too large")),
                false => Ok(None),
            };
        };
        let head = cgi::parse_head(&buffer.filled()[..end], limits);
        let head = head.map_err(|e| Fault::new(Kind::UpstreamMalformed, e.to_string()))?;
        buffer.consume(end);
        self.head = true;
        let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let framing = match head.content_length {
            _ if bodiless || method == Method::HEAD => Framing::Empty,
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        };
        if let Framing::Length(length) = framing {
            self.left = Some(length);
            self.count(self.output - end)?;
        }
        Ok(Some(ResponseHead {
            status: head.status,
            version: Version::HTTP_11,
            headers: head.headers,
            framing,
            content_length: head.content_length,
            keep_alive: true,
            upgrade: None,
        }))
    }

    /// Moves the output in `raw` to its front; all of `raw` is spent.
    ///
    /// # Errors
    /// What is no record of an answer, what does not keep to the length that the head stated, and an end that is a refusal.
    pub fn decode(&mut self, raw: &mut [u8]) -> Result<Decoded, Fault> {
        self.heard |= !raw.is_empty();
        let decoded = self.decoder.decode(raw);
        let decoded = decoded.map_err(|e| Fault::new(Kind::UpstreamMalformed, e.to_string()))?;
        if decoded.consumed < raw.len() {
            return Err(Fault::new(Kind::UpstreamMalformed, "bytes behind the end of the request"));
        }
        match decoded.end {
            None => {}
            Some(End::Complete(_)) => self.over = true,
            Some(refused) => return Err(refusal(refused, self.head)),
        }
        self.count(decoded.data)?;
        Ok(decoded)
    }

    /// A body may neither be longer nor shorter than its head stated.
    fn count(&mut self, data: usize) -> Result<(), Fault> {
        let Some(left) = &mut self.left else { return Ok(()) };
        match left.checked_sub(data as u64) {
            None => Err(Fault::new(Kind::UpstreamCut, "a body longer than its Content-Length")),
            Some(1..) if self.over => Err(Fault::new(Kind::UpstreamCut, "a body shorter than its Content-Length")),
            Some(rest) => {
                *left = rest;
                Ok(())
            }
        }
    }
}

fn refusal(end: End, begun: bool) -> Fault {
    let (kind, cause) = match end {
        End::Overloaded => (Kind::UpstreamFull, "the application is overloaded"),
        End::CannotMultiplex => (Kind::UpstreamMalformed, "the application takes no second request on a connection"),
        _ => (Kind::UpstreamMalformed, "the application is no FastCGI responder"),
    };
    Fault::new(if begun { Kind::UpstreamCut } else { kind }, cause)
}

impl Drop for Records {
    fn drop(&mut self) {
        let Some((said, cut)) = self.decoder.take_stderr() else { return };
        let said = String::from_utf8_lossy(&said);
        let line: String = said.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let more = if cut { " …" } else { "" };
        let Names { upstream, endpoint } = &*self.from;
        tracing::warn!("{endpoint} of {upstream} wrote on its error stream: {line}{more} (request {})", self.id);
    }
}
