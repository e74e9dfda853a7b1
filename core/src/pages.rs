//! Whose pages may talk with a program, by the `Origin` that their browser states for them (RFC 6454 §7).

use crate::config::{PageOrigin, PagesOf};

/// What an origin says.
struct Stated<'a> {
    scheme: &'a str,
    host: &'a str,
    /// None: that of the scheme.
    port: Option<u16>,
}

impl PagesOf {
    /// Whether an `Origin` field's value is one of the list.
    pub fn lists(&self, origin: &[u8]) -> bool {
        let Self::Listed(listed) = self else { return false };
        let stated = str::from_utf8(origin).ok().and_then(Stated::read);
        listed.iter().any(|listed| match listed {
            PageOrigin::Cors(listed) => listed.matches(origin),
            PageOrigin::Host { scheme, host, port } => stated.as_ref().is_some_and(|stated| {
                let has_scheme = match scheme {
                    Some(scheme) => stated.scheme.eq_ignore_ascii_case(scheme),
                    None => ["http", "https"].iter().any(|scheme| stated.scheme.eq_ignore_ascii_case(scheme)),
                };
                has_scheme && stated.host.eq_ignore_ascii_case(host) && (port.is_none() || *port == stated.port())
            }),
        })
    }
}

impl<'a> Stated<'a> {
    fn read(origin: &'a str) -> Option<Self> {
        let (scheme, authority) = origin.split_once("://")?;
        if authority.contains(['/', '@', '?', '#', '\\', ' ', ',']) {
            return None;
        }
        // The colons of an address stand in brackets.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (authority, None),
        };
        (!host.is_empty()).then_some(Self { scheme, host, port })
    }

    fn port(&self) -> Option<u16> {
        self.port.or(match self.scheme.to_ascii_lowercase().as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    fn host(scheme: Option<&str>, host: &str, port: Option<u16>) -> PageOrigin {
        PageOrigin::Host { scheme: scheme.map(str::to_owned), host: host.to_owned(), port }
    }

    fn lists(listed: PageOrigin, origin: &str) -> bool {
        PagesOf::Listed(vec![listed]).lists(origin.as_bytes())
    }

    #[test]
    fn a_host_stands_for_its_origins_of_both_schemes_and_all_ports() {
        for origin in ["http://a.example", "https://A.example", "http://a.example:8080", "HTTP://a.example:1"] {
            assert!(lists(host(None, "a.example", None), origin), "{origin}");
        }
        for origin in [
            "file://a.example",
            "http://b.a.example",
            "http://a.example.evil",
            "http://a.example:x",
            "http://a.example:80:80",
            "http://evil@a.example",
            "http://a.example/",
            "http://a.example, http://b.example",
            "a.example",
            "null",
            "",
        ] {
            assert!(!lists(host(None, "a.example", None), origin), "{origin}");
        }
        assert!(
            lists(host(None, "[::1]", None), "http://[::1]:8080") && lists(host(None, "[::1]", None), "http://[::1]")
        );
    }

    #[test]
    fn a_scheme_and_a_port_narrow_it() {
        assert!(lists(host(Some("https"), "a.example", None), "https://a.example:8443"));
        assert!(!lists(host(Some("https"), "a.example", None), "http://a.example"));
        assert!(lists(host(Some("file"), "a.example", None), "file://a.example"));
        assert!(lists(host(None, "a.example", Some(443)), "https://a.example"));
        assert!(lists(host(None, "a.example", Some(443)), "http://a.example:443"));
        assert!(!lists(host(None, "a.example", Some(443)), "http://a.example"));
        assert!(!lists(host(Some("file"), "a.example", Some(80)), "file://a.example"));
    }

    #[test]
    fn others_are_compared_as_cors_does() {
        assert!(lists(PageOrigin::Cors(Origin::Exact("null".to_owned())), "null"));
        assert!(!lists(PageOrigin::Cors(Origin::Exact("https://a.example".to_owned())), "https://a.example:1"));
        assert!(!PagesOf::Any.lists(b"http://a.example") && !PagesOf::Same.lists(b"http://a.example"));
    }
}
