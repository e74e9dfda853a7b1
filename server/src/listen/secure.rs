//! The handshake of a connection whose TLS ends here, or where it goes instead.
//!
//! **Invariant:** a connection that is no request yet has the time of a head for its handshake, counts as open, and ends
//! with the worker; whoever is turned away is told why as long as it listens.

use std::{fmt::Display, future::poll_fn, io, rc::Rc, sync::Arc, time::SystemTime};

use rsp_core::frame::{
    client_hello::{Alert, ClientHello, NotTls},
    http1::{self, HeadLimits},
};
use rustls::{AlertDescription, Error, ServerConfig};
use tokio::time::{Instant, timeout_at};

use super::{
    accept::{connection, serve},
    hello::{LAST_HANDSHAKE, LINGER, LINGER_BYTES, NoHello, hello, let_go, part},
    passage,
};
use crate::{
    dispatch::Worker,
    limit::Permit,
    observe::Handshake,
    protocol::Origin,
    route::{Opening, Secured},
    shutdown::Guard,
    stream::{Buffer, Secure, Security, Socket, Wire},
    tls,
};

/// Opens a connection, or lets it go on unopened, or turns it away; `until` is its time, if that has begun before.
pub async fn secure(wire: Wire, origin: Rc<Origin>, worker: Rc<Worker>, permit: Permit, until: Option<Instant>) {
    let guard = worker.drain.guard();
    let until = until.unwrap_or_else(|| Instant::now() + worker.current().snapshot.config.limits.head_timeout);
    let hello = match hello(&wire, &guard, until).await {
        Ok(hello) => hello,
        Err(no) => return turn_away(&wire, no, &origin, &worker).await,
    };
    if let Some(config) = challenge(&hello, &worker) {
        return prove((hello, config), wire, (&guard, until), &origin, &worker).await;
    }
    let snapshot = worker.current().snapshot.clone();
    let secured = snapshot.secured(&origin.address, hello.server_name.as_deref()).await;
    drop(snapshot);
    match secured {
        Secured::Terminate(opening) => {
            let opened = open(wire, (hello, opening), (&guard, until), &origin, &worker).await;
            if let Some(wire) = opened {
                serve(wire, &origin, &worker, permit);
            }
        }
        Secured::Pass(passage) => {
            // On a task of its own, so that it does not pay for the state of a handshake.
            let connection = connection(wire, &origin, &worker, permit);
            tokio::task::spawn_local(passage::pass(connection, passage, hello));
        }
        Secured::Unknown => {
            let name = hello.server_name.as_deref().unwrap_or("no name");
            ended(Handshake::UnknownName, format_args!("no site with TLS for {name}"), &origin, &worker);
            part(&wire, &Alert::UnrecognizedName.record()).await;
        }
    }
}

/// Counts a handshake that came to nothing, and says why to who looks for it.
fn ended(how: Handshake, why: impl Display, origin: &Origin, worker: &Worker) {
    worker.metrics.handshakes.ended(how);
    tracing::debug!("{} ends a connection before its handshake is done: {why}", origin.address);
}

async fn turn_away(wire: &Wire, no: NoHello, origin: &Origin, worker: &Worker) {
    let (how, alert) = match &no {
        NoHello::Wrong(NotTls::Http) => {
            ended(Handshake::PlainHttp, &no, origin, worker);
            return part(wire, &plain_answer(wire, &worker.current().snapshot.head_limits).await).await;
        }
        NoHello::Wrong(NotTls::Garbage) => (Handshake::Malformed, Some(Alert::UnexpectedMessage)),
        NoHello::Wrong(NotTls::TooLong) => (Handshake::Malformed, Some(Alert::RecordOverflow)),
        NoHello::Wrong(NotTls::Malformed(alert)) => (Handshake::Malformed, Some(*alert)),
        NoHello::Late => (Handshake::Late, None),
        NoHello::Gone(_) => (Handshake::Gone, None),
    };
    ended(how, &no, origin, worker);
    if let Some(alert) = alert {
        part(wire, &alert.record()).await;
    }
}

/// What a client of plain HTTP is told: where it would have been right, as far as it has said what it wants.
async fn plain_answer(wire: &Wire, limits: &HeadLimits) -> Vec<u8> {
    let mut buffer = Buffer::take(1);
    let read = poll_fn(|cx| std::task::Poll::Ready(wire.poll_read(cx, &mut buffer, None))).await;
    let asked = match read {
        std::task::Poll::Ready(Ok(_)) => http1::parse_request(buffer.filled(), limits).ok(),
        _ => None,
    };
    let place = asked.flatten().and_then(|(head, _)| {
        let host = head.headers.get(http::header::HOST)?.to_str().ok()?;
        Some(format!(": https://{host}{}", head.target.as_str()))
    });
    let text = format!("400 Bad Request\nthis port speaks HTTPS only{}\n", place.unwrap_or_default());
    let length = text.len();
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nx-content-type-options: nosniff\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{text}"
    )
    .into_bytes()
}

/// What an authority of certificates is answered with that looks at a name (RFC 8737 §3): it offers nothing else.
fn challenge(hello: &ClientHello, worker: &Worker) -> Option<Arc<ServerConfig>> {
    match hello.alpn.as_slice() {
        [only] if **only == *tls::acme::ALPN => worker.challenges.handshake(hello.server_name.as_deref()?),
        _ => None,
    }
}

/// The handshake is the answer; no byte of a request is read.
#[cold]
async fn prove(
    (hello, config): (ClientHello, Arc<ServerConfig>),
    wire: Wire,
    within: (&Guard, Instant),
    origin: &Origin,
    worker: &Worker,
) {
    let opening = Opening { config: Some(config), site: "".into() };
    let Some(wire) = open(wire, (hello, opening), within, origin, worker).await else { return };
    let (mut left, until) = (LINGER_BYTES, Instant::now() + LINGER);
    let _ = timeout_at(until, poll_fn(|cx| wire.poll_flush(cx, None))).await;
    let _ = timeout_at(until, poll_fn(|cx| let_go(cx, &wire, &mut left))).await;
}

/// Does the handshake; None: it came to nothing, and the client was told.
async fn open(
    wire: Wire,
    (hello, opening): (ClientHello, Opening),
    (guard, until): (&Guard, Instant),
    origin: &Origin,
    worker: &Worker,
) -> Option<Wire> {
    let Some(config) = opening.config else {
        ended(Handshake::Failed, "there is no certificate to show", origin, worker);
        part(&wire, &Alert::InternalError.record()).await;
        return None;
    };
    let (socket, peer, local) = wire.into_parts();
    let mut secure = match Secure::accept(socket, config) {
        Ok(secure) => Box::new(secure),
        Err(e) => {
            ended(Handshake::Failed, e, origin, worker);
            return None;
        }
    };
    if let Err(e) = shake_hands(&mut secure, guard, until).await {
        ended(kind_of(&e), &e, origin, worker);
        let (mut left, until) = (LINGER_BYTES, Instant::now() + LINGER);
        while let Ok(n @ 1..) = timeout_at(until, poll_fn(|cx| secure.poll_discard(cx))).await
            && n < left
        {
            left -= n;
        }
        return None;
    }
    let subject = match shown_subject(&secure) {
        Ok(subject) => subject,
        Err(why) => {
            ended(Handshake::ClientCertificate, why, origin, worker);
            // A ticket that waits to be written would only bring the client back.
            secure.reset_on_close();
            return None;
        }
    };
    let security = Security { server_name: hello.server_name, subject, site: Some(opening.site), ..secure.security() };
    worker.metrics.handshakes.ended(Handshake::done(security.version, secure.resumed()));
    Some(Wire::secured(Socket::Tls(secure), peer, local, security))
}

/// Whose certificate the client has shown, now or at the beginning of the session that it resumes; None: it showed none.
fn shown_subject(secure: &Secure) -> Result<Option<Box<str>>, &'static str> {
    let chain = secure.peer_certificates();
    let Some(first) = chain.first() else { return Ok(None) };
    // The library looks at a certificate when it is shown, and tickets would make that last for ever.
    if secure.resumed() && tls::has_expired(chain, SystemTime::now()) {
        return Err("the certificate that its session began with has expired");
    }
    tls::subject(first).map(Some).ok_or("a subject that is too long")
}

async fn shake_hands(secure: &mut Secure, guard: &Guard, mut until: Instant) -> io::Result<()> {
    let mut drains = false;
    loop {
        let done = timeout_at(
            until,
            poll_fn(|cx| match secure.poll_handshake(cx) {
                std::task::Poll::Pending if !drains && guard.poll_begun(cx).is_ready() => std::task::Poll::Ready(None),
                done => done.map(Some),
            }),
        );
        match done.await {
            Ok(Some(done)) => return done,
            Ok(None) => {
                drains = true;
                until = until.min(Instant::now() + LAST_HANDSHAKE);
            }
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

fn kind_of(e: &io::Error) -> Handshake {
    let Some(e) = e.get_ref().and_then(|e| e.downcast_ref::<Error>()) else {
        return if e.kind() == io::ErrorKind::TimedOut { Handshake::Late } else { Handshake::Gone };
    };
    match e {
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Handshake::Incompatible,
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented => Handshake::ClientCertificate,
        Error::AlertReceived(AlertDescription::CloseNotify | AlertDescription::UserCanceled) => Handshake::Gone,
        Error::AlertReceived(_) => Handshake::Refused,
        Error::General(_) | Error::FailedToGetRandomBytes | Error::FailedToGetCurrentTime => Handshake::Failed,
        _ => Handshake::Malformed,
    }
}
