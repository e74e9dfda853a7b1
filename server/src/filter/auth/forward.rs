//! `forward`: another server says who may pass.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use rsp_core::{
    auth::holds_for,
    config::{ForwardAuth, Forwarded},
    frame::http1::Framing,
    head::{Upstreamward, write_question},
};

use super::{
    Known,
    kept::{Asking, Key, Look},
    while_client_waits,
};
use crate::{
    error::{Fault, Kind},
    filter::Pass,
    handler::Context,
    message::{Body, Interim, Request, Response},
    stream::Peer,
    upstream::{Group, Outgoing},
};

/// Fields of an answer that go onto the request.
pub type Copied = Arc<[(HeaderName, HeaderValue)]>;

/// Bytes of copied fields that are kept; an answer with more of them is not used again.
const COPIED_MAX: usize = 8 << 10;
/// Bytes of a yes that are read and thrown away, to keep its connection, and for how long; else it is closed.
const YES_MAX: usize = 64 << 10;
const YES_TIME: Duration = Duration::from_secs(1);

/// Who is asked, and how.
pub struct Forward {
    spec: ForwardAuth,
    group: Arc<Group>,
    known: Arc<Known>,
}

/// What the auth server says.
enum Answer {
    /// The fields that go onto the request, and for how long the same may be said again.
    Yes(Copied, Duration),
    /// This is the client's.
    No(Box<Response>),
}

impl Forward {
    /// For a server whose running upstream is `group`.
    pub(super) fn new(spec: &ForwardAuth, group: Arc<Group>, known: Arc<Known>) -> Self {
        Self { spec: spec.clone(), group, known }
    }

    pub(super) fn group(&self) -> &Arc<Group> {
        &self.group
    }

    pub(super) async fn inward(&self, request: &mut Request, context: &Context<'_>) -> Result<Pass, Fault> {
        let question = self.question(request);
        if self.spec.cache.is_zero() {
            return self.ask(request, &question, None, context).await;
        }
        match self.known.answers.look(self.key(&question), Instant::now(), None) {
            Look::Known(copied) => {
                context.metrics.auth.cached.inc();
                Ok(self.pass(request, &copied))
            }
            Look::Ask(asking, _) => self.ask(request, &question, Some(asking), context).await,
            Look::Full => self.ask(request, &question, None, context).await,
            Look::Wait(told) => match while_client_waits(&request.interim, told).await? {
                Ok(Some(copied)) => {
                    context.metrics.auth.cached.inc();
                    Ok(self.pass(request, &copied))
                }
                // A no is an answer to one client: a page to log in at may set a cookie that is nobody else's.
                Ok(None) | Err(_) => self.ask(request, &question, None, context).await,
            },
        }
    }

    async fn ask(
        &self,
        request: &mut Request,
        question: &[u8],
        asking: Option<Asking<Copied>>,
        context: &Context<'_>,
    ) -> Result<Pass, Fault> {
        let asked = self.exchange(request, question, context);
        let answer = while_client_waits(&request.interim, asked).await??;
        match answer {
            Answer::Yes(copied, holds) => {
                if let Some(asking) = asking {
                    // What holds for no time is still the answer to those who asked the same meanwhile.
                    asking.settle((!holds.is_zero()).then(|| (Arc::clone(&copied), Instant::now() + holds)));
                }
                context.metrics.auth.passed.inc();
                Ok(self.pass(request, &copied))
            }
            Answer::No(response) => {
                if let Some(asking) = asking {
                    asking.settle(None);
                }
                Ok(Pass::Answer(response))
            }
        }
    }

    /// The whole head that is sent.
    fn question(&self, request: &Request) -> Vec<u8> {
        let client: Option<IpAddr> = match request.client.peer {
            Peer::Ip(address) => Some(address.ip()),
            Peer::Unix => None,
        };
        let mut question = Vec::new();
        write_question(
            &mut question,
            &Upstreamward {
                head: &request.head,
                target: self.spec.path.as_bytes(),
                host: None,
                client,
                real_ip: request.client.ip,
                trusted: request.client.trusted,
                scheme: request.scheme,
                forwarded: Forwarded::X,
                framing: Framing::Empty,
                upgrade: false,
            },
        );
        question
    }

    /// Everything that the answer and its use depend on: the whole question, whom it goes to, what is taken from the
    /// answer and for how long.
    fn key(&self, question: &[u8]) -> Key {
        let cache = self.spec.cache.as_millis().to_le_bytes();
        let copy = self.spec.copy.iter().map(|name| name.as_str().as_bytes());
        let parts = [self.spec.upstream.name.as_bytes(), &cache, question];
        self.known.secret.key(parts.into_iter().chain(copy))
    }

    async fn exchange(&self, request: &Request, question: &[u8], context: &Context<'_>) -> Result<Answer, Fault> {
        let mut outgoing = Outgoing {
            render: &|_, out| out.extend_from_slice(question),
            method: &Method::GET,
            body: Body::Empty,
            framing: Framing::Empty,
            upgrade: false,
            fastcgi: None,
            timeout: self.spec.timeout,
            body_timeout: self.spec.timeout,
            write_timeout: context.limits.write_timeout,
            capacity: context.limits.buffer,
            retry: self.group.spec.retry,
            silence: None,
            // A 1xx to the question is none to the client, who may be waiting for one.
            interim: Interim::None,
            seed: request.id.seed(),
            affinity: None,
            now: tokio::time::Instant::now(),
        };
        let answer = context.pools.exchange(&self.group, &mut outgoing).await;
        let response = answer.map_err(|fault| match fault.kind {
            Kind::Full => fault,
            _ => Fault { kind: Kind::AuthUnavailable, ..fault },
        })?;
        self.judge(response).await
    }

    async fn judge(&self, mut response: Box<Response>) -> Result<Answer, Fault> {
        match response.status {
            status if status.is_success() => {
                // Neither its end nor its content says more than its status did.
                let _ = tokio::time::timeout(YES_TIME, response.body.gather(YES_MAX)).await;
                let copied = self.copied(&response.headers);
                let bytes: usize = copied.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
                let holds = holds_for(&response.headers, self.spec.cache);
                Ok(Answer::Yes(copied, if bytes > COPIED_MAX { Duration::ZERO } else { holds }))
            }
            StatusCode::NOT_MODIFIED => {
                Err(Fault::new(Kind::AuthUnavailable, "a 304, where nothing was asked on condition"))
            }
            status if status.is_redirection() || status.is_client_error() => Ok(Answer::No(response)),
            status => Err(Fault::new(Kind::AuthUnavailable, format!("{} of {}", status.as_u16(), self.group.name))),
        }
    }

    fn copied(&self, headers: &HeaderMap) -> Copied {
        let values = |name| headers.get_all(name).iter().map(move |value| (HeaderName::clone(name), value.clone()));
        self.spec.copy.iter().flat_map(values).collect()
    }

    /// The auth server's word stands in place of whatever the client said under these names, behind its body too.
    fn pass(&self, request: &mut Request, copied: &Copied) -> Pass {
        let headers = &mut request.head.headers;
        for name in &self.spec.copy {
            headers.remove(name);
            request.body.withhold_trailer(name);
        }
        for (name, value) in &**copied {
            // Only a map of 2^15 names refuses, and limits keep heads far below.
            let _ = headers.try_append(name.clone(), value.clone());
        }
        Pass::Go
    }
}
