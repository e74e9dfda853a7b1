//! A stream of messages cut the naive way, all at once, beside the cutter that takes it in pieces.

use rsp_core::{
    config::Framing,
    frame::messages::{Cutter, TooLong},
};

/// Messages, and whether the stream broke after them.
type Reading = (Vec<Vec<u8>>, bool);

/// Panics unless a stream that arrives `step` bytes at a time is cut into what it says.
pub fn judge_messages(stream: &[u8], framing: Framing, max: usize, step: usize) {
    let naive = match framing {
        Framing::Lines => lines(stream, max),
        Framing::Length => measured(stream, max),
        Framing::Raw => (stream.chunks(step).flat_map(|piece| piece.chunks(max)).map(<[u8]>::to_vec).collect(), false),
    };
    assert_eq!(cut(stream, framing, max, step), naive, "{framing:?} of {max} in steps of {step}: {stream:x?}");
}

fn cut(stream: &[u8], framing: Framing, max: usize, step: usize) -> Reading {
    let (mut cutter, mut held, mut messages) = (Cutter::new(framing, max), Vec::new(), Vec::new());
    for piece in stream.chunks(step) {
        held.extend_from_slice(piece);
        loop {
            match cutter.next(&held) {
                Ok(Some((message, taken))) => {
                    messages.push(message.to_vec());
                    held.drain(..taken);
                }
                Ok(None) => break,
                Err(TooLong) => return (messages, true),
            }
        }
        assert!(held.len() < cutter.room(), "{} bytes are held back", held.len());
    }
    (messages, false)
}

fn lines(mut stream: &[u8], max: usize) -> Reading {
    let bare = |line: &[u8]| line.strip_suffix(b"\r").unwrap_or(line).to_vec();
    let mut messages = Vec::new();
    while let Some(end) = stream.iter().position(|&byte| byte == b'\n') {
        let line = bare(&stream[..end]);
        if line.len() > max {
            return (messages, true);
        }
        messages.push(line);
        stream = &stream[end + 1..];
    }
    (messages, bare(stream).len() > max)
}

fn measured(mut stream: &[u8], max: usize) -> Reading {
    let mut messages = Vec::new();
    while stream.len() >= 4 {
        let length = stream[..4].iter().fold(0, |sum, &byte| sum * 256 + usize::from(byte));
        if length > max {
            return (messages, true);
        }
        let Some(message) = stream.get(4..4 + length) else { break };
        messages.push(message.to_vec());
        stream = &stream[4 + length..];
    }
    (messages, false)
}
