//! How an upstream's endpoints are chosen, kept, probed and waited for.

use http::{HeaderName, HeaderValue, Method};

use super::Checker;
use crate::config::{
    checked::{HashKey, Probe, ProbeRequest, Queue},
    options,
    raw::Value,
    reader::found,
    settings::Settings,
};

/// The largest number of ranges of statuses that a probe may have.
const RANGES_MAX: usize = 100;

impl Checker<'_> {
    /// None: it is wrong, and was said to be.
    pub(super) fn hash_key(&mut self, settings: &Settings<'_>) -> Option<HashKey> {
        let Some((value, span)) = settings.raw("key") else { return Some(HashKey::default()) };
        if settings.text("balance") != Some("hash") {
            self.reader.error(span, "`key` of `upstream` is for `hash` only", "with balance = \"hash\"");
        }
        let text = match value {
            Value::Text(text) => text.as_str(),
            Value::Function(_) => {
                self.reader.error(span, "a function as `key` of `upstream` is not in this version", "");
                return None;
            }
            other => {
                let message = format!("`key` of `upstream` must be a string, not {}", found(other));
                self.reader.error(span, message, KEYS);
                return None;
            }
        };
        let key = match text.split_once(':') {
            None if text == "client.ip" => Some(HashKey::ClientIp),
            None if text == "uri" => Some(HashKey::Uri),
            Some(("header", name)) => HeaderName::try_from(name).ok().map(HashKey::Header),
            Some(("cookie", name)) if is_token(name) => Some(HashKey::Cookie(name.to_owned())),
            _ => None,
        };
        if key.is_none() {
            self.reader.error(span, format!("`key` of `upstream` can't be \"{}\"", text.escape_debug()), KEYS);
        }
        key
    }

    /// The inner None: no cookie.
    pub(super) fn sticky(&mut self, settings: &Settings<'_>) -> Option<Option<String>> {
        let Some(name) = settings.text("sticky") else { return Some(None) };
        if name.len() <= 64 && is_token(name) {
            return Some(Some(name.to_owned()));
        }
        let span = settings.given("sticky").map(|(_, _, span)| *span)?;
        let message = format!("`sticky` of `upstream` is no name of a cookie: \"{}\"", name.escape_debug());
        self.reader.error(span, message, "letters, digits, - and _: \"app_endpoint\"; 64 bytes at most");
        None
    }

    /// The inner None: no probes.
    pub(super) fn probe(&mut self, settings: &Settings<'_>) -> Option<Option<Probe>> {
        let Some(probe) = settings.table("probe") else { return Some(None) };
        let span = settings.given("probe").map(|(_, _, span)| *span)?;
        let (path, tcp) = (probe.text("path"), probe.bool("tcp"));
        let wrong = match (path, tcp) {
            (None, false) => Some(("`probe` needs its path", "probe = { path = \"/healthz\" }, or { tcp = true }")),
            (Some(_), true) => Some(("`probe` has a path, or `tcp = true`, not both", "one of them")),
            (Some(path), _) if !is_path(path) => Some(("`path` of `probe` is no path", "for example \"/healthz\"")),
            _ => None,
        };
        if let Some((message, label)) = wrong {
            self.reader.error(probe.span("path", span), message, label);
            return None;
        }
        let small = |name| probe.integer(name).and_then(|count| u32::try_from(count).ok());
        let ask = match path {
            Some(path) => Some(self.probe_request(probe, path)?),
            None => {
                for name in ["method", "host", "status", "body"] {
                    if let Some((_, _, span)) = probe.given(name) {
                        self.reader.error(*span, format!("`{name}` of `probe` is for a probe with a path"), "");
                    }
                }
                None
            }
        };
        Some(Some(Probe {
            ask,
            every: probe.duration("every")?,
            timeout: probe.duration("timeout")?,
            fall: small("fall")?,
            rise: small("rise")?,
        }))
    }

    fn probe_request(&mut self, probe: &Settings<'_>, path: &str) -> Option<ProbeRequest> {
        let method = probe.text("method").and_then(|method| Method::from_bytes(method.as_bytes()).ok());
        let method = method.filter(|method| !matches!(*method, Method::CONNECT | Method::TRACE));
        let host = probe.text("host").map(|host| HeaderValue::from_str(host).ok().filter(|_| is_visible(host)));
        let statuses = probe.text("status").and_then(statuses);
        let body = probe.text("body").filter(|body| !body.is_empty());
        for (name, is_right, label) in [
            ("method", method.is_some(), "for example \"GET\" or \"HEAD\""),
            ("host", host != Some(None), "a name like \"example.com\""),
            ("status", statuses.is_some(), "for example \"200\", \"200-399\" or \"200-299,404\""),
            ("body", method != Some(Method::HEAD) || body.is_none(), "an answer to HEAD has no body"),
        ] {
            if let Some((_, _, span)) = probe.given(name).filter(|_| !is_right) {
                let given = probe.text(name).unwrap_or_default().escape_debug();
                self.reader.error(*span, format!("`{name}` of `probe` can't be \"{given}\""), label);
            }
        }
        Some(ProbeRequest {
            path: path.to_owned(),
            method: method?,
            host: host.flatten(),
            statuses: statuses?,
            body: body.map(str::to_owned),
        })
    }
}

const KEYS: &str = "\"client.ip\", \"header:NAME\", \"cookie:NAME\" or \"uri\"";

/// Where requests wait; the default is nowhere.
pub(super) fn queue(settings: &Settings<'_>) -> Option<Queue> {
    let none = Settings::defaults(options::QUEUE);
    let queue = settings.table("queue").unwrap_or(&none);
    let size = queue.integer("size").and_then(|count| usize::try_from(count).ok())?;
    Some(Queue { size, timeout: queue.duration("timeout")? })
}

/// `200`, `200-399` or several of them with commas between; each status has three digits.
fn statuses(text: &str) -> Option<Vec<(u16, u16)>> {
    let status = |text: &str| text.trim().parse::<u16>().ok().filter(|status| (100..=999).contains(status));
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let range = (status(from)?, status(to)?);
        (range.0 <= range.1).then_some(range)
    };
    if text.split(',').count() > RANGES_MAX {
        return None;
    }
    text.split(',').map(range).collect()
}

/// RFC 9110 §5.6.2, which names of cookies are (RFC 6265 §4.1.1).
fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_tchar)
}

fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What may stand in a request line.
fn is_path(text: &str) -> bool {
    text.starts_with('/') && is_visible(text)
}
