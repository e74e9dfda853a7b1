//! Text is UTF-8, and what can't become UTF-8 any more is refused with the byte that tells (RFC 6455 §8.1).

use super::rows::*;

/// What is no UTF-8, up to the first byte that tells.
const WRONG: [&[u8]; 21] = [
    b"\x80", // a continuation of nothing
    b"\xbf",
    b"\xc0", // overlong
    b"\xc1",
    b"\xe0\x80",
    b"\xe0\x9f",
    b"\xf0\x80",
    b"\xf0\x8f",
    b"\xed\xa0", // surrogates
    b"\xed\xbf",
    b"\xf4\x90", // beyond U+10FFFF
    b"\xf5",
    b"\xf8", // five and six bytes
    b"\xfc",
    b"\xfe",
    b"\xff",
    b"\xce\x41", // cut short by another character
    b"\xe2\x82\x41",
    b"\xe2\x41",
    b"\xf0\x9f\x98\x41",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90", // Autobahn's 6.4.1
];

/// The least, the greatest and common ones of every length.
const RIGHT: [&str; 9] = [
    "\0",
    "\x7f",
    "\u{80}\u{7ff}",
    "\u{800}\u{d7ff}\u{e000}\u{ffff}",
    "\u{10000}\u{10ffff}",
    "κόσμε",
    "€",
    "😀",
    "\u{fffe}\u{feff}",
];

#[test]
fn what_is_not_utf8_is_refused_with_the_byte_that_tells() {
    for wrong in WRONG {
        for before in ["", "a", "Hello-µ@ßöä", "😀"] {
            let bytes = [before.as_bytes(), wrong].concat();
            let name = format!("{before:?} and {wrong:x?}");
            check([
                Row::new("8.1", format!("{name}, of a longer frame"), part(0x81, 500, &bytes)).faults(1007),
                Row::new("8.1", format!("{name}, of a fragment"), part(0x01, 500, &bytes)).faults(1007),
                Row::new(
                    "8.1",
                    format!("{name}, of a last fragment"),
                    [frame(0x01, b""), part(0x80, 500, &bytes)].concat(),
                )
                .faults(1007),
            ]);
            for cut in 0..bytes.len() {
                let (first, second) = bytes.split_at(cut);
                let cut_by_ping = [frame(0x01, first), frame(0x89, b""), part(0x00, 500, second)].concat();
                check([Row::new("8.1", format!("{name}, cut at {cut}"), cut_by_ping).gives([ping("")]).faults(1007)]);
            }
        }
    }
}

#[test]
fn characters_may_be_cut_anywhere_but_at_the_end() {
    for right in RIGHT {
        let bytes = right.as_bytes();
        check([Row::new("5.6", format!("{right:?}"), frame(0x81, bytes)).gives([text(right)])]);
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.split_at(cut);
            let cut_in_two = [frame(0x01, first), frame(0x89, b""), frame(0x80, second)].concat();
            check([Row::new("5.6", format!("{right:?} cut at {cut}"), cut_in_two).gives([ping(""), text(right)])]);
            if !right.is_char_boundary(cut) {
                check([
                    Row::new("8.1", format!("{right:?} that ends at {cut}"), frame(0x81, first)).faults(1007),
                    Row::new("8.1", format!("{right:?} in fragments that end at {cut}"), {
                        [frame(0x01, first), frame(0x80, b"")].concat()
                    })
                    .faults(1007),
                ]);
            }
        }
        let each = bytes.iter().enumerate().map(|(at, byte)| frame(u8::from(at == 0), &[*byte]));
        let each = [each.collect::<Vec<_>>().concat(), frame(0x80, b"")].concat();
        check([Row::new("5.6", format!("{right:?}, a frame a byte"), each).gives([text(right)])]);
    }
}

#[test]
fn bytes_need_not_be_text() {
    for wrong in WRONG {
        check([Row::new("5.6", format!("{wrong:x?}"), frame(0x82, wrong)).gives([binary(wrong)])]);
    }
}
