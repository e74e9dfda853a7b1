//! Renders the manual page `rsp.lua(5)` from the table of options.

use std::fmt::Write;

use super::{
    options::{Constructor, Opt, Type, constructors},
    reference,
};

/// The manual page of the config file, in roff (man(7)); `doc/rsp.lua.5` is this text.
pub fn manual() -> String {
    let mut page = Page(HEADER.to_owned());
    page.markdown(reference::FORMS.split_once("-->").map_or(reference::FORMS, |(_, text)| text));
    for (kind, title, introduction) in reference::SECTIONS {
        page.markdown(&format!("## {title}\n\n{introduction}"));
        constructors().filter(|constructor| constructor.kind == kind).for_each(|each| page.constructor(each));
    }
    page.markdown(reference::FUNCTIONS);
    page.0.push_str(FOOTER);
    page.0
}

const HEADER: &str = ".\\\" Rendered from the table in core/src/config/options; refresh with: make reference\n\
.TH RSP.LUA 5 \"\" rsp \"File formats\"\n.SH NAME\nrsp.lua \\- the config file of rsp(1)\n.SH DESCRIPTION\n";
const FOOTER: &str = ".SH SEE ALSO\n.BR rsp (1)\n";

/// Roff as it grows.
struct Page(String);

impl Page {
    fn constructor(&mut self, constructor: &Constructor) {
        self.line(&format!(".SS \"{}\"", constructor.name));
        if !constructor.landed {
            self.text("*Not in this version.*");
        }
        self.text(constructor.doc);
        self.code(constructor.usage);
        for argument in constructor.positional {
            self.option(&format!("*{}*", argument.name), argument);
        }
        self.options("", constructor.options);
        for (name, before, options) in reference::INNER {
            if constructor.name == name {
                self.options(&before.replace(" · ", " "), options);
            }
        }
    }

    /// Options, each followed by the options of its own table; those that are statements too are told there.
    fn options(&mut self, before: &str, options: &[Opt]) {
        for option in options {
            self.option(&format!("{before}`{}`", option.name), option);
            if let Type::Table(inner) = option.of
                && !option.is_told_elsewhere()
            {
                self.options(&format!("{before}`{}` ", option.name), inner);
            }
        }
    }

    fn option(&mut self, name: &str, option: &Opt) {
        self.line(".TP");
        let (takes, default) = (reference::takes(option.of), reference::default(option.default));
        self.text(&format!("{name} \u{2014} {takes} ({default})"));
        let mark = if option.landed { "" } else { "*Not in this version.* " };
        self.text(&format!("{mark}{}", option.doc));
    }

    /// The Markdown of the reference's own texts: headings, lists, code and paragraphs.
    fn markdown(&mut self, text: &str) {
        let mut is_code = false;
        for line in text.lines() {
            match line {
                _ if line.starts_with("```") => {
                    self.line(if is_code { ".EE\n.RE\n.fi" } else { ".PP\n.nf\n.RS 4\n.EX" });
                    is_code = !is_code;
                }
                _ if is_code => self.line(&protected(&escaped(line))),
                "" => self.line(".PP"),
                _ if line.starts_with('#') => {
                    let (marks, title) = line.split_once(' ').unwrap_or(("", line));
                    let level = if marks.len() <= 2 { ".SH" } else { ".SS" };
                    self.line(&format!("{level} \"{}\"", inline(&title.replace('`', ""))));
                }
                _ if line.starts_with("* ") || line.starts_with("- ") => {
                    self.line(".IP \\(bu 2");
                    self.text(&line[2..]);
                }
                _ => self.text(line.trim_start()),
            }
        }
    }

    fn code(&mut self, code: &str) {
        self.markdown(&format!("```\n{code}\n```"));
    }

    fn text(&mut self, text: &str) {
        self.line(&protected(&inline(text)));
    }

    fn line(&mut self, line: &str) {
        let _ = writeln!(self.0, "{line}");
    }
}

/// Nothing in a text is a request or an escape to roff.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('"', "\\(dq").replace('\u{2014}', "\\(em")
}

fn protected(line: &str) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() }
}

/// `code` and **strong** are bold, *emphasis* is underlined.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            let _ = write!(out, "\\fB{}\\fR", escaped(part));
            continue;
        }
        for (index, part) in part.split("**").enumerate() {
            let font = if index % 2 == 1 { "B" } else { "I" };
            let mut pieces = part.split('*');
            out.push_str(&if index % 2 == 1 {
                format!("\\f{font}{}\\fR", escaped(part))
            } else {
                let first = escaped(pieces.next().unwrap_or_default());
                pieces.enumerate().fold(first, |text, (index, piece)| match index % 2 {
                    0 => format!("{text}\\fI{}\\fR", escaped(piece)),
                    _ => text + &escaped(piece),
                })
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_fonts_and_nothing_becomes_a_request() {
        assert_eq!(inline("a `b-c` **d** *e* \\"), "a \\fBb\\-c\\fR \\fBd\\fR \\fIe\\fR \\e");
        assert_eq!(protected(".so /etc/passwd"), "\\&.so /etc/passwd");
    }

    #[test]
    fn every_constructor_and_option_is_in_the_manual() {
        let text = manual();
        for constructor in constructors() {
            assert!(text.contains(&format!(".SS \"{}\"\n", constructor.name)), "{}", constructor.name);
            for option in constructor.options {
                assert!(text.contains(&format!("\\fB{}\\fR", option.name)), "{}", option.name);
            }
        }
    }
}
