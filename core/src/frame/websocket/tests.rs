//! RFC 6455 and RFC 7692 section by section, and messages in any pieces.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const MAX: usize = 1000;

fn receiver(agreed: Option<Deflate>) -> Receiver {
    let rules = Rules { role: Role::Server, message_max: MAX };
    Receiver::new(rules, agreed.as_ref().map(Inflater::new))
}

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let opcodes = [Opcode::Continuation, Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong];
    let opcode = opcodes.into_iter().find(|opcode| opcode.bits() == first & 0x0f).unwrap();
    let (is_final, is_compressed) = (first & 0x80 != 0, first & 0x40 != 0);
    let mut out = Vec::new();
    Header { is_final, is_compressed, opcode, length: payload.len() as u64, mask: Some(MASK) }.write(&mut out);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], MASK, 0);
    out
}

/// Everything that comes of these bytes, given in pieces of `step` bytes.
fn read(receiver: &mut Receiver, bytes: &[u8], step: usize) -> Result<Vec<Event>, Fault> {
    let (mut events, mut waiting) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(step.max(1)) {
        waiting.extend_from_slice(piece);
        loop {
            let (taken, event) = receiver.receive(&mut waiting)?;
            waiting.drain(..taken);
            match event {
                Some(event) => events.push(event),
                None => break,
            }
        }
        assert!(waiting.len() <= 13, "only the head of a frame may wait");
    }
    Ok(events)
}

fn all(bytes: &[u8]) -> Result<Vec<Event>, Fault> {
    let whole = read(&mut receiver(None), bytes, bytes.len());
    for step in [1, 2, 3, 7] {
        assert_eq!(read(&mut receiver(None), bytes, step), whole, "in pieces of {step}");
    }
    whole
}

fn text(text: &'static str) -> Event {
    Event::Text(Bytes::from_static(text.as_bytes()))
}

fn code(bytes: &[u8]) -> u16 {
    all(bytes).unwrap_err().code.get()
}

#[test]
fn messages_whole_and_in_fragments_with_control_frames_between() {
    // §5.7, the examples.
    assert_eq!(all(&frame(0x81, b"Hello")), Ok(vec![text("Hello")]));
    let fragments = [frame(0x01, b"Hel"), frame(0x89, b"?"), frame(0x00, b""), frame(0x80, b"lo")].concat();
    assert_eq!(all(&fragments), Ok(vec![Event::Ping(Bytes::from_static(b"?")), text("Hello")]));
    assert_eq!(all(&frame(0x82, b"")), Ok(vec![Event::Binary(Bytes::new())]));
    assert_eq!(all(&frame(0x8a, b"x")), Ok(vec![Event::Pong(Bytes::from_static(b"x"))]));
    let long = frame(0x82, &[7; 300]);
    assert_eq!(all(&long), Ok(vec![Event::Binary(Bytes::from(vec![7; 300]))]));
}

#[test]
fn fragments_that_belong_to_nothing_are_1002() {
    assert_eq!(code(&frame(0x80, b"x")), 1002);
    assert_eq!(code(&[frame(0x01, b"a"), frame(0x81, b"b")].concat()), 1002);
    assert_eq!(code(&[frame(0x01, b"a"), frame(0x80, b"b"), frame(0x80, b"c")].concat()), 1002);
}

#[test]
fn text_must_be_utf8_wherever_it_is_cut() {
    let words = "κόσμε €😀".as_bytes();
    for cut in 0..=words.len() {
        let fragments = [frame(0x01, &words[..cut]), frame(0x80, &words[cut..])].concat();
        assert_eq!(all(&fragments).map(|events| events.len()), Ok(1), "cut at {cut}");
    }
    // Overlong, surrogate, beyond U+10FFFF, a lone continuation, and one that never ends.
    for wrong in [&b"\xc0\xaf"[..], b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xe2\x82"] {
        assert_eq!(code(&frame(0x81, wrong)), 1007, "{wrong:x?}");
    }
    // What can't become UTF-8 any more is refused before the message ends.
    assert_eq!(code(&frame(0x01, b"a\xff")), 1007);
    assert!(all(&frame(0x82, b"\xff")).is_ok());
}

#[test]
fn a_message_beyond_its_bound_is_1009_before_it_is_read() {
    let mut head = Vec::new();
    Header { is_final: true, is_compressed: false, opcode: Opcode::Binary, length: 1 << 40, mask: Some(MASK) }
        .write(&mut head);
    assert_eq!(code(&head), 1009);
    assert!(all(&frame(0x82, &[0; MAX])).is_ok());
    assert_eq!(code(&frame(0x82, &[0; MAX + 1])), 1009);
    assert_eq!(code(&[frame(0x02, &[0; MAX]), frame(0x80, b"1")].concat()), 1009);
}

#[test]
fn nothing_counts_after_a_close() {
    let bytes = [frame(0x88, b"\x03\xe8"), frame(0x81, b"late"), vec![0xff; 20]].concat();
    let close = Close { code: CloseCode::NORMAL, reason: String::new() };
    let mut receiver = receiver(None);
    let mut bytes = bytes;
    let (taken, event) = receiver.receive(&mut bytes).unwrap();
    assert_eq!(event, Some(Event::Close(Some(close))));
    assert_eq!(receiver.receive(&mut bytes[taken..]), Ok((26 + 4, None)));
}

#[test]
fn a_shared_frame_is_what_a_client_reads() {
    let rules = Rules { role: Role::Client, message_max: MAX };
    let mut bytes = [message_frame(Opcode::Text, b"to all", false, None), close_frame(CloseCode::RESTART, "", None)];
    let mut client = Receiver::new(rules, None);
    let events = bytes.iter_mut().map(|frame| client.receive(&mut frame.to_vec()).unwrap().1);
    let close = Close { code: CloseCode::RESTART, reason: String::new() };
    assert_eq!(events.collect::<Vec<_>>(), [Some(text("to all")), Some(Event::Close(Some(close)))]);
}

#[test]
fn offers_of_compression_are_taken_or_declined() {
    let plain = Deflate { window: 15, client_takeover: false };
    for (offers, agreed) in [
        ("permessage-deflate", Some(plain)),
        ("permessage-deflate; client_max_window_bits", Some(plain)),
        ("permessage-deflate; client_max_window_bits=10; client_no_context_takeover", Some(plain)),
        ("permessage-deflate; server_max_window_bits=\"9\"", Some(Deflate { window: 9, ..plain })),
        ("x-webkit-deflate-frame, permessage-deflate; server_no_context_takeover", Some(plain)),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", Some(plain)),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits=09", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
        ("permessage-deflate; mystery", None),
        ("", None),
    ] {
        assert_eq!(negotiate([offers]), agreed, "{offers}");
    }
    let small = Deflate { window: 10, client_takeover: false };
    let answer =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10";
    assert_eq!(small.answer(), answer);
}

#[test]
fn compressed_messages_of_the_rfc() {
    let agreed = Deflate { window: 15, client_takeover: true };
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    // RFC 7692 §7.2.3: one block, in fragments, with takeover, without compression, final, two blocks.
    let cases: [&[Vec<u8>]; 6] = [
        &[frame(0xc1, hello)],
        &[frame(0x41, &hello[..3]), frame(0x80, &hello[3..])],
        &[frame(0xc1, hello), frame(0xc1, b"\xf2\x00\x11\x00\x00")],
        &[frame(0xc1, b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00")],
        &[frame(0xc1, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00")],
        &[frame(0xc1, b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00")],
    ];
    for frames in cases {
        let events = read(&mut receiver(Some(agreed)), &frames.concat(), 5).unwrap();
        assert!(events.iter().all(|event| *event == text("Hello")), "{events:?}");
    }
    // Without takeover the second of the third case refers to what is gone.
    let forgets = Deflate { client_takeover: false, ..agreed };
    assert_eq!(read(&mut receiver(Some(forgets)), &cases[2].concat(), 5).unwrap_err().code.get(), 1007);
    assert_eq!(read(&mut receiver(Some(agreed)), &frame(0xc1, b"\xff\xff\xff"), 5).unwrap_err().code.get(), 1007);
    // Uncompressed messages may stand beside compressed ones.
    assert_eq!(read(&mut receiver(Some(agreed)), &frame(0x81, b"Hello"), 5), Ok(vec![text("Hello")]));
}

#[test]
fn a_bomb_is_1009_and_costs_no_more_than_the_bound() {
    let bomb = Deflater::new(15).deflate(&vec![0; 10 << 20]).unwrap();
    let agreed = Deflate { window: 15, client_takeover: false };
    let rules = Rules { role: Role::Server, message_max: 64 << 10 };
    let mut receiver = Receiver::new(rules, Some(Inflater::new(&agreed)));
    let fault = receiver.receive(&mut frame(0xc2, &bomb)).unwrap_err();
    assert_eq!(fault.code, CloseCode::TOO_BIG);
}

#[test]
fn what_does_not_get_shorter_is_not_compressed() {
    assert_eq!(Deflater::new(15).deflate(b""), None);
    assert_eq!(Deflater::new(15).deflate(b"abc"), None);
    assert!(Deflater::new(15).deflate(&[b'a'; 100]).is_some());
}

proptest! {
    #[test]
    fn any_message_survives_fragments_pieces_and_every_window(
        payload in prop::collection::vec(0..4u8, 0..MAX),
        window in 9..=15u8,
        cuts in prop::collection::vec(0..MAX, 0..4),
        step in 1..50usize,
    ) {
        let compressed = Deflater::new(window).deflate(&payload);
        let first = if compressed.is_some() { 0x42 } else { 0x02 };
        let bytes = compressed.as_ref().unwrap_or(&payload);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let last = cuts.len() - 2;
        let frames = cuts.windows(2).enumerate().map(|(index, cut)| {
            let opcode = if index == 0 { first } else { 0 };
            frame(opcode | if index == last { 0x80 } else { 0 }, &bytes[cut[0]..cut[1]])
        });
        let stream = frames.collect::<Vec<_>>().concat();
        let mut receiver = receiver(Some(Deflate { window, client_takeover: false }));
        prop_assert_eq!(read(&mut receiver, &stream, step), Ok(vec![Event::Binary(payload.into())]));
        prop_assert!(receiver.is_between_messages());
    }

    #[test]
    fn any_bytes_end_in_events_or_a_fault(mut bytes: Vec<u8>) {
        let mut receiver = receiver(Some(Deflate { window: 15, client_takeover: true }));
        let mut at = 0;
        while let Ok((taken, Some(_))) = receiver.receive(&mut bytes[at..]) {
            at += taken;
        }
    }
}
