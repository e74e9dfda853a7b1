//! Luau's tokens, as far as the outline needs them: strings are decoded, comments dropped.

/// One token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// First byte.
    pub(super) start: usize,
    /// Behind the last byte.
    pub(super) end: usize,
    pub(super) line: u32,
    /// From 1, in bytes.
    pub(super) column: u32,
    /// The line on which it ends; only strings have another one.
    pub(super) end_line: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Names and keywords.
    Name,
    /// `"…"`, `'…'`, `[[…]]`
    Text,
    /// `` `…` ``, whatever expressions are in it.
    Interpolated,
    Number,
    /// An operator or a bracket, as long as it gets.
    Symbol,
}

/// All tokens of a text. What is no Luau gives some tokens too.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut reader = Reader { bytes: text.as_bytes(), at: 0, line: 1, line_start: 0 };
    let mut tokens = Vec::new();
    while let Some(token) = reader.next() {
        tokens.push(token);
    }
    tokens
}

/// What a string literal says; None when it isn't UTF-8, or no string.
pub(super) fn text_of(literal: &str) -> Option<String> {
    let bytes = literal.as_bytes();
    if bytes.first() == Some(&b'[') {
        let level = bytes.iter().skip(1).take_while(|&&byte| byte == b'=').count() + 2;
        let inner = literal.get(level..literal.len().checked_sub(level)?)?;
        return Some(inner.strip_prefix("\r\n").or(inner.strip_prefix('\n')).unwrap_or(inner).to_owned());
    }
    unescape(bytes.get(1..bytes.len().checked_sub(1)?)?)
}

struct Reader<'t> {
    bytes: &'t [u8],
    at: usize,
    line: u32,
    line_start: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<Token> {
        self.skip_blank();
        let first = *self.bytes.get(self.at)?;
        let (start, line, column) = (self.at, self.line, (self.at - self.line_start + 1) as u32);
        let kind = match first {
            b'A'..=b'Z' | b'a'..=b'z' | b'_' | 0x80.. => {
                self.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80);
                Kind::Name
            }
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) => self.number(),
            b'"' | b'\'' => {
                self.quoted(first);
                Kind::Text
            }
            b'`' => {
                self.interpolated();
                Kind::Interpolated
            }
            b'[' => match self.long_bracket() {
                Some(level) => {
                    self.long(level);
                    Kind::Text
                }
                None => self.symbol(),
            },
            _ => self.symbol(),
        };
        Some(Token { kind, start, end: self.at, line, column, end_line: self.line })
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn advance(&mut self) {
        if self.bytes.get(self.at) == Some(&b'\n') {
            self.line += 1;
            self.line_start = self.at + 1;
        }
        self.at = (self.at + 1).min(self.bytes.len());
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(&belongs) {
            self.at += 1;
        }
    }

    fn skip_blank(&mut self) {
        while let Some(byte) = self.peek(0) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c => self.advance(),
                b'-' if self.peek(1) == Some(b'-') => self.skip_comment(),
                _ => return,
            }
        }
    }

    fn skip_comment(&mut self) {
        self.at += 2;
        match self.long_bracket() {
            Some(level) => self.long(level),
            None => self.take_while(|byte| byte != b'\n'),
        }
    }

    fn number(&mut self) -> Kind {
        while let Some(byte) = self.peek(0) {
            let exponent = matches!(byte, b'+' | b'-') && matches!(self.bytes[self.at - 1], b'e' | b'E');
            // `1..2` is a concatenation, and the sign behind `0xe` an operator: neither is worth telling apart here.
            if !(byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.' || exponent) {
                break;
            }
            self.at += 1;
        }
        Kind::Number
    }

    fn quoted(&mut self, quote: u8) {
        self.advance();
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' => self.escape(),
                b'\n' => return,
                _ => self.advance(),
            }
            if byte == quote {
                return;
            }
        }
    }

    /// A backslash and what it protects; `\z` skips blanks and lines, `\` and a carriage return the line feed too.
    fn escape(&mut self) {
        self.advance();
        match self.peek(0) {
            Some(b'z') => {
                self.advance();
                while self.peek(0).is_some_and(|byte| byte.is_ascii_whitespace()) {
                    self.advance();
                }
            }
            Some(b'\r') if self.peek(1) == Some(b'\n') => {
                self.advance();
                self.advance();
            }
            _ => self.advance(),
        }
    }

    /// Up to the closing backtick that is in no braces.
    fn interpolated(&mut self) {
        self.advance();
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' => self.escape(),
                b'{' => self.braces(),
                b'`' => return self.advance(),
                _ => self.advance(),
            }
        }
    }

    /// The expression of an interpolated string, which may hold tables and strings of its own.
    fn braces(&mut self) {
        let mut open = 0_usize;
        while let Some(byte) = self.peek(0) {
            match byte {
                b'"' | b'\'' => self.quoted(byte),
                // One level of backticks inside backticks; deeper ones only cost places.
                b'`' if open > 0 => self.quoted(b'`'),
                b'{' | b'}' => {
                    self.advance();
                    open = if byte == b'{' { open + 1 } else { open.saturating_sub(1) };
                    if open == 0 {
                        return;
                    }
                }
                _ => self.advance(),
            }
        }
    }

    /// The level of `[==[` at hand.
    fn long_bracket(&self) -> Option<usize> {
        let rest = self.bytes.get(self.at..)?.strip_prefix(b"[")?;
        let level = rest.iter().take_while(|&&byte| byte == b'=').count();
        (rest.get(level) == Some(&b'[')).then_some(level)
    }

    fn long(&mut self, level: usize) {
        self.at += level + 2;
        while let Some(byte) = self.peek(0) {
            if byte == b']'
                && self.bytes[self.at + 1..].iter().take(level).all(|&byte| byte == b'=')
                && self.peek(level + 1) == Some(b']')
            {
                self.at += level + 2;
                return;
            }
            self.advance();
        }
    }

    fn symbol(&mut self) -> Kind {
        const LONG: [&[u8]; 18] = [
            b"...", b"..=", b"//=", b"..", b"==", b"~=", b"<=", b">=", b"::", b"->", b"+=", b"-=", b"*=", b"/=", b"//",
            b"%=", b"^=", b"!=",
        ];
        let rest = &self.bytes[self.at..];
        let length = LONG.iter().find(|long| rest.starts_with(long)).map_or(1, |long| long.len());
        self.at += length;
        Kind::Symbol
    }
}

fn unescape(bytes: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&escaped, after) = rest.split_first()?;
        rest = after;
        match escaped {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'a' => out.push(7),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'v' => out.push(11),
            b'z' => rest = rest.trim_ascii_start(),
            b'\r' => rest = rest.strip_prefix(b"\n").unwrap_or(rest),
            b'x' => {
                let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                out.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &rest[2..];
            }
            b'u' => {
                let close = rest.iter().position(|&byte| byte == b'}')?;
                let digits = std::str::from_utf8(rest.get(1..close)?).ok()?;
                let letter = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
                out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &rest[close + 1..];
            }
            b'0'..=b'9' => {
                let more = rest.iter().take(2).take_while(|byte| byte.is_ascii_digit()).count();
                let value = rest[..more]
                    .iter()
                    .fold(u32::from(escaped - b'0'), |sum, digit| sum * 10 + u32::from(digit - b'0'));
                out.push(u8::try_from(value).ok()?);
                rest = &rest[more..];
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}
