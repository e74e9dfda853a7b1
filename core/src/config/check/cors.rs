//! `cors`: origins, methods and headers as browsers write them.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use super::Checker;
use crate::config::{
    checked::{Cors, Filter, Origin},
    raw::{Span, Value},
    reader::{found, strings},
    settings::Settings,
};

impl Checker<'_> {
    pub(super) fn cors(&mut self, settings: &Settings<'_>, span: Span) -> Option<Filter> {
        let none = |value: &Value| matches!(value, Value::Table(list) if list.items.is_empty());
        let Some((value, place)) = settings.raw("origins").filter(|(value, _)| !none(value)) else {
            self.reader.error(span, "`cors` needs its origins", "for example { \"https://example.com\" }, or \"*\"");
            return None;
        };
        let origins = self.origins("cors", value, place)?;
        let credentials = settings.bool("credentials");
        if credentials && origins.is_none() {
            let span = settings.span("credentials", span);
            self.reader.error(span, "`credentials` of `cors` can't be given to every origin", "list the origins");
        }
        let mut names = |option, check: fn(&str) -> Result<String, String>| match settings.raw(option) {
            None => Some(Some(HeaderValue::from_static(""))),
            Some((value, span)) => {
                let names = self.listed((option, "cors"), value, span, check)?;
                Some(names.and_then(|names| HeaderValue::try_from(names.join(", ")).ok()))
            }
        };
        let (methods, headers) = (names("methods", method), names("headers", header));
        let max_age = settings.duration("max_age");
        Some(Filter::Cors(Arc::new(Cors { origins, methods: methods?, headers: headers?, credentials, max_age })))
    }

    /// Foreign origins of any handler or filter: a list of them or one; `Some(None)` is any, None is wrong.
    pub(super) fn origins(&mut self, owner: &str, value: &Value, span: Span) -> Option<Option<Vec<Origin>>> {
        self.listed(("origins", owner), value, span, origin)
    }

    /// Every value of a list, or of one string; `Some(None)` is any: `"*"`. None is wrong, and said to be.
    pub(super) fn listed<T>(
        &mut self,
        (option, owner): (&str, &str),
        value: &Value,
        span: Span,
        check: fn(&str) -> Result<T, String>,
    ) -> Option<Option<Vec<T>>> {
        let Some(texts) = strings(value, span) else {
            let message =
                format!("`{option}` of `{owner}` must be a string or a list of strings, not {}", found(value));
            self.reader.error(span, message, "or \"*\" for any");
            return None;
        };
        if let Some((_, span)) = texts.iter().find(|(text, _)| *text == "*") {
            if texts.len() > 1 {
                let message = format!("\"*\" in `{option}` of `{owner}` means any");
                self.reader.error(*span, message, "remove it, or the others");
            }
            return Some(None);
        }
        let mut all = Vec::with_capacity(texts.len());
        for (text, span) in texts {
            match check(text) {
                Ok(checked) => all.push(checked),
                Err(label) => {
                    let message = format!("\"{}\" is none of the `{option}` of `{owner}`", text.escape_debug());
                    self.reader.error(span, message, label);
                }
            }
        }
        Some(Some(all))
    }
}

/// Errors: what would be right.
pub(super) fn origin(text: &str) -> Result<Origin, String> {
    if text == "null" {
        return Ok(Origin::Exact(text.to_owned()));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!("with its scheme: \"https://{}\"", text.escape_debug()));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let right = right_spelling(scheme, authority);
    if authority != rest || right != text {
        return Err(format!("did you mean \"{}\"?", right.escape_debug()));
    }
    let (suffix, below) = authority.strip_prefix('*').map_or((authority, false), |suffix| (suffix, true));
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
    let port = suffix.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.contains(']'));
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err("a port is a number up to 65535".to_owned());
    }
    let whole = !below || (suffix.starts_with('.') && suffix.len() > 1);
    if scheme.is_empty() || suffix.is_empty() || !whole || !suffix.bytes().all(legal) {
        return Err("for example \"https://example.com\" or \"https://*.example.com\"".to_owned());
    }
    Ok(match below {
        true => Origin::Below { scheme: format!("{scheme}://"), suffix: suffix.to_owned() },
        false => Origin::Exact(text.to_owned()),
    })
}

/// Lower case, without the scheme's own port.
fn right_spelling(scheme: &str, authority: &str) -> String {
    let (scheme, authority) = (scheme.to_ascii_lowercase(), authority.to_ascii_lowercase());
    let port = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let host = Some(port).filter(|port| !port.is_empty()).and_then(|port| authority.strip_suffix(port));
    format!("{scheme}://{}", host.unwrap_or(&authority))
}

fn method(text: &str) -> Result<String, String> {
    let upper = text.to_ascii_uppercase();
    match Method::from_bytes(text.as_bytes()) {
        Ok(_) if upper == text => Ok(upper),
        Ok(_) => Err(format!("did you mean \"{upper}\"?")),
        Err(_) => Err("for example \"PUT\"".to_owned()),
    }
}

fn header(text: &str) -> Result<String, String> {
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) => Ok(name.to_string()),
        Err(_) => Err("letters, digits and hyphens".to_owned()),
    }
}
