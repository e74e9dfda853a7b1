//! Whatever bytes an upstream sends, the client gets exactly one response with the same meaning, or none.
#![no_main]

#[path = "../../core/tests/judge/mod.rs"]
mod judge;

use http::{Method, Version};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    judge::judge_response(input, &Method::GET, Version::HTTP_11);
    judge::judge_response(input, &Method::GET, Version::HTTP_10);
    judge::judge_response(input, &Method::HEAD, Version::HTTP_11);
});
