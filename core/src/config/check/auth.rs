//! `auth`: users and their hashes, or the server that is asked; tokens have a file of their own.

use std::sync::Arc;

use bytes::Bytes;

use super::Checker;
use crate::{
    auth::{HashError, Line, Users},
    config::{
        checked::{Auth, ForwardAuth},
        options,
        raw::{Key, Made, Span, Table, Value},
        reader::{found, strings},
        settings::{Setting, Settings},
    },
    frame::http1::Target,
};

/// Wrong lines of one file that are told; the rest is counted.
const LINES_SHOWN: usize = 10;

/// Bytes of an htpasswd file.
const USERS_BYTES_MAX: u64 = 1 << 20;

const EXAMPLE: &str = "for example \"./htpasswd\", or { alice = \"$2y$…\" }";
const WRITE_ONE: &str = "bcrypt or argon2; `htpasswd -B FILE NAME` writes bcrypt";

impl Checker<'_> {
    /// One `auth`, once however many routes it stands in: its file may be long.
    pub(super) fn auth(&mut self, made: &Made, settings: &Settings<'_>) -> Option<Arc<Auth>> {
        let key = std::ptr::from_ref(made) as usize;
        if let Some(known) = self.auths.get(&key) {
            return known.clone();
        }
        let checked = self.one_auth(made, settings).map(Arc::new);
        self.auths.insert(key, checked.clone());
        checked
    }

    fn one_auth(&mut self, made: &Made, settings: &Settings<'_>) -> Option<Auth> {
        let kinds = ["basic", "jwt", "forward"].map(|kind| settings.given(kind));
        let mut given = kinds.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some((_, Setting::Table(jwt), span)), None) => self.tokens(made, jwt, *span).map(Box::new).map(Auth::Jwt),
            (Some(("basic", Setting::Raw(value), span)), None) => self.users(value, *span).map(Auth::Basic),
            (Some(("forward", Setting::Raw(value), span)), None) => self.forward(value, *span).map(Auth::Forward),
            (Some((first, ..)), Some((second, _, span))) => {
                let label = "one of them; two `auth` in a route must both let a request pass";
                self.reader.error(*span, format!("`auth` has both `{first}` and `{second}`"), label);
                None
            }
            (Some(_), None) => None,
            (None, _) => {
                if made.arguments.entries.is_empty() {
                    let label = "for example auth { basic = \"./htpasswd\" }";
                    self.reader.error(made.span, "`auth` needs `basic`, `jwt` or `forward`", label);
                }
                None
            }
        }
    }

    fn users(&mut self, value: &Value, span: Span) -> Option<Users> {
        match value {
            Value::Text(path) if path.is_empty() || path.contains('\0') => {
                self.reader.error(span, "`basic` of `auth` is no path", EXAMPLE);
                None
            }
            Value::Text(path) => {
                let path = self.reader.path(path, span);
                let shown = path.display();
                let text = |bytes| String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8"));
                match (self.context.read)(&path, USERS_BYTES_MAX).and_then(text) {
                    Ok(text) => self.told(Users::read(&text), span, |line| match line.number {
                        0 => format!("{shown}: {}", line.message),
                        number => format!("{shown}:{number}: {}", line.message),
                    }),
                    Err(reason) => {
                        self.reader.error(span, reason, "a path is relative to the folder of the file that says it");
                        None
                    }
                }
            }
            Value::Table(table) => self.named_users(table, span),
            other => {
                let message = format!("`basic` of `auth` must be a path or a table, not {}", found(other));
                self.reader.error(span, message, EXAMPLE);
                None
            }
        }
    }

    fn named_users(&mut self, table: &Table, span: Span) -> Option<Users> {
        let mut pairs = Vec::with_capacity(table.entries.len());
        let mut places = vec![span];
        for entry in &table.entries {
            let (Key::Text(name), Value::Text(hash)) = (&entry.key, &entry.value) else {
                self.reader.error(entry.span, "a user of `auth` is a name and a hash", EXAMPLE);
                return None;
            };
            places.push(entry.span);
            pairs.push((name.as_str(), hash.as_str()));
        }
        if let Some(item) = table.items.first() {
            self.reader.error(item.span, "a user of `auth` is a name and a hash", EXAMPLE);
            return None;
        }
        let wrong = match Users::gather((1..).zip(pairs)) {
            Ok(users) => return Some(users),
            Err(wrong) => wrong,
        };
        for line in wrong.iter().take(LINES_SHOWN) {
            let place = places.get(line.number).copied().unwrap_or(span);
            self.reader.error(place, format!("`basic` of `auth`: {}", line.message), advice(line));
        }
        None
    }

    fn told(&mut self, users: Result<Users, Vec<Line>>, span: Span, says: impl Fn(&Line) -> String) -> Option<Users> {
        let wrong = match users {
            Ok(users) => return Some(users),
            Err(wrong) => wrong,
        };
        for line in wrong.iter().take(LINES_SHOWN) {
            self.reader.error(span, says(line), advice(line));
        }
        if let Some(more) = wrong.len().checked_sub(LINES_SHOWN).filter(|more| *more > 0) {
            self.reader.error(span, format!("{more} more lines of that file are wrong"), WRITE_ONE);
        }
        None
    }

    fn forward(&mut self, value: &Value, span: Span) -> Option<ForwardAuth> {
        const FORM: &str = "for example { \"127.0.0.1:9000\", path = \"/auth\" }";
        let Value::Table(Table { items, entries }) = value else {
            let message = format!("`forward` of `auth` must be a table, not {}", found(value));
            self.reader.error(span, message, FORM);
            return None;
        };
        let settings = self.reader.settings("forward", options::FORWARD, entries);
        let path = self.forward_path(&settings, span);
        let copy = self.copied(&settings);
        let [target] = items.as_slice() else {
            let message = format!("`forward` of `auth` has one upstream, not {}", items.len());
            self.reader.error(span, message, FORM);
            return None;
        };
        Some(ForwardAuth {
            upstream: self.target("forward", &target.value, target.span)?,
            path: path?,
            timeout: settings.duration("timeout")?,
            cache: settings.duration("cache")?,
            copy: copy?,
        })
    }

    fn forward_path(&mut self, settings: &Settings<'_>, span: Span) -> Option<Target> {
        let Some(text) = settings.text("path") else {
            if settings.given("path").is_none() {
                self.reader.error(span, "`forward` needs its `path`", "for example path = \"/auth\"");
            }
            return None;
        };
        let target = Target::new(Bytes::copy_from_slice(text.as_bytes())).ok().filter(|_| text.starts_with('/'));
        if target.is_none() {
            let message = format!("`path` of `forward` is no path: \"{}\"", text.escape_debug());
            self.reader.error(settings.span("path", span), message, "for example \"/auth\"");
        }
        target
    }

    fn copied(&mut self, settings: &Settings<'_>) -> Option<Vec<http::HeaderName>> {
        let Some((_, Setting::Raw(value), span)) = settings.given("copy") else { return Some(Vec::new()) };
        let Some(names) = strings(value, *span) else {
            let message = format!("`copy` of `forward` must be a list of names, not {}", found(value));
            self.reader.error(*span, message, "for example { \"X-User\" }");
            return None;
        };
        let mut copied = Vec::with_capacity(names.len());
        for (text, span) in names {
            let name = self.field_name(text, span)?;
            if name == http::header::HOST {
                self.reader.error(span, "`Host` can't be copied", "it has chosen the route already");
                return None;
            }
            copied.push(name);
        }
        Some(copied)
    }
}

fn advice(line: &Line) -> &'static str {
    match line.hash {
        Some(HashError::Costly(_)) => "a cheaper one",
        Some(HashError::Malformed) => "was it cut short?",
        Some(HashError::Weak(_) | HashError::Unknown) => WRITE_ONE,
        None => "",
    }
}
