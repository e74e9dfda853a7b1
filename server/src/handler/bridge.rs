//! `bridge`: a client talks with a TCP or unix socket.

use std::{
    rc::Rc,
    sync::Arc,
    task::{Context as Waiting, Poll},
};

use rsp_core::{balance::InFlight, config};
use tokio::time::Instant;

use super::{Context, Handler, Unanswered};
use crate::{
    error::{Fault, Kind},
    message::{Request, Response},
    session::{self, Asked, Brought, CLOSING, End, Ends, Far, Framed, Handshake},
    stream::Wire,
    upstream::{Caller, Dialled, Group, affinity, dial},
};

/// Bytes that a server may still say to nobody before its connection is closed in its face.
const LAST_WORDS: usize = 64 << 10;

/// A `bridge` that is ready to run.
pub struct Bridge {
    /// The checked options.
    pub spec: Arc<config::Bridge>,
    /// Shared with every other handler of the same upstream.
    pub group: Arc<Group>,
    /// What answers other requests.
    pub otherwise: Option<Box<Handler>>,
}

impl Bridge {
    /// Answers a request.
    pub async fn run(&self, mut request: Box<Request>, context: &Context<'_>) -> Result<Box<Response>, Unanswered> {
        let talk = &self.spec.talk;
        let asked = session::asked(&request);
        if asked != Asked::Other
            && let Some(refusal) = session::refused(&talk.pages, &request)
        {
            return Ok(refusal);
        }
        match asked {
            Asked::WebSocket | Asked::Events => {}
            Asked::Head => return Ok(session::head(&request, talk)),
            Asked::Post => return Ok(session::post(request, talk, context.sessions).await?),
            Asked::Other => {
                return match &self.otherwise {
                    Some(handler) => Box::pin(handler.run(request, context)).await,
                    None => {
                        let cause = format!("{} talks by WebSocket", self.spec.upstream.name);
                        Err(Fault::new(Kind::NotFound, cause).into())
                    }
                };
            }
        }
        if asked == Asked::WebSocket
            && let Err(refusal) = Handshake::read(&request)
        {
            return Ok(refusal);
        }
        // A cookie and what sets it must mean the same endpoints, whatever DNS says meanwhile.
        let live = if self.group.balance.has_rules() { self.group.live() } else { None };
        let group = live.as_ref().unwrap_or(&self.group);
        let affinity = if group.balance.has_rules() { affinity::read(group, &mut request) } else { None };
        let before = affinity.as_ref().and_then(|affinity| affinity.before);
        let Dialled { wire, in_flight, answered } = dial(group, &Caller::of(&request), affinity).await?;
        // Nothing of ours may find out that it is gone.
        wire.probe_peer();
        let framed = Framed::new(Ends::Wire(Rc::clone(&wire)), talk);
        let connection = Connection { framed, wire, in_flight: Some(in_flight) };
        let mut response = session::talk(&request, talk, context.sessions, connection);
        response.upstream = Some(answered);
        if group.sticky.is_some() {
            affinity::bind(group, before, request.scheme, &mut response);
        }
        Ok(response)
    }
}

/// A connection to the server, as work of its endpoint.
struct Connection {
    framed: Framed,
    wire: Rc<Wire>,
    in_flight: Option<InFlight>,
}

impl Far for Connection {
    fn poll_room(&mut self, cx: &mut Waiting<'_>) -> Poll<()> {
        self.framed.poll_room(cx)
    }

    fn give(&mut self, message: &[u8], is_text: bool) {
        self.framed.give(message, is_text);
    }

    fn poll_given(&mut self, cx: &mut Waiting<'_>) -> Poll<()> {
        self.framed.poll_given(cx)
    }

    fn poll_bring(&mut self, cx: &mut Waiting<'_>, brought: &mut Brought) -> Poll<Result<(), End>> {
        self.framed.poll_bring(cx, brought)
    }
}

/// Our direction ends first, so that the server reads all that was said, and an end instead of a reset.
impl Drop for Connection {
    fn drop(&mut self) {
        let (wire, in_flight) = (Rc::clone(&self.wire), self.in_flight.take());
        tokio::task::spawn_local(async move {
            session::part(&wire, true, Instant::now() + CLOSING, LAST_WORDS).await;
            drop(in_flight);
        });
    }
}
