//! Whatever bytes come in, what goes upstream re-parses to exactly one request with the same meaning, or nothing goes.
#![no_main]

#[path = "../../core/tests/judge/mod.rs"]
mod judge;

libfuzzer_sys::fuzz_target!(|input: &[u8]| judge::judge_request(input));
