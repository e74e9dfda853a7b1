//! Records, out: the beginning of a request, its parameters, and the headers of the records of its body.

use super::{HEADER, REQUEST, VERSION, kind};

/// Bytes that fit into one record.
const RECORD_MAX: usize = u16::MAX as usize;

/// The end of a request's body: a record without content.
pub const LAST_STDIN: [u8; HEADER] = header(kind::STDIN, 0);

/// `FCGI_RESPONDER`: gets a request, gives an answer.
const RESPONDER: u8 = 1;

/// `FCGI_KEEP_CONN`: the application leaves the connection open after its answer.
const KEEP_CONNECTION: u8 = 1;

/// The header of a record with `length` bytes of the body.
pub fn record_header(length: u16) -> [u8; HEADER] {
    header(kind::STDIN, length)
}

const fn header(kind: u8, length: u16) -> [u8; HEADER] {
    let ([id_high, id_low], [high, low]) = (REQUEST.to_be_bytes(), length.to_be_bytes());
    [VERSION, kind, id_high, id_low, high, low, 0, 0]
}

/// Appends what begins a request: its role, whether the connection is kept, and all parameters.
pub fn begin(out: &mut Vec<u8>, keep: bool, params: &Params) {
    out.reserve(params.0.len() + 5 * HEADER);
    out.extend_from_slice(&header(kind::BEGIN_REQUEST, HEADER as u16));
    out.extend_from_slice(&[0, RESPONDER, if keep { KEEP_CONNECTION } else { 0 }, 0, 0, 0, 0, 0]);
    for part in params.0.chunks(RECORD_MAX) {
        out.extend_from_slice(&header(kind::PARAMS, u16::try_from(part.len()).unwrap_or(u16::MAX)));
        out.extend_from_slice(part);
    }
    out.extend_from_slice(&header(kind::PARAMS, 0));
}

/// Parameters of a request, as they go out: names and values with their lengths before them.
#[derive(Debug, Default)]
pub struct Params(Vec<u8>);

impl Params {
    /// Appends one parameter whose value is these parts in a row. A name or value of 2^31 bytes or more is left out:
    /// it has no length on the wire.
    pub fn add(&mut self, name: &[u8], value: &[&[u8]]) {
        let length = value.iter().map(|part| part.len()).sum();
        let (Some(name_length), Some(value_length)) = (Length::of(name.len()), Length::of(length)) else { return };
        name_length.append(&mut self.0);
        value_length.append(&mut self.0);
        self.0.extend_from_slice(name);
        value.iter().for_each(|part| self.0.extend_from_slice(part));
    }
}

/// One byte up to 127, else four with the first bit set (FastCGI 1.0 §3.4).
#[derive(Clone, Copy)]
struct Length(u32);

impl Length {
    fn of(length: usize) -> Option<Self> {
        u32::try_from(length).ok().filter(|length| *length < 1 << 31).map(Self)
    }

    fn append(self, out: &mut Vec<u8>) {
        match u8::try_from(self.0) {
            Ok(short @ 0..=127) => out.push(short),
            _ => out.extend_from_slice(&(self.0 | 1 << 31).to_be_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_begins_with_its_role_and_its_parameters() {
        let mut params = Params::default();
        params.add(b"A", &[b"b", b"", b"c"]);
        params.add(b"LONG", &[&[b'x'; 128]]);
        let mut out = Vec::new();
        begin(&mut out, true, &params);
        let mut expected = b"\x01\x01\0\x01\0\x08\0\0\0\x01\x01\0\0\0\0\0".to_vec();
        expected.extend_from_slice(b"\x01\x04\0\x01\0\x8e\0\0\x01\x02Abc\x04\x80\0\0\x80LONG");
        expected.extend_from_slice(&[b'x'; 128]);
        expected.extend_from_slice(b"\x01\x04\0\x01\0\0\0\0");
        assert_eq!(out, expected);
    }

    #[test]
    fn parameters_larger_than_a_record_take_several() {
        let mut params = Params::default();
        params.add(b"A", &[&vec![b'x'; 70_000]]);
        let mut out = Vec::new();
        begin(&mut out, false, &params);
        assert_eq!(out[10], 0, "the connection is not kept");
        assert_eq!(out[16..24], [1, 4, 0, 1, 0xff, 0xff, 0, 0]);
        let second = 24 + RECORD_MAX;
        let rest = u16::try_from(70_000 + 6 - RECORD_MAX).unwrap().to_be_bytes();
        assert_eq!(out[second..second + 8], [1, 4, 0, 1, rest[0], rest[1], 0, 0]);
        assert_eq!(out.len(), 16 + 8 + 8 + 70_000 + 6 + 8);
    }
}
