//! Walks over the tokens: knows brackets, blocks, calls and table literals, and no more grammar than those need.

use std::collections::HashMap;

use super::{
    Argument, Call, Duplicate, Literal, LiteralEntry, Outline, TableId,
    token::{Kind, Token, text_of},
};
use crate::config::raw::{Key, Span};

/// Brackets and functions inside each other; what is deeper is left out.
const DEPTH_MAX: usize = 200;

pub(super) struct Scan<'t> {
    text: &'t str,
    tokens: &'t [Token],
    at: usize,
    depth: usize,
    file: u32,
    wanted: &'t dyn Fn(&str) -> bool,
    outline: Outline,
}

/// Where a walk ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// At the separator or bracket behind an expression.
    Expression,
    /// Behind the `end` of a function.
    End,
    /// At the end of the text.
    Text,
}

/// What an `end`, `until` or `else` will close.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Block,
    If,
    /// `if a then b else c` as a value; it has no `end`.
    IfValue,
}

impl<'t> Scan<'t> {
    pub(super) fn new(text: &'t str, tokens: &'t [Token], file: u32, wanted: &'t dyn Fn(&str) -> bool) -> Self {
        Self { text, tokens, at: 0, depth: 0, file, wanted, outline: Outline::default() }
    }

    pub(super) fn outline(mut self) -> Outline {
        self.walk(Until::Text);
        self.outline.calls.sort_by_key(|call| call.line);
        self.outline.duplicates.sort_by_key(|duplicate| duplicate.again);
        self.outline
    }

    fn walk(&mut self, until: Until) {
        self.deeper();
        let mut open = Vec::new();
        // Whether the next token begins an operand; tells the two kinds of `if` apart.
        let mut wants_operand = until == Until::Expression;
        while let Some(token) = self.peek(0) {
            let word = self.word(token);
            match (token.kind, word) {
                (Kind::Symbol, "," | ";" | ")" | "]" | "}") if until == Until::Expression => break,
                (Kind::Symbol, "{") => drop(self.table()),
                (Kind::Symbol, "(") => drop(self.list(")")),
                (Kind::Symbol, "[") => drop(self.list("]")),
                (Kind::Name, "function") => self.function(),
                (Kind::Name, "end" | "until") => {
                    self.at += 1;
                    if open.pop().is_none() && until == Until::End {
                        break;
                    }
                }
                (Kind::Name, _) if !is_keyword(word) && self.is_call() => self.call(),
                _ => self.at += 1,
            }
            note_block(token.kind, word, wants_operand, &mut open);
            wants_operand = leaves_operand_wanted(token.kind, word, &mut open);
        }
        self.depth -= 1;
    }

    /// Gives up where the text is nested too deep.
    fn deeper(&mut self) {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            self.at = self.tokens.len();
        }
    }

    fn peek(&self, ahead: usize) -> Option<Token> {
        self.tokens.get(self.at + ahead).copied()
    }

    fn word(&self, token: Token) -> &'t str {
        self.text.get(token.start..token.end).unwrap_or_default()
    }

    fn is(&self, ahead: usize, symbol: &str) -> bool {
        self.peek(ahead).is_some_and(|token| token.kind == Kind::Symbol && self.word(token) == symbol)
    }

    fn begins_argument(&self, ahead: usize) -> bool {
        self.peek(ahead).is_some_and(|token| token.kind == Kind::Text) || self.is(ahead, "{") || self.is(ahead, "(")
    }

    /// Whether the name at hand is called, is a global, and is one that was asked for.
    fn is_call(&self) -> bool {
        let Some(token) = self.peek(0) else { return false };
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or("", |token| self.word(*token));
        self.begins_argument(1)
            && !matches!(before, "." | ":" | "::" | "function" | "->")
            && (self.wanted)(self.word(token))
    }

    /// A name and its arguments; then the arguments of what that returns, and so on.
    fn call(&mut self) {
        let Some(name) = self.peek(0) else { return };
        self.at += 1;
        let mut step = 1;
        let mut line = name.end_line;
        while self.begins_argument(0) && step <= 2 {
            let arguments = self.arguments();
            let span = self.span(name, name);
            self.outline.calls.push(Call { name: self.word(name).into(), step, line, span, arguments });
            step += 1;
            line = self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(line, |token| token.end_line);
        }
    }

    fn arguments(&mut self) -> Vec<Argument> {
        if self.is(0, "(") {
            return self.list(")");
        }
        let Some(token) = self.peek(0) else { return Vec::new() };
        if token.kind == Kind::Text {
            self.at += 1;
            return vec![Argument { span: self.span(token, token), text: self.literal_text(token), table: None }];
        }
        let before = self.at;
        let table = Some(self.table());
        vec![Argument { span: self.span_since(before), text: None, table }]
    }

    /// A bracket, what is separated by commas in it, and the closing one.
    fn list(&mut self, close: &str) -> Vec<Argument> {
        self.at += 1;
        let mut arguments = Vec::new();
        while self.peek(0).is_some() && !self.is(0, close) {
            if self.is(0, ",") {
                self.at += 1;
                continue;
            }
            arguments.push(self.argument());
        }
        self.at += 1;
        arguments
    }

    /// One expression; moves on in any case.
    fn argument(&mut self) -> Argument {
        let before = self.at;
        let first = self.peek(0);
        let mut table = self.is(0, "{").then(|| self.table());
        if !self.at_stop() {
            table = None;
            self.walk(Until::Expression);
        }
        let text = first.filter(|_| self.at == before + 1).and_then(|token| self.literal_text(token));
        if self.at == before {
            self.at += 1;
        }
        Argument { span: self.span_since(before), text, table }
    }

    fn at_stop(&self) -> bool {
        self.peek(0).is_none() || [",", ";", ")", "]", "}"].iter().any(|stop| self.is(0, stop))
    }

    fn literal_text(&self, token: Token) -> Option<Box<str>> {
        (token.kind == Kind::Text).then(|| text_of(self.word(token))).flatten().map(Into::into)
    }

    fn function(&mut self) {
        self.at += 1;
        while let Some(token) = self.peek(0) {
            if self.is(0, "(") {
                self.list(")");
                break;
            }
            // The name, with its dots and colons, and type parameters.
            if token.kind != Kind::Name && ![".", ":", "<", ">", ",", "..."].contains(&self.word(token)) {
                break;
            }
            self.at += 1;
        }
        self.walk(Until::End);
    }

    fn table(&mut self) -> TableId {
        let id = TableId(self.outline.tables.len() as u32);
        self.outline.tables.push(Literal::default());
        self.at += 1;
        let mut literal = Literal::default();
        self.deeper();
        while self.peek(0).is_some() && !self.is(0, "}") {
            if self.is(0, ",") || self.is(0, ";") {
                self.at += 1;
                continue;
            }
            self.field(&mut literal);
        }
        self.depth -= 1;
        self.at += 1;
        self.find_duplicates(&literal);
        if let Some(place) = self.outline.tables.get_mut(id.0 as usize) {
            *place = literal;
        }
        id
    }

    fn field(&mut self, literal: &mut Literal) {
        let Some(first) = self.peek(0) else { return };
        if first.kind == Kind::Name && self.is(1, "=") {
            let key = Key::Text(self.word(first).to_owned());
            self.at += 2;
            let value = self.argument();
            literal.entries.push(LiteralEntry { key, span: self.span(first, first), value });
            return;
        }
        if !self.is(0, "[") {
            literal.items.push(self.argument());
            return;
        }
        let key = self.peek(1).filter(|_| self.is(2, "]")).and_then(|token| Some((self.key(token)?, token)));
        self.list("]");
        if !self.is(0, "=") {
            // A type: `{ [string]: number }`.
            self.walk(Until::Expression);
            return;
        }
        self.at += 1;
        let value = self.argument();
        match key {
            Some((key, token)) => literal.entries.push(LiteralEntry { key, span: self.span(token, token), value }),
            None => literal.computed = true,
        }
    }

    fn key(&self, token: Token) -> Option<Key> {
        match token.kind {
            Kind::Text => text_of(self.word(token)).map(Key::Text),
            Kind::Number => self.word(token).parse().ok().map(Key::Number),
            _ => None,
        }
    }

    fn find_duplicates(&mut self, literal: &Literal) {
        if literal.entries.len() < 2 {
            return;
        }
        let mut seen: HashMap<&Key, Span, foldhash::fast::RandomState> = HashMap::default();
        for entry in &literal.entries {
            if let Some(&first) = seen.get(&entry.key) {
                self.outline.duplicates.push(Duplicate { key: entry.key.clone(), first, again: entry.span });
                continue;
            }
            seen.insert(&entry.key, entry.span);
        }
    }

    fn span_since(&self, before: usize) -> Span {
        let last = self.at.min(self.tokens.len()).saturating_sub(1).max(before);
        match (self.tokens.get(before), self.tokens.get(last)) {
            (Some(first), Some(last)) => self.span(*first, *last),
            _ => Span { file: self.file, ..Span::default() },
        }
    }

    fn span(&self, first: Token, last: Token) -> Span {
        let length = if first.line == last.end_line { last.end - first.start } else { 0 };
        Span { file: self.file, line: first.line, column: first.column, length: length as u32 }
    }
}

/// Keeps account of what `end`, `until` and the `else` of a value will close.
fn note_block(kind: Kind, word: &str, wants_operand: bool, open: &mut Vec<Open>) {
    if kind != Kind::Name {
        return;
    }
    match word {
        "do" | "repeat" => open.push(Open::Block),
        "if" => open.push(if wants_operand { Open::IfValue } else { Open::If }),
        _ => {}
    }
}

fn leaves_operand_wanted(kind: Kind, word: &str, open: &mut Vec<Open>) -> bool {
    let value = open.last() == Some(&Open::IfValue);
    match (kind, word) {
        (Kind::Symbol, ")" | "]" | "}" | "(" | "{" | "[" | ";" | "...") => false,
        (Kind::Symbol, _) => true,
        (Kind::Name, "and" | "or" | "not" | "return" | "in" | "while" | "until" | "if" | "elseif") => true,
        (Kind::Name, "then") => value,
        (Kind::Name, "else") => {
            if value {
                open.pop();
            }
            value
        }
        _ => false,
    }
}

fn is_keyword(word: &str) -> bool {
    matches!(
        word,
        "and"
            | "break"
            | "do"
            | "else"
            | "elseif"
            | "end"
            | "false"
            | "for"
            | "function"
            | "if"
            | "in"
            | "local"
            | "nil"
            | "not"
            | "or"
            | "repeat"
            | "return"
            | "then"
            | "true"
            | "until"
            | "while"
    )
}
