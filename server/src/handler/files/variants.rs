//! Files that were compressed beforehand: which of them a client may get (RFC 9110 §12.5.3).

use std::{path::Path, rc::Rc};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use rsp_core::config::Files;
use rustix::fs::{FileType, Stat};

use super::{
    kept::{self, Kept},
    mime::ending,
};
use crate::stream::beneath;

/// In the order in which they are preferred: name, ending.
const CODINGS: [(&str, &str); 3] = [("br", ".br"), ("zstd", ".zst"), ("gzip", ".gz")];

/// A coding by its place in the order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coding(usize);

/// Which variants of a file there were, and when; looked for again a second later.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    second: i64,
    /// A bit for each coding.
    codings: u8,
}

/// The file that is sent in the place of another.
pub struct Chosen {
    /// The variant.
    pub kept: Rc<Kept>,
    /// How it is coded.
    pub coding: Coding,
}

impl Coding {
    /// The value of `Content-Encoding`.
    pub fn name(self) -> HeaderValue {
        HeaderValue::from_static(CODINGS[self.0].0)
    }
}

/// Whether `plain`, the file `below`, has variants, and the one to send instead of it.
///
/// A variant that is older than the file, no regular file or not readable is none.
pub fn choose(files: &Files, plain: &Kept, below: &[u8], headers: &HeaderMap, now: i64) -> (bool, Option<Chosen>) {
    let mut there = seen(&files.root, plain, below, now);
    if there == 0 {
        return (false, None);
    }
    while let Some(coding) = preferred(headers, there) {
        let name = [below, CODINGS[coding.0].1.as_bytes()].concat();
        if let Ok(kept) = kept::open(&files.root, &name, &files.hidden)
            && is_variant(plain.stat(), kept.stat())
        {
            return (true, Some(Chosen { kept, coding }));
        }
        there &= !(1 << coding.0);
    }
    (true, None)
}

fn seen(root: &Path, plain: &Kept, below: &[u8], now: i64) -> u8 {
    let seen = plain.variants.get();
    if seen.second == now {
        return seen.codings;
    }
    let mut codings = 0;
    if !ending(below).is_some_and(|ending| ["br", "zst", "gz"].contains(&ending)) {
        let mut name = below.to_vec();
        for (place, (_, ending)) in CODINGS.iter().enumerate() {
            name.truncate(below.len());
            name.extend_from_slice(ending.as_bytes());
            let there = beneath::stat(root, &name).is_ok_and(|stat| is_variant(plain.stat(), &stat));
            codings |= u8::from(there) << place;
        }
    }
    plain.variants.set(Seen { second: now, codings });
    codings
}

/// Programs that keep the time of what they compress may only keep its seconds.
fn is_variant(plain: &Stat, variant: &Stat) -> bool {
    let is_current = variant.st_mtime > plain.st_mtime
        || variant.st_mtime == plain.st_mtime
            && (variant.st_mtime_nsec >= plain.st_mtime_nsec || variant.st_mtime_nsec == 0);
    is_current && FileType::from_raw_mode(variant.st_mode) == FileType::RegularFile
}

/// The best of the codings in `there`; None where the client likes the plain file more, or none of them.
fn preferred(headers: &HeaderMap, there: u8) -> Option<Coding> {
    let mut best = None;
    let mut best_quality = 0;
    for (place, (name, _)) in CODINGS.iter().enumerate().filter(|(place, _)| there & (1 << place) != 0) {
        let alias = if *name == "gzip" { "x-gzip" } else { name };
        let weight = quality(headers, &header::ACCEPT_ENCODING, &[name, alias, "*"]).unwrap_or(0);
        if weight > best_quality {
            (best, best_quality) = (Some(Coding(place)), weight);
        }
    }
    // The plain file is always acceptable unless it is ruled out, but only preferred where it says so.
    let plain = quality(headers, &header::ACCEPT_ENCODING, &["identity"]).unwrap_or(0);
    best.filter(|_| best_quality >= plain)
}

/// How much a client wants the first of `names` that its list has, in thousandths; None: it has none of them.
pub fn quality(headers: &HeaderMap, field: &HeaderName, names: &[&str]) -> Option<u16> {
    names.iter().find_map(|name| {
        let members = headers.get_all(field).iter().filter_map(|value| value.to_str().ok());
        let mut members = members.flat_map(|list| list.split(',')).map(|member| member.split(';'));
        members.find_map(|mut parts| {
            let same = parts.next().is_some_and(|first| first.trim().eq_ignore_ascii_case(name));
            same.then(|| weight(parts))
        })
    })
}

/// `q=0.5` among the parameters; what can't be read counts as nothing wanted.
fn weight<'a>(mut parameters: impl Iterator<Item = &'a str>) -> u16 {
    let weight = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let Some(text) = weight else { return 1000 };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match (whole, fraction.len() <= 3 && digits(fraction)) {
        ("1", true) => 1000,
        ("0", true) => format!("{fraction:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u8 = 0b111;

    fn chosen(accepted: &str, there: u8) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_str(accepted).unwrap());
        preferred(&headers, there).map(|coding| CODINGS[coding.0].0)
    }

    #[test]
    fn the_best_coding_that_is_accepted_and_there_is_chosen() {
        for (accepted, there, wanted) in [
            ("gzip, deflate, br, zstd", ALL, Some("br")),
            ("gzip, deflate, br, zstd", 0b110, Some("zstd")),
            ("gzip, deflate, br, zstd", 0b100, Some("gzip")),
            ("br", 0b100, None),
            ("gzip;q=1.0, br;q=0.5", ALL, Some("gzip")),
            ("GZIP ; Q=0.5 ", ALL, Some("gzip")),
            ("x-gzip", ALL, Some("gzip")),
            ("br;q=0, *", ALL, Some("zstd")),
            ("*;q=0.1", ALL, Some("br")),
            ("*;q=0", ALL, None),
            ("br;q=0", ALL, None),
            ("", ALL, None),
            ("identity", ALL, None),
            ("br;q=0.5, identity", ALL, None),
            ("br, identity", ALL, Some("br")),
            ("br, identity;q=0", ALL, Some("br")),
            ("br;q=0.001", ALL, Some("br")),
            ("br;q=2, gzip;q=x, zstd;q=0.1234", ALL, None),
            ("brotli, gzipp", ALL, None),
        ] {
            assert_eq!(chosen(accepted, there), wanted, "{accepted:?} {there:b}");
        }
        assert_eq!(preferred(&HeaderMap::new(), ALL), None);
    }
}
