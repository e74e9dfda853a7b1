//! Close frames and their codes (RFC 6455 §5.5.1, §7.4).

use super::rows::*;

fn close_frame(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes(), reason].concat())
}

#[test]
fn codes_that_may_be_sent_and_codes_that_may_not() {
    for code in [1000..=1003, 1007..=1014, 3000..=4999].into_iter().flatten() {
        check([Row::new("7.4", format!("{code}"), close_frame(code, b"bye")).gives([close(code, "bye")])]);
    }
    for code in [0..=999, 1004..=1006, 1015..=2999, 5000..=5100, 65535..=65535].into_iter().flatten() {
        check([Row::new("7.4", format!("{code}"), close_frame(code, b"")).faults(1002)]);
    }
}

#[test]
fn what_a_close_carries() {
    let longest = "é".repeat(61) + "x";
    check([
        Row::new("5.5.1", "nothing", frame(0x88, b"")).gives([SILENT_CLOSE]),
        Row::new("5.5.1", "half a code", frame(0x88, b"\x03")).faults(1002),
        Row::new("5.5.1", "a reason of 123 bytes", close_frame(1000, longest.as_bytes()))
            .gives([close(1000, &longest)]),
        Row::new("5.5.1", "a reason that is not UTF-8", close_frame(1000, b"\xff")).faults(1007),
        Row::new("5.5.1", "a reason that ends in half a character", close_frame(1000, b"a\xe2\x82")).faults(1007),
        Row::new("5.5.1", "a surrogate", close_frame(4000, b"\xed\xa0\x80")).faults(1007),
        Row::new("5.5.1", "a server's", b"\x88\x04\x03\xf4go").of_server().gives([close(1012, "go")]),
    ]);
}

#[test]
fn nothing_counts_after_a_close() {
    let (good, bad) = (close_frame(1000, b""), [0xff; 20].to_vec());
    check([
        Row::new("5.5.1", "a message", [good.clone(), frame(0x81, b"late")].concat()).gives([close(1000, "")]),
        Row::new("5.5.1", "a ping", [good.clone(), frame(0x89, b"late")].concat()).gives([close(1000, "")]),
        Row::new("5.5.1", "another close", [good.clone(), close_frame(1001, b"")].concat()).gives([close(1000, "")]),
        Row::new("5.5.1", "nonsense", [good.clone(), bad].concat()).gives([close(1000, "")]),
        Row::new("5.5.1", "the rest of a message", [frame(0x01, b"a"), good, frame(0x80, b"b")].concat())
            .gives([close(1000, "")]),
    ]);
}
