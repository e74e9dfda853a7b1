//! The `Content-Type` of a file, by its name.

use std::collections::HashMap;

use http::HeaderValue;

/// What most requests ask for, without a look-up or an allocation.
const COMMON: [(&str, &str); 22] = [
    ("html", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("json", "application/json; charset=utf-8"),
    ("txt", "text/plain; charset=utf-8"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("svg", "image/svg+xml"),
    ("ico", "image/x-icon"),
    ("woff2", "font/woff2"),
    ("woff", "font/woff"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("pdf", "application/pdf"),
    ("wasm", "application/wasm"),
    ("zip", "application/zip"),
    ("webmanifest", "application/manifest+json"),
];

/// By the ending, whatever its case; `own` wins; text is UTF-8; unknown is `application/octet-stream`.
pub fn content_type(own: &HashMap<Box<str>, HeaderValue>, name: &[u8]) -> HeaderValue {
    const UNKNOWN: HeaderValue = HeaderValue::from_static("application/octet-stream");
    let Some(ending) = ending(name) else { return UNKNOWN };
    if own.is_empty()
        && let Some((_, known)) = COMMON.iter().find(|(common, _)| *common == ending)
    {
        return HeaderValue::from_static(known);
    }
    let lower = ending.to_ascii_lowercase();
    if let Some(own) = own.get(lower.as_str()) {
        return own.clone();
    }
    if let Some((_, known)) = COMMON.iter().find(|(common, _)| *common == lower) {
        return HeaderValue::from_static(known);
    }
    match mime_guess::from_ext(&lower).first_raw() {
        Some(text) if text.starts_with("text/") => {
            HeaderValue::try_from(format!("{text}; charset=utf-8")).unwrap_or(UNKNOWN)
        }
        Some(other) => HeaderValue::from_static(other),
        None => UNKNOWN,
    }
}

/// What follows the last dot of the last name.
pub fn ending(name: &[u8]) -> Option<&str> {
    let name = &name[memchr::memrchr(b'/', name).map_or(0, |slash| slash + 1)..];
    let dot = memchr::memrchr(b'.', name)?;
    str::from_utf8(&name[dot + 1..]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_decides_and_text_is_utf_8() {
        for (name, wanted) in [
            ("index.html", "text/html; charset=utf-8"),
            ("INDEX.HTML", "text/html; charset=utf-8"),
            ("a/b.css/app.js", "text/javascript; charset=utf-8"),
            ("data.json", "application/json; charset=utf-8"),
            ("table.csv", "text/csv; charset=utf-8"),
            ("photo.JPG", "image/jpeg"),
            ("archive.tar.gz", "application/gzip"),
            ("sound.flac", "audio/flac"),
            ("README", "application/octet-stream"),
            ("folder.html/README", "application/octet-stream"),
            ("what.isthis", "application/octet-stream"),
            ("dot.", "application/octet-stream"),
        ] {
            assert_eq!(content_type(&HashMap::new(), name.as_bytes()), wanted, "{name}");
        }
    }

    #[test]
    fn a_type_of_the_config_wins_whatever_the_case() {
        let own = HashMap::from([
            ("js".into(), HeaderValue::from_static("x/y")),
            ("foo".into(), HeaderValue::from_static("a/b")),
        ]);
        for (name, wanted) in [
            ("a.js", "x/y"),
            ("a.FOO", "a/b"),
            ("a.css", "text/css; charset=utf-8"),
            ("foo", "application/octet-stream"),
        ] {
            assert_eq!(content_type(&own, name.as_bytes()), wanted, "{name}");
        }
    }
}
