//! Reads arguments and options against the table of options: forms, types, bounds, unknown keys.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use smallvec::SmallVec;

use super::{
    address::{self, AddressError},
    checked::Networks,
    diagnostic::Diagnostic,
    nearest::nearest,
    networks::NetworkError,
    options::{Constructor, Opt, Type, Word},
    raw::{Entry, Item, Key, Made, Source, Span, Table, Value},
    settings::{Arguments, Setting, Settings},
    units,
};

/// More diagnostics than this are counted, not kept: a loop over 100,000 sites can be wrong in each of them.
const DIAGNOSTICS_MAX: usize = 1000;

/// Reads values and collects what is wrong with them.
pub(super) struct Reader<'a> {
    sources: &'a [Source],
    folder: &'a Path,
    findings: Vec<Diagnostic>,
    left_out: usize,
}

/// What a value is for, and where it stands; the name is only spelled out when something is wrong.
pub(super) struct Subject<'s> {
    span: Span,
    name: &'s dyn Fn() -> String,
}

impl Subject<'_> {
    fn name(&self) -> String {
        (self.name)()
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(sources: &'a [Source], folder: &'a Path) -> Self {
        Self { sources, folder, findings: Vec::new(), left_out: 0 }
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        match self.findings.len() < DIAGNOSTICS_MAX {
            true => self.findings.push(diagnostic.located(self.sources)),
            false => self.left_out += 1,
        }
    }

    pub(super) fn error(&mut self, span: Span, message: impl Into<String>, label: impl Into<String>) {
        self.report(Diagnostic::error(span, message, label));
    }

    /// What was found, in source order.
    pub(super) fn findings(mut self) -> Vec<Diagnostic> {
        self.findings.sort_by_key(|finding| finding.span);
        if self.left_out > 0 {
            let message = format!("{} more like these are not shown", self.left_out);
            self.findings.push(Diagnostic::error(Span::default(), message, ""));
        }
        self.findings
    }

    /// The folder against which a path said at this place is resolved.
    pub(super) fn folder(&self, span: Span) -> PathBuf {
        let source = self.sources.get(span.file as usize).and_then(|source| source.path.parent());
        source.map_or(self.folder.to_owned(), |parent| self.folder.join(parent))
    }

    /// A path said at this place, absolute if the working folder is.
    pub(super) fn path(&self, text: &str, span: Span) -> PathBuf {
        let path = self.folder(span).join(text.strip_prefix("./").unwrap_or(text));
        path.components().collect()
    }

    /// Whether the constructor is in this version; an error if not.
    pub(super) fn landed(&mut self, constructor: &Constructor, span: Span) -> bool {
        if !constructor.landed {
            self.error(span, format!("`{}` is not in this version", constructor.name), "");
        }
        constructor.landed
    }

    /// The arguments and options of one call.
    pub(super) fn arguments<'v>(&mut self, constructor: &'static Constructor, made: &'v Made) -> Arguments<'v> {
        let name = constructor.name;
        let items = &made.arguments.items;
        if items.len() < constructor.required {
            let missing = constructor.positional.get(items.len()).map_or("value".to_owned(), argument);
            self.error(
                made.span,
                format!("`{name}` needs its {missing}"),
                format!("for example {}", constructor.usage),
            );
        }
        let most = if constructor.repeats { usize::MAX } else { constructor.positional.len() };
        if let Some(extra) = items.get(most) {
            let message = match most {
                0 => format!("`{name}` takes options only, by name"),
                1 => format!("`{name}` takes one value"),
                _ => format!("`{name}` takes {most} values at most"),
            };
            self.error(extra.span, message, format!("for example {}", constructor.usage));
        }
        let positional = items.iter().take(most).enumerate().filter_map(|(index, item)| {
            let spec = constructor.positional.get(index).or(constructor.positional.last())?;
            let at = Subject { span: item.span, name: &|| format!("the {} of `{name}`", argument(spec)) };
            Some((self.value(spec.of, &item.value, &at), item.span))
        });
        let positional = positional.collect();
        Arguments { positional, settings: self.settings(name, constructor.options, &made.arguments.entries) }
    }

    /// The options of one table; `owner` is the constructor or the key that the table belongs to.
    pub(super) fn settings<'v>(
        &mut self,
        owner: &str,
        options: &'static [Opt],
        entries: impl IntoIterator<Item = &'v Entry>,
    ) -> Settings<'v> {
        let mut given = SmallVec::new();
        for entry in entries {
            let Some(option) = self.option(owner, options, entry) else { continue };
            let at = Subject { span: entry.span, name: &|| format!("`{}` of `{owner}`", option.name) };
            let setting = match (option.of, &entry.value) {
                (Type::Table(options), Value::Table(table)) => {
                    if let Some(item) = table.items.first() {
                        self.error(item.span, format!("{} takes options by name", at.name()), option.of.example());
                    }
                    Some(Setting::Table(Box::new(self.settings(option.name, options, &table.entries))))
                }
                (of, value) => self.value(of, value, &at),
            };
            given.extend(setting.map(|setting| (option.name, setting, entry.span)));
        }
        Settings { options, given }
    }

    fn option(&mut self, owner: &str, options: &'static [Opt], entry: &Entry) -> Option<&'static Opt> {
        let key = match &entry.key {
            Key::Text(key) => key.as_str(),
            Key::Number(number) => {
                self.error(entry.span, format!("`{owner}` has no option [{number}]"), one_of(options));
                return None;
            }
        };
        let Some(option) = options.iter().find(|option| option.name == key) else {
            let near = nearest(key, options.iter().filter(|option| option.landed).map(|option| option.name));
            let label = near.map_or_else(|| one_of(options), |near| format!("did you mean `{near}`?"));
            self.error(entry.span, format!("`{owner}` has no option `{key}`"), label);
            return None;
        };
        if !option.landed {
            self.error(entry.span, format!("`{key}` of `{owner}` is not in this version"), "");
            return None;
        }
        Some(option)
    }

    /// One value of a type; what it is for is only spelled out when it is wrong.
    pub(super) fn value<'v>(&mut self, of: Type, value: &'v Value, at: &Subject<'_>) -> Option<Setting<'v>> {
        match (of, value) {
            (Type::Bool, Value::Bool(value)) => Some(Setting::Bool(*value)),
            (Type::Integer(min, max), Value::Number(number)) => {
                let whole = self.whole(of, *number, at)?;
                self.bounded(of, whole, min, max, at).map(Setting::Integer)
            }
            (Type::Size(min, max), Value::Number(number)) => {
                let bytes = self.whole(of, *number, at)?;
                self.bounded(of, bytes, min, max, at).map(Setting::Size)
            }
            (Type::Share, Value::Number(number)) => {
                let share = Some(*number).filter(|share| (0.0..=1.0).contains(share));
                share.map(Setting::Share).or_else(|| self.out_of_range(of, &number.to_string(), at))
            }
            (Type::Other(..), value) => Some(Setting::Raw(value)),
            (_, Value::Text(text)) => self.text(of, text, at),
            _ => self.wrong(of, &found(value), at),
        }
    }

    fn text<'v>(&mut self, of: Type, text: &'v str, at: &Subject<'_>) -> Option<Setting<'v>> {
        let quoted = || format!("\"{}\"", text.escape_debug());
        match of {
            Type::Duration(min, max) => {
                let Some(duration) = units::duration(text) else { return self.wrong(of, &quoted(), at) };
                match (Duration::from_millis(min)..=Duration::from_millis(max)).contains(&duration) {
                    true => Some(Setting::Duration(duration)),
                    false => self.out_of_range(of, &quoted(), at),
                }
            }
            Type::Size(min, max) => {
                let Some(bytes) = units::size(text) else { return self.wrong(of, &quoted(), at) };
                self.bounded(of, bytes, min, max, at).map(Setting::Size)
            }
            Type::Mode => match units::mode(text) {
                Some(mode) => Some(Setting::Mode(mode)),
                None => self.wrong(of, &quoted(), at),
            },
            Type::Rate => match units::rate(text) {
                Some(rate) => Some(Setting::Rate(rate)),
                None => self.wrong(of, &quoted(), at),
            },
            Type::Choice(words) => self.word(words, text, at),
            Type::Text if text.contains(['\0', '\r', '\n']) => self.wrong_characters(at),
            Type::Text => Some(Setting::Text(text)),
            // Who takes lines says what else they may not have.
            Type::Lines => Some(Setting::Text(text)),
            Type::Path if text.contains('\0') => self.wrong_characters(at),
            Type::Path if text.is_empty() => self.wrong(of, "empty", at),
            Type::Path => Some(Setting::Path(self.path(text, at.span))),
            Type::Address => match address::listen_address(text, &self.folder(at.span)) {
                Ok(address) => Some(Setting::Address(address)),
                Err(AddressError::Write(label)) => {
                    self.error(at.span, format!("{} is no address to listen on: {}", at.name(), quoted()), label);
                    None
                }
            },
            Type::Network => self.network(text, at),
            // It may be a secret that belongs one table further in.
            Type::Table(_) => self.wrong(of, "a string", at),
            _ => self.wrong(of, &quoted(), at),
        }
    }

    fn word<'v>(&mut self, words: &[Word], text: &str, at: &Subject<'_>) -> Option<Setting<'v>> {
        let Some(word) = words.iter().find(|word| word.name == text) else {
            let landed = || words.iter().filter(|word| word.landed).map(|word| word.name);
            let label = match nearest(text, landed()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("one of {}", landed().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")),
            };
            self.error(at.span, format!("{} can't be \"{}\"", at.name(), text.escape_debug()), label);
            return None;
        };
        if !word.landed {
            self.error(at.span, format!("\"{text}\" as {} is not in this version", at.name()), "");
            return None;
        }
        Some(Setting::Word(word.name))
    }

    fn network<'v>(&mut self, text: &str, at: &Subject<'_>) -> Option<Setting<'v>> {
        let mut networks = Networks::default();
        match networks.add(text) {
            Ok(()) => Some(Setting::Network(networks)),
            Err(NetworkError::Malformed) => self.wrong(Type::Network, &format!("\"{}\"", text.escape_debug()), at),
            Err(NetworkError::HostBits(meant)) => {
                let message = format!("{} has bits set behind its prefix: \"{text}\"", at.name());
                self.error(at.span, message, format!("did you mean \"{meant}\"?"));
                None
            }
        }
    }

    /// A number without fraction and sign; below 2^53, where every whole number is exact.
    fn whole(&mut self, of: Type, number: f64, at: &Subject<'_>) -> Option<u64> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if number.fract() != 0.0 || !number.is_finite() {
            let message = format!("{} must be a whole number, not {number}", at.name());
            self.error(at.span, message, of.example());
            return None;
        }
        match (0.0..EXACT).contains(&number) {
            true => Some(number as u64),
            false => self.out_of_range(of, &number.to_string(), at),
        }
    }

    fn bounded(&mut self, of: Type, n: u64, min: u64, max: u64, at: &Subject<'_>) -> Option<u64> {
        match (min..=max).contains(&n) {
            true => Some(n),
            false => self.out_of_range(of, &n.to_string(), at),
        }
    }

    fn out_of_range<T>(&mut self, of: Type, found: &str, at: &Subject<'_>) -> Option<T> {
        let bounds = of.bounds().unwrap_or_default();
        self.error(at.span, format!("{} is out of range: {found}", at.name()), bounds);
        None
    }

    fn wrong<T>(&mut self, of: Type, found: &str, at: &Subject<'_>) -> Option<T> {
        self.error(at.span, format!("{} must be {}, not {found}", at.name(), of.says()), of.example());
        None
    }

    fn wrong_characters<T>(&mut self, at: &Subject<'_>) -> Option<T> {
        self.error(at.span, format!("{} has a line break or NUL in it", at.name()), "");
        None
    }
}

/// What a person calls a value of the file.
pub(super) fn found(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::Text(_) => "a string".to_owned(),
        Value::Function(_) => "a function".to_owned(),
        Value::Table(_) => "a table".to_owned(),
        Value::Made(made) => format!("`{}`", made.what),
    }
}

fn argument(spec: &Opt) -> String {
    spec.name.to_lowercase()
}

fn one_of(options: &[Opt]) -> String {
    let names: Vec<_> = options.iter().filter(|option| option.landed).map(|option| option.name).collect();
    match names.as_slice() {
        [] => "it has no options".to_owned(),
        [name] => format!("it has only `{name}`"),
        _ => format!("it has {}", names.join(", ")),
    }
}

/// The strings of a single string or of a list of them, with their places; None if it is neither.
pub(super) fn strings(value: &Value, span: Span) -> Option<Vec<(&str, Span)>> {
    match value {
        Value::Text(text) => Some(vec![(text, span)]),
        Value::Table(Table { items, entries }) if entries.is_empty() => items.iter().map(text_of).collect(),
        _ => None,
    }
}

fn text_of(item: &Item) -> Option<(&str, Span)> {
    match &item.value {
        Value::Text(text) => Some((text, item.span)),
        _ => None,
    }
}
