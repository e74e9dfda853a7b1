//! The `Content-Type` of a file, by its name.

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

/// By the extension, whatever its case; text is UTF-8; unknown is `application/octet-stream`.
pub fn content_type(name: &str) -> HeaderValue {
    const UNKNOWN: HeaderValue = HeaderValue::from_static("application/octet-stream");
    let name = name.rsplit('/').next().unwrap_or(name);
    let Some((_, extension)) = name.rsplit_once('.') else { return UNKNOWN };
    if let Some((_, known)) = COMMON.iter().find(|(common, _)| *common == extension) {
        return HeaderValue::from_static(known);
    }
    let lower = extension.to_ascii_lowercase();
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
            assert_eq!(content_type(name), wanted, "{name}");
        }
    }
}
