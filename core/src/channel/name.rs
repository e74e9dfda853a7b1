//! Names of channels: what a name is, and templates such as `chat:{room}` that a route's parameters fill in.
//!
//! **Invariant:** what a template is filled to is a name, and the template matches it.

use std::{fmt, sync::Arc};

use crate::route::Params;

/// Bytes of a name: it is a key of every broker, and stands in logs and in the admin API's URLs.
pub const NAME_MAX: usize = 255;

/// Checks a channel's name: 1 to [`NAME_MAX`] bytes of UTF-8 without control characters.
pub fn check_name(name: &str) -> Result<(), BadName> {
    match name {
        "" => Err(BadName::Empty),
        _ if name.len() > NAME_MAX => Err(BadName::TooLong),
        _ if name.contains(char::is_control) => Err(BadName::Control),
        _ => Ok(()),
    }
}

/// Why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadName {
    /// Nothing in it.
    Empty,
    /// Over [`NAME_MAX`] bytes.
    TooLong,
    /// A parameter that is not UTF-8.
    NotUtf8,
    /// A control character.
    Control,
    /// The route has no parameter of that name; a checked config has no such template.
    NoParameter,
}

/// A channel's name as the config writes it, with `{name}` for parameters of its route. A clone shares the text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Template {
    text: Arc<str>,
}

impl Template {
    /// Checks a template like `chat:{room}`, without its parameters: only a route knows them.
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        let template = Self { text: text.into() };
        let mut least = 0;
        for part in template.parts() {
            match part {
                Part::Literal(literal) if literal.contains('{') => return Err(BadTemplate::NeverClosed),
                Part::Literal(literal) if literal.contains('}') => return Err(BadTemplate::NeverOpened),
                Part::Literal(literal) => least += literal.len(),
                // A parameter is never empty.
                Part::Parameter(_) => least += 1,
            }
        }
        match check_name(text) {
            Err(BadName::TooLong) if least <= NAME_MAX => Ok(template),
            checked => checked.map(|()| template).map_err(BadTemplate::Name),
        }
    }

    /// A name that no route fills in; its braces, if it has any, mean nothing to anybody.
    pub fn unchecked(name: &str) -> Self {
        Self { text: name.into() }
    }

    /// The parameters that it needs, from the left; one that stands twice is there twice.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts().filter_map(|part| match part {
            Part::Parameter(name) => Some(name),
            Part::Literal(_) => None,
        })
    }

    /// The name that it stands for in one request.
    ///
    /// Parameters are of the client's choice: what they come to may be no name.
    pub fn fill(&self, params: &Params) -> Result<Arc<str>, BadName> {
        if !self.text.contains('{') {
            return Ok(Arc::clone(&self.text));
        }
        let mut name = String::with_capacity(self.text.len() + 32);
        for part in self.parts() {
            let text = match part {
                Part::Literal(literal) => literal,
                // One by one: two halves of a character must not come together.
                Part::Parameter(parameter) => {
                    let value = params.get(parameter).ok_or(BadName::NoParameter)?;
                    str::from_utf8(value).map_err(|_| BadName::NotUtf8)?
                }
            };
            if name.len() + text.len() > NAME_MAX {
                return Err(BadName::TooLong);
            }
            name.push_str(text);
        }
        check_name(&name)?;
        Ok(name.into())
    }

    /// Whether a request could have filled it to this name. A parameter that stands twice may stand for two texts here.
    ///
    /// Takes time in proportion to the name and the template's parts.
    pub fn matches(&self, name: &str) -> bool {
        if check_name(name).is_err() {
            return false;
        }
        // Bytes of the name that the parts so far may have taken.
        let mut taken = [false; NAME_MAX + 1];
        taken[0] = true;
        for part in self.parts() {
            let before = std::mem::replace(&mut taken, [false; NAME_MAX + 1]);
            match part {
                Part::Literal(literal) => {
                    let starts = (0..=name.len()).filter(|&at| before[at]);
                    let fits = starts.filter(|&at| name.as_bytes()[at..].starts_with(literal.as_bytes()));
                    fits.for_each(|at| taken[at + literal.len()] = true);
                }
                // At least one character, none of them a `/`.
                Part::Parameter(_) => {
                    let mut is_open = false;
                    for (at, character) in name.char_indices() {
                        is_open = (is_open || before[at]) && character != '/';
                        taken[at + character.len_utf8()] = is_open;
                    }
                }
            }
        }
        taken[name.len()]
    }

    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let mut rest: &str = &self.text;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let parameter = rest.strip_prefix('{').and_then(|after| after.split_once('}'));
            if let Some((name, after)) = parameter.filter(|(name, _)| !name.contains('{')) {
                rest = after;
                return Some(Part::Parameter(name));
            }
            // A brace at the start is one that nothing closes; a literal that holds one is refused.
            let end = rest.match_indices('{').map(|(at, _)| at).find(|at| *at > 0).unwrap_or(rest.len());
            let (literal, after) = rest.split_at(end);
            rest = after;
            Some(Part::Literal(literal))
        })
    }
}

/// Why a template is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadTemplate {
    /// Whatever fills it in, it is no name.
    Name(BadName),
    /// A `{` without its `}`.
    NeverClosed,
    /// A `}` without its `{`.
    NeverOpened,
}

enum Part<'t> {
    Literal(&'t str),
    Parameter(&'t str),
}

/// As it was written.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a channel's name is not empty"),
            Self::TooLong => write!(f, "a channel's name has {NAME_MAX} bytes at most"),
            Self::NotUtf8 => f.write_str("a channel's name is UTF-8"),
            Self::Control => f.write_str("a channel's name has no control characters"),
            Self::NoParameter => f.write_str("the route has no such parameter"),
        }
    }
}

impl std::error::Error for BadName {}

impl fmt::Display for BadTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(bad) => bad.fmt(f),
            Self::NeverClosed => f.write_str("a `{` is never closed"),
            Self::NeverOpened => f.write_str("a `}` closes nothing"),
        }
    }
}

impl std::error::Error for BadTemplate {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Lookup, Path, Pattern, Table};

    fn template(text: &str) -> Template {
        Template::parse(text).unwrap()
    }

    /// What a request for `path` on a route of this pattern fills a template to.
    fn filled(text: &str, pattern: &str, path: &str) -> Result<String, BadName> {
        let table = Table::build(vec![(None, Pattern::parse(pattern).unwrap(), ())]).unwrap();
        let path = Path::new(path.as_bytes()).unwrap();
        let Lookup::Found(found) = table.find(&http::Method::GET, &path) else { panic!("{pattern} has no {path:?}") };
        let name = template(text).fill(&found.params)?;
        assert!(template(text).matches(&name), "{text} was filled to {name}");
        Ok(name.to_string())
    }

    #[test]
    fn a_template_is_filled_from_the_path() {
        let filled = |text, path| filled(text, "/{room}/{user}", path);
        assert_eq!(filled("news", "/a/b").unwrap(), "news");
        assert_eq!(filled("chat:{room}", "/a/b").unwrap(), "chat:a");
        assert_eq!(filled("{user}/{room}!", "/a/b").unwrap(), "b/a!");
        assert_eq!(filled("{room}{room}", "/%C3%BC%20x/b").unwrap(), "ü xü x");
    }

    #[test]
    fn what_a_client_chooses_may_be_no_name() {
        let filled = |text, path: &str| filled(text, "/{room}/{user}", path);
        assert_eq!(filled("{room}", "/%0A/b"), Err(BadName::Control));
        assert_eq!(filled("{room}", "/%C2%85/b"), Err(BadName::Control));
        assert_eq!(filled("{room}", "/%FF/b"), Err(BadName::NotUtf8));
        assert_eq!(filled("{room}{user}", "/%C3/%BC"), Err(BadName::NotUtf8));
        assert_eq!(filled("{other}", "/a/b"), Err(BadName::NoParameter));
        let long = |length: usize| filled("x{room}", &format!("/{}/b", "a".repeat(length)));
        assert_eq!(long(NAME_MAX - 1).unwrap().len(), NAME_MAX);
        assert_eq!(long(NAME_MAX), Err(BadName::TooLong));
    }

    #[test]
    fn a_template_that_can_not_become_a_name_is_refused() {
        let long = "a".repeat(NAME_MAX);
        for (text, error) in [
            ("", BadTemplate::Name(BadName::Empty)),
            ("a\u{7f}", BadTemplate::Name(BadName::Control)),
            (&*format!("{long}a"), BadTemplate::Name(BadName::TooLong)),
            (&*format!("{long}{{x}}"), BadTemplate::Name(BadName::TooLong)),
            ("{", BadTemplate::NeverClosed),
            ("a{b", BadTemplate::NeverClosed),
            ("{a{b}", BadTemplate::NeverClosed),
            ("a{b}{", BadTemplate::NeverClosed),
            ("a}", BadTemplate::NeverOpened),
            ("{a}}", BadTemplate::NeverOpened),
        ] {
            assert_eq!(Template::parse(text), Err(error), "{text}");
        }
        let names = |text| template(text).names().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(names("{a}:{b}{a}"), ["a", "b", "a"]);
        assert_eq!(names("{}"), [""]);
        let only_its_braces_are_long = format!("{{{long}}}");
        assert_eq!(template(&only_its_braces_are_long).to_string(), only_its_braces_are_long);
    }

    #[test]
    fn a_name_is_told_by_its_template() {
        for (text, name, matches) in [
            ("news", "news", true),
            ("news", "new", false),
            ("news", "newsy", false),
            ("chat:{room}", "chat:a", true),
            ("chat:{room}", "chat:ü", true),
            ("chat:{room}", "chat:", false),
            ("chat:{room}", "chat:a/b", false),
            ("chat:{room}", "Chat:a", false),
            ("{a}/{b}", "x/y", true),
            ("{a}/{b}", "x/y/z", false),
            ("{a}:{b}", "x:y:z", true),
            ("{a}:{b}", ":x", false),
            ("{a}{b}", "xy", true),
            ("{a}{b}", "ü", false),
            ("{a}b{c}b", "abbb", true),
            ("{a}b{c}b", "bbbb", true),
            ("{a}b{c}b", "bbb", false),
            ("{room}", "a\n", false),
            ("{room}", "", false),
        ] {
            assert_eq!(template(text).matches(name), matches, "{text} {name:?}");
        }
        assert!(template("{a}").matches(&"x".repeat(NAME_MAX)));
        assert!(!template("{a}").matches(&"x".repeat(NAME_MAX + 1)));
    }
}
