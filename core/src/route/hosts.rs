//! Which site a host belongs to: exact, then the longest suffix, then any.

use std::{borrow::Cow, collections::HashMap, fmt, net::Ipv6Addr};

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use crate::config::Host;

/// Bytes of a host name (RFC 1035 §2.3.4), without the final dot.
const HOST_MAX: usize = 253;

/// Bytes of a label (RFC 1035 §2.3.4).
const LABEL_MAX: usize = 63;

/// The hosts of the sites on one listener; the caller builds one for each listener. `T` is best an index or an `Arc`.
#[derive(Debug)]
pub struct Hosts<T> {
    // The keys come from the config alone, so a fixed hash seed gives nobody a way to make them collide.
    exact: HashMap<Name, T, FixedState>,
    suffixes: HashMap<Name, T, FixedState>,
    any: Option<T>,
}

/// The bytes of a name. Most fit in here: with many hosts, every text elsewhere is one more wait for memory.
type Name = SmallVec<[u8; 24]>;

/// A host that was declared twice, by position in what [`Hosts::build`] was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DuplicateHost {
    /// The first one.
    pub first: usize,
    /// A later one.
    pub second: usize,
}

impl<T> Default for Hosts<T> {
    /// No host at all.
    fn default() -> Self {
        Self { exact: HashMap::default(), suffixes: HashMap::default(), any: None }
    }
}

impl<T> Hosts<T> {
    /// Builds the map from normalised hosts; all duplicates at once, in order.
    pub fn build(hosts: impl IntoIterator<Item = (Host, T)>) -> Result<Self, Vec<DuplicateHost>> {
        let hosts: Vec<(Host, T)> = hosts.into_iter().collect();
        let mut seen: HashMap<&Host, usize, FixedState> = HashMap::default();
        let mut duplicates = Vec::new();
        for (second, (host, _)) in hosts.iter().enumerate() {
            match seen.get(host) {
                Some(&first) => duplicates.push(DuplicateHost { first, second }),
                None => drop(seen.insert(host, second)),
            }
        }
        if !duplicates.is_empty() {
            return Err(duplicates);
        }
        let mut built = Self { exact: HashMap::default(), suffixes: HashMap::default(), any: None };
        for (host, value) in hosts {
            match host {
                Host::Exact(name) => drop(built.exact.insert(Name::from_slice(name.as_bytes()), value)),
                Host::Suffix(suffix) => drop(built.suffixes.insert(Name::from_slice(suffix.as_bytes()), value)),
                Host::Any => built.any = Some(value),
            }
        }
        built.exact.shrink_to_fit();
        built.suffixes.shrink_to_fit();
        Ok(built)
    }

    /// The site of a host as received: with port, upper case or final dot.
    ///
    /// One that is empty or no host name can only belong to `*`. At most two hashes, and one for each of its dots
    /// if there are suffixes.
    pub fn find(&self, host: &str) -> Option<&T> {
        // Keys are in normal form, so most hosts are found as they came.
        if let Some(value) = self.exact.get(host.as_bytes()) {
            return Some(value);
        }
        if self.exact.is_empty() && self.suffixes.is_empty() {
            return self.any.as_ref();
        }
        // Most of the others differ by their port alone.
        if let Some(value) = without_port(host).and_then(|name| self.exact.get(name.as_bytes())) {
            return Some(value);
        }
        let Ok(host) = normalise_host(host) else { return self.any.as_ref() };
        self.exact.get(host.as_bytes()).or_else(|| self.find_suffix(&host)).or(self.any.as_ref())
    }

    fn find_suffix(&self, host: &str) -> Option<&T> {
        if self.suffixes.is_empty() {
            return None;
        }
        host.match_indices('.').find_map(|(dot, _)| self.suffixes.get(&host.as_bytes()[dot + 1..]))
    }
}

fn without_port(host: &str) -> Option<&str> {
    let (name, port) = host.rsplit_once(':')?;
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    is_port.then_some(name)
}

/// A host in the one form that is compared: lower-cased, without port and final dot; an IPv6 address in brackets in
/// its shortest form. Borrowed if it is in that form already.
///
/// Letters, digits, `-` and `_` in labels of 1 to 63 bytes, 253 in all.
pub fn normalise_host(host: &str) -> Result<Cow<'_, str>, HostError> {
    if let Some(inside) = host.strip_prefix('[') {
        let (address, port) = inside.split_once(']').ok_or(HostError::Address)?;
        check_port(port)?;
        return normalise_address(host, address);
    }
    let (name, port) = match host.find(':') {
        Some(colon) => host.split_at(colon),
        None => (host, ""),
    };
    if port.len() > 1 && port[1..].contains(':') {
        return Err(HostError::Address);
    }
    check_port(port)?;
    let name = name.strip_suffix('.').unwrap_or(name);
    check_name(name)?;
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok(Cow::Owned(name.to_ascii_lowercase()));
    }
    Ok(Cow::Borrowed(name))
}

/// Why a text is no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostError {
    /// Nothing before the port.
    Empty,
    /// A letter outside ASCII.
    NotAscii(char),
    /// No letter, digit, `-`, `_` or dot.
    Character(char),
    /// Two dots in a row, or one at the start.
    EmptyLabel,
    /// A label over 63 bytes, or over 253 in all.
    TooLong,
    /// What follows the colon is no number up to 65535.
    Port,
    /// A bad IPv6 address, or one without brackets.
    Address,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the host is empty"),
            Self::NotAscii(c) => {
                write!(f, "{c:?} is not ASCII: write an international host in its A-label form, like xn--bcher-kva.ch")
            }
            Self::Character(c) => write!(f, "{c:?} can't be in a host"),
            Self::EmptyLabel => f.write_str("the host has an empty label"),
            Self::TooLong => write!(f, "a host has at most {HOST_MAX} bytes, {LABEL_MAX} between two dots"),
            Self::Port => f.write_str("the host's port is no number up to 65535"),
            Self::Address => f.write_str("the host is no IPv6 address in brackets, like [::1]"),
        }
    }
}

impl std::error::Error for HostError {}

/// `port` is empty or starts with a colon; no digits after it mean the default one (RFC 3986 §3.2.3).
fn check_port(port: &str) -> Result<(), HostError> {
    let digits = match port.strip_prefix(':') {
        Some(digits) => digits,
        None if port.is_empty() => return Ok(()),
        None => return Err(HostError::Port),
    };
    let in_range = digits.is_empty() || digits.parse::<u16>().is_ok();
    let decimal = digits.bytes().all(|byte| byte.is_ascii_digit());
    if in_range && decimal { Ok(()) } else { Err(HostError::Port) }
}

fn check_name(name: &str) -> Result<(), HostError> {
    if name.is_empty() {
        return Err(HostError::Empty);
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !name.bytes().all(legal) {
        let bad = name.chars().find(|c| !c.is_ascii() || !legal(*c as u8)).unwrap_or_default();
        return Err(if bad.is_ascii() { HostError::Character(bad) } else { HostError::NotAscii(bad) });
    }
    if name.len() > HOST_MAX {
        return Err(HostError::TooLong);
    }
    for label in name.split('.') {
        match label.len() {
            0 => return Err(HostError::EmptyLabel),
            1..=LABEL_MAX => {}
            _ => return Err(HostError::TooLong),
        }
    }
    Ok(())
}

fn normalise_address<'a>(host: &'a str, address: &str) -> Result<Cow<'a, str>, HostError> {
    let parsed: Ipv6Addr = address.parse().map_err(|_| HostError::Address)?;
    let shortest = format!("[{parsed}]");
    match host.get(..shortest.len()) {
        Some(same) if same == shortest => Ok(Cow::Borrowed(same)),
        _ => Ok(Cow::Owned(shortest)),
    }
}
