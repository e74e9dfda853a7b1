//! Whatever a client sends, in whatever pieces, is what a naive reader makes of it.

use proptest::prelude::*;
use rsp_core::frame::websocket::Deflater;

#[path = "../judge/frames.rs"]
mod judge;

use super::rows::frame;
use judge::judge_frames;

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let compressed = |bytes: Vec<u8>| Deflater::new(15).deflate(&bytes).unwrap_or(bytes);
    prop_oneof![
        3 => prop::sample::select(vec!["", "a", "κόσμε", "€", "😀"]).prop_map(|text| text.as_bytes().to_vec()),
        2 => prop::collection::vec(any::<u8>(), 0..5),
        1 => prop::collection::vec(b'a'..b'd', 100..200),
        2 => prop::collection::vec(b'a'..b'd', 64..330).prop_map(compressed),
        1 => prop::sample::select(vec![b"\0".to_vec(), b"\xf2\x48\xcd\xc9\xc9\x07\x00".to_vec(), b"\x03\xe8bye".to_vec()]),
    ]
}

/// Mostly frames that a client may send; some with one byte wrong, some cut short.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x81_u8, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a]),
        4 => prop::sample::select(vec![0xc1_u8, 0xc2, 0x41, 0x42]),
        1 => Just(0x88),
        1 => any::<u8>(),
    ];
    let frames = prop::collection::vec((first, payload()), 0..8)
        .prop_map(|frames| frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect::<Vec<_>>());
    let wrong = prop::option::weighted(0.2, any::<(prop::sample::Index, u8)>());
    (frames, wrong, prop::option::weighted(0.3, any::<prop::sample::Index>())).prop_map(|(mut bytes, wrong, end)| {
        if let Some((at, wrong)) = wrong.filter(|_| !bytes.is_empty()) {
            let at = at.index(bytes.len());
            bytes[at] = wrong;
        }
        bytes.truncate(end.map_or(bytes.len(), |end| end.index(bytes.len() + 1)));
        bytes
    })
}

proptest! {
    #[test]
    fn frames_in_any_split_are_what_a_naive_reader_makes_of_them(
        bytes in frames(),
        pieces in prop::collection::vec(1..40_usize, 1..5),
    ) {
        judge_frames(&bytes, &pieces);
        judge_frames(&bytes, &[1]);
    }

    #[test]
    fn any_bytes_are_read_alike_in_any_split(bytes in prop::collection::vec(any::<u8>(), 0..100), piece in 1..20_usize) {
        judge_frames(&bytes, &[piece]);
    }
}
