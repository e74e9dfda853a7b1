//! Renders `doc/reference.md` from the table of options.

use std::fmt::Write;

use super::options::{self, Constructor, Kind, Literal, Opt, Type, constructors};

/// The reference of the config file, in Markdown; `doc/reference.md` is this text.
pub fn reference() -> String {
    let mut out = String::from(FORMS);
    for (kind, title, introduction) in SECTIONS {
        let _ = write!(out, "\n## {title}\n\n{introduction}\n");
        constructors().filter(|constructor| constructor.kind == kind).for_each(|each| section(&mut out, each));
    }
    out.push_str(FUNCTIONS);
    out
}

fn section(out: &mut String, constructor: &Constructor) {
    let _ = write!(out, "\n### `{}`\n\n", constructor.name);
    if !constructor.landed {
        out.push_str("*Not in this version.* ");
    }
    let _ = write!(out, "{}\n\n```lua\n{}\n```\n", constructor.doc, constructor.usage);
    let mut rows = Rows::default();
    constructor.positional.iter().for_each(|argument| rows.row(&argument_name(constructor, argument), argument, true));
    rows.options("", constructor.options, constructor.landed);
    for (name, before, options) in INNER {
        if constructor.name == name {
            rows.options(before, options, true);
        }
    }
    if !rows.0.is_empty() {
        let _ = write!(out, "\n| option | takes | default | meaning |\n|---|---|---|---|\n{}", rows.0);
    }
}

/// Tables that stand where something else may stand too: in which constructor, how they are marked, what they take.
pub(super) const INNER: [(&str, &str, &[Opt]); 4] = [
    ("upstream", "*endpoint* ", options::ENDPOINT),
    ("auth", "`forward` · ", options::FORWARD),
    ("listen", "`tls` · ", options::LISTEN_TLS),
    ("site", "`tls` · ", options::SITE_TLS),
];

fn argument_name(constructor: &Constructor, argument: &Opt) -> String {
    let repeated = constructor.repeats && constructor.positional.last().is_some_and(|last| last.name == argument.name);
    format!("*{}*{}", argument.name, if repeated { " …" } else { "" })
}

/// The rows of one table, in Markdown.
#[derive(Default)]
struct Rows(String);

impl Rows {
    /// Options, each followed by the options of its own table.
    fn options(&mut self, before: &str, options: &[Opt], landed: bool) {
        for option in options {
            self.row(&format!("{before}`{}`", option.name), option, !landed);
            if let Type::Table(inner) = option.of
                && !option.is_told_elsewhere()
            {
                self.options(&format!("{before}`{}` · ", option.name), inner, landed && option.landed);
            }
        }
    }

    /// `marked`: the mark of what isn't landed would say nothing new.
    fn row(&mut self, name: &str, option: &Opt, marked: bool) {
        let mark = if option.landed || marked { "" } else { "*Not in this version.* " };
        let (takes, default) = (takes(option.of), default(option.default));
        let _ = writeln!(self.0, "| {name} | {takes} | {default} | {mark}{} |", option.doc.replace('|', "\\|"));
    }
}

pub(super) fn takes(of: Type) -> String {
    match of {
        Type::Choice(words) => {
            let words = words.iter().map(|word| match word.landed {
                true => format!("`\"{}\"`", word.name),
                false => format!("`\"{}\"` (*not in this version*)", word.name),
            });
            words.collect::<Vec<_>>().join(", ")
        }
        Type::Table(_) => "a table".to_owned(),
        Type::Share => of.says(),
        _ => match of.bounds() {
            Some(bounds) => format!("{}, {bounds}", of.says()),
            None => of.says(),
        },
    }
}

pub(super) fn default(literal: Literal) -> String {
    match literal {
        Literal::Unset(says) => says.to_owned(),
        set => format!("`{}`", set.written().unwrap_or_default()),
    }
}

pub(super) const FORMS: &str = include_str!("reference/forms.md");
pub(super) const FUNCTIONS: &str = include_str!("reference/functions.md");

/// Each with its title and introduction.
pub(super) const SECTIONS: [(Kind, &str, &str); 5] = [
    (Kind::Statement, "Statements", STATEMENTS),
    (Kind::Handler, "Handlers", HANDLERS),
    (Kind::Filter, "Filters", FILTERS),
    (Kind::Value, "Values", VALUES),
    (Kind::Evaluation, "While the file is evaluated", EVALUATION),
];

const STATEMENTS: &str = "What stands at the top of a file. Each may be said once, but for `listen`, `upstream` and \
`site`. While a request runs, a statement is an error.";
const HANDLERS: &str = "A handler answers the request. It is a route's value, or the last of the array that is.";
const FILTERS: &str = "Filters stand before the handler: `{ allow \"10.0.0.0/8\", proxy(app) }`. They see the request in \
the order of the array and the answer in reverse.";
const VALUES: &str = "What stands inside of other calls.";
const EVALUATION: &str = "These run once, while the file is read, and leave nothing behind but their result.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{editor::luau_types, manual::manual};

    /// Compares a committed file with what the table renders; `UPDATE=1` writes it instead.
    fn is_fresh(path: &str, rendered: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, rendered).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        let refresh = "UPDATE=1 cargo test -p rsp-core reference";
        assert!(committed == rendered, "{} is stale; refresh it with: {refresh}", path.display());
    }

    #[test]
    fn the_committed_reference_is_what_the_table_says() {
        is_fresh("doc/reference.md", &reference());
    }

    #[test]
    fn the_committed_editor_types_are_what_the_table_says() {
        is_fresh("rsp.d.luau", &luau_types());
    }

    #[test]
    fn the_committed_manual_page_of_the_reference_is_what_the_table_says() {
        is_fresh("doc/rsp.lua.5", &manual());
    }

    #[test]
    fn every_constructor_and_option_is_in_the_reference() {
        let text = reference();
        for constructor in options::constructors() {
            assert!(text.contains(&format!("### `{}`\n", constructor.name)), "{}", constructor.name);
            for option in constructor.options {
                assert!(text.contains(&format!("| `{}` |", option.name)), "{}", option.name);
            }
        }
    }

    #[test]
    fn every_constructor_is_declared_for_editors() {
        let types = luau_types();
        for constructor in options::constructors() {
            assert!(types.contains(&format!("\ndeclare {}: ", constructor.name)), "{}", constructor.name);
        }
        for (open, close) in [('{', '}'), ('(', ')')] {
            let code = types.lines().filter(|line| !line.trim_start().starts_with("---"));
            let count =
                code.flat_map(str::chars).fold(0, |depth, c| depth + i32::from(c == open) - i32::from(c == close));
            assert_eq!(count, 0, "{open}");
        }
    }

    #[test]
    fn no_cell_breaks_its_table() {
        for line in reference().replace(FUNCTIONS, "").lines().filter(|line| line.starts_with('|')) {
            assert_eq!(line.replace("\\|", "").matches('|').count(), 5, "{line}");
        }
    }
}
