//! The subject of a certificate in words: RFC 4514, in visible ASCII, so that it can stand in a field.

use std::{
    fmt::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use x509_parser::{asn1_rs::Tag, parse_x509_certificate, x509::AttributeTypeAndValue};

/// Bytes of a subject; a longer one is none, as what was cut off would make two out of one.
const SUBJECT_MAX: usize = 1024;

/// Names of attribute types (RFC 4514 §3); others are written as their number.
const NAMES: [(&str, &str); 10] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// The subject of a DER certificate, the most specific part first; None: it can't be read, or is longer than 1 KiB.
pub fn subject(certificate: &[u8]) -> Option<Box<str>> {
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    let mut text = String::new();
    let parts: Vec<_> = certificate.subject().iter_rdn().collect();
    for (index, part) in parts.into_iter().rev().enumerate() {
        for (number, attribute) in part.iter().enumerate() {
            match (index, number) {
                (0, 0) => {}
                (_, 0) => text.push(','),
                _ => text.push('+'),
            }
            write_attribute(&mut text, attribute);
        }
        if text.len() > SUBJECT_MAX {
            return None;
        }
    }
    Some(text.into())
}

/// Whether one of these DER certificates has expired: a session that is resumed shows what was right when it began.
pub fn has_expired<C: AsRef<[u8]>>(chain: &[C], now: SystemTime) -> bool {
    let now = now.duration_since(UNIX_EPOCH).ok().and_then(|now| i64::try_from(now.as_secs()).ok()).unwrap_or(i64::MAX);
    chain.iter().any(|one| match parse_x509_certificate(one.as_ref()) {
        Ok((_, certificate)) => certificate.validity().not_after.timestamp() < now,
        Err(_) => true,
    })
}

fn write_attribute(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let number = attribute.attr_type().to_id_string();
    let name = NAMES.iter().find(|(known, _)| *known == number).map(|(_, name)| *name);
    text.push_str(name.unwrap_or(&number));
    text.push('=');
    let value = attribute.attr_value();
    match (name, characters(value.tag(), value.data)) {
        (Some(_), Some(characters)) => write_escaped(text, &characters),
        // RFC 4514 §2.4: as BER, where it has no name or is no text.
        _ => {
            text.push('#');
            let encoded = x509_parser::asn1_rs::ToDer::to_der_vec(value).unwrap_or_default();
            encoded.iter().for_each(|byte| write_hex(text, *byte));
        }
    }
}

/// The text of a string type as UTF-8; None for other types, and for what is not in its own alphabet.
fn characters(tag: Tag, bytes: &[u8]) -> Option<String> {
    match tag {
        Tag::Utf8String => String::from_utf8(bytes.to_vec()).ok(),
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString if bytes.is_ascii() => {
            String::from_utf8(bytes.to_vec()).ok()
        }
        Tag::TeletexString => Some(bytes.iter().map(|&byte| char::from(byte)).collect()),
        Tag::BmpString => {
            let units = bytes.chunks(2).map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?)));
            String::from_utf16(&units.collect::<Option<Vec<_>>>()?).ok()
        }
        _ => None,
    }
}

/// RFC 4514 §2.4, with all that is no visible ASCII as its bytes.
fn write_escaped(text: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (index, c) in value.chars().enumerate() {
        let at_an_end = (index == 0 && matches!(c, ' ' | '#')) || (index == last && c == ' ');
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => text.extend(['\\', c]),
            _ if at_an_end => text.extend(['\\', c]),
            ' '..='~' => text.push(c),
            _ => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| {
                text.push('\\');
                write_hex(text, byte);
            }),
        }
    }
}

fn write_hex(text: &mut String, byte: u8) {
    // Writing to a string can't fail.
    let _ = write!(text, "{byte:02X}");
}

#[cfg(test)]
mod tests;
