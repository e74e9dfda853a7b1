//! Messages over a stream of bytes are cut alike in any split; the first byte of the input says how they are framed, how
//! long they may be, and how to split.
#![no_main]

use rsp_core::config::Framing;

#[path = "../../core/tests/judge/messages.rs"]
mod judge;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&choice, stream)) = input.split_first() else { return };
    let framing = [Framing::Lines, Framing::Raw, Framing::Length][usize::from(choice % 3)];
    judge::judge_messages(stream, framing, 1 + usize::from(choice >> 5), 1 + usize::from(choice >> 2 & 7));
});
