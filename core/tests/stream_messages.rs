//! Messages over a stream of bytes, however it arrives.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use proptest::prelude::*;
use rsp_core::config::Framing;

#[path = "judge/messages.rs"]
mod judge;

proptest! {
    #[test]
    fn a_stream_is_cut_alike_however_it_arrives(
        framing in prop_oneof![Just(Framing::Lines), Just(Framing::Length), Just(Framing::Raw)],
        max in 1..6usize,
        stream in "[ab\r\n\0\x01\x03]{0,30}",
        step in 1..9usize,
    ) {
        judge::judge_messages(stream.as_bytes(), framing, max, step);
    }
}
