//! WebSocket frames read the naive way, all at once, beside the receiver that takes them in pieces.

use rsp_core::frame::websocket::{Close, CloseCode, Deflate, Event, Inflater, Receiver, Role, Rules};

/// Bytes of a message.
const MAX: usize = 300;

/// Events, and the code of the fault that ended them.
type Reading = (Vec<Event>, Option<u16>);

/// The first byte of a frame, what is there of its payload, whether that is all, and what follows.
type Frame<'a> = (u8, Vec<u8>, bool, &'a [u8]);

/// What a client's uncompressed bytes are.
fn naive(mut rest: &[u8]) -> Reading {
    let mut events = Vec::new();
    let mut message: Option<(bool, Vec<u8>)> = None;
    loop {
        let (first, payload, is_whole, after) = match frame(rest) {
            Ok(Some(frame)) => frame,
            Ok(None) => return (events, None),
            Err(code) => return (events, Some(code)),
        };
        if first & 8 != 0 {
            if !is_whole {
                return (events, None);
            }
            match (first & 15, close(&payload)) {
                (9, _) => events.push(Event::Ping(payload.into())),
                (10, _) => events.push(Event::Pong(payload.into())),
                (_, Err(code)) => return (events, Some(code)),
                (_, Ok(close)) => {
                    events.push(Event::Close(close));
                    return (events, None);
                }
            }
        } else {
            match (&mut message, first & 15) {
                (None, 0) | (Some(_), 1 | 2) => return (events, Some(1002)),
                (None, kind) => message = Some((kind == 1, Vec::new())),
                (Some(_), _) => {}
            }
            let Some((is_text, all)) = &mut message else { unreachable!("it has begun") };
            if all.len() as u64 + announced(rest) > MAX as u64 {
                return (events, Some(1009));
            }
            all.extend_from_slice(&payload);
            let is_over = is_whole && first & 0x80 != 0;
            match str::from_utf8(all) {
                Err(e) if *is_text && (e.error_len().is_some() || is_over) => return (events, Some(1007)),
                _ => {}
            }
            if is_over {
                let (is_text, all) = message.take().unwrap_or_default();
                events.push(if is_text { Event::Text(all.into()) } else { Event::Binary(all.into()) });
            }
        }
        if !is_whole {
            return (events, None);
        }
        rest = after;
    }
}

/// The frame at the front; None: no whole head.
fn frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, u16> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    let is_control = first & 8 != 0;
    let is_known = [0, 1, 2, 8, 9, 10].contains(&(first & 15));
    if !is_known || first & 0x70 != 0 || second & 0x80 == 0 || (is_control && (first & 0x80 == 0 || second & 127 > 125))
    {
        return Err(1002);
    }
    let size = [2, 4, 10][match second & 127 {
        126 => 1,
        127 => 2,
        _ => 0,
    }];
    if bytes.len() < size {
        return Ok(None);
    }
    let length = announced(bytes);
    if (size == 4 && length < 126) || (size == 10 && !(1 << 16..1 << 63).contains(&length)) {
        return Err(1002);
    }
    let Some((mask, rest)) = bytes[size..].split_first_chunk::<4>() else { return Ok(None) };
    let here = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
    let payload = rest[..here].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Ok(Some((first, payload, here as u64 == length, &rest[here..])))
}

fn announced(bytes: &[u8]) -> u64 {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    match bytes[1] & 127 {
        126 => number(&bytes[2..4]),
        127 => number(&bytes[2..10]),
        short => u64::from(short),
    }
}

fn close(payload: &[u8]) -> Result<Option<Close>, u16> {
    let [high, low, ref reason @ ..] = *payload else { return if payload.is_empty() { Ok(None) } else { Err(1002) } };
    let code = CloseCode::new(u16::from(high) << 8 | u16::from(low)).ok_or(1002_u16)?;
    let reason = String::from_utf8(reason.to_vec()).map_err(|_| 1007_u16)?;
    Ok(Some(Close { code, reason }))
}

/// Receives in pieces of these sizes, over and over.
fn in_pieces(input: &[u8], agreed: Option<&Deflate>, pieces: &[usize]) -> Reading {
    let mut receiver = Receiver::new(Rules { role: Role::Server, message_max: MAX }, agreed.map(Inflater::new));
    let (mut events, mut waiting, mut given) = (Vec::new(), Vec::new(), 0);
    let mut pieces = pieces.iter().cycle();
    while given < input.len() {
        let piece = pieces.next().copied().unwrap_or(1).clamp(1, input.len() - given);
        waiting.extend_from_slice(&input[given..given + piece]);
        given += piece;
        loop {
            let before = waiting.clone();
            let (taken, event) = match receiver.receive(&mut waiting) {
                Ok(received) => received,
                Err(fault) => {
                    assert_eq!(
                        receiver.receive(&mut waiting),
                        Ok((waiting.len(), None)),
                        "something came after a fault"
                    );
                    return (events, Some(fault.code.get()));
                }
            };
            assert_eq!(waiting[taken..], before[taken..], "what was not taken was touched");
            waiting.drain(..taken);
            match event {
                Some(Event::Text(payload) | Event::Binary(payload)) if payload.len() > MAX => {
                    panic!("a message beyond its bound")
                }
                Some(event) => events.push(event),
                None => break,
            }
        }
        assert!(waiting.len() <= 13, "more waits than the head of a frame");
    }
    (events, None)
}

/// Judges bytes as what a client sends, in these pieces.
pub fn judge_frames(input: &[u8], pieces: &[usize]) {
    assert_eq!(in_pieces(input, None, pieces), naive(input), "uncompressed");
    let each = Deflate { window: 15, window_asked: false, client_takeover: false };
    for agreed in [each, Deflate { client_takeover: true, ..each }] {
        let (whole, cut) = (in_pieces(input, Some(&agreed), &[usize::MAX]), in_pieces(input, Some(&agreed), pieces));
        // What is wrong in two ways may be told to be wrong in another way earlier.
        assert_eq!((whole.0, whole.1.is_some()), (cut.0, cut.1.is_some()), "{agreed:?}");
    }
}
