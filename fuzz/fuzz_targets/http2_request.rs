//! Whatever a request of HTTP/2 holds, what goes upstream re-parses to exactly one request with the same meaning, or nothing
//! goes; and its frames are counted alike in any split.
#![no_main]

use std::time::Duration;

use rsp_core::frame::http2::Meter;

#[path = "../../core/tests/judge/mod.rs"]
mod judge;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    judge::judge_http2_request(input);
    let whole = Meter::default().read(input, || Duration::ZERO);
    let mut meter = Meter::default();
    let pieces = input.chunks(7).try_for_each(|piece| meter.read(piece, || Duration::ZERO));
    assert_eq!(whole, pieces);
});
