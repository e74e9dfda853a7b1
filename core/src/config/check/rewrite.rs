//! `rewrite`: the pattern is compiled once, here.

use std::{ops::Range, sync::Arc};

use super::Checker;
use crate::{
    config::{
        checked::Filter,
        nearest::nearest,
        raw::Span,
        settings::{Arguments, Setting},
    },
    route::{BadRewrite, Rewrite},
};

impl Checker<'_> {
    pub(super) fn rewrite(&mut self, arguments: &Arguments<'_>) -> Option<Filter> {
        let [(Some(Setting::Text(pattern)), span), (Some(Setting::Text(replacement)), place)] =
            arguments.positional.as_slice()
        else {
            return None;
        };
        match Rewrite::new(pattern, replacement) {
            Ok(rewrite) => return Some(Filter::Rewrite(Arc::new(rewrite))),
            Err(BadRewrite::Pattern(why, None)) => {
                self.reader.error(*span, "the pattern of `rewrite` can't be compiled", why);
            }
            Err(BadRewrite::Pattern(why, Some(at))) => {
                let message = format!("the pattern of `rewrite` is wrong at its character {}", character(pattern, &at));
                self.reader.error(part(*span, pattern, &at), message, why);
            }
            Err(BadRewrite::NoGroup(name, groups)) => {
                let message = format!("the pattern of `rewrite` has no group `{}`", name.escape_debug());
                self.reader.error(*place, message, group_label(&name, &groups));
            }
            Err(BadRewrite::Replacement(why)) => {
                self.reader.error(*place, "the replacement of `rewrite` is no path and query", why);
            }
        }
        None
    }
}

fn character(pattern: &str, at: &Range<usize>) -> usize {
    pattern.get(..at.start).map_or(0, |before| before.chars().count()) + 1
}

/// The place inside of a literal that says the pattern byte for byte; the whole literal where it doesn't.
fn part(span: Span, pattern: &str, at: &Range<usize>) -> Span {
    let [start, length] = [at.start, at.len().max(1)].map(|n| u32::try_from(n).unwrap_or_default());
    match span.length as usize == pattern.len() + 2 && at.end <= pattern.len() && span.column > 0 {
        true => Span { column: span.column + 1 + start, length, ..span },
        false => span,
    }
}

fn group_label(name: &str, groups: &[String]) -> String {
    let digits = name.bytes().take_while(u8::is_ascii_digit).count();
    let (number, behind) = name.split_at(digits);
    if !behind.is_empty() && groups.iter().any(|group| group == number) {
        return format!("did you mean `${{{number}}}{behind}`?");
    }
    match nearest(name, groups.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `${{{near}}}`?"),
        None => {
            format!("one of {}", groups.iter().map(|group| format!("`${{{group}}}`")).collect::<Vec<_>>().join(" "))
        }
    }
}
