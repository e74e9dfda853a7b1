//! Finds in a Luau source where calls, table literals, their keys and items stand.
//!
//! Evaluation knows only the line of a call. This pass beside it lets a diagnostic underline the key itself, and finds
//! keys that one literal has twice, which the evaluated table can't show.
//!
//! **Invariant:** an outline is a guess about places, never about meaning: whatever the text, the worst it does is to
//! underline a line in place of a word.

mod scan;
#[cfg(test)]
mod tests;
mod token;

use super::raw::{Key, Span};

/// The places in one source.
#[derive(Debug, Default)]
pub struct Outline {
    /// By line, then in the order in which their arguments end.
    calls: Vec<Call>,
    tables: Vec<Literal>,
    duplicates: Vec<Duplicate>,
}

/// One call of a wanted name: `name "x"`, `name { … }`, `name(…)`, or the same applied to what that returned.
#[derive(Debug)]
pub struct Call {
    /// The name that was called.
    pub name: Box<str>,
    /// 1 for `name …`, 2 for what follows: `name "x" { … }`.
    pub step: u8,
    /// The line that a stack trace gives: where what is called ends.
    pub line: u32,
    /// The name.
    pub span: Span,
    /// In order.
    pub arguments: Vec<Argument>,
}

/// One argument, or one item or value of a table literal.
#[derive(Debug, Clone)]
pub struct Argument {
    /// All of it; one that goes over several lines is underlined to the end of its first.
    pub span: Span,
    /// What it says, if it is one string literal.
    pub text: Option<Box<str>>,
    /// Its place among the literals, if it is one table literal.
    pub table: Option<TableId>,
}

/// Names a table literal of the same outline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableId(u32);

/// A table literal.
#[derive(Debug, Default)]
pub struct Literal {
    /// Values without a key.
    pub items: Vec<Argument>,
    /// Values with a key that is a name, a string or a number literal.
    pub entries: Vec<LiteralEntry>,
    /// Whether a key is computed: what it is only the evaluation knows.
    pub computed: bool,
}

/// One `key = value` of a literal.
#[derive(Debug)]
pub struct LiteralEntry {
    /// The key.
    pub key: Key,
    /// Where the key stands, quotes included, brackets not.
    pub span: Span,
    /// The value.
    pub value: Argument,
}

/// A key that one literal has twice.
#[derive(Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// The key.
    pub key: Key,
    /// Where it stands first.
    pub first: Span,
    /// Where it stands again.
    pub again: Span,
}

impl Outline {
    /// Reads a source; `file` goes into the spans, and calls of names that aren't `wanted` are left out.
    ///
    /// Takes time in proportion to the text. Literals nested deeper than 200 are left out.
    pub fn read(text: &str, file: u32, wanted: impl Fn(&str) -> bool) -> Self {
        let tokens = token::tokens(text);
        scan::Scan::new(text, &tokens, file, &wanted).outline()
    }

    /// The calls that a stack trace puts on `line`.
    pub fn calls_at(&self, line: u32) -> &[Call] {
        let start = self.calls.partition_point(|call| call.line < line);
        let length = self.calls[start..].partition_point(|call| call.line == line);
        &self.calls[start..start + length]
    }

    /// All calls, by line.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter()
    }

    /// A literal.
    pub fn table(&self, id: TableId) -> Option<&Literal> {
        self.tables.get(id.0 as usize)
    }

    /// Keys that one literal has twice, in source order.
    pub fn duplicates(&self) -> &[Duplicate] {
        &self.duplicates
    }
}

impl Literal {
    /// The entry with that key.
    pub fn entry(&self, key: &Key) -> Option<&LiteralEntry> {
        self.entries.iter().find(|entry| entry.key == *key)
    }
}
