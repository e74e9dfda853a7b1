//! `broker`: what carries channels between processes, and the URL of a Redis.

use super::Checker;
use crate::config::{
    checked::Broker,
    nearest::nearest,
    raw::{Key, Made, Span, Value},
    reader::found,
    settings::{Arguments, Setting},
};

/// Bytes of `prefix`: it stands before every key.
const PREFIX_MAX: usize = 64;

/// The schemes, each with an example.
const SCHEMES: [(&str, &str); 7] = [
    ("redis", "redis://127.0.0.1:6379/0"),
    ("rediss", "rediss://redis.example.com/0"),
    ("unix", "unix:/run/redis/redis.sock"),
    ("redis-sentinel", "redis-sentinel://10.0.0.1:26379,10.0.0.2:26379/main"),
    ("rediss-sentinel", "rediss-sentinel://10.0.0.1:26379,10.0.0.2:26379/main"),
    ("redis+cluster", "redis+cluster://10.0.0.1:6379,10.0.0.2:6379"),
    ("rediss+cluster", "rediss+cluster://10.0.0.1:6379,10.0.0.2:6379"),
];

impl Checker<'_> {
    /// What `broker` says. **Invariant:** nothing that is said about it holds its URL, in which a password may be.
    pub(super) fn broker(&mut self, arguments: &Arguments<'_>, made: &Made) -> Option<Broker> {
        let settings = &arguments.settings;
        let given = |name: &str| made.arguments.entries.iter().any(|entry| entry.key == Key::Text(name.to_owned()));
        match arguments.positional.first() {
            Some((Some(Setting::Raw(kind)), span)) => {
                if !self.is_memory(kind, *span) {
                    return None;
                }
                let redis = ["redis", "prefix", "timeout"].into_iter().find(|name| settings.given(name).is_some());
                match redis {
                    None => return Some(Broker::Memory),
                    Some("redis") => {
                        let span = settings.span("redis", *span);
                        self.reader.error(span, "`broker` is both \"memory\" and a Redis", "remove one of them");
                    }
                    Some(option) => {
                        let message = format!("`{option}` of `broker` is for Redis only");
                        self.reader.error(settings.span(option, *span), message, "remove it");
                    }
                }
                return None;
            }
            Some(_) => return None,
            None if !given("redis") => {
                let label = format!("broker \"memory\", or broker {{ redis = \"{}\" }}", SCHEMES[0].1);
                self.reader.error(made.span, "`broker` needs to be \"memory\" or a Redis", label);
                return None;
            }
            None => {}
        }
        let prefix = settings.text("prefix")?;
        if prefix.len() > PREFIX_MAX {
            let message = format!("`prefix` of `broker` has {PREFIX_MAX} bytes at most");
            self.reader.error(settings.span("prefix", made.span), message, "for example \"rsp:\"");
        }
        let url = settings.text("redis")?;
        if let Err(label) = redis_url(url) {
            let span = settings.span("redis", made.span);
            self.reader.error(span, "`redis` of `broker` is no URL of a Redis", label);
        }
        Some(Broker::Redis { url: url.into(), prefix: prefix.into(), timeout: settings.duration("timeout")? })
    }

    fn is_memory(&mut self, kind: &Value, span: Span) -> bool {
        let (message, label) = match kind {
            Value::Text(text) if text == "memory" => return true,
            Value::Text(text) if text.contains(':') => {
                ("a Redis is an option of `broker`".to_owned(), "write broker { redis = … }")
            }
            Value::Text(text) => {
                let label = nearest(text, ["memory", "redis"]).map_or("\"memory\", or redis = …", |near| match near {
                    "memory" => "did you mean \"memory\"?",
                    _ => "write broker { redis = \"redis://127.0.0.1:6379/0\" }",
                });
                (format!("there is no `broker` \"{}\"", text.escape_debug()), label)
            }
            other => {
                (format!("`broker` must be \"memory\" or a Redis, not {}", found(other)), "\"memory\", or redis = …")
            }
        };
        self.reader.error(span, message, label);
        false
    }
}

/// Checks a URL's form, so that it fails here and not at the first message. Errors: what would be right, without any of
/// the URL but its scheme.
fn redis_url(text: &str) -> Result<(), String> {
    const ENCODE: &str = "in a user and a password `/`, `?`, `#`, `@` and `%` are percent-encoded";
    let example = |scheme: &str| {
        let known = SCHEMES.iter().find(|(known, _)| *known == scheme).unwrap_or(&SCHEMES[0]);
        format!("for example \"{}\"", known.1)
    };
    let Some((scheme, rest)) = text.split_once(':') else { return Err(example("redis")) };
    if !SCHEMES.iter().any(|(known, _)| *known == scheme) {
        let near = nearest(scheme, SCHEMES.iter().map(|(known, _)| *known));
        return Err(near.map_or_else(|| example("redis"), |near| format!("did you mean \"{near}:\"?")));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("spaces and other letters are percent-encoded".to_owned());
    }
    if scheme == "unix" {
        let path = rest.strip_prefix("//").unwrap_or(rest).split(['?', '#']).next().unwrap_or_default();
        return if path.starts_with('/') && path.len() > 1 { Ok(()) } else { Err(example(scheme)) };
    }
    let Some(rest) = rest.strip_prefix("//") else { return Err(example(scheme)) };
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if behind.contains('@') {
        return Err(ENCODE.to_owned());
    }
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains('@') || !is_encoded(user) {
        return Err(ENCODE.to_owned());
    }
    let many = !matches!(scheme, "redis" | "rediss");
    if !(hosts.split(',').all(is_host) && (many || !hosts.contains(','))) {
        return Err(example(scheme));
    }
    let path = behind.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
    let is_number = |text: &str| text.parse::<u32>().is_ok();
    let right = match scheme {
        "redis+cluster" | "rediss+cluster" => path.is_empty(),
        "redis-sentinel" | "rediss-sentinel" => {
            let (main, database) = path.split_once('/').unwrap_or((path, "0"));
            !main.is_empty() && is_number(database)
        }
        _ => path.is_empty() || is_number(path),
    };
    if right { Ok(()) } else { Err(example(scheme)) }
}

/// Every `%` is followed by two hexadecimal digits (RFC 3986 §2.1).
fn is_encoded(text: &str) -> bool {
    let is_escape = |rest: &str| rest.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    text.split('%').skip(1).all(is_escape)
}

/// A name or an address, and perhaps a port; nobody can be connected to at a wildcard address.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let inside = host.strip_prefix('[').map_or(Some(host), |host| host.strip_suffix(']'));
    let is_address = |host: &str| host.parse::<std::net::Ipv6Addr>().is_ok_and(|address| !address.is_unspecified());
    let is_name = |host: &str| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        !host.is_empty() && host != "0.0.0.0" && host.bytes().all(legal)
    };
    let right = inside.is_some_and(|inside| if inside == host { is_name(host) } else { is_address(inside) });
    right && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_one_redis_or_the_places_where_one_is_known() {
        for (_, example) in SCHEMES {
            assert_eq!(redis_url(example), Ok(()), "{example}");
        }
        for right in [
            "redis://localhost",
            "redis://[::1]:6379",
            "redis://user:p%40ss@a.example/15?protocol=resp3",
            "rediss://:secret@a#insecure",
            "unix:///run/redis.sock?db=2&pass=x",
            "redis-sentinel://a/main/3",
            "redis+cluster://:x@a,b:7001,[2001:db8::1]:7002/",
        ] {
            assert_eq!(redis_url(right), Ok(()), "{right}");
        }
        for wrong in [
            "",
            "redis",
            "redis:a",
            "redis://",
            "redis://a:0",
            "redis://a:b",
            "redis://a,b",
            "redis://a/x",
            "redis://a/-1",
            "redis://a/1/2",
            "redis://0.0.0.0",
            "redis://[::]",
            "redis://[a]",
            "redis://::1",
            "redis://a b",
            "redis://:a@b@c",
            "redis://:a%zz@c",
            "redis://:a/b@c",
            "redis://:a#b@c",
            "http://a",
            "unix:redis.sock",
            "unix:/",
            "unix:?db=1",
            "redis-sentinel://a,b",
            "redis-sentinel://a/main/x",
            "redis+cluster://a,,b",
            "redis+cluster://a/1",
        ] {
            assert!(redis_url(wrong).is_err(), "{wrong}");
        }
        assert_eq!(redis_url("reds://a"), Err("did you mean \"redis:\"?".to_owned()));
    }
}
