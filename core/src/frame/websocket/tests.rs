//! What can't be seen from outside: room, memory, and that what goes out comes in. The sections of the RFCs are in
//! `core/tests/websocket`.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const MAX: usize = 1000;
const EACH: Deflate = Deflate { window: 15, window_asked: false, client_takeover: false };

fn receiver(agreed: Option<Deflate>) -> Receiver {
    let rules = Rules { role: Role::Server, message_max: MAX };
    Receiver::new(rules, agreed.as_ref().map(Inflater::new))
}

/// A client's frame.
fn frame(header: Header, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Header { length: payload.len() as u64, mask: Some(MASK), ..header }.write(&mut out);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], MASK, 0);
    out
}

const BINARY: Header = Header { is_final: true, is_compressed: false, opcode: Opcode::Binary, length: 0, mask: None };

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
    }
    Ok(events)
}

#[test]
fn a_connection_that_says_nothing_costs_little() {
    assert!(size_of::<Receiver>() <= 72, "{}", size_of::<Receiver>());
    let mut receiver = receiver(Some(EACH));
    let bytes = frame(Header { is_compressed: true, ..BINARY }, &Deflater::new(15).deflate(&[7; 500]).unwrap());
    read(&mut receiver, &bytes, 1).unwrap();
    assert!(receiver.is_idle(), "between messages it holds no buffer: {receiver:?}");
    assert!(read(&mut receiver, &frame(Header { is_final: false, ..BINARY }, b"begun"), 1).is_ok());
    assert!(!receiver.is_idle());
    let close = Header { opcode: Opcode::Close, ..BINARY };
    assert!(read(&mut receiver, &frame(close, b""), 1).is_ok());
    assert!(receiver.is_idle(), "after a close it holds none either: {receiver:?}");
}

#[test]
fn a_message_that_is_kept_keeps_no_room_beside_it() {
    let compressed = Deflater::new(15).deflate(&[7; 300]).unwrap();
    let long = [7; 300];
    let messages: [(bool, &[u8]); 2] = [(true, &compressed), (false, &long)];
    for (is_compressed, payload) in messages {
        let fragment = |is_first: bool, is_final: bool, payload: &[u8]| {
            let opcode = if is_first { Opcode::Binary } else { Opcode::Continuation };
            frame(Header { is_final, is_compressed: is_compressed && is_first, opcode, ..BINARY }, payload)
        };
        let whole = fragment(true, true, payload);
        let cut = [fragment(true, false, &payload[..5]), fragment(false, true, &payload[5..])].concat();
        for (bytes, step) in [(&whole, usize::MAX), (&whole, 7), (&cut, usize::MAX), (&cut, 3)] {
            let mut events = read(&mut receiver(Some(EACH)), bytes, step).unwrap();
            let Some(Event::Binary(message)) = events.pop() else { panic!("no message") };
            assert_eq!(message, [7; 300][..]);
            assert!(Vec::from(message).capacity() <= 310);
        }
    }
}

#[test]
fn a_bomb_costs_no_more_than_the_bound_and_a_step() {
    let bomb = Deflater::new(15).deflate(&vec![0; 10 << 20]).unwrap();
    let max = 64 << 10;
    for step in [1, 100, usize::MAX] {
        let mut inflater = Inflater::new(&EACH);
        let mut out = Vec::new();
        let fault = bomb.chunks(step).find_map(|piece| inflater.inflate(piece, false, &mut out, max).err());
        assert_eq!(fault.map(|fault| fault.code), Some(CloseCode::TOO_BIG));
        assert!(out.capacity() <= max + 4096, "{}", out.capacity());
    }
}

#[test]
fn memory_grows_with_what_came_not_with_what_was_announced() {
    let rules = Rules { role: Role::Server, message_max: 1 << 30 };
    let mut receiver = Receiver::new(rules, None);
    let mut head = Vec::new();
    Header { length: 1 << 30, mask: Some(MASK), ..BINARY }.write(&mut head);
    receiver.receive(&mut head).unwrap();
    assert!(receiver.room() <= 8192);
    let mut sum = 0;
    while sum < 1 << 20 {
        sum += receiver.receive(&mut [0; 10_000]).unwrap().0;
        assert!(receiver.room() <= 2 * sum + 8192, "{} for {sum}", receiver.room());
    }
}

#[test]
fn a_shared_frame_is_what_a_client_reads() {
    let rules = Rules { role: Role::Client, message_max: MAX };
    let mut bytes = [message_frame(Opcode::Text, b"to all", false, None), close_frame(CloseCode::RESTART, "", None)];
    let mut client = Receiver::new(rules, None);
    let events = bytes.iter_mut().map(|frame| client.receive(&mut frame.to_vec()).unwrap().1);
    let close = Close { code: CloseCode::RESTART, reason: String::new() };
    let text = Event::Text(Bytes::from_static(b"to all"));
    assert_eq!(events.collect::<Vec<_>>(), [Some(text), Some(Event::Close(Some(close)))]);
}

/// Bytes that nobody can compress.
fn noise() -> impl Iterator<Item = u8> {
    let mut seed = 1_u64;
    std::iter::repeat_with(move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    })
}

#[test]
fn what_does_not_get_shorter_is_not_compressed() {
    let noise: Vec<u8> = noise().take(20_000).collect();
    let letters: Vec<u8> = (0..90).map(|at| b' ' + at).collect();
    for plain in [&b""[..], b"abc", &letters, &noise, &noise[..64]] {
        assert_eq!(Deflater::new(15).deflate(plain), None, "{} bytes", plain.len());
    }
    assert!(Deflater::new(15).deflate(&[b'a'; 100]).is_some());
}

/// zlib-rs 0.6 panics if enough output was not taken before resets.
#[test]
fn one_state_compresses_any_number_of_messages() {
    for length in [64, 300, 5000, 70_000] {
        let mut deflater = Deflater::new(15);
        let mut noise = noise();
        for _ in 0..500_000 / length {
            let message: Vec<u8> = noise.by_ref().take(length).collect();
            assert_eq!(deflater.deflate(&message), None);
        }
        let message = vec![b'a'; length];
        let compressed = deflater.deflate(&message);
        assert_eq!(compressed, Deflater::new(15).deflate(&message));
        let mut out = Vec::new();
        Inflater::new(&EACH).inflate(&compressed.unwrap(), true, &mut out, length).unwrap();
        assert_eq!(out, message);
    }
}

proptest! {
    #[test]
    fn any_message_survives_fragments_pieces_and_every_window(
        payload in prop::collection::vec(0..4u8, 0..MAX),
        window in 9..=15u8,
        client_takeover: bool,
        cuts in prop::collection::vec(0..MAX, 0..4),
        step in 1..50usize,
    ) {
        let compressed = Deflater::new(window).deflate(&payload);
        let bytes = compressed.as_ref().unwrap_or(&payload);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let last = cuts.len() - 2;
        let frames = cuts.windows(2).enumerate().map(|(index, cut)| {
            let opcode = if index == 0 { Opcode::Binary } else { Opcode::Continuation };
            let is_compressed = index == 0 && compressed.is_some();
            frame(Header { is_final: index == last, is_compressed, opcode, ..BINARY }, &bytes[cut[0]..cut[1]])
        });
        let stream = frames.collect::<Vec<_>>().concat();
        let mut receiver = receiver(Some(Deflate { client_takeover, ..EACH }));
        for _ in 0..2 {
            prop_assert_eq!(read(&mut receiver, &stream, step), Ok(vec![Event::Binary(payload.clone().into())]));
            prop_assert!(receiver.is_between_messages());
        }
    }

    #[test]
    fn noise_of_any_length_fits_in_a_window_or_is_sent_as_it_is(payload: Vec<u8>, window in 9..=15u8) {
        if let Some(compressed) = Deflater::new(window).deflate(&payload) {
            prop_assert!(compressed.len() < payload.len());
            let mut out = Vec::new();
            Inflater::new(&EACH).inflate(&compressed, true, &mut out, payload.len()).unwrap();
            prop_assert_eq!(out, payload);
        }
    }
}
