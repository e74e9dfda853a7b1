//! What a WebSocket client sends is read alike in any split, with compression and without; the first byte of the input
//! says how to split.
#![no_main]

#[path = "../../core/tests/judge/frames.rs"]
mod judge;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&split, frames)) = input.split_first() else { return };
    judge::judge_frames(frames, &[usize::from(split & 15), usize::from(split >> 4)]);
});
