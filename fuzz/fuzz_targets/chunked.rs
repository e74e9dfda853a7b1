//! A chunked body in any split is what a naive decoder reads; the first byte of the input says how to split.
#![no_main]

#[path = "../../core/tests/judge/mod.rs"]
mod judge;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&split, body)) = input.split_first() else { return };
    judge::judge_chunks(body, &[usize::from(split & 15), usize::from(split >> 4)]);
    judge::judge_chunks(body, &[usize::MAX]);
});
