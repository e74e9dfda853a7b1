//! The header of the PROXY protocol, versions 1 and 2 (HAProxy's `proxy-protocol.txt`): who is at the other end of a
//! connection that somebody passes on.

use std::{borrow::Cow, fmt, net::SocketAddr};

use proxy_header::{Error, ParseConfig, ProxiedAddress, ProxyHeader, SslInfo, Tlv};

use super::client_hello::ClientHello;
use crate::config::ProxyProtocol;

/// Bytes of a header: room for every known field, and for those of others.
pub const HEADER_MAX: usize = 4096;

/// Bytes of one field that is told to others, who mostly bound a header by 4 KiB; a longer one is left out.
const FIELD_MAX: usize = 1024;

/// How version 1 and version 2 begin.
const SIGNATURES: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];

/// What a header states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// The client's end and the one that it came to; None: the sender speaks for itself, or does not know.
    pub ends: Option<(SocketAddr, SocketAddr)>,
    /// Whether the client came by TLS.
    pub is_tls: bool,
}

/// What came is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no header of the PROXY protocol")
    }
}

/// The header that `bytes` begin with, and its length; None: more of it must come.
///
/// # Errors
/// What can't become a header any more, or only one of more than [`HEADER_MAX`] bytes.
pub fn read(bytes: &[u8]) -> Result<Option<(Stated, usize)>, Malformed> {
    let may_begin = |signature: &&[u8]| bytes.starts_with(signature) || signature.starts_with(bytes);
    if !SIGNATURES.iter().any(may_begin) {
        return Err(Malformed);
    }
    let config = ParseConfig { include_tlvs: true, allow_v1: true, allow_v2: true };
    match ProxyHeader::parse(bytes, config) {
        Ok((header, length)) if length <= HEADER_MAX => {
            let fields = header.tlvs().collect::<Result<Vec<_>, _>>().map_err(|_| Malformed)?;
            let is_tls = fields.iter().any(|field| matches!(field, Tlv::Ssl(tls) if tls.client_ssl()));
            let ends = header.proxied_address().map(|address| (address.source, address.destination));
            Ok(Some((Stated { ends, is_tls }, length)))
        }
        Err(Error::BufferTooShort) if bytes.len() < HEADER_MAX => Ok(None),
        _ => Err(Malformed),
    }
}

/// What version 2 says of a connection beside its ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said<'a> {
    /// The host that the client asked for.
    pub authority: Option<&'a str>,
    /// The protocol that was agreed on; of a connection that goes on unopened, what its client offers, as RFC 7301 §3.1
    /// writes it.
    pub alpn: Option<Cow<'a, [u8]>>,
    /// The client's TLS, where it ended at the sender.
    pub tls: Option<SaidTls<'a>>,
}

/// What is said of TLS that ended at the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaidTls<'a> {
    /// `TLSv1.3`
    pub version: &'a str,
    /// The subject of the client's certificate, which was found right, as RFC 4514 writes it; None: it showed none.
    pub subject: Option<&'a str>,
}

impl<'a> Said<'a> {
    /// Of a connection that goes on unopened.
    pub fn offered(hello: &'a ClientHello) -> Self {
        let protocols = hello.alpn.iter().filter_map(|protocol| Some((u8::try_from(protocol.len()).ok()?, protocol)));
        let alpn: Vec<u8> =
            protocols.flat_map(|(length, protocol)| std::iter::once(length).chain(protocol.iter().copied())).collect();
        let alpn = (!alpn.is_empty()).then_some(Cow::Owned(alpn));
        Self { authority: hello.server_name.as_deref(), alpn, tls: None }
    }

    fn fields(&self) -> impl Iterator<Item = Tlv<'_>> {
        let fits = |field: &[u8]| field.len() <= FIELD_MAX;
        let authority = self.authority.filter(|name| fits(name.as_bytes()));
        let alpn = self.alpn.as_deref().filter(|alpn| fits(alpn));
        let authority = authority.map(|name| Tlv::Authority(name.into()));
        let alpn = alpn.map(|alpn| Tlv::Alpn(alpn.into()));
        let tls = self.tls.as_ref().map(|tls| {
            let is_known = tls.subject.is_some();
            let mut field = SslInfo::new(true, is_known, is_known, u32::from(!is_known));
            field.append_tlv(Tlv::SslVersion(tls.version.into()));
            if let Some(name) = tls.subject.and_then(common_name).filter(|name| fits(name.as_bytes())) {
                field.append_tlv(Tlv::SslCn(name.into()));
            }
            Tlv::Ssl(field)
        });
        [authority, alpn, tls].into_iter().flatten()
    }
}

/// The common name in a subject; the most significant one, which RFC 4514 writes first, if there are several.
fn common_name(subject: &str) -> Option<String> {
    let mut parts = vec![String::new()];
    let mut letters = subject.chars();
    while let (Some(letter), Some(part)) = (letters.next(), parts.last_mut()) {
        match letter {
            '\\' => part.extend([Some('\\'), letters.next()].into_iter().flatten()),
            ',' | '+' => parts.push(String::new()),
            _ => part.push(letter),
        }
    }
    let value = parts.iter().find_map(|part| part.strip_prefix("CN="))?;
    unescape(value)
}

/// RFC 4514 §2.4; None: bytes that are no text.
fn unescape(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut left = value.as_bytes();
    while let [first, rest @ ..] = left {
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let (byte, taken) = match (first, digits.map(|digits| u8::from_str_radix(digits, 16)), rest.first()) {
            (b'\\', Some(Ok(byte)), _) => (byte, 2),
            (b'\\', _, Some(escaped)) => (*escaped, 1),
            _ => (*first, 0),
        };
        bytes.push(byte);
        left = &rest[taken..];
    }
    String::from_utf8(bytes).ok()
}

/// The header for a connection between these ends; without them, for one of the sender's own.
pub fn write(version: ProxyProtocol, ends: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
    write_saying(version, ends, &Said::default(), out);
}

/// The same with what else is known, of which version 1 says nothing.
pub fn write_saying(
    version: ProxyProtocol,
    ends: Option<(SocketAddr, SocketAddr)>,
    said: &Said<'_>,
    out: &mut Vec<u8>,
) {
    let address = ends.map(same_family).map(|(source, destination)| ProxiedAddress::stream(source, destination));
    let header = match (address, version) {
        // Fields would say of the sender's own connection what is true of another one.
        (None, _) => ProxyHeader::with_local(),
        (Some(address), ProxyProtocol::V1) => ProxyHeader::with_address(address),
        (Some(address), ProxyProtocol::V2) => ProxyHeader::with_tlvs(Some(address), said.fields()),
    };
    let written = match version {
        ProxyProtocol::V1 => header.encode_v1(out),
        ProxyProtocol::V2 => header.encode_v2(out),
    };
    debug_assert!(written.is_ok(), "two addresses of one family, and room for them");
}

/// A header has both addresses in one family.
fn same_family((source, destination): (SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr) {
    let mapped = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        v6 @ SocketAddr::V6(_) => v6,
    };
    match source.is_ipv4() == destination.is_ipv4() {
        true => (source, destination),
        false => (mapped(source), mapped(destination)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(source: &str, destination: &str) -> Option<(SocketAddr, SocketAddr)> {
        Some((source.parse().unwrap(), destination.parse().unwrap()))
    }

    fn written(version: ProxyProtocol, ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
        let mut out = Vec::new();
        write(version, ends, &mut out);
        out
    }

    #[test]
    fn headers_with_fields_of_tls_and_of_the_senders_own_are_read() {
        let of_tls = include_bytes!("../../../fuzz/seeds/proxy_protocol/v2-tls");
        let (stated, length) = read(of_tls).unwrap().unwrap();
        assert_eq!(stated, Stated { ends: ends("203.0.113.8:4711", "192.0.2.1:80"), is_tls: true });
        assert_eq!(of_tls[length..], [0x16, 3, 1], "what follows is not the header's");
        let own = include_bytes!("../../../fuzz/seeds/proxy_protocol/v2-local");
        assert_eq!(read(own), Ok(Some((Stated { ends: None, is_tls: false }, own.len()))));
    }

    #[test]
    fn a_header_reads_as_it_was_written_and_every_beginning_of_it_waits_for_more() {
        for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
            for ends in [ends("192.0.2.1:51234", "192.0.2.2:443"), ends("[2001:db8::1]:1", "[2001:db8::2]:65535"), None]
            {
                let mut bytes = written(version, ends);
                let length = bytes.len();
                for end in 0..length {
                    assert_eq!(read(&bytes[..end]), Ok(None), "{version:?} {ends:?} {end}");
                }
                bytes.extend_from_slice(b"GET / HTTP/1.1\r\n");
                assert_eq!(read(&bytes), Ok(Some((Stated { ends, is_tls: false }, length))), "{version:?}");
            }
        }
    }

    #[test]
    fn addresses_of_two_families_become_those_of_one() {
        let mixed = ends("192.0.2.1:5", "[2001:db8::2]:6");
        for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
            let (stated, _) = read(&written(version, mixed)).unwrap().unwrap();
            assert_eq!(stated.ends, ends("[::ffff:192.0.2.1]:5", "[2001:db8::2]:6"));
        }
    }

    #[test]
    fn what_is_no_header_is_known_with_its_first_wrong_byte() {
        for wrong in [&b"G"[..], b"\r\n\r\n\0\r\nQUIX", b"PROXY\t", b"\x16\x03\x01", b"proxy TCP4"] {
            assert_eq!(read(wrong), Err(Malformed), "{wrong:?}");
        }
        for line in ["PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n", "PROXY TCP4 ::1 ::1 1 2\r\n", "PROXY UDP4 x\r\n     "] {
            assert_eq!(read(line.as_bytes()), Err(Malformed), "{line}");
        }
        let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 120]].concat();
        assert_eq!(read(&endless), Err(Malformed));
    }

    #[test]
    fn tls_is_what_the_sender_says_of_it() {
        let tls = |client: bool| {
            let address = ProxiedAddress::stream("192.0.2.1:5".parse().unwrap(), "192.0.2.2:6".parse().unwrap());
            let info = proxy_header::SslInfo::new(client, false, false, 0);
            let fields = [Tlv::Authority("a.example".into()), Tlv::Ssl(info)];
            let mut out = Vec::new();
            ProxyHeader::with_tlvs(Some(address), fields).encode_v2(&mut out).unwrap();
            read(&out).unwrap().unwrap().0.is_tls
        };
        assert!(tls(true) && !tls(false));
    }

    /// The fields of a header of version 2 that says this.
    fn fields(said: &Said<'_>) -> Vec<Tlv<'static>> {
        let mut out = Vec::new();
        write_saying(ProxyProtocol::V2, ends("192.0.2.1:5", "192.0.2.2:6"), said, &mut out);
        assert!(out.len() <= HEADER_MAX && read(&out).is_ok());
        let config = ParseConfig { include_tlvs: true, allow_v1: true, allow_v2: true };
        let (header, _) = ProxyHeader::parse(&out, config).unwrap();
        header.tlvs().map(|field| field.unwrap().into_owned()).collect()
    }

    #[test]
    fn what_is_known_of_a_connection_is_said_in_version_2_alone() {
        let alpn = vec![Box::from(*b"h2"), Box::from(*b"http/1.1")];
        let hello = ClientHello { server_name: Some("a.example".into()), alpn, versions: vec![] };
        let offered = Said::offered(&hello);
        let wanted = [Tlv::Authority("a.example".into()), Tlv::Alpn(b"\x02h2\x08http/1.1"[..].into())];
        assert_eq!(fields(&offered), wanted);
        assert_eq!(fields(&Said::offered(&ClientHello::default())), []);
        let mut line = Vec::new();
        write_saying(ProxyProtocol::V1, ends("192.0.2.1:5", "192.0.2.2:6"), &offered, &mut line);
        assert_eq!(line, b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n");
        let mut own = Vec::new();
        write_saying(ProxyProtocol::V2, None, &offered, &mut own);
        assert_eq!(own, written(ProxyProtocol::V2, None), "nothing of others on a connection of our own");
    }

    #[test]
    fn of_tls_that_ended_here_version_and_common_name_are_said() {
        let said = |subject| Said { tls: Some(SaidTls { version: "TLSv1.3", subject }), ..Said::default() };
        let [Tlv::Ssl(anonymous)] = &fields(&said(None))[..] else { panic!("one field") };
        assert!(anonymous.client_ssl() && !anonymous.client_cert_conn() && anonymous.verify() != 0);
        assert_eq!((anonymous.version(), anonymous.cn()), (Some("TLSv1.3"), None));
        for (subject, name) in [
            ("CN=Ada", "Ada"),
            ("OU=x+CN=a\\, b\\=c,O=Example", "a, b=c"),
            ("CN=\\C3\\A9t\\c3\\a9,O=CN\\=no", "été"),
            ("O=x,CN=first,CN=second", "first"),
        ] {
            let [Tlv::Ssl(known)] = &fields(&said(Some(subject)))[..] else { panic!("one field") };
            assert!(known.client_cert_conn() && known.verify() == 0);
            assert_eq!(known.cn(), Some(name), "{subject}");
        }
        for odd in ["O=x", "", "CN=\\FF", "\\", "CN=\\"] {
            let [Tlv::Ssl(known)] = &fields(&said(Some(odd)))[..] else { panic!("one field") };
            assert!(known.client_cert_conn(), "{odd}");
        }
    }

    #[test]
    fn fields_that_would_make_a_header_too_long_for_others_are_left_out() {
        let hello = ClientHello { alpn: vec![[b'x'; 255].into(); 60], ..ClientHello::default() };
        assert_eq!(fields(&Said::offered(&hello)), []);
    }

    #[test]
    fn a_header_that_announces_too_much_is_none() {
        let mut bytes = written(ProxyProtocol::V2, ends("192.0.2.1:51234", "192.0.2.2:443"));
        bytes[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
        bytes.resize(HEADER_MAX, 0);
        assert_eq!(read(&bytes), Err(Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), version: bool) {
            let begun = [SIGNATURES[usize::from(version)], &bytes].concat();
            let _ = (read(&bytes), read(&begun));
        }
    }
}
