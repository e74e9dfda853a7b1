//! Compressed messages (RFC 7692 §6.2, §7.2).

use super::rows::*;

/// "Hello" in one block of fixed codes (RFC 7692 §7.2.3.1).
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
/// The same as the last block of a stream, with the octet that §7.2.3.4 wants behind it.
const FINAL_HELLO: &[u8] = b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
/// The same, referring to the message before it (§7.2.3.2).
const AGAIN: &[u8] = b"\xf2\x00\x11\x00\x00";

/// A block without compression, without the empty one that must follow.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u16;
    [&[0], &length.to_le_bytes()[..], &(!length).to_le_bytes()[..], bytes].concat()
}

/// Bytes from 144 in the fixed codes, nine bits each: the longest that sensible compression can be.
fn noise(bytes: &[u8]) -> Vec<u8> {
    let mut bits = vec![false, true, false];
    for byte in bytes {
        let code = 0x190 + u16::from(*byte) - 144;
        bits.extend((0..9).rev().map(|bit| code >> bit & 1 == 1));
    }
    // The end of the block, and the head of an empty one without compression.
    bits.extend([false; 10]);
    let bytes = bits.chunks(8).map(|bits| bits.iter().enumerate().map(|(at, bit)| u8::from(*bit) << at).sum());
    bytes.collect()
}

#[test]
fn the_examples_of_the_rfc() {
    for agreed in [EACH, TAKEOVER] {
        check(
            [
                Row::new("7692 7.2.3.1", "one block", frame(0xc1, HELLO)).gives([text("Hello")]),
                Row::new(
                    "7692 7.2.3.1",
                    "one block in two frames",
                    [frame(0x41, &HELLO[..3]), frame(0x80, &HELLO[3..])].concat(),
                )
                .gives([text("Hello")]),
                Row::new(
                    "7692 7.2.3.3",
                    "no compression",
                    frame(0xc1, b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"),
                )
                .gives([text("Hello")]),
                Row::new("7692 7.2.3.4", "a final block", frame(0xc1, FINAL_HELLO)).gives([text("Hello")]),
                Row::new(
                    "7692 7.2.3.5",
                    "two blocks",
                    frame(0xc1, b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"),
                )
                .gives([text("Hello")]),
                Row::new("7692 7.2.3.6", "an empty message", frame(0xc1, b"\0")).gives([text("")]),
                Row::new("7692 7.2.3.6", "an empty message, twice", frame(0xc1, b"\0").repeat(2))
                    .gives([text(""), text("")]),
                Row::new("7692 7.2.3.6", "empty as others have it", frame(0xc1, b"\x02\0")).gives([text("")]),
                Row::new("7692 7.2.3.6", "no payload at all", frame(0xc1, b"")).gives([text("")]),
                Row::new("7692 6", "bytes", frame(0xc2, HELLO)).gives([binary("Hello")]),
                Row::new("7692 6", "a server's", bare(0xc1, HELLO)).of_server().gives([text("Hello")]),
                Row::new(
                    "7692 6",
                    "uncompressed ones beside it",
                    [frame(0x81, b"a"), frame(0xc1, HELLO), frame(0x82, b"b")].concat(),
                )
                .gives([text("a"), text("Hello"), binary("b")]),
            ]
            .map(|row| row.with(agreed)),
        );
    }
    let twice = [frame(0xc1, HELLO), frame(0xc1, AGAIN)].concat();
    let never = [frame(0xc1, HELLO), part(0xc1, 5, &AGAIN[..3])].concat();
    check([
        Row::new("7692 7.2.3.2", "with takeover", twice).with(TAKEOVER).gives([text("Hello"), text("Hello")]),
        Row::new("7692 7.1.1", "without takeover", never).with(EACH).gives([text("Hello")]).faults(1007),
    ]);
}

#[test]
fn final_blocks_begin_another_stream() {
    let again = [FINAL_HELLO, FINAL_HELLO].concat();
    // The last octet of the first is the head of an empty block of the second, so it must be a whole one.
    let streams = [&FINAL_HELLO[..7], FINAL_HELLO].concat();
    for agreed in [EACH, TAKEOVER] {
        check(
            [
                Row::new("7692 7.2.3.4", "ended, without an octet behind it", frame(0xc1, &FINAL_HELLO[..7]))
                    .gives([text("Hello")]),
                Row::new("7692 7.2.3.4", "twice in a message", frame(0xc1, &streams)).gives([text("HelloHello")]),
                Row::new("7692 7.2.3.4", "messages in a row", [frame(0xc1, FINAL_HELLO), frame(0xc1, HELLO)].concat())
                    .gives([text("Hello"), text("Hello")]),
                Row::new("7692 7.2.3.4", "in fragments", [frame(0x41, &FINAL_HELLO[..7]), frame(0x80, b"")].concat())
                    .gives([text("Hello")]),
                Row::new("7692 7.2.3.4", "half a block after it", part(0xc1, 16, &again[..12])).faults(1007),
            ]
            .map(|row| row.with(agreed)),
        );
    }
}

#[test]
fn compressed_messages_in_fragments() {
    for cut in 0..=HELLO.len() {
        let (first, second) = HELLO.split_at(cut);
        let bytes = [frame(0x41, first), frame(0x89, b"?"), frame(0x00, b""), frame(0x8a, b"!"), frame(0x80, second)];
        let row = Row::new("7692 6.1", format!("cut at {cut}, with control frames"), bytes.concat());
        check([row.with(EACH).gives([ping("?"), pong("!"), text("Hello")])]);
    }
}

#[test]
fn what_is_no_compressed_data_is_1007() {
    for agreed in [EACH, TAKEOVER] {
        check(
            [
                Row::new("7692 6.2", "a kind of block that nobody knows", part(0xc1, 500, b"\xff")).faults(1007),
                Row::new("7692 6.2", "a length that is none", part(0xc1, 500, b"\x00\x05\x00\xfa\xfe")).faults(1007),
                Row::new("7692 6.2", "plain text", part(0xc1, 500, b"Hello")).faults(1007),
            ]
            .map(|row| row.with(agreed)),
        );
    }
    // Nothing of a message that was cut short may pass for a whole one.
    for cut in 1..HELLO.len() {
        check([Row::new("7692 6.2", format!("cut short at {cut}"), frame(0xc1, &HELLO[..cut]))
            .with(EACH)
            .faults(1007)]);
    }
    for cut in 2..10 {
        let cut = &stored(b"Hello")[..cut];
        check([Row::new("7692 6.2", format!("cut short after {cut:x?}"), frame(0xc2, cut)).with(EACH).faults(1007)]);
    }
}

#[test]
fn compressed_text_is_utf8_and_refused_as_early_as_other_text() {
    check([
        Row::new("6455 8.1", "the first byte", part(0xc1, 500, b"\xfa\x0f")).with(EACH).faults(1007),
        Row::new("6455 8.1", "of a fragment", part(0x41, 500, b"\xfa\x0f")).with(EACH).faults(1007),
        Row::new("6455 8.1", "in a stored block", part(0xc1, 500, &stored(b"abc\xffdef")[..9])).with(EACH).faults(1007),
        Row::new("6455 8.1", "half a character", frame(0xc1, b"\x7a\xd4\x04\x00")).with(EACH).faults(1007),
        Row::new("6455 8.1", "the same as bytes", frame(0xc2, b"\x7a\xd4\x04\x00"))
            .with(EACH)
            .gives([binary(b"\xe2\x82")]),
        Row::new("6455 8.1", "a character in two fragments", {
            let bytes = [stored("€".as_bytes()), vec![0]].concat();
            [frame(0x41, &bytes[..6]), frame(0x89, b""), frame(0x80, &bytes[6..])].concat()
        })
        .with(EACH)
        .gives([ping(""), text("€")]),
    ]);
}

#[test]
fn bounds_hold_for_what_a_message_decompresses_to() {
    let more = stored(&[b'm'; MAX + 1]);
    let most = noise(&[200; MAX]);
    // Both stop between two buffers of the decompression.
    let steps = [
        (4096, &b"\xec\xc1\x31\x0d\0\0\0\xc3\x20\xc5\xf5\xff\xce\xc7\x02\x14\0\0\0\xf0\x6e\0"[..]),
        (8192, b"\xec\xc1\x31\x0d\0\0\0\xc3\x20\xc5\xf5\xff\x4e\xc7\x12\xa0\0\0\0\0\0\0\0\x80\x77\x03"),
    ];
    for (length, bytes) in steps {
        let same = [binary("m".repeat(length))];
        check([Row::new("10.4", format!("{length}"), frame(0xc2, bytes)).max(length).with(EACH).gives(same.clone())]);
        check([Row::new("10.4", format!("{length} of more"), frame(0xc2, bytes))
            .max(length + 1)
            .with(TAKEOVER)
            .gives(same)]);
    }
    check(
        [
            Row::new("10.4", "the bound", frame(0xc2, b"\xca\xcd\x1d\x05\xa3\x60\x14\x0c\x77\0\0"))
                .gives([binary([b'm'; MAX])]),
            Row::new("10.4", "one more", part(0xc2, 1200, &more)).faults(1009),
            Row::new(
                "10.4",
                "one more in fragments",
                [frame(0x42, &more[..600]), part(0x00, 500, &more[600..])].concat(),
            )
            .faults(1009),
            Row::new("10.4", "the bound, in more bytes than it has", frame(0xc2, &most)).gives([binary([200; MAX])]),
            Row::new("10.4", "announced beyond what the bound can take", part(0xc2, 1207, b"")).faults(1009),
            Row::new(
                "10.4",
                "the same in fragments",
                [frame(0x42, &noise(&[200; 900])), part(0x00, 194, b"")].concat(),
            )
            .faults(1009),
        ]
        .map(|row| row.with(EACH)),
    );
}
