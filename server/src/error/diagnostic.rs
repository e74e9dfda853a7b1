//! Draws diagnostics of a config with the lines of the source underlined.

use std::{io::IsTerminal, ops::Range, path::Path};

use annotate_snippets::{AnnotationKind, Element, Level, Padding, Renderer, Snippet};
use rsp_core::config::{
    Diagnostic, Severity,
    raw::{Source, Span},
};

use super::passwords::hidden;

/// Two places further apart than this are drawn apart.
const LINES_TOGETHER: u32 = 40;
/// Bytes of a line that are drawn; the rest of a longer one is cut.
const LINE_MAX: usize = 400;
/// Bytes behind them that are looked at for the end of a password.
const PASSWORD_MAX: usize = 2048;

/// As a person at a terminal reads it: coloured if standard error is one and `NO_COLOR` isn't set.
pub fn render(diagnostics: &[Diagnostic], sources: &[Source]) -> String {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    draw(diagnostics, sources, colour)
}

/// One after the other, each with a line feed at its end; one without a place is its message alone, and what a loop
/// says again and again is drawn once.
pub fn draw(diagnostics: &[Diagnostic], sources: &[Source], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let lines = Lines::of(diagnostics, sources);
    let mut out = String::new();
    for (index, diagnostic) in diagnostics.iter().enumerate() {
        if index.checked_sub(1).and_then(|before| diagnostics.get(before)) == Some(diagnostic) {
            continue;
        }
        draw_one(diagnostic, &lines, &renderer, &mut out);
    }
    out
}

fn draw_one(diagnostic: &Diagnostic, lines: &Lines<'_>, renderer: &Renderer, out: &mut String) {
    if diagnostic.span.line == 0 && diagnostic.notes.is_empty() {
        out.push_str(&hidden(&diagnostic.message));
        if !diagnostic.label.is_empty() {
            out.push_str(&format!(": {}", hidden(&diagnostic.label)));
        }
        out.push('\n');
        return;
    }
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut places = vec![(diagnostic.span, diagnostic.label.as_str(), AnnotationKind::Primary)];
    places.extend(diagnostic.notes.iter().map(|note| (note.span, note.label.as_str(), AnnotationKind::Context)));
    places.retain(|(span, ..)| span.line > 0);
    let mut group = level.primary_title(hidden(&diagnostic.message)).elements(Vec::<Element<'_>>::new());
    while let Some((first, ..)) = places.first() {
        let first = *first;
        let near = |span: &Span| span.file == first.file && span.line.abs_diff(first.line) <= LINES_TOGETHER;
        let (together, apart): (Vec<_>, Vec<_>) = places.into_iter().partition(|(span, ..)| near(span));
        places = apart;
        let top = together.iter().map(|(span, ..)| span.line).min().unwrap_or(first.line);
        let bottom = together.iter().map(|(span, ..)| span.line).max().unwrap_or(first.line);
        let (text, starts) = lines.range(first.file, top, bottom);
        let mut snippet = Snippet::source(text).line_start(top as usize).path(lines.path(first.file));
        for (span, label, kind) in together {
            let range = lines.underlined(span, starts.get((span.line - top) as usize).copied().unwrap_or_default());
            let label = (!label.is_empty()).then(|| hidden(label));
            snippet = snippet.annotation(kind.span(range).label(label));
        }
        group = group.element(snippet);
    }
    out.push_str(&renderer.render(&[group.element(Padding)]));
    out.push('\n');
}

/// Where the lines of each text begin.
struct Lines<'a> {
    texts: Vec<(&'a Path, &'a str, Vec<usize>)>,
}

impl<'a> Lines<'a> {
    /// Looks only at texts that a diagnostic points into.
    fn of(diagnostics: &[Diagnostic], sources: &'a [Source]) -> Self {
        let mut used = vec![false; sources.len()];
        for diagnostic in diagnostics {
            for span in diagnostic.notes.iter().map(|note| note.span).chain([diagnostic.span]) {
                if let Some(used) = used.get_mut(span.file as usize) {
                    *used = true;
                }
            }
        }
        let starts = |text: &str| {
            let after = memchr::memchr_iter(b'\n', text.as_bytes()).map(|end| end + 1);
            [0].into_iter().chain(after).collect()
        };
        let texts = sources.iter().zip(used).map(|(source, used)| {
            let starts = if used { starts(&source.text) } else { Vec::new() };
            (source.path.as_path(), &*source.text, starts)
        });
        Self { texts: texts.collect() }
    }

    fn path(&self, file: u32) -> String {
        match self.texts.get(file as usize) {
            Some((path, ..)) if !path.as_os_str().is_empty() => path.display().to_string(),
            _ => "command".to_owned(),
        }
    }

    fn line(&self, file: u32, line: u32) -> &'a str {
        self.beginning(file, line, LINE_MAX)
    }

    fn beginning(&self, file: u32, line: u32, most: usize) -> &'a str {
        let Some((_, text, starts)) = self.texts.get(file as usize) else { return "" };
        let index = (line as usize).saturating_sub(1);
        let Some(&start) = starts.get(index) else { return "" };
        let end = starts.get(index + 1).copied().unwrap_or(text.len());
        let line = text[start..end].trim_end_matches(['\n', '\r']);
        &line[..line.floor_char_boundary(most)]
    }

    /// The lines as one text, and where each begins in it.
    fn range(&self, file: u32, top: u32, bottom: u32) -> (String, Vec<usize>) {
        let mut text = String::new();
        let mut starts = Vec::new();
        for line in top..=bottom {
            starts.push(text.len());
            let longer = hidden(self.beginning(file, line, LINE_MAX + PASSWORD_MAX));
            text.push_str(&longer[..self.line(file, line).len()]);
            text.push('\n');
        }
        (text, starts)
    }

    /// What a span underlines, in a text where its line begins at `start`.
    fn underlined(&self, span: Span, start: usize) -> Range<usize> {
        let line = self.line(span.file, span.line);
        let blank = line.len() - line.trim_start().len();
        let from = if span.column == 0 { blank } else { (span.column as usize - 1).min(line.len()) };
        let to = match span.length {
            0 => line.trim_end().len(),
            length => from + length as usize,
        };
        let from = line.floor_char_boundary(from);
        let to = line.ceil_char_boundary(to.clamp(from, line.len()));
        start + from..start + to
    }
}
