//! Bounds of a message (RFC 6455 §10.4): by what was announced, by the sum of fragments, by what it decompresses to.

use super::rows::*;

#[test]
fn a_message_of_the_bound_passes_and_of_one_byte_more_is_refused_with_its_head() {
    let most = vec![b'm'; MAX];
    check([
        Row::new("10.4", "the bound", frame(0x82, &most)).gives([binary(&most)]),
        Row::new("10.4", "a text of the bound", frame(0x81, &most)).gives([text("m".repeat(MAX))]),
        Row::new("10.4", "one more", part(0x82, MAX as u64 + 1, b"")).faults(1009),
        Row::new("10.4", "one more in a fragment", part(0x02, MAX as u64 + 1, b"")).faults(1009),
        Row::new("10.4", "far more", part(0x81, 1 << 40, b"")).faults(1009),
        Row::new("10.4", "most that can be said", part(0x81, (1 << 63) - 1, b"")).faults(1009),
        Row::new("10.4", "the bound in two", [frame(0x02, &most[1..]), frame(0x80, b"m")].concat())
            .gives([binary(&most)]),
        Row::new("10.4", "an empty end after the bound", [frame(0x02, &most), frame(0x80, b"")].concat())
            .gives([binary(&most)]),
        Row::new("10.4", "one more in two", [frame(0x02, &most), part(0x80, 1, b"")].concat()).faults(1009),
        Row::new(
            "10.4",
            "too much in many",
            [frame(0x02, &most[..400]), frame(0x00, &most[..400]), part(0x00, 201, b"")].concat(),
        )
        .faults(1009),
        Row::new("10.4", "a sum beyond 64 bits", [frame(0x02, b"ab"), part(0x00, (1 << 63) - 1, b"")].concat())
            .faults(1009),
        Row::new("10.4", "the bound, twice", frame(0x82, &most).repeat(2)).gives([binary(&most), binary(&most)]),
        Row::new(
            "10.4",
            "a ping does not count",
            [frame(0x02, &most), frame(0x89, b"ping"), frame(0x80, b"")].concat(),
        )
        .gives([ping("ping"), binary(&most)]),
        Row::new("10.4", "no bound", frame(0x82, &most)).max(usize::MAX).gives([binary(&most)]),
        Row::new("10.4", "no bound, compressed", frame(0xc1, b"\xf2\x48\xcd\xc9\xc9\x07\x00"))
            .max(usize::MAX)
            .with(EACH)
            .gives([text("Hello")]),
        Row::new("10.4", "nothing allowed but nothing", frame(0x81, b"")).max(0).gives([text("")]),
        Row::new("10.4", "nothing allowed", part(0x81, 1, b"")).max(0).faults(1009),
    ]);
}
