//! FastCGI records in any split, honest or not, are what a naive reader makes of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "judge/records.rs"]
mod judge;

use judge::judge_records;
use proptest::prelude::*;
use rsp_core::frame::fastcgi::{LAST_STDIN, RecordDecoder, record_header};

fn record(kind: u8, content: &[u8], padding: u8) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let mut record = vec![1, kind, 0, 1, length[0], length[1], padding, 0];
    record.extend_from_slice(content);
    record.resize(record.len() + usize::from(padding), b'p');
    record
}

/// Mostly records that an application may send; some with one byte wrong.
fn records() -> impl Strategy<Value = Vec<u8>> {
    let output = prop_oneof![
        Just(b"Status: 200 OK\r\nA: b\n\n".to_vec()),
        Just(b"\n\r".to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    let one = (prop_oneof![8 => Just(6_u8), 4 => Just(7), 1 => Just(3), 1 => any::<u8>()], output, 0..9_u8);
    let one = one.prop_map(|(kind, content, padding)| match kind {
        3 => record(3, &[0, 0, 0, 1, content.len() as u8 & 3, 0, 0, 0], padding),
        kind => record(kind, &content, padding),
    });
    let all = prop::collection::vec(one, 0..8).prop_map(|records| records.concat());
    (all, any::<prop::sample::Index>(), prop::option::weighted(0.2, any::<u8>())).prop_map(|(mut all, at, wrong)| {
        if let Some(wrong) = wrong.filter(|_| !all.is_empty()) {
            let at = at.index(all.len());
            all[at] = wrong;
        }
        all
    })
}

proptest! {
    #[test]
    fn records_in_any_split_are_what_a_naive_reader_makes_of_them(
        records in records(),
        pieces in prop::collection::vec(1..40_usize, 1..5),
    ) {
        judge_records(&records, &pieces);
        judge_records(&records, &[usize::MAX]);
    }

    #[test]
    fn any_bytes_are_read_alike_in_any_split(bytes in prop::collection::vec(any::<u8>(), 0..100), piece in 1..20_usize) {
        judge_records(&bytes, &[piece]);
    }
}

#[test]
fn a_body_goes_out_in_records_and_ends_with_an_empty_one() {
    assert_eq!(record_header(5), [1, 5, 0, 1, 0, 5, 0, 0]);
    assert_eq!(record_header(u16::MAX), [1, 5, 0, 1, 0xff, 0xff, 0, 0]);
    assert_eq!(record_header(0), LAST_STDIN);
}

#[test]
fn the_error_stream_is_kept_up_to_a_bound_and_refused_beyond_another() {
    let mut decoder = RecordDecoder::default();
    let shout = record(7, &[b'e'; 60_000], 7);
    assert_eq!(decoder.decode(&mut shout.clone()).unwrap().data, 0);
    let (kept, cut) = decoder.take_stderr().unwrap();
    assert_eq!((kept.len(), cut), (2048, true));
    assert!(decoder.take_stderr().is_none());
    let taken = (0..1000).take_while(|_| decoder.decode(&mut shout.clone()).is_ok()).count();
    assert_eq!(taken, (16 << 20) / 60_015 - 1);
}
