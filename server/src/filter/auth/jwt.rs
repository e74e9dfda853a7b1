//! `jwt`: whoever has a signed token (RFC 7519, RFC 6750). Each is checked each time: that takes some microseconds, so
//! nothing is remembered and nobody waits.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE};
use rsp_core::{auth::token::Refused, config};

use crate::{
    error::{Fault, Kind},
    filter::{Pass, Refusal},
    message::{Request, User},
    observe::AuthCounts,
};

/// Keys and claims, and what those without a token are told.
pub struct Jwt {
    spec: Arc<config::Auth>,
    challenge: HeaderValue,
}

impl Jwt {
    /// For keys that were read; the site's name is the realm.
    pub(super) fn new(spec: Arc<config::Auth>, site: &str) -> Self {
        let realm = site.replace('\\', "\\\\").replace('"', "\\\"");
        let challenge = HeaderValue::try_from(format!("Bearer realm=\"{realm}\""));
        Self { spec, challenge: challenge.unwrap_or(HeaderValue::from_static("Bearer realm=\"rsp\"")) }
    }

    pub(super) fn inward(&self, request: &mut Request, counts: &AuthCounts) -> Pass {
        let config::Auth::Jwt(tokens) = &*self.spec else { return self.refuse(Refused::Missing) };
        // A clock before 1970 is wrong, and no token is right by it.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs());
        let claims = match tokens.place.find(&request.head).and_then(|token| tokens.verify(&token, now)) {
            Ok(claims) => claims,
            Err(refused) => return self.refuse(refused),
        };
        tokens.place.remove(&mut request.head);
        request.user = Some(Arc::new(User { name: claims.sub.into(), info: claims.info.map(Arc::from) }));
        counts.passed.inc();
        Pass::Go
    }

    fn refuse(&self, refused: Refused) -> Pass {
        let says = refused.says();
        // RFC 6750 §3.1: who said nothing is told no error.
        let challenge = match refused {
            Refused::Missing => self.challenge.clone(),
            _ => HeaderValue::try_from(format!("Bearer error=\"invalid_token\", error_description=\"{says}\""))
                .unwrap_or(self.challenge.clone()),
        };
        Pass::Refuse(Box::new(Refusal {
            fault: Fault::new(Kind::Unauthorized, says),
            status: StatusCode::UNAUTHORIZED,
            field: Some((WWW_AUTHENTICATE, challenge)),
            says: Some(says),
        }))
    }
}
