//! FastCGI records read the naive way, all at once, beside the decoder that takes them in pieces.

use rsp_core::frame::{
    cgi::{head_end, parse_head},
    fastcgi::RecordDecoder,
    http1::HeadLimits,
};

/// What some bytes are: output, error stream (its beginning), how many bytes were read to the end if it came.
type Reading = Option<(Vec<u8>, Vec<u8>, Option<usize>)>;

/// None: no answer to our request.
fn naive(mut rest: &[u8]) -> Reading {
    let whole = rest.len();
    let (mut output, mut errors, mut over) = (Vec::new(), Vec::new(), [false; 2]);
    while rest.len() >= 8 {
        let (header, after) = rest.split_at(8);
        let (length, padding) = (usize::from(header[4]) << 8 | usize::from(header[5]), usize::from(header[6]));
        if header[0] != 1 || header[2..4] != [0, 1] {
            return None;
        }
        let content = &after[..length.min(after.len())];
        match header[1] {
            stream @ (6 | 7) => {
                let stream = usize::from(stream) - 6;
                if over[stream] {
                    return None;
                }
                over[stream] = length == 0;
                [&mut output, &mut errors][stream].extend_from_slice(content);
            }
            3 if length != 8 => return None,
            3 if content.len() == 8 && content[4] > 3 => return None,
            3 if after.len() >= 8 + padding => {
                return Some((output, errors, Some(whole - after.len() + 8 + padding)));
            }
            3 => {}
            _ => return None,
        }
        rest = after.get(length + padding..).unwrap_or_default();
    }
    Some((output, errors, None))
}

/// Decodes in pieces of these sizes, over and over.
fn in_pieces(input: &[u8], pieces: &[usize]) -> Reading {
    let mut decoder = RecordDecoder::default();
    let (mut output, mut read, mut end) = (Vec::new(), 0, None);
    let mut pieces = pieces.iter().cycle();
    while read < input.len() && end.is_none() {
        let piece = pieces.next().copied().unwrap_or(1).clamp(1, input.len() - read);
        let mut buffer = input[read..read + piece].to_vec();
        let decoded = decoder.decode(&mut buffer).ok()?;
        assert!(decoded.data <= decoded.consumed && decoded.consumed <= piece, "{decoded:?} of {piece}");
        assert!(decoded.consumed == piece || decoded.end.is_some(), "bytes before the end were left: {decoded:?}");
        assert_eq!(buffer[decoded.consumed..], input[read + decoded.consumed..read + piece], "the rest was touched");
        output.extend_from_slice(&buffer[..decoded.data]);
        read += decoded.consumed;
        end = decoded.end.map(|_| read);
    }
    Some((output, decoder.take_stderr().map(|(errors, _)| errors).unwrap_or_default(), end))
}

/// Judges bytes as what an application sends: records in these pieces, and the head of their output.
pub fn judge_records(input: &[u8], pieces: &[usize]) {
    let (expected, found) = (naive(input), in_pieces(input, pieces));
    match (expected, found) {
        (None, None) => {}
        (Some((output, errors, end)), Some(found)) => {
            assert_eq!((&output, end), (&found.0, found.2));
            assert_eq!(errors[..errors.len().min(2048)], found.1[..], "the error stream");
            judge_program_head(&output);
        }
        (expected, found) => panic!("{expected:?} was read as {found:?}"),
    }
}

/// A head has one end however it came in, and what is read of it frames nothing and belongs to no connection.
fn judge_program_head(output: &[u8]) {
    let end = head_end(output, 0);
    for from in 0..output.len().min(end.unwrap_or(64)) {
        assert_eq!(head_end(output, from), end, "searched again from {from}");
    }
    let Some(head) = end else { return };
    let limits = HeadLimits { head: 64 << 10, headers: 128, uri: 0 };
    let Ok(head) = parse_head(&output[..head], &limits) else { return };
    assert!(head.status.as_u16() >= 200);
    for name in ["status", "content-length", "transfer-encoding", "connection", "upgrade", "keep-alive"] {
        assert!(!head.headers.contains_key(name), "{name} goes on");
    }
}
