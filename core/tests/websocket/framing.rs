//! Frames: heads, masks, lengths, opcodes, fragments (RFC 6455 §5).

use super::rows::*;

#[test]
fn frames_and_messages_of_the_base_protocol() {
    check([
        Row::new("5.7", "one unmasked text", b"\x81\x05Hello").of_server().gives([text("Hello")]),
        Row::new("5.7", "one masked text", b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58").gives([text("Hello")]),
        Row::new("5.7", "two unmasked fragments", b"\x01\x03Hel\x80\x02lo").of_server().gives([text("Hello")]),
        Row::new("5.7", "unmasked ping, masked pong: ping", b"\x89\x05Hello").of_server().gives([ping("Hello")]),
        Row::new("5.7", "masked pong", b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58").gives([pong("Hello")]),
        Row::new("5.7", "256 bytes", bare(0x82, &[7; 256])).of_server().gives([binary([7; 256])]),
        Row::new("5.7", "64 KiB", bare(0x82, &[7; 65536])).of_server().max(65536).gives([binary([7; 65536])]),
        Row::new("5.6", "no text", frame(0x81, b"")).gives([text("")]),
        Row::new("5.6", "no bytes", frame(0x82, b"")).gives([binary("")]),
        Row::new("5.6", "bytes of any kind", frame(0x82, b"\xff\x00\xc0")).gives([binary(b"\xff\x00\xc0")]),
        Row::new("5.6", "messages in a row", [frame(0x81, b"a"), frame(0x82, b"b"), frame(0x81, b"c")].concat())
            .gives([text("a"), binary("b"), text("c")]),
        Row::new("5.3", "a mask of zeros", b"\x81\x82\0\0\0\0hi").gives([text("hi")]),
    ]);
}

#[test]
fn reserved_bits_and_opcodes() {
    let bits = [0x40, 0x20, 0x10, 0x60, 0x50, 0x30, 0x70];
    let opcodes = [0x80_u8, 0x81, 0x82, 0x88, 0x89, 0x8a];
    for opcode in opcodes {
        for bit in bits {
            let bytes = [opcode | bit, 0x80];
            check([Row::new("5.2", format!("reserved bits in {bytes:x?}"), bytes).faults(1002)]);
            let first_of_message = [0x81, 0x82].contains(&opcode) && bit == 0x40;
            if !first_of_message {
                let what = format!("reserved bits in {bytes:x?} with compression");
                check([Row::new("7692 6", what, bytes).with(EACH).faults(1002)]);
            }
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        check([
            Row::new("5.2", format!("reserved opcode {opcode}"), [0x80 | opcode, 0x80]).faults(1002),
            Row::new("5.2", format!("reserved opcode {opcode} in a fragment"), [opcode, 0x80]).faults(1002),
            Row::new(
                "5.2",
                format!("after good ones, {opcode}"),
                [&frame(0x81, b"a")[..], &[0x80 | opcode, 0x80]].concat(),
            )
            .gives([text("a")])
            .faults(1002),
        ]);
    }
    // A continuation of a compressed message must not have the bit again.
    let again = [frame(0x41, b"\xf2"), vec![0xc0, 0x80]].concat();
    check([Row::new("7692 6.1", "the bit in a continuation", again).with(EACH).faults(1002)]);
}

#[test]
fn masks_by_role() {
    for first in [0x81, 0x82, 0x88, 0x89, 0x8a] {
        check([
            Row::new("5.1", format!("a client's {first:x} without a mask"), [first, 0x01]).faults(1002),
            Row::new("5.1", format!("a server's {first:x} with a mask"), [first, 0x81]).of_server().faults(1002),
        ]);
    }
    let second = [frame(0x81, b"a"), vec![0x81, 0x01]].concat();
    check([Row::new("5.1", "the second without a mask", second).gives([text("a")]).faults(1002)]);
}

#[test]
fn lengths_take_the_fewest_bytes() {
    for length in [0_u16, 1, 125] {
        let bytes = [&[0x82, 0xfe], &length.to_be_bytes()[..]].concat();
        check([Row::new("5.2", format!("{length} in 16 bits"), bytes).faults(1002)]);
    }
    for length in [0_u64, 125, 126, 65535] {
        let bytes = [&[0x82, 0xff], &length.to_be_bytes()[..]].concat();
        check([Row::new("5.2", format!("{length} in 64 bits"), bytes).faults(1002)]);
    }
    for length in [1_u64 << 63, u64::MAX, (1 << 63) + 5] {
        let bytes = [&[0x82, 0xff], &length.to_be_bytes()[..]].concat();
        check([Row::new("5.2", format!("{length:x} has the top bit"), bytes).faults(1002)]);
    }
    for length in [0, 1, 2, 3, 4, 7, 8, 9, 125, 126, 127, 128, 65535, 65536, 65537] {
        let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
        check([Row::new("5.2", format!("{length} bytes"), frame(0x82, &payload))
            .max(70_000)
            .gives([binary(&payload)])]);
    }
}

#[test]
fn fragments_make_a_message_with_control_frames_between_them() {
    check([
        Row::new("5.4", "two", [frame(0x01, b"Hel"), frame(0x80, b"lo")].concat()).gives([text("Hello")]),
        Row::new("5.4", "two binary ones", [frame(0x02, b"Hel"), frame(0x80, b"lo")].concat()).gives([binary("Hello")]),
        Row::new("5.4", "empty ones", [frame(0x01, b""), frame(0x00, b""), frame(0x80, b"")].concat())
            .gives([text("")]),
        Row::new("5.4", "empty ones around", [frame(0x02, b""), frame(0x00, b"x"), frame(0x80, b"")].concat())
            .gives([binary("x")]),
        Row::new("5.4", "not ended", [frame(0x01, b"Hel"), frame(0x00, b"lo")].concat()),
        Row::new("5.4", "many", [frame(0x02, b"0"), frame(0x00, b"1").repeat(500), frame(0x80, b"2")].concat())
            .gives([binary([b"0".to_vec(), b"1".repeat(500), b"2".to_vec()].concat())]),
        Row::new("5.5.2", "a ping between", [frame(0x01, b"Hel"), frame(0x89, b"?"), frame(0x80, b"lo")].concat())
            .gives([ping("?"), text("Hello")]),
        Row::new("5.5.3", "a pong between", [frame(0x01, b"Hel"), frame(0x8a, b""), frame(0x80, b"lo")].concat())
            .gives([pong(""), text("Hello")]),
        Row::new("5.5", "control frames between all", {
            let pings = [frame(0x89, b"1"), frame(0x8a, b"2")].concat();
            [&frame(0x01, b"a")[..], &pings, &frame(0x00, b"b"), &pings, &frame(0x80, b"c"), &pings].concat()
        })
        .gives([ping("1"), pong("2"), ping("1"), pong("2"), text("abc"), ping("1"), pong("2")]),
        Row::new(
            "5.5.1",
            "a close between",
            [frame(0x01, b"Hel"), frame(0x88, b"\x03\xe8"), frame(0x80, b"lo")].concat(),
        )
        .gives([close(1000, "")]),
        Row::new("5.4", "a continuation of nothing", frame(0x80, b"")).faults(1002),
        Row::new("5.4", "a continuation of nothing, more to come", frame(0x00, b"")).faults(1002),
        Row::new("5.4", "a continuation after the end", {
            [frame(0x01, b"a"), frame(0x80, b"b"), frame(0x80, b"")].concat()
        })
        .gives([text("ab")])
        .faults(1002),
        Row::new("5.4", "a text inside of a text", [frame(0x01, b"a"), frame(0x81, b"")].concat()).faults(1002),
        Row::new("5.4", "a fragment of bytes inside of a text", [frame(0x01, b"a"), frame(0x02, b"")].concat())
            .faults(1002),
    ]);
}

#[test]
fn control_frames_are_whole_and_short() {
    let longest = [b'x'; 125];
    check([
        Row::new("5.5.2", "a ping of 125", frame(0x89, &longest)).gives([ping(longest)]),
        Row::new("5.5.3", "a pong of 125", frame(0x8a, &longest)).gives([pong(longest)]),
        Row::new("5.5.2", "an empty ping", frame(0x89, b"")).gives([ping("")]),
        Row::new("5.5.2", "a ping of any bytes", frame(0x89, b"\xff\xc0\0")).gives([ping(b"\xff\xc0\0")]),
        Row::new("5.5.2", "ten pings", frame(0x89, b"p").repeat(10)).gives(vec![ping("p"); 10]),
    ]);
    for first in [0x88_u8, 0x89, 0x8a] {
        check([
            Row::new("5.5", format!("{first:x} of 126"), [first, 0xfe]).faults(1002),
            Row::new("5.5", format!("{first:x} of 64 bits"), [first, 0xff]).faults(1002),
            Row::new("5.5", format!("{first:x} in fragments"), [first & 0x7f, 0x80]).faults(1002),
            Row::new("5.5", format!("{first:x} in fragments in a message"), {
                [frame(0x01, b"a"), vec![first & 0x7f, 0x81]].concat()
            })
            .faults(1002),
        ]);
    }
}
