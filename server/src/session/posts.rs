//! Messages that are posted to the session of an event stream, from whatever worker.

use std::{
    collections::{HashMap, hash_map::RandomState},
    future::{Future, poll_fn},
    hash::BuildHasher,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{StatusCode, header};
use rsp_core::{
    config::{self, Framing},
    frame::http1,
};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use super::{Far, Sessions, pages, refusal, talk::Ending};
use crate::{
    error::{Fault, Kind},
    message::{Body, Request, Response},
    stream::{Buffer, Wire},
};

/// Messages that wait at one session, those whose bodies are still on their way counted: each is as large as a message
/// may be.
const WAITING_MAX: usize = 8;

/// How long a message waits for a far side that takes none.
const PATIENCE: Duration = Duration::from_secs(60);

/// The sessions that can be posted to, by their tokens; each at its own URL only, since filters, bounds and framing of
/// another one are not its own.
#[derive(Default)]
pub struct Posts {
    open: Mutex<HashMap<Token, Open>>,
    /// Of URLs.
    hasher: RandomState,
}

struct Open {
    sender: mpsc::Sender<Post>,
    /// Host and path of its stream, hashed.
    url: u64,
}

/// Names a session; who knows it may post.
type Token = [u8; 16];

/// A message on its way to a session.
struct Post {
    message: Bytes,
    is_text: bool,
    /// Told when it was taken. Closed: nobody waits for that any more, so that it is not given.
    taken: oneshot::Sender<()>,
}

/// The receiving side of one session; it can be posted to as long as this lives.
pub(super) struct Posted {
    posts: Arc<Posts>,
    token: Token,
    receiver: mpsc::Receiver<Post>,
    /// To be told when the last message is out.
    taken: Option<oneshot::Sender<()>>,
}

impl Posts {
    /// A new session, of a request for an event stream.
    pub(super) fn open(self: &Arc<Self>, request: &Request) -> Option<Posted> {
        let mut token = Token::default();
        aws_lc_rs::rand::fill(&mut token).ok()?;
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        self.lock().insert(token, Open { sender, url: self.url(request) });
        Some(Posted { posts: Arc::clone(self), token, receiver, taken: None })
    }

    /// The session that a request posts to.
    fn find(&self, request: &Request) -> Option<mpsc::Sender<Post>> {
        let (token, url) = (token(request)?, self.url(request));
        self.lock().get(&token).filter(|open| open.url == url).map(|open| open.sender.clone())
    }

    fn url(&self, request: &Request) -> u64 {
        let host = request.head.headers.get(header::HOST).map(|host| host.as_bytes().to_ascii_lowercase());
        self.hasher.hash_one((host, request.head.target.path()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Token, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Posted {
    /// As a URL has it.
    pub fn token(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.token))
    }

    /// Gives the far side what was posted, as long as it has room.
    pub fn take(&mut self, cx: &mut Context<'_>, wire: &Wire, far: &mut impl Far) -> Result<bool, Ending> {
        discard(cx, wire)?;
        loop {
            if self.taken.is_some() && far.poll_given(cx).is_pending() {
                return Ok(true);
            }
            if let Some(taken) = self.taken.take() {
                // Who posted it may have left.
                let _ = taken.send(());
            }
            if far.poll_room(cx).is_pending() {
                return Ok(true);
            }
            match self.receiver.poll_recv(cx) {
                Poll::Ready(Some(post)) if post.taken.is_closed() => {}
                Poll::Ready(Some(Post { message, is_text, taken })) => {
                    far.give(&message, is_text);
                    self.taken = Some(taken);
                }
                Poll::Ready(None) | Poll::Pending => return Ok(true),
            }
        }
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        self.posts.lock().remove(&self.token);
    }
}

/// What a client sends behind its request means nothing, but that it has ended does.
fn discard(cx: &mut Context<'_>, wire: &Wire) -> Result<(), Ending> {
    while let Poll::Ready(readable) = wire.poll_readable(cx, None) {
        let mut buffer = Buffer::take(16 << 10);
        let is_open = readable.is_ok()
            && match wire.poll_read(cx, &mut buffer, None) {
                Poll::Ready(read) => read.is_ok_and(|n| n > 0),
                Poll::Pending => true,
            };
        if !is_open {
            return Err(Ending::Gone);
        }
    }
    Ok(())
}

/// Whether a request names a session.
pub(super) fn names_session(request: &Request) -> bool {
    stated(request).next().is_some()
}

/// Posts a message to a session, and answers: 204 when its far side has taken it, so that a slow one slows who posts.
///
/// # Errors
/// `BodyTooLarge` over `message_max`, `Full` where too many messages wait, or none is taken for a minute.
pub async fn post(mut request: Box<Request>, talk: &config::Talk, sessions: &Sessions) -> Result<Box<Response>, Fault> {
    let mut answer = posted(&mut request, talk, sessions).await?;
    pages::show(&talk.pages, &request, &mut answer.headers);
    Ok(answer)
}

async fn posted(request: &mut Request, talk: &config::Talk, sessions: &Sessions) -> Result<Box<Response>, Fault> {
    let gone = || refusal(StatusCode::NOT_FOUND, "no such session, or not any more");
    let Some(sender) = sessions.posts.find(request) else { return Ok(gone()) };
    if matches!(request.head.framing, http1::Framing::Length(length) if length > talk.message_max as u64) {
        return Err(Fault::new(Kind::BodyTooLarge, "a message larger than `message_max`"));
    }
    // A place before the body, so that no more of these are held than may wait.
    let place = match sender.try_reserve_owned() {
        Ok(place) => place,
        Err(TrySendError::Full(_)) => return Err(Fault::new(Kind::Full, "as many messages wait for it as may")),
        Err(TrySendError::Closed(_)) => return Ok(gone()),
    };
    let message = request.body.gather(talk.message_max).await?;
    let is_text = talk.framing != Framing::Raw && !says_bytes(request) && str::from_utf8(&message).is_ok();
    if talk.framing == Framing::Lines && !is_text {
        return Ok(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a message is text in UTF-8 here"));
    }
    let (taken, told) = oneshot::channel();
    place.send(Post { message, is_text, taken });
    let (mut told, mut patience) = (pin!(told), pin!(tokio::time::sleep(PATIENCE)));
    let is_taken = poll_fn(|cx| {
        if let Poll::Ready(told) = told.as_mut().poll(cx) {
            return Poll::Ready(Ok(told.is_ok()));
        }
        if request.interim.client().is_some_and(|client| client.poll_broken(cx).is_ready()) {
            return Poll::Ready(Err(Fault::new(Kind::ClientGone, "the client left before its message was taken")));
        }
        patience.as_mut().poll(cx).map(|()| Err(Fault::new(Kind::Full, "the message was not taken in time")))
    });
    Ok(if is_taken.await? { Box::new(Response::new(StatusCode::NO_CONTENT, Body::Empty)) } else { gone() })
}

fn says_bytes(request: &Request) -> bool {
    let stated = request.head.headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
    let essence = stated.and_then(|kind| kind.split(|&byte| byte == b';').next()).unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/octet-stream")
}

/// The session that is named; None: none, or two, or in other words than ours.
fn token(request: &Request) -> Option<Token> {
    let mut stated = stated(request);
    let (Some(text), None) = (stated.next(), stated.next()) else { return None };
    let is_ours = text.len() == 2 * size_of::<Token>() && text.iter().all(u8::is_ascii_hexdigit);
    let text = str::from_utf8(text).ok().filter(|_| is_ours)?;
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

fn stated(request: &Request) -> impl Iterator<Item = &[u8]> {
    let query = request.head.target.query().unwrap_or_default();
    query.split(|&byte| byte == b'&').filter_map(|pair| pair.strip_prefix(b"session="))
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn a_token_is_stated_once_and_in_our_words() {
        let token = |target: &'static str| token(&Request::example(Method::POST, target));
        assert_eq!(token("/?a=1&session=000102030405060708090a0b0c0d0e0f"), Some(std::array::from_fn(|at| at as u8)));
        for target in [
            "/",
            "/?session=",
            "/?session=+00102030405060708090a0b0c0d0e0f",
            "/?session=000102030405060708090a0b0c0d0e0f0",
            "/?session=000102030405060708090a0b0c0d0e0f&session=000102030405060708090a0b0c0d0e0f",
            "/?xsession=000102030405060708090a0b0c0d0e0f",
        ] {
            assert_eq!(token(target), None, "{target}");
        }
    }

    #[test]
    fn a_session_is_known_as_long_as_it_lives_and_at_its_own_url() {
        let asked =
            |target: &str, host: &str| Request::example(Method::GET, target.to_owned().leak()).with(header::HOST, host);
        let posts = Arc::<Posts>::default();
        let session = posts.open(&asked("/a?b", "one.example")).unwrap();
        assert_ne!(posts.open(&asked("/a?b", "one.example")).unwrap().token, session.token);
        let target = |path: &str| format!("{path}?session={}", session.token());
        let [own, other] = [target("/a"), target("/b")];
        assert!(posts.find(&asked(&own, "one.example")).is_some());
        assert!(posts.find(&asked(&other, "one.example")).is_none());
        assert!(posts.find(&asked(&own, "two.example")).is_none());
        drop(session);
        assert!(posts.find(&asked(&own, "one.example")).is_none() && posts.lock().is_empty());
    }
}
