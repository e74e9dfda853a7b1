//! `basic`: users with a name and a password (RFC 7617).

use std::{sync::Arc, time::Instant};

use http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE};
use rsp_core::{
    auth::{Credentials, credentials},
    config,
};
use tokio::sync::oneshot;

use super::{
    Known,
    kept::{Asking, Look},
    pool::{Job, KNOWN, WAIT_MAX},
    while_client_waits,
};
use crate::{
    error::{Fault, Kind},
    filter::{Pass, Refusal},
    message::{Request, User},
    observe::AuthCounts,
};

/// Users, and what others are told.
pub struct Basic {
    spec: Arc<config::Auth>,
    challenge: HeaderValue,
    known: Arc<Known>,
}

impl Basic {
    /// For users that were checked; the site's name is the realm.
    pub(super) fn new(spec: Arc<config::Auth>, site: &str, known: Arc<Known>) -> Self {
        let realm = site.replace('\\', "\\\\").replace('"', "\\\"");
        let challenge = HeaderValue::try_from(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""));
        let challenge = challenge.unwrap_or(HeaderValue::from_static("Basic realm=\"rsp\", charset=\"UTF-8\""));
        Self { spec, challenge, known }
    }

    pub(super) async fn inward(&self, request: &mut Request, counts: &AuthCounts) -> Result<Pass, Fault> {
        let Some(credentials) = credentials(&request.head.headers) else {
            return Ok(self.refuse("no credentials"));
        };
        let told = match self.look(&credentials, request)? {
            Verdict::Known => {
                counts.cached.inc();
                request.user = named(&credentials);
                return Ok(Pass::Go);
            }
            Verdict::Awaited(told) => told,
        };
        let waited = while_client_waits(&request.interim, tokio::time::timeout(WAIT_MAX, told)).await?;
        match waited {
            Ok(Ok(Some(()))) => {
                counts.passed.inc();
                request.user = named(&credentials);
                Ok(Pass::Go)
            }
            Ok(Ok(None)) => Ok(self.refuse("no such user, or another password")),
            Ok(Err(_)) => Err(full("who asked first for this password was given up")),
            Err(_) => Err(full("no turn to check a password within 10 s")),
        }
    }

    /// What is known of these credentials, or whom to await. An unknown user takes the way of a wrong password.
    fn look(&self, credentials: &Credentials, request: &Request) -> Result<Verdict, Fault> {
        let config::Auth::Basic(users) = &*self.spec else { return Err(full("no users")) };
        let secret = &self.known.secret;
        let users_hash = users.find(credentials.user());
        let is_users = users_hash.is_some();
        let Some(hash) = users_hash.or_else(|| users.stand_in(secret.number(credentials.user()))) else {
            return Err(full("no users"));
        };
        let key = secret.key([&[u8::from(is_users)], hash.text().as_bytes(), credentials.text().as_bytes()]);
        match self.known.passwords.look(key, Instant::now(), Some(KNOWN)) {
            Look::Known(()) => Ok(Verdict::Known),
            Look::Wait(told) => Ok(Verdict::Awaited(told)),
            Look::Full => Err(full("as many requests wait for a password as may")),
            Look::Ask(asking, told) => {
                let asking: Asking<()> = asking;
                let (password, client) = (credentials.password().to_owned(), request.client.ip);
                let job = Job { asking, password, hash: hash.clone(), is_users, client };
                self.known.pool.check(job).map_err(|_| full("as many passwords wait to be checked as may"))?;
                Ok(Verdict::Awaited(told))
            }
        }
    }

    fn refuse(&self, cause: &'static str) -> Pass {
        Pass::Refuse(Box::new(Refusal {
            fault: Fault::new(Kind::Unauthorized, cause),
            status: StatusCode::UNAUTHORIZED,
            field: Some((WWW_AUTHENTICATE, self.challenge.clone())),
            says: None,
        }))
    }
}

enum Verdict {
    /// They were right a while ago, and their hash is the same.
    Known,
    /// Some(()): right; None: wrong; an error: given up.
    Awaited(oneshot::Receiver<Option<()>>),
}

fn named(credentials: &Credentials) -> Option<Arc<User>> {
    Some(Arc::new(User { name: credentials.user().into(), info: None }))
}

fn full(cause: &'static str) -> Fault {
    Fault::new(Kind::Full, cause)
}
