//! What a call gave: values of the right type, within their bounds, and the defaults of what it didn't give.

use std::{path::PathBuf, time::Duration};

use smallvec::SmallVec;

use super::{
    checked::{Address, Networks},
    options::{Literal, Opt},
    raw::{Span, Value},
    units::{self, Rate},
};

/// One value that has the right type and is within its bounds.
#[derive(Debug)]
pub(super) enum Setting<'v> {
    Bool(bool),
    Integer(u64),
    Share(f64),
    Duration(Duration),
    Size(u64),
    Mode(u32),
    Rate(Rate),
    Word(&'static str),
    Text(&'v str),
    Path(PathBuf),
    Address(Address),
    Network(Networks),
    Table(Box<Settings<'v>>),
    Raw(&'v Value),
}

/// The options that one table gave, and the defaults of the others.
#[derive(Debug)]
pub(super) struct Settings<'v> {
    pub(super) options: &'static [Opt],
    pub(super) given: SmallVec<[(&'static str, Setting<'v>, Span); 2]>,
}

/// What one call gave.
pub(super) struct Arguments<'v> {
    /// None where the value was wrong.
    pub(super) positional: SmallVec<[(Option<Setting<'v>>, Span); 2]>,
    pub(super) settings: Settings<'v>,
}

impl<'v> Settings<'v> {
    /// What was given for an option; None: nothing, or something wrong.
    pub(super) fn given(&self, name: &str) -> Option<&(&'static str, Setting<'v>, Span)> {
        debug_assert!(self.options.iter().any(|option| option.name == name), "`{name}` is in no table");
        self.given.iter().find(|(given, ..)| *given == name)
    }

    fn default(&self, name: &str) -> Literal {
        self.options.iter().find(|option| option.name == name).map_or(Literal::Unset(""), |option| option.default)
    }

    pub(super) fn bool(&self, name: &str) -> bool {
        match self.given(name) {
            Some((_, Setting::Bool(value), _)) => *value,
            _ => self.default(name) == Literal::Bool(true),
        }
    }

    pub(super) fn integer(&self, name: &str) -> Option<u64> {
        match (self.given(name), self.default(name)) {
            (Some((_, Setting::Integer(value), _)), _) => Some(*value),
            (_, Literal::Number(value)) => Some(u64::from(value)),
            _ => None,
        }
    }

    pub(super) fn share(&self, name: &str) -> Option<f64> {
        match (self.given(name), self.default(name)) {
            (Some((_, Setting::Share(value), _)), _) => Some(*value),
            (_, Literal::Share(value)) => Some(value),
            _ => None,
        }
    }

    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        match (self.given(name), self.default(name)) {
            (Some((_, Setting::Duration(value), _)), _) => Some(*value),
            (_, Literal::Text(text)) => units::duration(text),
            _ => None,
        }
    }

    pub(super) fn size(&self, name: &str) -> Option<u64> {
        match (self.given(name), self.default(name)) {
            (Some((_, Setting::Size(value), _)), _) => Some(*value),
            (_, Literal::Text(text)) => units::size(text),
            _ => None,
        }
    }

    pub(super) fn mode(&self, name: &str) -> Option<u32> {
        match (self.given(name), self.default(name)) {
            (Some((_, Setting::Mode(value), _)), _) => Some(*value),
            (_, Literal::Text(text)) => units::mode(text),
            _ => None,
        }
    }

    pub(super) fn rate(&self, name: &str) -> Option<Rate> {
        match self.given(name) {
            Some((_, Setting::Rate(value), _)) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&'v str> {
        match (self.given(name), self.default(name)) {
            (Some((_, Setting::Text(value), _)), _) => Some(value),
            (Some((_, Setting::Word(value), _)), _) => Some(value),
            (_, Literal::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn table(&self, name: &str) -> Option<&Settings<'v>> {
        match self.given(name) {
            Some((_, Setting::Table(value), _)) => Some(value),
            _ => None,
        }
    }

    pub(super) fn raw(&self, name: &str) -> Option<(&'v Value, Span)> {
        match self.given(name) {
            Some((_, Setting::Raw(value), span)) => Some((value, *span)),
            _ => None,
        }
    }

    /// Where an option was given, or the place of its owner.
    pub(super) fn span(&self, name: &str, otherwise: Span) -> Span {
        self.given(name).map_or(otherwise, |(_, _, span)| *span)
    }

    /// No options of a table: all of them have their defaults.
    pub(super) fn defaults(options: &'static [Opt]) -> Self {
        Self { options, given: SmallVec::new() }
    }
}

impl<'v> Arguments<'v> {
    /// The value at a position; None: not given, or wrong.
    pub(super) fn at(&self, index: usize) -> Option<&Setting<'v>> {
        self.positional.get(index).and_then(|(setting, _)| setting.as_ref())
    }

    /// All networks given by position.
    pub(super) fn networks(self) -> Networks {
        let mut all = Networks::default();
        for (setting, _) in self.positional {
            if let Some(Setting::Network(networks)) = setting {
                all.unix |= networks.unix;
                all.nets.extend(networks.nets);
            }
        }
        all
    }
}
