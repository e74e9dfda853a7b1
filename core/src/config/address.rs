//! Addresses to listen on and to connect to.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::Path,
};

use super::checked::{Address, EndpointAddress};

/// Why a text is no address, as what would have been right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AddressError {
    /// What to write instead.
    Write(String),
}

/// Where to listen: `127.0.0.1:8080`, `[::1]:8080`, `:8080` (all addresses), `unix:/path`. Port 0 is any free one.
///
/// A relative socket path is resolved against `folder`.
pub(super) fn listen_address(text: &str, folder: &Path) -> Result<Address, AddressError> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(path).map(|path| Address::Unix(folder.join(path)));
    }
    let Some((host, port)) = text.rsplit_once(':') else { return Err(without_port(text, "127.0.0.1")) };
    let port = port_number(port).ok_or_else(|| AddressError::Write("a port is a number up to 65535".to_owned()))?;
    let ip = match host {
        "" => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        _ if host.starts_with('[') => bracketed(host).map(IpAddr::V6),
        _ => host.parse().ok().filter(IpAddr::is_ipv4),
    };
    ip.map(|ip| Address::Tcp(SocketAddr::new(ip, port))).ok_or_else(|| match host {
        "*" => AddressError::Write(format!("all addresses are \":{port}\"")),
        "localhost" => AddressError::Write(format!("an IP address: \"127.0.0.1:{port}\"")),
        _ if host.parse::<Ipv6Addr>().is_ok() => AddressError::Write(format!("IPv6 in brackets: \"[{host}]:{port}\"")),
        _ => AddressError::Write("an IP address, like \"127.0.0.1:8080\"; or \":8080\" for all".to_owned()),
    })
}

/// Where an endpoint is, and whether it is reached by TLS: `https://host:443` is, and needs no port.
pub(super) fn endpoint(text: &str, folder: &Path) -> Result<(EndpointAddress, bool), AddressError> {
    let Some(rest) = text.strip_prefix("https://") else { return Ok((endpoint_address(text, folder)?, false)) };
    let host = rest.strip_suffix('/').unwrap_or(rest);
    if host.contains('/') {
        return Err(AddressError::Write("without a path: \"https://example.com\"".to_owned()));
    }
    let has_port =
        host.rsplit_once(':').is_some_and(|(name, port)| port_number(port).is_some() && !name.ends_with(':'));
    let address =
        if has_port { endpoint_address(host, folder)? } else { endpoint_address(&format!("{host}:443"), folder)? };
    Ok((address, true))
}

/// Where an endpoint is: `host:port`, `[::1]:port`, `unix:/path`, `srv:_http._tcp.app.internal`.
///
/// A relative socket path is resolved against `folder`.
pub(super) fn endpoint_address(text: &str, folder: &Path) -> Result<EndpointAddress, AddressError> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(path).map(|path| EndpointAddress::Unix(folder.join(path)));
    }
    if let Some(name) = text.strip_prefix("srv:") {
        return match is_host_name(name) && name.contains('.') {
            true => Ok(EndpointAddress::Service(name.trim_end_matches('.').to_ascii_lowercase())),
            false => {
                Err(AddressError::Write("a service's name after `srv:`: \"srv:_http._tcp.app.internal\"".to_owned()))
            }
        };
    }
    if let Some(rest) = text.strip_prefix("http://") {
        let host = rest.split('/').next().unwrap_or_default();
        let port = if host.contains(':') { "" } else { ":80" };
        return Err(AddressError::Write(format!("without the scheme: \"{host}{port}\"")));
    }
    let Some((host, port)) = text.rsplit_once(':') else { return Err(without_port(text, text)) };
    let port = port_number(port).filter(|port| *port > 0);
    let port = port.ok_or_else(|| AddressError::Write("a port is a number from 1 to 65535".to_owned()))?;
    if let Some(ip) = bracketed(host) {
        return Ok(EndpointAddress::Host(ip.to_string(), port));
    }
    if host.parse::<Ipv6Addr>().is_ok() {
        return Err(AddressError::Write(format!("IPv6 in brackets: \"[{host}]:{port}\"")));
    }
    match is_host_name(host) {
        true => Ok(EndpointAddress::Host(host.to_ascii_lowercase(), port)),
        false => Err(AddressError::Write("for example \"127.0.0.1:3000\" or \"unix:/run/app.sock\"".to_owned())),
    }
}

fn without_port(text: &str, host: &str) -> AddressError {
    match port_number(text) {
        Some(port) => AddressError::Write(format!("\":{port}\" is that port on all addresses")),
        None if text.parse::<Ipv6Addr>().is_ok() => AddressError::Write(format!("with a port: \"[{text}]:8080\"")),
        None if is_host_name(host) => AddressError::Write(format!("with a port: \"{host}:8080\"")),
        None => AddressError::Write("for example \"127.0.0.1:8080\" or \"unix:/run/rsp.sock\"".to_owned()),
    }
}

/// Linux has 108 bytes for the path of a socket, its final NUL counted.
const SOCKET_PATH_MAX: usize = 107;

fn unix_path(path: &str) -> Result<&Path, AddressError> {
    if path.is_empty() || path.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(AddressError::Write("a path after `unix:`, like \"unix:/run/rsp.sock\"".to_owned()));
    }
    if path.len() > SOCKET_PATH_MAX {
        return Err(AddressError::Write(format!("a socket's path has at most {SOCKET_PATH_MAX} bytes")));
    }
    Ok(Path::new(path.strip_prefix("./").unwrap_or(path)))
}

fn bracketed(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

fn port_number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// Letters, digits, `-`, `_` (containers use it) and dots, as the resolver takes them; at most 253 bytes.
pub(super) fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Result<Address, AddressError> {
        listen_address(text, Path::new("/etc/rsp"))
    }

    fn endpoint(text: &str) -> Result<EndpointAddress, AddressError> {
        endpoint_address(text, Path::new("/etc/rsp"))
    }

    #[test]
    fn listening_takes_ip_addresses_ports_and_sockets() {
        for (text, address) in [("127.0.0.1:80", "127.0.0.1:80"), (":80", "[::]:80"), ("[::1]:0", "[::1]:0")] {
            assert_eq!(listen(text), Ok(Address::Tcp(address.parse().unwrap())), "{text}");
        }
        assert_eq!(listen("unix:/run/a.sock"), Ok(Address::Unix("/run/a.sock".into())));
        assert_eq!(listen("unix:./a.sock"), Ok(Address::Unix("/etc/rsp/a.sock".into())));
    }

    #[test]
    fn an_srv_name_is_an_endpoint() {
        let service = EndpointAddress::Service("_http._tcp.app.internal".to_owned());
        assert_eq!(endpoint("srv:_HTTP._tcp.app.internal."), Ok(service));
        for text in ["srv:", "srv:app", "srv:_http._tcp.app.internal:80", "srv:a b.c"] {
            assert!(matches!(endpoint(text), Err(AddressError::Write(_))), "{text}");
        }
    }

    #[test]
    fn a_wrong_listening_address_says_what_to_write() {
        let cases = [
            ("8080", "\":8080\" is that port on all addresses"),
            ("*:80", "all addresses are \":80\""),
            ("localhost:80", "an IP address: \"127.0.0.1:80\""),
            ("::1:80", "IPv6 in brackets: \"[::1]:80\""),
            ("127.0.0.1", "with a port: \"127.0.0.1:8080\""),
            ("127.0.0.1:65536", "a port is a number up to 65535"),
            ("127.0.0.1:+80", "a port is a number up to 65535"),
            ("unix:", "a path after `unix:`, like \"unix:/run/rsp.sock\""),
            ("", "with a port: \"127.0.0.1:8080\""),
        ];
        for (text, right) in cases {
            assert_eq!(listen(text), Err(AddressError::Write(right.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn endpoints_are_hosts_with_ports_or_sockets() {
        assert_eq!(endpoint("App_1.internal:80"), Ok(EndpointAddress::Host("app_1.internal".into(), 80)));
        assert_eq!(endpoint("[::1]:80"), Ok(EndpointAddress::Host("::1".into(), 80)));
        assert_eq!(endpoint("unix:app.sock"), Ok(EndpointAddress::Unix("/etc/rsp/app.sock".into())));
        assert!(endpoint("https://a:443").is_err());
        let example = "for example \"127.0.0.1:3000\" or \"unix:/run/app.sock\"";
        assert_eq!(endpoint("[::1%eth0]:80"), Err(AddressError::Write(example.to_owned())));
        for wrong in ["", ":80", "a", "a:0", "a:b", "::1:80", "a b:80", "a/b:80", "http://a/", "a..b:80", "user@a:80"] {
            assert!(matches!(endpoint(wrong), Err(AddressError::Write(_))), "{wrong:?}");
        }
    }
}
