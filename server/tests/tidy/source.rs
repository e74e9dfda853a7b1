//! Just enough Rust to judge a file by: its code without strings and comments, its functions, the paths it names.

/// A function and where its first line is, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

/// The text with every comment, string and character literal blanked; line ends stay where they are.
pub fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = at + literal_length(&bytes[at..], at > 0 && is_word(bytes[at - 1]));
        if end > at {
            code.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            code.push(if bytes[at].is_ascii() { bytes[at] as char } else { '_' });
            at += 1;
        }
    }
    code
}

/// The code with every item under `#[cfg(test)]` blanked too.
pub fn without_tests(code: &str) -> String {
    let mut rest = code.to_owned();
    while let Some(start) = rest.find("#[cfg(test)]") {
        let end = item_end(&rest, start).unwrap_or(rest.len());
        let blank: String = rest[start..end].chars().map(|one| if one == '\n' { '\n' } else { ' ' }).collect();
        rest.replace_range(start..end, &blank);
    }
    rest
}

/// Every function with a body; one inside another counts for both.
pub fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, word) in words(code) {
        if word != "fn" {
            continue;
        }
        let Some((_, name)) = words(&code[at + 2..]).next() else { continue };
        // `fn(u8) -> u8` is a type.
        if code[at + 2..].trim_start().starts_with('(') {
            continue;
        }
        if let Some(end) = item_end(code, at).filter(|end| code[..*end].ends_with('}')) {
            let line = code[..at].matches('\n').count() + 1;
            found.push(Function { name: name.to_owned(), line, lines: code[at..end].matches('\n').count() + 1 });
        }
    }
    found
}

/// The modules named by `crate::…` and `super::…` paths, each whole from the crate's root, with its line. A group in
/// braces gives one path for each of its members. `here` is the module the file is.
pub fn paths(code: &str, here: &[&str]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for (at, word) in words(code) {
        // `super` again, or a `crate` inside of `pub(in crate::…)`, is part of a path already seen or no import.
        let before = code[..at].trim_end();
        if before.ends_with("::") || before.ends_with("(in") {
            continue;
        }
        let supers = match word {
            "crate" => here.len(),
            "super" => 1 + code[at + 5..].matches_prefix("::super"),
            _ => continue,
        };
        let start = at + 5 + if word == "super" { (supers - 1) * "::super".len() } else { 0 };
        let base: Vec<String> = here[..here.len().saturating_sub(supers)].iter().map(|one| (*one).to_owned()).collect();
        let line = code[..at].matches('\n').count() + 1;
        if let Some(tail) = code[start..].strip_prefix("::") {
            members(tail, &base, &mut |path| found.push((line, path)));
        }
    }
    found
}

/// Where a file's module is in its crate: `src/handler/proxy/mod.rs` is `handler, proxy`.
pub fn module_of(path_in_src: &str) -> Vec<&str> {
    let path = path_in_src.trim_end_matches(".rs");
    path.split('/').filter(|part| !matches!(*part, "mod" | "main" | "lib")).collect()
}

trait MatchesPrefix {
    fn matches_prefix(&self, prefix: &str) -> usize;
}

impl MatchesPrefix for str {
    /// How often `prefix` stands at the beginning.
    fn matches_prefix(&self, prefix: &str) -> usize {
        let (mut rest, mut count) = (self, 0);
        while let Some(tail) = rest.strip_prefix(prefix) {
            (rest, count) = (tail, count + 1);
        }
        count
    }
}

/// Follows `a::b`, `{a, b::c}` and `a::{b, c}` to each full path.
fn members(text: &str, base: &[String], found: &mut dyn FnMut(Vec<String>)) {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        let (mut depth, mut start) = (0, 0);
        for (at, one) in group.char_indices() {
            match one {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    members(&group[start..at], base, found);
                    start = at + 1;
                    if one == '}' {
                        return;
                    }
                }
                _ => {}
            }
        }
        return;
    }
    let length = text.bytes().take_while(|byte| is_word(*byte)).count();
    if length == 0 {
        return;
    }
    let mut path = base.to_vec();
    if &text[..length] != "self" {
        path.push(text[..length].to_owned());
    }
    match text[length..].strip_prefix("::") {
        Some(tail) => members(tail, &path, found),
        None => found(path),
    }
}

/// Where the item that begins at `start` ends: after its `;`, or its closing brace.
fn item_end(code: &str, start: usize) -> Option<usize> {
    let (mut round, mut curly) = (0_i32, 0_i32);
    for (at, one) in code[start..].char_indices() {
        match one {
            '(' | '[' => round += 1,
            ')' | ']' => round -= 1,
            '{' => curly += 1,
            '}' => {
                curly -= 1;
                if curly == 0 && round == 0 {
                    return Some(start + at + 1);
                }
            }
            ';' if curly == 0 && round == 0 => return Some(start + at + 1),
            _ => {}
        }
    }
    None
}

fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let starts = code.bytes().enumerate().scan(false, |inside, (at, byte)| {
        let begins = is_word(byte) && !*inside;
        *inside = is_word(byte);
        Some((begins, at))
    });
    starts.filter(|(begins, _)| *begins).map(|(_, at)| {
        let length = code[at..].bytes().take_while(|byte| is_word(*byte)).count();
        (at, &code[at..at + length])
    })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// How long the comment, string or character literal is that begins here; 0 if none does.
fn literal_length(rest: &[u8], after_word: bool) -> usize {
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment_length(rest),
        [b'"', ..] => quoted_length(rest, b'"'),
        [b'\'', b'\\', ..] => quoted_length(rest, b'\''),
        [b'\'', first, ..] => {
            // A lifetime has no closing quote after one character.
            let width = match first {
                0xf0.. => 4,
                0xe0.. => 3,
                0xc0.. => 2,
                _ => 1,
            };
            if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
        }
        [b'r' | b'b' | b'c', ..] if !after_word => raw_string_length(rest),
        _ => 0,
    }
}

fn block_comment_length(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

fn quoted_length(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// `r"…"`, `br#"…"#`, `c"…"`, `b'x'`: what begins with a letter.
fn raw_string_length(rest: &[u8]) -> usize {
    let prefix = rest.iter().take_while(|byte| matches!(byte, b'r' | b'b' | b'c')).count();
    let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
    match rest.get(prefix + hashes) {
        Some(b'"') if rest[..prefix].ends_with(b"r") => {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = prefix + hashes + 1;
            let found = rest[body..].windows(end.len()).position(|window| window == end.as_bytes());
            found.map_or(rest.len(), |at| body + at + end.len())
        }
        Some(b'"') if hashes == 0 && prefix == 1 => 1 + quoted_length(&rest[1..], b'"'),
        Some(b'\'') if hashes == 0 && rest[0] == b'b' && prefix == 1 => 1 + quoted_length(&rest[1..], b'\''),
        _ => 0,
    }
}
