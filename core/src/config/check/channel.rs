//! `channel`: the name and its parameters, who may do what, and which rules a name has.

use std::{collections::HashMap, sync::Arc};

use super::Checker;
use crate::{
    channel::{BadTemplate, Rules, Template},
    config::{
        checked::{Channel, Origins, Publish, Slow, channel::REPEAT},
        diagnostic::Diagnostic,
        nearest::nearest,
        options,
        raw::{FunctionId, Made, Span, Value},
        reader::{found, strings},
        settings::{Arguments, Setting, Settings},
    },
    route::Pattern,
};

/// The channels of a file: each `channel` that was called is one, in however many routes it stands.
#[derive(Default)]
pub(super) struct Channels {
    /// By the address of the call, which lives as long as the file.
    known: HashMap<usize, Option<Arc<Channel>>>,
    /// The first one of each template, and where it stands.
    first: HashMap<Template, Span>,
    ordered: Vec<Arc<Channel>>,
}

impl Channels {
    /// The first one of each template, in the order of the file.
    pub(super) fn in_order(self) -> Vec<Arc<Channel>> {
        self.ordered
    }
}

impl Checker<'_> {
    pub(super) fn channel(
        &mut self,
        made: &Made,
        arguments: &Arguments<'_>,
        pattern: &Pattern,
    ) -> Option<Arc<Channel>> {
        let name = match arguments.positional.first() {
            Some((Some(Setting::Text(text)), place)) => Some((*text, *place)),
            _ => None,
        };
        let address = std::ptr::from_ref(made) as usize;
        let channel = match self.channels.known.get(&address) {
            Some(known) => known.clone(),
            None => {
                let template = name.and_then(|(text, place)| self.channel_name(text, place));
                let channel = self.one_channel(template, &arguments.settings, made.span).map(Arc::new);
                self.channels.known.insert(address, channel.clone());
                channel
            }
        }?;
        self.parameters(&channel.name, name.map_or(made.span, |(_, place)| place), pattern);
        self.same_rules(&channel, made.span);
        Some(channel)
    }

    fn one_channel(&mut self, name: Option<Template>, settings: &Settings<'_>, span: Span) -> Option<Channel> {
        let publish = self.publish(settings);
        let (subscribe, delete) = (self.hook("subscribe", settings), self.hook("delete", settings));
        let origins = match settings.raw("origins") {
            None => Some(None),
            Some((value, span)) => self.origins("channel", value, span).map(|listed| match listed {
                None => Some(Origins::Any),
                Some(listed) => (!listed.is_empty()).then_some(Origins::Listed(listed)),
            }),
        };
        let field = settings.text("field");
        if field == Some("") {
            let span = settings.span("field", span);
            self.reader.error(span, "`field` of `channel` is empty", "a field's name, for example \"message\"");
        }
        if let Some((value, span)) = settings.raw("protocols") {
            self.protocols(value, span);
        }
        let size = |name: &str| settings.size(name).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let rules = Rules {
            history: usize::try_from(settings.integer("history")?).unwrap_or(usize::MAX),
            ttl: settings.duration("ttl")?,
            repeat: REPEAT,
        };
        Some(Channel {
            rules,
            presence: settings.bool("presence"),
            join_leave: settings.bool("join_leave"),
            publish: publish?,
            subscribe,
            delete,
            origins: origins?,
            field: field.map(Box::from),
            poll_timeout: settings.duration("poll_timeout")?,
            ping: settings.duration("ping")?,
            message_max: size("message_max")?,
            queue_max: size("queue_max")?,
            slow: match settings.text("slow")? {
                "drop_oldest" => Slow::DropOldest,
                "latest" => Slow::Latest,
                _ => Slow::Disconnect,
            },
            name: name?,
        })
    }

    pub(super) fn channel_name(&mut self, text: &str, span: Span) -> Option<Template> {
        match Template::parse(text) {
            Ok(name) => Some(name),
            Err(bad) => {
                let label = match bad {
                    BadTemplate::NeverClosed | BadTemplate::NeverOpened => "a parameter of the route, like \"{room}\"",
                    BadTemplate::Name(_) => "for example \"news\" or \"chat:{room}\"",
                };
                self.reader.error(span, format!("\"{}\" is no channel: {bad}", text.escape_debug()), label);
                None
            }
        }
    }

    /// The declared channel of this template, or one with the default of every option.
    pub(super) fn channel_called(&mut self, name: &Template, span: Span) -> Arc<Channel> {
        if let Some(declared) = self.channels.ordered.iter().find(|declared| declared.name == *name) {
            return Arc::clone(declared);
        }
        let channel = Arc::new(Channel { name: name.clone(), ..Channel::undeclared("") });
        self.same_rules(&channel, span);
        channel
    }

    /// Every `{name}` is a parameter of the route.
    fn parameters(&mut self, name: &Template, span: Span, pattern: &Pattern) {
        for wanted in name.names().filter(|wanted| !pattern.names().any(|known| known == *wanted)) {
            let known: Vec<_> = pattern.names().map(|known| format!("{{{known}}}")).collect();
            let label = match nearest(wanted, pattern.names()) {
                Some(near) => format!("did you mean {{{near}}}?"),
                None if known.is_empty() => format!("this route has no parameters: {pattern}"),
                None => format!("one of {}", known.join(" ")),
            };
            self.reader.error(span, format!("nothing fills in {{{wanted}}} of `channel`"), label);
        }
    }

    /// What the admin API publishes has one declaration's rules, the first one's.
    fn same_rules(&mut self, channel: &Arc<Channel>, span: Span) {
        let Some(&place) = self.channels.first.get(&channel.name) else {
            self.channels.first.insert(channel.name.clone(), span);
            self.channels.ordered.push(Arc::clone(channel));
            return;
        };
        let kept = |channel: &Channel| (channel.rules.history, channel.rules.ttl);
        let first = self.channels.ordered.iter().find(|first| first.name == channel.name);
        if first.is_some_and(|first| kept(first) != kept(channel)) {
            let message = format!("the channel \"{}\" has another `history` or `ttl` here", channel.name);
            let warning = Diagnostic::warning(span, message, "the same in all its routes");
            self.reader.report(warning.note(place, "what the admin API publishes is kept as this one says"));
        }
    }

    fn publish(&mut self, settings: &Settings<'_>) -> Option<Publish> {
        let Some((value, span)) = settings.raw("publish") else { return Some(Publish::Client) };
        match value {
            Value::Function(id) => Some(Publish::Function(*id)),
            Value::Text(text) if text == "client" => Some(Publish::Client),
            Value::Text(text) if text == "server" => Some(Publish::Server),
            Value::Text(text) => {
                let label = match nearest(text, ["client", "server"]) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => "\"client\", \"server\" or a function".to_owned(),
                };
                self.reader.error(span, format!("`publish` of `channel` can't be \"{}\"", text.escape_debug()), label);
                None
            }
            other => {
                let message = format!(
                    "`publish` of `channel` must be \"client\", \"server\" or a function, not {}",
                    found(other)
                );
                self.reader.error(span, message, "for example publish = \"server\"");
                None
            }
        }
    }

    /// A function; where something else stands it has been said.
    fn hook(&mut self, option: &str, settings: &Settings<'_>) -> Option<FunctionId> {
        match settings.raw(option)? {
            (Value::Function(id), _) => Some(*id),
            (other, span) => {
                let message = format!("`{option}` of `channel` must be a function, not {}", found(other));
                self.reader.error(span, message, format!("for example {option} = function(request) return true end"));
                None
            }
        }
    }

    /// The plain protocol is spoken in any case.
    fn protocols(&mut self, value: &Value, span: Span) {
        let Some(texts) = strings(value, span) else {
            let message = format!("`protocols` of `channel` must be a list of names, not {}", found(value));
            return self.reader.error(span, message, "for example { \"plain\" }");
        };
        for (text, span) in texts {
            match options::PROTOCOLS.iter().find(|word| word.name == text) {
                Some(word) if word.landed => {}
                Some(_) => {
                    let message = format!("\"{text}\" as `protocols` of `channel` is not in this version");
                    self.reader.error(span, message, "");
                }
                None => {
                    let landed = || options::PROTOCOLS.iter().filter(|word| word.landed).map(|word| word.name);
                    let label = match nearest(text, landed()) {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None => "only \"plain\"".to_owned(),
                    };
                    let message = format!("`channel` has no protocol \"{}\"", text.escape_debug());
                    self.reader.error(span, message, label);
                }
            }
        }
    }
}
