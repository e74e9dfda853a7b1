//! One request on a stream while the response head is awaited.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client::ResponseFuture};
use http::{Method, Request, uri::Scheme};
use rsp_core::{
    frame::http1::{Framing, ResponseHead},
    head::{http2_interim, http2_request, http2_response},
};
use tokio::time::Instant;

use super::{
    super::{
        Endpoint, Outgoing,
        interim::{INTERIMS_MAX, pass_on},
    },
    Connection,
};
use crate::{
    error::{Fault, Kind},
    message::{Body, SendFault, StreamSender},
    stream::{StreamPlace, Timer, Wire},
};

/// A request that is on its way.
pub struct Flight {
    response: ResponseFuture,
    /// None: all of the body is with the connection, or the peer wants no more of it.
    sending: Option<Box<StreamSender>>,
    /// Our direction of what may become a tunnel.
    ours: Option<SendStream<Bytes>>,
    place: StreamPlace,
    timer: Timer,
    /// When the head must be here; set when everything is sent.
    deadline: Option<Instant>,
}

/// Why there is no answer.
pub struct Stopped {
    pub fault: Fault,
    /// The peer says, or it is certain, that it did not look at the request.
    pub unseen: bool,
    /// The whole connection broke.
    pub broke: bool,
}

/// What came before the final head.
enum News {
    Interim(http::Response<()>),
    Final(http::Response<RecvStream>),
}

/// The request for an endpoint, and the protocol that it offers to upgrade to.
pub fn request(
    endpoint: &Endpoint,
    outgoing: &Outgoing<'_>,
) -> Result<(Request<()>, Option<http::HeaderValue>), Fault> {
    let mut head = crate::message::Sender::head_buffer();
    (outgoing.render)(endpoint, &mut head);
    let scheme = if endpoint.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
    http2_request(&head, scheme, &endpoint.authority).map_err(|e| Fault::new(Kind::Malformed, e.to_string()))
}

impl Flight {
    /// Gives the head to the connection; the body of `outgoing` follows while the answer is awaited.
    pub fn begin(connection: &Connection, request: Request<()>, outgoing: &mut Outgoing<'_>) -> Result<Self, Stopped> {
        let is_tunnel = request.method() == Method::CONNECT;
        let is_bare = matches!(outgoing.framing, Framing::Empty | Framing::Length(0));
        let place = connection.places().take();
        let begun = connection.sender().send_request(request, is_bare && !is_tunnel);
        let (response, stream) = begun.map_err(|e| Stopped { unseen: true, ..stopped(&e) })?;
        let deadline = is_bare.then(|| Instant::now() + outgoing.timeout);
        let (sending, ours) = match (is_tunnel, is_bare) {
            (true, _) => (None, Some(stream)),
            (false, true) => (None, None),
            (false, false) => {
                let body = std::mem::replace(&mut outgoing.body, Body::Empty);
                (Some(Box::new(StreamSender::new(stream, body, outgoing.write_timeout))), None)
            }
        };
        Ok(Self { response, sending, ours, place, timer: Timer::default(), deadline })
    }

    /// The head of the final response, its stream and whether nothing follows; 1xx ones are passed on.
    pub async fn answer(&mut self, outgoing: &Outgoing<'_>) -> Result<(ResponseHead, RecvStream), Stopped> {
        for _ in 0..INTERIMS_MAX {
            match poll_fn(|cx| self.poll_news(cx, outgoing)).await? {
                News::Interim(interim) => {
                    let (parts, ()) = interim.into_parts();
                    pass_on(outgoing, parts.status, &http2_interim(parts.headers)).await?;
                    if self.deadline.is_some_and(|at| Instant::now() >= at) {
                        let cause = "interim answers only, and no response head in time";
                        return Err(Fault::new(Kind::UpstreamSlow, cause).into());
                    }
                }
                News::Final(response) => {
                    let (parts, stream) = response.into_parts();
                    let head = http2_response((parts.status, parts.headers), outgoing.method, stream.is_end_stream());
                    let head = head.map_err(|e| Fault::new(Kind::UpstreamMalformed, e.to_string()))?;
                    return Ok((head, stream));
                }
            }
        }
        Err(Fault::new(Kind::UpstreamMalformed, "1xx answers without end").into())
    }

    fn poll_news(&mut self, cx: &mut Context<'_>, outgoing: &Outgoing<'_>) -> Poll<Result<News, Stopped>> {
        self.drive_sending(cx, outgoing)?;
        match self.response.poll_informational(cx) {
            Poll::Ready(Some(Ok(interim))) => return Poll::Ready(Ok(News::Interim(interim))),
            Poll::Ready(Some(Err(e))) => return Poll::Ready(Err(stopped(&e))),
            Poll::Ready(None) | Poll::Pending => {}
        }
        if let Poll::Ready(answered) = Pin::new(&mut self.response).poll(cx) {
            return Poll::Ready(answered.map(News::Final).map_err(|e| stopped(&e)));
        }
        if outgoing.interim.client().is_some_and(|client: &Wire| client.poll_broken(cx).is_ready()) {
            return Poll::Ready(Err(Fault::new(Kind::ClientGone, "the client went away before the answer").into()));
        }
        match self.deadline {
            Some(at) if self.timer.poll(cx, at).is_ready() => {
                Poll::Ready(Err(Fault::new(Kind::UpstreamSlow, "no response head in time").into()))
            }
            _ => Poll::Pending,
        }
    }

    fn drive_sending(&mut self, cx: &mut Context<'_>, outgoing: &Outgoing<'_>) -> Result<(), Fault> {
        let Some(sending) = &mut self.sending else { return Ok(()) };
        match sending.poll(cx) {
            Poll::Pending => return Ok(()),
            Poll::Ready(Err(SendFault::Source(fault))) => return Err(fault),
            Poll::Ready(Err(SendFault::Sink(e))) if e.kind() == io::ErrorKind::TimedOut => {
                return Err(Fault::new(Kind::UpstreamSlow, "the upstream did not take the request in time"));
            }
            // One that reads no more may have answered all the same.
            Poll::Ready(Err(SendFault::Sink(_))) => {}
            Poll::Ready(Ok(())) => {
                self.sending = None;
            }
        }
        if self.deadline.is_none() {
            self.deadline = Some(Instant::now() + outgoing.timeout);
        }
        Ok(())
    }

    /// The body as far as it was not sent, with how much of it was.
    pub fn into_body(self) -> (Option<Body>, u64) {
        match self.sending {
            None => (None, 0),
            Some(sending) => {
                let sent = sending.sent();
                (Some(sending.into_parts().0), sent)
            }
        }
    }

    /// What is left to hold while the response is read, and our direction of what may become a tunnel.
    pub fn into_parts(self) -> (Option<Box<StreamSender>>, StreamPlace, Option<SendStream<Bytes>>) {
        (self.sending, self.place, self.ours)
    }
}

impl From<Fault> for Stopped {
    fn from(fault: Fault) -> Self {
        Self { fault, unseen: false, broke: false }
    }
}

/// What the library's error means for a request that has no answer yet.
fn stopped(e: &h2::Error) -> Stopped {
    let refused = e.is_remote() && e.is_reset() && e.reason() == Some(Reason::REFUSED_STREAM);
    // Streams that the peer has seen outlive its going away (RFC 9113 §6.8).
    let left_out = e.is_remote() && e.is_go_away();
    let kind = match e.reason() {
        _ if refused => Kind::UpstreamFull,
        Some(_) if e.is_library() => Kind::UpstreamMalformed,
        _ => Kind::UpstreamDead,
    };
    let cause = match e.reason() {
        _ if left_out => "it said that it ends, and has not looked at the request".to_owned(),
        _ if e.is_io() => format!("the connection broke before it answered: {e}"),
        Some(reason) if e.is_reset() && e.is_remote() => format!("it reset the stream: {reason:?}"),
        _ => e.to_string(),
    };
    Stopped { fault: Fault::new(kind, cause), unseen: refused || left_out, broke: e.is_io() }
}
