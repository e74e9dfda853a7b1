//! `auth { jwt = … }`: the keys of signed tokens, and what else a token must say.

use std::path::Path;

use super::Checker;
use crate::{
    auth::{
        Tokens,
        token::{JWKS_BYTES_MAX, KEY_BYTES_MAX, Keys, Place, WrongKey},
    },
    config::{
        nearest,
        raw::{Key, Made, Span, Value},
        reader::{found, strings},
        settings::{Setting, Settings},
    },
};

const KINDS: [&str; 3] = ["secret", "key", "jwks"];
const EXAMPLE: &str = "for example jwt = { secret = env \"TOKEN_SECRET\" }";

impl Checker<'_> {
    /// The options of one `jwt`.
    pub(super) fn tokens(&mut self, made: &Made, settings: &Settings<'_>, span: Span) -> Option<Tokens> {
        let place = self.place(settings, span);
        let algorithms = self.algorithms(settings);
        let keys = self.keys(made, settings, span)?;
        let (place, algorithms) = (place?, algorithms?);
        let keys = match algorithms {
            Some(algorithms) => self.fitting(keys, &algorithms)?,
            None => keys,
        };
        let text = |name| settings.text(name).map(str::to_owned);
        Some(Tokens { keys, issuer: text("issuer"), audience: text("audience"), place })
    }

    /// Of `secret`, `key` and `jwks` the one that is given.
    fn keys(&mut self, made: &Made, settings: &Settings<'_>, span: Span) -> Option<Keys> {
        let mut given = KINDS.into_iter().filter_map(|kind| settings.given(kind));
        let (first, second) = (given.next(), given.next());
        let Some((kind, setting, place)) = first else {
            // One that is wrong is told already.
            if !names_a_key(made) {
                self.reader.error(span, "`jwt` of `auth` needs `secret`, `key` or `jwks`", EXAMPLE);
            }
            return None;
        };
        if let Some((other, _, span)) = second {
            let message = format!("`jwt` of `auth` has both `{kind}` and `{other}`");
            self.reader.error(*span, message, "one of them; several public keys are a `jwks`");
            return None;
        }
        let keys = match setting {
            Setting::Text(secret) => Keys::secret(secret).map_err(|wrong| (wrong, "`secret` of `jwt`".to_owned())),
            Setting::Path(path) => {
                let is_set = *kind == "jwks";
                if is_set && self.is_url(path, *place) {
                    let label = "fetch it before rsp starts, and reload when it has changed";
                    self.reader.error(*place, "`jwks` of `jwt` is a file, not a URL", label);
                    return None;
                }
                let bytes = (self.context.read)(path, if is_set { JWKS_BYTES_MAX } else { KEY_BYTES_MAX });
                match bytes {
                    Ok(bytes) if is_set => Keys::jwks(&bytes).map_err(|wrong| (wrong, path.display().to_string())),
                    Ok(bytes) => Keys::pem(&bytes).map_err(|wrong| (wrong, path.display().to_string())),
                    Err(reason) => {
                        let label = "a path is relative to the folder of the file that says it";
                        self.reader.error(*place, reason, label);
                        return None;
                    }
                }
            }
            _ => return None,
        };
        match keys {
            Ok(keys) => Some(keys),
            Err((WrongKey { message, advice }, whose)) => {
                self.reader.error(*place, format!("{whose}: {message}"), advice);
                None
            }
        }
    }

    /// Whether a path was written as `https://…`, whose first part is `https:`.
    fn is_url(&self, path: &Path, span: Span) -> bool {
        let written = path.strip_prefix(self.reader.folder(span)).ok();
        let first = written.and_then(|written| written.iter().next());
        first.is_some_and(|first| first == "https:" || first == "http:")
    }

    /// The names of `algorithms`; Some(None): not given.
    #[allow(clippy::option_option, reason = "the outer one is whether it could be read")]
    fn algorithms(&mut self, settings: &Settings<'_>) -> Option<Option<Vec<(&'static str, Span)>>> {
        let Some((value, span)) = settings.raw("algorithms") else { return Some(None) };
        let Some(names) = strings(value, span) else {
            let message = format!("`algorithms` of `jwt` must be a list of names, not {}", found(value));
            self.reader.error(span, message, "for example { \"ES256\" }");
            return None;
        };
        if names.is_empty() {
            self.reader.error(span, "`algorithms` of `jwt` is empty", "for example { \"ES256\" }");
            return None;
        }
        let known = names.into_iter().map(|(name, span)| self.algorithm(name, span).map(|name| (name, span)));
        let known: Vec<_> = known.collect();
        known.into_iter().collect::<Option<_>>().map(Some)
    }

    fn algorithm(&mut self, name: &str, span: Span) -> Option<&'static str> {
        let known = Keys::ALGORITHMS.into_iter().find(|known| *known == name);
        if known.is_none() {
            let label = match nearest(name, Keys::ALGORITHMS) {
                _ if name.eq_ignore_ascii_case("none") => "a token without a signature proves nothing".to_owned(),
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("one of {}", Keys::ALGORITHMS.join(", ")),
            };
            let message = format!("`algorithms` of `jwt` can't have \"{}\"", name.escape_debug());
            self.reader.error(span, message, label);
        }
        known
    }

    /// The keys for these algorithms, each of which has one: a public key that is taken for a secret lets everybody sign.
    fn fitting(&mut self, keys: Keys, algorithms: &[(&'static str, Span)]) -> Option<Keys> {
        let fits: Vec<_> = Keys::ALGORITHMS.into_iter().filter(|name| keys.have(name)).collect();
        let mut all_fit = true;
        for (name, span) in algorithms.iter().filter(|(name, _)| !keys.have(name)) {
            all_fit = false;
            let label = format!("the keys are for {}", fits.join(", "));
            self.reader.error(*span, format!("no key of `jwt` is for \"{name}\""), label);
        }
        let names: Vec<_> = algorithms.iter().map(|(name, _)| *name).collect();
        keys.only(&names).filter(|_| all_fit)
    }

    fn place(&mut self, settings: &Settings<'_>, span: Span) -> Option<Place> {
        let cookie = settings.text("cookie")?;
        let query = settings.text("query")?;
        // RFC 6265 §4.1.1: a cookie's name is a token.
        let is_cookie = http::HeaderName::from_bytes(cookie.as_bytes()).is_ok();
        if !is_cookie {
            let message = format!("`cookie` of `jwt` is no name of a cookie: \"{}\"", cookie.escape_debug());
            self.reader.error(settings.span("cookie", span), message, "for example \"token\"");
        }
        if query.is_empty() {
            self.reader.error(settings.span("query", span), "`query` of `jwt` is empty", "for example \"token\"");
        }
        (is_cookie && !query.is_empty()).then(|| Place { cookie: cookie.into(), query: query.into() })
    }
}

/// Whether the `jwt` of this `auth` says anything of a key, right or wrong.
fn names_a_key(made: &Made) -> bool {
    let is_of_key = |key: &Key| matches!(key, Key::Text(key) if KINDS.contains(&key.as_str()));
    made.arguments.entries.iter().any(|entry| match &entry.value {
        Value::Table(table) => table.entries.iter().any(|entry| is_of_key(&entry.key)),
        _ => false,
    })
}
