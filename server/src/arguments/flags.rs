//! Flags as Go's package `flag` reads them: `-name`, `--name`, `-name=value`, `-name value`; `--` or the first other word
//! ends them.

/// One flag of a table.
pub struct Flag {
    /// Without hyphens.
    pub name: &'static str,
    /// What comes with it.
    pub takes: Takes,
    /// What the help says of it.
    pub help: &'static str,
}

/// What comes with a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing, or `=true`, `=false`, and the like.
    Nothing,
    /// A text, which the help calls so.
    Text(&'static str),
    /// A number, which the help calls so.
    Number(&'static str),
    /// A number that is not negative.
    Count(&'static str),
}

impl Takes {
    /// As the help shows it behind the name.
    pub fn value(self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Text(value) | Self::Number(value) | Self::Count(value) => format!("={value}"),
        }
    }
}

/// What a command line says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Given {
    flags: Vec<(&'static str, Value)>,
    /// The words behind the flags.
    pub rest: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Value {
    Switch(bool),
    Text(String),
    Number(i64),
}

/// Why a command line can't be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// `-h` or `-help`: nothing is wrong.
    Help,
    /// A line that says it, in Go's words.
    Line(String),
}

/// Reads a command line by a table.
pub fn parse(words: impl IntoIterator<Item = String>, table: &[Flag]) -> Result<Given, Wrong> {
    let mut words = words.into_iter();
    let mut given = Given::default();
    while let Some(word) = words.next() {
        let Some(text) = word.strip_prefix('-').filter(|text| !text.is_empty()) else {
            given.rest.push(word);
            break;
        };
        let text = text.strip_prefix('-').unwrap_or(text);
        if text.is_empty() {
            break;
        }
        if text.starts_with(['-', '=']) {
            return Err(Wrong::Line(format!("bad flag syntax: {word}")));
        }
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let Some(flag) = table.iter().find(|flag| flag.name == name) else {
            return Err(match name {
                "h" | "help" => Wrong::Help,
                _ => Wrong::Line(format!("flag provided but not defined: -{name}")),
            });
        };
        let value = match (flag.takes, value) {
            (Takes::Nothing, value) => switch(name, value.as_deref())?,
            (takes, value) => {
                let missing = || Wrong::Line(format!("flag needs an argument: -{name}"));
                of(takes, name, value.or_else(|| words.next()).ok_or_else(missing)?)?
            }
        };
        given.flags.push((flag.name, value));
    }
    given.rest.extend(words);
    Ok(given)
}

/// As `strconv.ParseBool`.
fn switch(name: &str, value: Option<&str>) -> Result<Value, Wrong> {
    match value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Value::Switch(true)),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Value::Switch(false)),
        Some(value) => Err(Wrong::Line(format!("invalid boolean value {value:?} for -{name}: parse error"))),
    }
}

fn of(takes: Takes, name: &str, value: String) -> Result<Value, Wrong> {
    let invalid = |why| Wrong::Line(format!("invalid value {value:?} for flag -{name}: {why}"));
    let number = match takes {
        Takes::Nothing | Takes::Text(_) => return Ok(Value::Text(value)),
        Takes::Number(_) => number(&value),
        Takes::Count(_) => number(&value).filter(|_| !value.starts_with(['-', '+'])),
    };
    let number = number.ok_or_else(|| invalid("parse error"))?;
    number.map(Value::Number).ok_or_else(|| invalid("value out of range"))
}

/// As `strconv.ParseInt(text, 0, 64)`: `0x`, `0o`, `0b` and `0` choose the base, `_` may separate digits. None: no number;
/// `Some(None)`: one that is too large.
fn number(text: &str) -> Option<Option<i64>> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, prefix) = match lower.get(..2) {
        Some("0x") => (16, 2),
        Some("0o") => (8, 2),
        Some("0b") => (2, 2),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, 1),
        _ => (10, 0),
    };
    // An underscore stands between digits, or between the prefix and the first one.
    let digits = &lower[prefix..];
    let lone = digits.ends_with('_') || digits.contains("__") || (prefix == 0 && digits.starts_with('_'));
    let digits = digits.replace('_', "");
    if lone || digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(base)) {
        return None;
    }
    Some(i64::from_str_radix(&format!("{sign}{digits}"), base).ok())
}

impl Given {
    /// Whether a switch is on; the last word counts.
    pub fn switch(&self, name: &str) -> bool {
        matches!(self.last(name), Some(Value::Switch(true)))
    }

    /// A text; the last one counts. An empty one is none.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.last(name) {
            Some(Value::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// All texts of a flag that may be repeated.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.flags.iter().filter_map(move |(given, value)| match value {
            Value::Text(text) if *given == name => Some(&**text),
            _ => None,
        })
    }

    /// A number; the last one counts.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.last(name) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// Whether a flag was given at all.
    pub fn has(&self, name: &str) -> bool {
        self.last(name).is_some()
    }

    /// Whether there is anything at all.
    pub fn has_any(&self) -> bool {
        !self.flags.is_empty() || !self.rest.is_empty()
    }

    fn last(&self, name: &str) -> Option<&Value> {
        self.flags.iter().rev().find(|(given, _)| *given == name).map(|(_, value)| value)
    }
}

/// The flags, each with what comes with it and what it does, for a terminal of 80 columns.
pub fn help(table: &[Flag]) -> String {
    const WIDTH: usize = 72;
    let mut out = String::new();
    for Flag { name, takes, help } in table {
        out.push_str(&format!("  --{name}{}\n", takes.value()));
        let mut line = String::new();
        for word in help.split(' ') {
            if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
                out.push_str(&format!("        {line}\n"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        out.push_str(&format!("        {line}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Flag] = &[
        Flag { name: "port", takes: Takes::Number("PORT"), help: "" },
        Flag { name: "ms", takes: Takes::Count("MS"), help: "" },
        Flag { name: "dir", takes: Takes::Text("DIR"), help: "" },
        Flag { name: "ssl", takes: Takes::Nothing, help: "" },
    ];

    fn read(words: &str) -> Result<Given, Wrong> {
        parse(words.split(' ').filter(|word| !word.is_empty()).map(str::to_owned), TABLE)
    }

    fn line(words: &str) -> String {
        match read(words) {
            Err(Wrong::Line(line)) => line,
            other => panic!("{words}: {other:?}"),
        }
    }

    #[test]
    fn one_hyphen_is_as_good_as_two_and_a_value_may_be_the_next_word() {
        for words in ["-port 80 cat", "--port 80 cat", "--port=80 cat", "-port=80 -- cat", "-port=9 -port=0x50 cat"] {
            let given = read(words).unwrap();
            assert_eq!((given.number("port"), &*given.rest), (Some(80), &["cat".to_owned()][..]), "{words}");
        }
    }

    #[test]
    fn the_first_other_word_ends_the_flags() {
        for (words, rest) in [
            ("cat -port 80", &["cat", "-port", "80"][..]),
            ("-- -port 80", &["-port", "80"]),
            ("-ssl - -x", &["-", "-x"]),
            ("-ssl true", &["true"]),
            ("", &[]),
        ] {
            assert_eq!(read(words).unwrap().rest, rest, "{words}");
        }
    }

    #[test]
    fn a_switch_takes_what_go_takes_for_a_truth() {
        for (words, on) in
            [("--ssl", true), ("-ssl=1", true), ("-ssl=T", true), ("-ssl=False", false), ("-ssl -ssl=0", false)]
        {
            assert_eq!(read(words).unwrap().switch("ssl"), on, "{words}");
        }
        assert_eq!(line("-ssl=maybe"), "invalid boolean value \"maybe\" for -ssl: parse error");
    }

    #[test]
    fn numbers_are_gos() {
        for (text, number) in [
            ("80", 80),
            ("0x50", 80),
            ("0120", 80),
            ("0o120", 80),
            ("0b1010000", 80),
            ("-3", -3),
            ("+8_0", 80),
            ("0x_50", 80),
            ("0", 0),
        ] {
            assert_eq!(read(&format!("-port {text}")).unwrap().number("port"), Some(number), "{text}");
        }
        for text in ["", "abc", "8o", "0x", "09", "_8", "8_", "8__0", "1.5", "-", "+-3"] {
            let found = parse(["-port".to_owned(), text.to_owned()], TABLE);
            assert_eq!(found, Err(Wrong::Line(format!("invalid value {text:?} for flag -port: parse error"))));
        }
        assert_eq!(line("-ms -1"), "invalid value \"-1\" for flag -ms: parse error");
        assert_eq!(
            line("-port 9223372036854775808"),
            "invalid value \"9223372036854775808\" for flag -port: value out of range"
        );
    }

    #[test]
    fn what_is_wrong_is_said_in_gos_words() {
        for (words, said) in [
            ("-bogus", "flag provided but not defined: -bogus"),
            ("--bogus=3", "flag provided but not defined: -bogus"),
            ("-port", "flag needs an argument: -port"),
            ("---", "bad flag syntax: ---"),
            ("--=3", "bad flag syntax: --=3"),
            ("-=3", "bad flag syntax: -=3"),
        ] {
            assert_eq!(line(words), said);
        }
        assert_eq!((read("-h"), read("--help")), (Err(Wrong::Help), Err(Wrong::Help)));
    }

    #[test]
    fn texts_are_repeated_and_an_empty_one_is_none() {
        let given = read("-dir a -dir= -dir=b=c").unwrap();
        assert_eq!(given.texts("dir").collect::<Vec<_>>(), ["a", "", "b=c"]);
        assert_eq!(given.text("dir"), Some("b=c"));
        let empty = read("-dir=").unwrap();
        assert_eq!((empty.text("dir"), empty.has("dir")), (None, true));
    }
}
