//! `limit`: how often, how many at once, and of what.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use http::{HeaderName, StatusCode};

use super::Checker;
use crate::config::{
    checked::{Filter, Limit, LimitKey},
    nearest::nearest,
    options,
    raw::{Key, Made, Span, Value},
    reader::found,
    settings::Settings,
};

/// The limits of a file: each `limit` that was called is one, in however many routes it stands.
#[derive(Debug, Default)]
pub(super) struct LimitNames {
    /// By the address of the call, which lives as long as the file.
    known: HashMap<usize, Arc<Limit>>,
    names: HashSet<String>,
    site: String,
    route: String,
}

impl LimitNames {
    /// The next limit stands in this route of this site.
    pub(super) fn enter(&mut self, site: &Made, route: &str) {
        self.site.clear();
        if let Some(Value::Text(host)) = site.name.items.first().map(|item| &item.value) {
            self.site.push_str(host);
        }
        self.route.clear();
        self.route.push_str(route);
    }

    /// The route of the site that is being checked; empty on a request.
    pub(super) fn place(&self) -> String {
        format!("{} {}", self.site, self.route)
    }

    /// A name that no other limit has, and that a reload gives again if nothing before it in the route changed.
    fn name(&mut self) -> String {
        let place = self.place();
        let mut name = place.clone();
        for number in 2.. {
            if self.names.insert(name.clone()) {
                break;
            }
            name = format!("{place} {number}");
        }
        name
    }
}

impl Checker<'_> {
    pub(super) fn limit(&mut self, made: &Made, settings: &Settings<'_>) -> Option<Filter> {
        let address = std::ptr::from_ref(made) as usize;
        if let Some(known) = self.limits.known.get(&address) {
            return Some(Filter::Limit(Arc::clone(known)));
        }
        self.counted_here(settings);
        let count = |name: &str| settings.integer(name).and_then(|count| u32::try_from(count).ok());
        let (rate, burst, concurrent) = (settings.rate("rate"), count("burst"), count("concurrent"));
        // Also one that is wrong, and said to be.
        let given = |name: &str| made.arguments.entries.iter().any(|entry| entry.key == Key::Text(name.to_owned()));
        if given("burst") && !given("rate") {
            let span = settings.span("burst", made.span);
            self.reader.error(span, "`burst` of `limit` means nothing without `rate`", "for example rate = \"10/s\"");
        } else if rate.is_none() && concurrent.is_none() {
            if !given("rate") && !given("concurrent") {
                let label = "for example limit { rate = \"10/s\" } or limit { concurrent = 10 }";
                self.reader.error(made.span, "`limit` bounds nothing without `rate` or `concurrent`", label);
            }
            return None;
        }
        let key = self.limit_key(settings.text("key")?, settings.span("key", made.span))?;
        let status =
            u16::try_from(settings.integer("status")?).ok().and_then(|code| StatusCode::from_u16(code).ok())?;
        let rate = rate.map(|rate| (rate, burst.unwrap_or(rate.count)));
        let limit = Arc::new(Limit { name: self.limits.name(), rate, concurrent, key, status });
        self.limits.known.insert(address, Arc::clone(&limit));
        Some(Filter::Limit(limit))
    }

    /// `by`: in this process, in this version.
    fn counted_here(&mut self, settings: &Settings<'_>) {
        let Some((value, span)) = settings.raw("by") else { return };
        match value {
            Value::Text(text) if text == "local" => {}
            Value::Made(made) if made.what == "redis" => {
                if let Some(redis) = options::find("redis") {
                    self.reader.landed(redis, span);
                }
            }
            other => {
                let message = format!("`by` of `limit` must be \"local\" or `redis \"URL\"`, not {}", found(other));
                self.reader.error(span, message, "leave it out to count in this rsp");
            }
        }
    }

    fn limit_key(&mut self, text: &str, span: Span) -> Option<LimitKey> {
        let key = match (text, text.split_once(':')) {
            ("client.ip", _) => Some(LimitKey::ClientIp),
            ("uri", _) => Some(LimitKey::Uri),
            ("path", _) => Some(LimitKey::Path),
            ("host", _) => Some(LimitKey::Host),
            (_, Some(("header", name))) => HeaderName::from_bytes(name.as_bytes()).ok().map(LimitKey::Header),
            (_, Some(("cookie", name))) => {
                let token = HeaderName::from_bytes(name.as_bytes()).is_ok();
                token.then(|| LimitKey::Cookie(name.to_owned()))
            }
            _ => None,
        };
        if key.is_none() {
            let near = nearest(text, ["client.ip", "uri", "path", "host"]);
            let label = match near {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "\"client.ip\", \"header:NAME\", \"cookie:NAME\", \"uri\", \"path\" or \"host\"".to_owned(),
            };
            self.reader.error(span, format!("`limit` has no key \"{}\"", text.escape_debug()), label);
        }
        key
    }
}
