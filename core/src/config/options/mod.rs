//! The one table of what a config file may say: every constructor with its arguments and options.
//!
//! The parser, `doc/reference.md` and `rsp.d.luau` all follow from it. What a later version brings is listed too,
//! marked, so that using it is the error "not in this version" and not "unknown".

mod filters;
mod handlers;
mod programs;
mod statements;
mod upstream;
mod values;

pub(super) use filters::FORWARD;
pub(super) use handlers::{PROTOCOLS, RETRY, TUNNEL};
pub(super) use statements::{LISTEN_TLS, PAGES, SITE, SITE_TLS};
pub(super) use upstream::{ENDPOINT, OUTLIER, QUEUE, UPSTREAM};
pub(super) use values::PASSTHROUGH;

use std::{collections::HashMap, sync::LazyLock, time::Duration};

/// Something the file may call.
#[derive(Debug)]
pub struct Constructor {
    /// The global's name.
    pub name: &'static str,
    /// Where it may stand.
    pub kind: Kind,
    /// How it is written, for the reference.
    pub usage: &'static str,
    /// What it is for; Markdown.
    pub doc: &'static str,
    /// Whether this version has it.
    pub landed: bool,
    /// Its arguments, in order.
    pub positional: &'static [Opt],
    /// How many of [`Constructor::positional`] must be given.
    pub required: usize,
    /// Whether the last of [`Constructor::positional`] may be repeated.
    pub repeats: bool,
    /// What it takes by name.
    pub options: &'static [Opt],
}

/// Where a constructor may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// At the top of the file; an error while a request runs.
    Statement,
    /// The last value of a route.
    Handler,
    /// Before the handler of a route.
    Filter,
    /// Inside of another constructor.
    Value,
    /// Runs while the file is evaluated and leaves nothing to check.
    Evaluation,
}

/// One argument or option.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// The key; for an argument, what the reference calls it.
    pub name: &'static str,
    /// What it takes.
    pub of: Type,
    /// What it is when it isn't given.
    pub default: Literal,
    /// What it does; one line of Markdown.
    pub doc: &'static str,
    /// Whether this version has it.
    pub landed: bool,
}

impl Opt {
    /// Whether it takes what the statement of its name takes; the statement tells of it.
    pub(super) fn is_told_elsewhere(&self) -> bool {
        let names = |options: &'static [Self]| options.iter().map(|option| option.name);
        match (self.of, find(self.name)) {
            (Type::Table(inner), Some(statement)) => names(inner).eq(names(statement.options)),
            _ => false,
        }
    }
}

/// What an option takes, with its bounds; both ends are included.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer(u64, u64),
    /// A number from 0 to 1.
    Share,
    /// A duration, in milliseconds.
    Duration(u64, u64),
    /// Bytes.
    Size(u64, u64),
    /// So many in a time.
    Rate,
    /// Permission bits, octal.
    Mode,
    /// One of these words.
    Choice(&'static [Word]),
    /// A string of one line.
    Text,
    /// Any string, whatever lines it has.
    Lines,
    /// A path, relative to the folder of the file that says it.
    Path,
    /// An address to listen on.
    Address,
    /// One network.
    Network,
    /// A table of options.
    Table(&'static [Opt]),
    /// A shape of its own: what a person calls it, and its type in Luau.
    Other(&'static str, &'static str),
}

/// One word of a choice.
#[derive(Debug, Clone, Copy)]
pub struct Word {
    /// As the file writes it, without quotes.
    pub name: &'static str,
    /// Whether this version has it.
    pub landed: bool,
}

/// A value in the table, as the file would write it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Literal {
    /// Not set; the text says in the reference what that means.
    Unset(&'static str),
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Number(u32),
    /// A number with a fraction.
    Share(f64),
    /// A string.
    Text(&'static str),
}

/// Every constructor, in the order of the reference.
pub fn constructors() -> impl Iterator<Item = &'static Constructor> {
    let groups = [statements::ALL, upstream::ALL, handlers::ALL, filters::ALL, values::ALL];
    groups.into_iter().flat_map(|group| group.iter().copied())
}

/// The constructor of that name. A large file asks a million times, so they are kept by name.
pub fn find(name: &str) -> Option<&'static Constructor> {
    static BY_NAME: LazyLock<HashMap<&str, &Constructor, foldhash::fast::RandomState>> =
        LazyLock::new(|| constructors().map(|constructor| (constructor.name, constructor)).collect());
    BY_NAME.get(name).copied()
}

/// The longest duration that any option takes: ten years.
const DURATION_MAX: u64 = 3650 * 86_400_000;
/// A duration that may not be nothing.
const TIME: Type = Type::Duration(1, DURATION_MAX);
/// A duration that may be nothing.
const TIME_OR_ZERO: Type = Type::Duration(0, DURATION_MAX);
/// How many, at least one.
const COUNT: Type = Type::Integer(1, u32::MAX as u64);
const NONE: Literal = Literal::Unset("none");

const fn opt(name: &'static str, of: Type, default: Literal, doc: &'static str) -> Opt {
    Opt { name, of, default, doc, landed: true }
}

const fn word(name: &'static str) -> Word {
    Word { name, landed: true }
}

impl Opt {
    /// The same, in a later version.
    const fn later(self) -> Self {
        Self { landed: false, ..self }
    }
}

impl Word {
    /// The same, in a later version.
    const fn later(self) -> Self {
        Self { landed: false, ..self }
    }
}

impl Constructor {
    const fn new(kind: Kind, name: &'static str, usage: &'static str, doc: &'static str) -> Self {
        Self { name, kind, usage, doc, landed: true, positional: &[], required: 0, repeats: false, options: &[] }
    }

    const fn takes(self, positional: &'static [Opt], required: usize) -> Self {
        Self { positional, required, ..self }
    }

    const fn repeats(self) -> Self {
        Self { repeats: true, ..self }
    }

    const fn options(self, options: &'static [Opt]) -> Self {
        Self { options, ..self }
    }

    const fn later(self) -> Self {
        Self { landed: false, ..self }
    }
}

impl Type {
    /// What a person calls such a value: "a duration".
    pub fn says(self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Integer(..) => "a whole number".to_owned(),
            Self::Share => "a number from 0 to 1".to_owned(),
            Self::Duration(..) => "a duration".to_owned(),
            Self::Size(..) => "a size".to_owned(),
            Self::Rate => "a rate".to_owned(),
            Self::Mode => "permission bits".to_owned(),
            Self::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("\"{}\"", word.name)).collect();
                format!("one of {}", words.join(", "))
            }
            Self::Text | Self::Lines => "a string".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Address => "an address".to_owned(),
            Self::Network => "a network".to_owned(),
            Self::Table(_) => "a table of options".to_owned(),
            Self::Other(says, _) => says.to_owned(),
        }
    }

    /// How such a value is written, for a label beside a wrong one.
    pub fn example(self) -> String {
        match self {
            Self::Bool => "write true or false".to_owned(),
            Self::Integer(min, max) => format!("a number from {min} to {max}"),
            Self::Share => "for example 0.2".to_owned(),
            Self::Duration(..) => "for example \"250ms\", \"5s\", \"2m\", \"1h\" or \"7d\"".to_owned(),
            Self::Size(..) => "for example \"64KiB\", \"1MB\" or a number of bytes".to_owned(),
            Self::Rate => "for example \"10/s\" or \"600/m\"".to_owned(),
            Self::Mode => "in octal, in quotes: \"0660\"".to_owned(),
            Self::Choice(_) | Self::Other(..) => self.says(),
            Self::Text | Self::Lines => "a string in quotes".to_owned(),
            Self::Path => "for example \"./public\"".to_owned(),
            Self::Address => "for example \"127.0.0.1:8080\", \":8080\" or \"unix:/run/rsp.sock\"".to_owned(),
            Self::Network => "for example \"10.0.0.0/8\", \"::1\" or \"unix\"".to_owned(),
            Self::Table(options) => format!("{{ {} = … }}", options.first().map_or("key", |option| option.name)),
        }
    }

    /// Its bounds, as the reference and the diagnostics write them; None where there are none to speak of.
    pub fn bounds(self) -> Option<String> {
        let written = |min: String, unbounded: bool, max: String| match unbounded {
            true => format!("{min} or more"),
            false => format!("{min} to {max}"),
        };
        match self {
            Self::Integer(min, max) => Some(written(min.to_string(), max >= u64::from(u32::MAX), max.to_string())),
            Self::Duration(0, DURATION_MAX) => None,
            Self::Duration(min, max) => {
                let [min, max] = [min, max].map(|bound| super::units::write_duration(Duration::from_millis(bound)));
                Some(format!("{min} to {max}"))
            }
            Self::Size(min, max) => {
                let [least, most] = [min, max].map(super::units::write_size);
                Some(written(least, max == u64::MAX, most))
            }
            Self::Share => Some("0 to 1".to_owned()),
            _ => None,
        }
    }
}

impl Literal {
    /// As the file would write it; None when it isn't set.
    pub fn written(self) -> Option<String> {
        match self {
            Self::Unset(_) => None,
            Self::Bool(value) => Some(value.to_string()),
            Self::Number(value) => Some(value.to_string()),
            Self::Share(value) => Some(value.to_string()),
            Self::Text(value) => Some(format!("\"{value}\"")),
        }
    }
}
