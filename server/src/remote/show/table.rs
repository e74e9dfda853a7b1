//! Aligned columns that keep within the width of a terminal.

use super::Look;

/// A name is never cut to less.
const NAME_MIN: usize = 12;

const RED: &str = "\x1b[31m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// One cell.
pub(super) struct Cell {
    text: String,
    right: bool,
    bad: bool,
}

impl Cell {
    /// Words.
    pub(super) fn left(text: impl Into<String>) -> Self {
        Self { text: text.into(), right: false, bad: false }
    }

    /// A number.
    pub(super) fn right(text: impl Into<String>) -> Self {
        Self { right: true, ..Self::left(text) }
    }

    /// Something a person should look at.
    pub(super) fn bad_if(self, bad: bool) -> Self {
        Self { bad, ..self }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Rows under their titles; the first column gives way where the terminal is narrow, then the last ones go.
pub(super) struct Table<const N: usize> {
    titles: [&'static str; N],
    rows: Vec<Vec<Cell>>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(titles: [&'static str; N]) -> Self {
        Self { titles, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Nothing where there are no rows.
    pub(super) fn draw(self, look: Look) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut widths = self.titles.map(str::len);
        for row in &self.rows {
            row.iter().zip(&mut widths).for_each(|(cell, width)| *width = cell.width().max(*width));
        }
        let right: Vec<_> =
            (0..N).map(|column| self.rows.iter().any(|row| row.get(column).is_some_and(|cell| cell.right))).collect();
        let columns = fit(&mut widths, look.width);
        let titles = self.titles.iter().zip(&right).map(|(title, right)| Cell { right: *right, ..Cell::left(*title) });
        let mut out = line(&titles.collect::<Vec<_>>(), &widths[..columns], look.colour.then_some(BOLD), look.colour);
        for row in &self.rows {
            out += &line(row, &widths[..columns], None, look.colour);
        }
        out
    }
}

/// How many columns fit; the first one is cut before another one is left out.
fn fit(widths: &mut [usize], most: usize) -> usize {
    let total = |widths: &[usize]| widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
    let mut columns = widths.len();
    loop {
        let over = total(&widths[..columns]).saturating_sub(most);
        if widths[0] >= over + NAME_MIN.min(widths[0]) || columns == 1 {
            widths[0] = widths[0].saturating_sub(over).max(1);
            return columns;
        }
        columns -= 1;
    }
}

fn line(cells: &[Cell], widths: &[usize], style: Option<&str>, colour: bool) -> String {
    let mut out = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let text = match cell.width() > *width {
            true => cell.text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
            false => cell.text.clone(),
        };
        let pad = " ".repeat(width - text.chars().count());
        let text = if cell.bad && colour { format!("{RED}{text}{PLAIN}") } else { text };
        let (before, behind) = if cell.right { (pad, String::new()) } else { (String::new(), pad) };
        out += &format!("{before}{text}{behind}  ");
    }
    let out = out.trim_end();
    match style {
        Some(style) => format!("{style}{out}{PLAIN}\n"),
        None => format!("{out}\n"),
    }
}
