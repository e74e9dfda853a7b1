//! What an application sends is read alike in any split; the first byte of the input says how to split.
#![no_main]

#[path = "../../core/tests/judge/records.rs"]
mod judge;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&split, records)) = input.split_first() else { return };
    judge::judge_records(records, &[usize::from(split & 15), usize::from(split >> 4)]);
    judge::judge_records(records, &[usize::MAX]);
});
