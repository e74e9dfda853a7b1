//! Handlers and filters, from a file or built on a request.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE};

use super::{Checker, upstream::retry};
use crate::{
    config::{
        checked::{
            Filter, Forwarded, Handler, HeaderEdit, HeaderEdits, Only, Proxy, ProxyHost, Redirect, Reply, Upstream,
        },
        json::json,
        nearest::nearest,
        options::{self, Kind},
        raw::{Made, Span, Value},
        reader::found,
        settings::{Arguments, Setting, Settings},
    },
    route::Pattern,
};

impl Checker<'_> {
    /// One handler; None is wrong, and said to be, or no handler at all.
    pub(super) fn handler(&mut self, made: &Made, pattern: &Pattern) -> Option<Handler> {
        let constructor = options::find(made.what).filter(|constructor| constructor.kind == Kind::Handler)?;
        if !self.reader.landed(constructor, made.span) {
            return None;
        }
        let arguments = self.reader.arguments(constructor, made);
        match made.what {
            "tunnel" => {
                let message = "`tunnel` is for listeners, not for routes";
                self.reader.error(made.span, message, "listen { \":5432\", tcp = tunnel(app) }");
                None
            }
            "proxy" => self.proxy(&arguments, made.span).map(Handler::Proxy),
            "files" => self.files(&arguments, pattern).map(|files| Handler::Files(Arc::new(files))),
            "fastcgi" => self.fastcgi(&arguments, made.span).map(|fastcgi| Handler::Fastcgi(Arc::new(fastcgi))),
            "reply" => self.reply(&arguments).map(Handler::Reply),
            "redirect" => self.redirect(&arguments, pattern).map(|redirect| Handler::Redirect(Arc::new(redirect))),
            "channel" => self.channel(made, &arguments, pattern).map(Handler::Channel),
            "exec" => self.exec(made, &arguments, pattern).map(Handler::Exec),
            "cgi" => self.cgi(made, &arguments, pattern).map(Handler::Cgi),
            "bridge" => self.bridge(&arguments, pattern, made.span).map(Handler::Bridge),
            _ => None,
        }
    }

    /// One filter; None is wrong, and said to be.
    pub(super) fn filter(&mut self, made: &Made) -> Option<Filter> {
        let constructor = options::find(made.what).filter(|constructor| constructor.kind == Kind::Filter)?;
        if !self.reader.landed(constructor, made.span) {
            return None;
        }
        let arguments = self.reader.arguments(constructor, made);
        match made.what {
            "allow" => Some(Filter::Allow(arguments.networks())),
            "deny" => Some(Filter::Deny(arguments.networks())),
            "auth" => self.auth(made, &arguments.settings).map(Filter::Auth),
            "headers" => {
                let mut edit = |name| arguments.settings.table(name).map(|settings| self.header_edit(settings));
                let (request, response) = (edit("request"), edit("response"));
                let only = arguments.settings.text("only").map(|only| match only {
                    "websocket" => Only::Websocket,
                    _ => Only::Http,
                });
                let (request, response) = (request.unwrap_or_default(), response.unwrap_or_default());
                Some(Filter::Headers(Arc::new(HeaderEdits { request, response, only })))
            }
            "limit" => self.limit(made, &arguments.settings),
            "cors" => self.cors(&arguments.settings, made.span),
            "rewrite" => self.rewrite(&arguments),
            _ => None,
        }
    }

    fn header_edit(&mut self, settings: &Settings<'_>) -> HeaderEdit {
        HeaderEdit {
            set: settings.raw("set").map(|(value, span)| self.fields("set", value, span)).unwrap_or_default(),
            add: settings.raw("add").map(|(value, span)| self.fields("add", value, span)).unwrap_or_default(),
            remove: settings.raw("remove").map(|(value, span)| self.field_names(value, span)).unwrap_or_default(),
        }
    }

    /// A proxy; those without options are one for each upstream, as a file may have a million of them.
    fn proxy(&mut self, arguments: &Arguments<'_>, span: Span) -> Option<Arc<Proxy>> {
        let target = match arguments.positional.first() {
            Some((Some(Setting::Raw(value)), place)) => self.target("proxy", value, *place),
            _ => None,
        };
        if !arguments.settings.given.is_empty() {
            return self.proxy_to(target, &arguments.settings, span).map(Arc::new);
        }
        let upstream = target?;
        let key = Arc::as_ptr(&upstream) as usize;
        if let Some(plain) = self.plain_proxies.get(&key) {
            return Some(plain.clone());
        }
        let plain = Arc::new(self.proxy_to(Some(upstream), &arguments.settings, span)?);
        self.plain_proxies.insert(key, plain.clone());
        Some(plain)
    }

    fn proxy_to(&mut self, target: Option<Arc<Upstream>>, settings: &Settings<'_>, span: Span) -> Option<Proxy> {
        let strip = settings.text("strip");
        if strip.is_some_and(|strip| !strip.starts_with('/')) {
            self.reader.error(settings.span("strip", span), "`strip` of `proxy` must begin with a slash", "\"/api\"");
        }
        let host = match settings.text("host")? {
            "keep" => ProxyHost::Keep,
            "upstream" => ProxyHost::Upstream,
            name => ProxyHost::Fixed(self.proxy_host(name, settings.span("host", span))?),
        };
        let upstream = target?;
        let base = upstream.retry;
        Some(Proxy {
            strip: strip.map(str::to_owned),
            host,
            timeout: settings.duration("timeout")?,
            body_timeout: settings.duration("body_timeout")?,
            forwarded: match settings.text("forwarded")? {
                "rfc" => Forwarded::Rfc,
                "both" => Forwarded::Both,
                "off" => Forwarded::Off,
                _ => Forwarded::X,
            },
            retry: settings.table("retry").and_then(|own| retry(own, Some(base))),
            buffer: settings.size("buffer").and_then(|bytes| usize::try_from(bytes).ok()),
            upgrade: settings.bool("upgrade"),
            tunnel_timeout: settings.duration("tunnel_timeout"),
            upstream,
        })
    }

    /// RFC 9110 §7.2: a host and an optional port.
    fn proxy_host(&mut self, name: &str, span: Span) -> Option<HeaderValue> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        let value = HeaderValue::from_str(name).ok().filter(|_| !name.is_empty() && name.bytes().all(legal));
        if value.is_none() {
            let message = format!("`host` of `proxy` is no host: \"{}\"", name.escape_debug());
            self.reader.error(span, message, "\"keep\", \"upstream\" or a name like \"example.com\"");
        }
        value
    }

    /// An answer; those of one status and body without fields are one, as a file may have a million of them.
    fn reply(&mut self, arguments: &Arguments<'_>) -> Option<Arc<Reply>> {
        let body = arguments.positional.get(1);
        let (body, content_type) = match body {
            Some((Some(Setting::Raw(value)), span)) => self.body(value, *span)?,
            _ => (Bytes::new(), None),
        };
        let fields = match arguments.positional.get(2) {
            Some((Some(Setting::Raw(value)), span)) => self.fields("reply", value, *span),
            _ => Vec::new(),
        };
        let Some(Setting::Integer(status)) = arguments.at(0) else { return None };
        let status = u16::try_from(*status).ok().and_then(|status| StatusCode::from_u16(status).ok())?;
        if [204, 205, 304].contains(&status.as_u16()) && !body.is_empty() {
            let span = arguments.positional.get(1).map(|(_, span)| *span).unwrap_or_default();
            self.reader.error(span, format!("an answer {} has no body", status.as_u16()), "remove it");
        }
        if !fields.is_empty() {
            return Some(Arc::new(new_reply(status, body, content_type, fields)));
        }
        let known = self.plain_replies.entry((status, content_type, body.clone()));
        Some(Arc::clone(known.or_insert_with(|| Arc::new(new_reply(status, body, content_type, fields)))))
    }

    /// A body and the media type it has by default; an empty one has none.
    fn body(&mut self, value: &Value, span: Span) -> Option<(Bytes, Option<&'static str>)> {
        match value {
            Value::Text(text) if text.is_empty() => Some((Bytes::new(), None)),
            Value::Text(text) => Some((Bytes::from(text.clone()), Some("text/plain; charset=utf-8"))),
            Value::Table(table) => match json(table, span) {
                Ok(text) => Some((Bytes::from(text), Some("application/json"))),
                Err(error) => {
                    self.reader.error(error.span, error.message, "strings, numbers, true, false and tables of them");
                    None
                }
            },
            other => {
                let message = format!("the body of `reply` must be a string or a table, not {}", found(other));
                self.reader.error(span, message, "for example reply(200, \"hello\\n\")");
                None
            }
        }
    }

    fn redirect(&mut self, arguments: &Arguments<'_>, pattern: &Pattern) -> Option<Redirect> {
        let status = match arguments.positional.get(1) {
            None => StatusCode::FOUND,
            Some((Some(Setting::Integer(status @ (301 | 302 | 303 | 307 | 308))), _)) => {
                u16::try_from(*status).ok().and_then(|status| StatusCode::from_u16(status).ok())?
            }
            Some((Some(Setting::Integer(status)), span)) => {
                let message = format!("{status} is no status of `redirect`");
                self.reader.error(*span, message, "301, 302, 303, 307 or 308");
                return None;
            }
            Some(_) => return None,
        };
        let Some((Some(Setting::Text(to)), span)) = arguments.positional.first() else { return None };
        self.redirect_target(to, *span, pattern);
        Some(Redirect { to: (*to).to_owned(), status })
    }

    /// Printable ASCII, and every `{name}` one that can be filled in.
    fn redirect_target(&mut self, to: &str, span: Span, pattern: &Pattern) {
        if to.is_empty() || !to.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = format!("`redirect` can't go to \"{}\"", to.escape_debug());
            return self.reader.error(span, message, "a URL or path; spaces and other letters percent-encoded");
        }
        for part in to.split('{').skip(1) {
            let Some((name, _)) = part.split_once('}') else {
                return self.reader.error(span, "a `{` of `redirect` is never closed", "for example \"{path}\"");
            };
            let known: Vec<&str> =
                ["host", "hostname", "uri", "path", "query"].into_iter().chain(pattern.names()).collect();
            if known.contains(&name) {
                continue;
            }
            let label = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean {{{near}}}?"),
                None => {
                    format!("one of {}", known.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(" "))
                }
            };
            self.reader.error(span, format!("nothing fills in {{{name}}} of `redirect`"), label);
        }
    }
}

fn new_reply(
    status: StatusCode,
    body: Bytes,
    content_type: Option<&'static str>,
    fields: Vec<(HeaderName, HeaderValue)>,
) -> Reply {
    let mut headers = HeaderMap::with_capacity(fields.len() + 1);
    for (name, value) in fields {
        headers.append(name, value);
    }
    if let Some(content_type) = content_type.filter(|_| !headers.contains_key(CONTENT_TYPE)) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    Reply { status, body, headers }
}
