//! The rules for chunked bodies, a sentence each, and what is written for them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use http::{HeaderMap, HeaderName, StatusCode};
use rsp_core::frame::http1::{
    ChunkError, ChunkedDecoder, Decoded, Framing, HeadLimits, LAST_CHUNK, chunk_header, write_framing,
    write_status_line, write_trailers,
};

const LIMITS: HeadLimits = HeadLimits { head: 16 << 10, headers: 100, uri: 8 << 10 };

fn decode(text: &str) -> Result<(String, Decoded, Option<HeaderMap>), ChunkError> {
    let mut decoder = ChunkedDecoder::new(&LIMITS);
    let mut buffer = text.as_bytes().to_vec();
    let decoded = decoder.decode(&mut buffer)?;
    let data = String::from_utf8_lossy(&buffer[..decoded.data]).into_owned();
    Ok((data, decoded, decoder.take_trailers()))
}

#[test]
fn the_data_of_chunks_moves_to_the_front_and_the_next_message_stays() {
    let mut decoder = ChunkedDecoder::new(&LIMITS);
    let mut buffer = *b"5\r\nhello\r\n1;x\r\n!\r\n00\r\n\r\nGET /";
    let decoded = decoder.decode(&mut buffer).unwrap();
    assert_eq!(decoded, Decoded { consumed: 24, data: 6, done: true });
    assert_eq!((&buffer[..6], &buffer[24..]), (&b"hello!"[..], &b"GET /"[..]));
    let after = decoder.decode(&mut buffer[24..]).unwrap();
    assert_eq!(after, Decoded { consumed: 0, data: 0, done: true });
    assert!(decoder.take_trailers().is_none());
}

#[test]
fn a_chunk_size_is_hexadecimal_digits_only_and_at_most_sixteen() {
    for line in [
        "+5",
        "-5",
        "0x5",
        "5 ",
        " 5",
        "5_0",
        "",
        "g",
        "5\t",
        "00000000000000005",
        "5,",
        "5 ;x",
        ";x",
        "5\0",
        "\u{0665}",
    ] {
        assert!(decode(&format!("{line}\r\nhello\r\n0\r\n\r\n")).is_err(), "{line:?}");
    }
    assert_eq!(decode("000000000000000A\r\n0123456789\r\n0\r\n\r\n").unwrap().0, "0123456789");
    assert!(!decode("ffffffffffffffff\r\nx").unwrap().1.done);
}

#[test]
fn a_chunk_not_followed_by_a_line_end_is_refused() {
    for body in ["5\r\nhello0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello\rx0\r\n\r\n", "5\r\nhello!\r\n0\r\n\r\n"] {
        assert!(decode(body).is_err(), "{body:?}");
    }
}

#[test]
fn bare_line_ends_are_refused_everywhere() {
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello",
        "5;x\n",
        "5;x\ry",
        "0\n\r\n",
        "0\r\n\n",
        "0\r\n\r\r",
        "0\r\nA: b\n\r\n",
        "0\r\nA: b\r\n\n",
        "0\r\nA: b\r\rC: d\r\n\r\n",
    ] {
        assert!(decode(&format!("{body}\r\n\r\n")).is_err(), "{body:?}");
    }
}

#[test]
fn chunk_extensions_have_a_limit_a_line_and_a_body() {
    let chunk = |length: usize| format!("1;{}\r\nx\r\n", "e".repeat(length));
    assert!(!decode(&chunk(256)).unwrap().1.done);
    assert!(decode(&chunk(257)).is_err());
    assert!(decode(&chunk(256).repeat(64)).is_ok());
    assert!(decode(&chunk(256).repeat(65)).is_err());
    assert!(decode("1;\0\r\nx\r\n").is_err());
}

#[test]
fn trailers_are_kept_but_for_those_that_frame_route_or_authenticate() {
    let (_, decoded, trailers) = decode(
        "0\r\nX-T: 1\r\nHost: evil\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nAuthorization: x\r\nX_Y: 1\r\n\
         Connection: x\r\nTE: x\r\nX-Forwarded-For: 1\r\nCookie: a\r\ngrpc-status: 0\r\n\r\n",
    )
    .unwrap();
    assert!(decoded.done);
    let trailers = trailers.unwrap();
    assert_eq!(trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-t", "grpc-status"]);
    assert!(decode("0\r\nHost: evil\r\n\r\n").unwrap().2.is_none());
}

#[test]
fn trailers_are_as_strict_and_as_bounded_as_heads() {
    for trailer in ["X-A : 1", "X-A", ": 1", " X-A: 1", "X-A: 1\r\n folded", "X-A: \0"] {
        assert!(decode(&format!("0\r\n{trailer}\r\n\r\n")).is_err(), "{trailer:?}");
    }
    let many = |count: usize| format!("0\r\n{}\r\n", "X-A: 1\r\n".repeat(count));
    assert!(decode(&many(100)).unwrap().1.done);
    assert!(decode(&many(101)).is_err());
    assert!(decode(&format!("0\r\nX-A: {}", "x".repeat(17 << 10))).is_err());
}

#[test]
fn nothing_moves_inside_an_open_chunk() {
    let mut decoder = ChunkedDecoder::new(&LIMITS);
    decoder.decode(&mut b"FF\r\n".to_vec()).unwrap();
    let mut buffer = *b"the middle of it";
    assert_eq!(decoder.decode(&mut buffer).unwrap(), Decoded { consumed: 16, data: 16, done: false });
    assert_eq!(&buffer, b"the middle of it");
}

#[test]
fn chunk_headers_and_ends_are_written() {
    for length in [1, 9, 15, 16, 31, 65_536, usize::MAX] {
        assert_eq!(chunk_header(length).as_ref(), format!("{length:x}\r\n").as_bytes());
    }
    let mut out = Vec::new();
    write_trailers(&mut out, &HeaderMap::new());
    assert_eq!(out, LAST_CHUNK);
    out.clear();
    let trailers = HeaderMap::from_iter(
        [("x-t", "1"), ("content-length", "5")]
            .map(|(n, v)| (HeaderName::from_static(n), http::HeaderValue::from_static(v))),
    );
    write_trailers(&mut out, &trailers);
    assert_eq!(out, b"0\r\nx-t: 1\r\n\r\n");
}

#[test]
fn framing_and_status_lines_are_written() {
    let framing = |framing| {
        let mut out = Vec::new();
        write_framing(&mut out, framing);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(framing(Framing::Length(u64::MAX)), "content-length: 18446744073709551615\r\n");
    assert_eq!(framing(Framing::Chunked), "transfer-encoding: chunked\r\n");
    assert_eq!(framing(Framing::Empty) + &framing(Framing::UntilClose), "");
    let status = |code| {
        let mut out = Vec::new();
        write_status_line(&mut out, StatusCode::from_u16(code).unwrap());
        String::from_utf8(out).unwrap()
    };
    assert_eq!(status(200), "HTTP/1.1 200 OK\r\n");
    assert_eq!(status(404), "HTTP/1.1 404 Not Found\r\n");
    assert_eq!(status(599), "HTTP/1.1 599 \r\n");
}
