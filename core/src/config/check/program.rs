//! `exec`, `cgi` and `bridge`: programs that are there, and options that go together.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Checker, PathKind, cors};
use crate::{
    config::{
        checked::{
            Bridge, Cgi, Channel, Command, Exec, Framing, Handler, PageOrigin, Pages, PagesOf, ProcessLimits, Program,
            Talk,
        },
        options::{self, Kind},
        raw::{Key, Made, Span, Value},
        reader::{found, strings},
        settings::{Arguments, Setting, Settings},
    },
    route::Pattern,
};

/// The variables that are passed on unless the config says which, as websocketd has them.
const PASSENV: [&str; 2] = ["PATH", "LD_LIBRARY_PATH"];

/// The programs of a file: each `exec` that was called is one, in however many routes it stands.
#[derive(Default)]
pub(super) struct Programs {
    /// By the address of the call, which lives as long as the file.
    known: HashMap<usize, Option<Arc<Exec>>>,
    names: HashSet<String>,
    /// What an `otherwise` inside of an `exec` is called by: its `exec`.
    within: Option<Arc<str>>,
    ordered: Vec<Arc<Exec>>,
}

impl Programs {
    /// Those with one process for everybody, in the order of the file.
    pub(super) fn for_everybody(self) -> Vec<Arc<Exec>> {
        self.ordered.into_iter().filter(|exec| exec.shared || exec.channel.is_some()).collect()
    }
}

impl Checker<'_> {
    pub(super) fn exec(&mut self, made: &Made, arguments: &Arguments<'_>, pattern: &Pattern) -> Option<Arc<Exec>> {
        let address = std::ptr::from_ref(made) as usize;
        if let Some(known) = self.programs.known.get(&address) {
            return known.clone();
        }
        let exec = self.one_exec(made, arguments, pattern).map(Arc::new);
        self.programs.ordered.extend(exec.clone());
        self.programs.known.insert(address, exec.clone());
        exec
    }

    fn one_exec(&mut self, made: &Made, arguments: &Arguments<'_>, pattern: &Pattern) -> Option<Exec> {
        let (settings, span) = (&arguments.settings, made.span);
        let program = self.what_runs(arguments, pattern, span);
        let name = self.name_of_program(program.as_ref());
        let command = self.command("exec", settings, span);
        let cwd = Some(self.folder_of_work(settings, span));
        let talk = self.talk("exec", settings, span);
        let channel = self.channel_of_program(settings, pattern);
        self.that_go_together(settings, span);
        let outer = self.programs.within.replace(Arc::clone(&name));
        let otherwise = self.otherwise("exec", settings, pattern);
        self.programs.within = outer;
        Some(Exec {
            name,
            program: program?,
            command: Command { cwd, ..command? },
            shared: settings.bool("shared"),
            channel: channel?,
            processes_max: count(settings)?,
            stderr_to_client: settings.text("stderr")? == "client",
            close: settings.duration("close")?,
            talk: talk?,
            console: settings.bool("console"),
            reverse_lookup: settings.bool("reverse_lookup"),
            otherwise: otherwise?,
        })
    }

    pub(super) fn cgi(&mut self, made: &Made, arguments: &Arguments<'_>, pattern: &Pattern) -> Option<Arc<Cgi>> {
        let settings = &arguments.settings;
        let folder = match arguments.positional.first() {
            Some((Some(Setting::Path(folder)), place)) => self.folder_of_programs("cgi", folder, *place),
            _ => None,
        };
        let name = match &self.programs.within {
            Some(name) => Arc::clone(name),
            None => self.name_of_program(None),
        };
        let command = self.command("cgi", settings, made.span);
        let otherwise = self.otherwise("cgi", settings, pattern);
        Some(Arc::new(Cgi {
            name,
            folder: folder?,
            prefix: pattern.literal_prefix().to_owned(),
            command: command?,
            timeout: settings.duration("timeout")?,
            processes_max: count(settings)?,
            reverse_lookup: settings.bool("reverse_lookup"),
            otherwise: otherwise?,
        }))
    }

    pub(super) fn bridge(&mut self, arguments: &Arguments<'_>, pattern: &Pattern, span: Span) -> Option<Arc<Bridge>> {
        let target = match arguments.positional.first() {
            Some((Some(Setting::Raw(value)), place)) => self.target("bridge", value, *place),
            _ => None,
        };
        let talk = self.talk("bridge", &arguments.settings, span);
        let otherwise = self.otherwise("bridge", &arguments.settings, pattern);
        Some(Arc::new(Bridge { upstream: target?, talk: talk?, otherwise: otherwise? }))
    }

    /// The program and its arguments, or `dir`.
    fn what_runs(&mut self, arguments: &Arguments<'_>, pattern: &Pattern, span: Span) -> Option<Program> {
        let words: Option<Vec<_>> = arguments
            .positional
            .iter()
            .map(|(word, place)| match word {
                Some(Setting::Text(text)) => Some((*text, *place)),
                _ => None,
            })
            .collect();
        let words = words?;
        if let Some((_, place)) = words.iter().find(|(text, _)| text.contains('\0')) {
            self.reader.error(*place, "a word of `exec` has a NUL in it", "text");
            return None;
        }
        match (words.split_first(), arguments.settings.given("dir")) {
            (Some(_), Some((.., place))) => {
                self.reader.error(*place, "`exec` runs one program or those of `dir`", "remove one of them");
                None
            }
            (None, None) => {
                let label = "for example exec { \"./clock.sh\" }";
                self.reader.error(span, "`exec` needs a program, or the folder `dir` of several", label);
                None
            }
            (None, Some((_, dir, place))) => {
                let Setting::Path(folder) = dir else { return None };
                let folder = self.folder_of_programs("exec", folder, *place)?;
                Some(Program::Of { folder, prefix: pattern.literal_prefix().to_owned() })
            }
            (Some(((name, place), rest)), None) => {
                let path = match name.contains('/') {
                    true => self.reader.path(name, *place),
                    false => PathBuf::from(name),
                };
                match (self.context.program)(&path) {
                    Ok(path) => Some(Program::One(path, rest.iter().map(|(text, _)| (*text).to_owned()).collect())),
                    Err(why) => {
                        let label = "a name with a slash is relative to the folder of the file, one without is looked up in PATH";
                        self.reader.error(*place, why, label);
                        None
                    }
                }
            }
        }
    }

    fn folder_of_programs(&mut self, owner: &str, folder: &Path, span: Span) -> Option<PathBuf> {
        let shown = folder.display();
        let message = match (self.context.probe)(folder) {
            // Programs may be run that can't be listed.
            PathKind::Folder | PathKind::Denied => return Some(folder.to_owned()),
            PathKind::File => format!("`{owner}` needs a folder, and this is none: {shown}"),
            PathKind::Missing => format!("there is no folder {shown}"),
        };
        self.reader.error(span, message, "a path is relative to the folder of the file that says it");
        None
    }

    fn folder_of_work(&mut self, settings: &Settings<'_>, span: Span) -> PathBuf {
        match settings.given("cwd") {
            Some((_, Setting::Path(folder), place)) => {
                self.folder_of_programs("cwd", folder, *place);
                folder.clone()
            }
            _ => self.reader.path(".", span),
        }
    }

    /// A name that no other program has, and that a reload gives again if nothing before it in the route changed.
    fn name_of_program(&mut self, program: Option<&Program>) -> Arc<str> {
        if self.running.is_some() {
            return format!("{program:?}").into();
        }
        let place = self.limits.place();
        let names = (1..).map(|number| if number == 1 { place.clone() } else { format!("{place} {number}") });
        let name = names.into_iter().find(|name| self.programs.names.insert(name.clone()));
        name.unwrap_or_default().into()
    }

    fn command(&mut self, owner: &str, settings: &Settings<'_>, span: Span) -> Option<Command> {
        let env = settings.raw("env");
        let env = env.map(|(value, span)| self.variables(("env", owner), value, span)).unwrap_or_default();
        let passenv = match settings.raw("passenv") {
            None => PASSENV.map(str::to_owned).to_vec(),
            Some((value, span)) => self.names_of_variables(owner, value, span)?,
        };
        let user = match settings.text("user") {
            Some(text) => Some(self.user(text, settings.span("user", span))?),
            None => None,
        };
        let limits = settings.table("limits").map(|limits| ProcessLimits {
            cpu: limits.duration("cpu").map(|time| time.as_secs() + u64::from(time.subsec_nanos() > 0)),
            memory: limits.size("memory"),
            files: limits.integer("files"),
        });
        Some(Command { env, passenv, cwd: None, user, limits: limits.unwrap_or_default() })
    }

    fn names_of_variables(&mut self, owner: &str, value: &Value, span: Span) -> Option<Vec<String>> {
        let names = strings(value, span).filter(|_| matches!(value, Value::Table(_)));
        let Some(names) = names else {
            let message = format!("`passenv` of `{owner}` must be a list of names, not {}", found(value));
            self.reader.error(span, message, "for example { \"PATH\", \"LANG\" }");
            return None;
        };
        if let Some((name, span)) = names.iter().find(|(name, _)| name.is_empty() || name.contains(['=', '\0'])) {
            let message = format!("\"{}\" is no name of a variable", name.escape_debug());
            self.reader.error(*span, message, "for example \"LANG\"");
        }
        Some(names.into_iter().map(|(name, _)| name.to_owned()).collect())
    }

    /// A table of strings by name.
    pub(super) fn variables(
        &mut self,
        (option, owner): (&str, &str),
        value: &Value,
        span: Span,
    ) -> Vec<(String, String)> {
        const EXAMPLE: &str = "for example { APP_ENV = \"production\" }";
        let Value::Table(table) = value else {
            let message = format!("`{option}` of `{owner}` must be a table of strings, not {}", found(value));
            self.reader.error(span, message, EXAMPLE);
            return Vec::new();
        };
        let unnamed = || format!("what stands in `{option}` of `{owner}` needs a name");
        if let Some(item) = table.items.first() {
            self.reader.error(item.span, unnamed(), EXAMPLE);
        }
        let mut all = Vec::new();
        for entry in &table.entries {
            match (&entry.key, &entry.value) {
                (Key::Text(name), _) if name.is_empty() || name.contains(['\0', '=']) => {
                    let message = format!("\"{}\" is no name for `{option}` of `{owner}`", name.escape_debug());
                    self.reader.error(entry.span, message, EXAMPLE);
                }
                (Key::Text(name), Value::Text(text)) if text.contains('\0') => {
                    self.reader.error(entry.span, format!("`{name}` of `{option}` has a NUL in it"), "text");
                }
                (Key::Text(name), Value::Text(text)) => all.push((name.clone(), text.clone())),
                (Key::Text(name), other) => {
                    let message = format!("`{name}` of `{option}` must be a string, not {}", found(other));
                    self.reader.error(entry.span, message, EXAMPLE);
                }
                (Key::Number(_), _) => self.reader.error(entry.span, unnamed(), EXAMPLE),
            }
        }
        all
    }

    fn talk(&mut self, owner: &str, settings: &Settings<'_>, span: Span) -> Option<Talk> {
        let size = |name: &str| settings.size(name).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let of = match settings.raw("origins") {
            None => PagesOf::Same,
            Some((value, span)) => match self.listed(("origins", owner), value, span, page_origin)? {
                None => PagesOf::Any,
                Some(listed) if listed.is_empty() => PagesOf::Same,
                Some(listed) => PagesOf::Listed(listed),
            },
        };
        if settings.bool("origin_required") && of == PagesOf::Any {
            let span = settings.span("origin_required", span);
            self.reader.error(span, "`origin_required` means nothing where any origin may come", "remove it");
        }
        Some(Talk {
            framing: match settings.text("framing")? {
                "raw" => Framing::Raw,
                "length" => Framing::Length,
                _ => Framing::Lines,
            },
            line_max: size("line_max")?,
            message_max: size("message_max")?,
            ping: settings.duration("ping"),
            pages: Pages {
                of,
                origin_required: settings.bool("origin_required"),
                same_origin: settings.bool("same_origin"),
            },
        })
    }

    /// The channel of a program: a name, or a `channel` with its options. None is wrong, and said to be.
    fn channel_of_program(&mut self, settings: &Settings<'_>, pattern: &Pattern) -> Option<Option<Arc<Channel>>> {
        let Some((value, span)) = settings.raw("channel") else { return Some(None) };
        let channel = match value {
            Value::Text(name) => {
                let template = self.channel_name(name, span)?;
                Some(self.channel_called(&template, span))
            }
            Value::Made(made) if made.what == "channel" => match self.handler(made, pattern)? {
                Handler::Channel(channel) => Some(channel),
                _ => None,
            },
            other => {
                let message = format!("`channel` of `exec` must be a name or a channel, not {}", found(other));
                self.reader.error(span, message, "for example \"clock\", or channel { \"clock\", history = 10 }");
                None
            }
        }?;
        if channel.name.names().next().is_some() {
            let message = format!("a program has one channel, and \"{}\" is many", channel.name);
            self.reader.error(span, message, "a name without parameters");
            return None;
        }
        Some(Some(channel))
    }

    /// What can't be meant.
    fn that_go_together(&mut self, settings: &Settings<'_>, span: Span) {
        let (shared, channel) = (settings.bool("shared"), settings.given("channel").is_some());
        let (raw, dir) = (settings.text("framing") == Some("raw"), settings.given("dir").is_some());
        let to_client = settings.text("stderr") == Some("client");
        for (is_so, option, message, label) in [
            (shared && channel, "shared", "one process with a channel serves all clients already", "remove `shared`"),
            (shared && dir, "shared", "`shared` is for one program, not for those of `dir`", "give each a route"),
            (channel && dir, "channel", "`channel` is for one program, not for those of `dir`", "give each a route"),
            (shared && raw, "framing", "objects need `framing = \"lines\"` or \"length\"", "remove `framing`"),
            (
                to_client && raw,
                "stderr",
                "`stderr = \"client\"` makes objects of lines: not with raw bytes",
                "remove `stderr`",
            ),
            (
                to_client && (shared || channel),
                "stderr",
                "one process for all has no client of its own",
                "remove `stderr`",
            ),
            (
                shared && self.running.is_some(),
                "shared",
                "a shared process can't be made by a function",
                "give it a route",
            ),
            (
                channel && self.running.is_some(),
                "channel",
                "a program with a channel can't be made by a function",
                "give it a route",
            ),
        ] {
            if is_so {
                self.reader.error(settings.span(option, span), message, label);
            }
        }
        for option in ["origins", "origin_required", "same_origin", "ping", "message_max", "console", "otherwise"] {
            if let (true, Some((.., place))) = (channel, settings.given(option)) {
                let message = format!("`{option}` of `exec` means nothing beside `channel`: the URL is the channel's");
                self.reader.error(*place, message, "options of the channel: channel = channel { \"name\", … }");
            }
        }
        let one = if channel { "channel" } else { "shared" };
        for option in ["processes_max", "reverse_lookup"] {
            if let (true, Some((.., place))) = (shared || channel, settings.given(option)) {
                let message =
                    format!("`{option}` of `exec` means nothing beside `{one}`: one process serves all clients");
                self.reader.error(*place, message, "remove it");
            }
        }
    }

    /// None is wrong, and said to be.
    fn otherwise(&mut self, owner: &str, settings: &Settings<'_>, pattern: &Pattern) -> Option<Option<Box<Handler>>> {
        let Some((value, span)) = settings.raw("otherwise") else { return Some(None) };
        match value {
            Value::Made(made) if options::find(made.what).is_some_and(|found| found.kind == Kind::Handler) => {
                self.handler(made, pattern).map(|handler| Some(Box::new(handler)))
            }
            other => {
                let message = format!("`otherwise` of `{owner}` must be a handler, not {}", found(other));
                self.reader.error(span, message, "for example files \"./public\"");
                None
            }
        }
    }
}

fn count(settings: &Settings<'_>) -> Option<usize> {
    usize::try_from(settings.integer("processes_max")?).ok()
}

/// Errors: what would be right.
fn page_origin(text: &str) -> Result<PageOrigin, String> {
    let (scheme, rest) = match text.split_once("://") {
        Some((_, rest)) if !rest.ends_with(":*") => return cors::origin(text).map(PageOrigin::Cors),
        Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
        None if text == "null" => return cors::origin(text).map(PageOrigin::Cors),
        None => (None, text),
    };
    // The last colon of an address in brackets is none of a port.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let port = match port {
        None | Some("*") => None,
        Some(port) => Some(port.parse().map_err(|_| "a port is a number, or `*`".to_owned())?),
    };
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
    if host.is_empty() || !host.bytes().all(legal) || scheme.as_deref() == Some("") {
        return Err("for example \"https://example.com\", \"https://example.com:*\" or \"example.com\"".to_owned());
    }
    Ok(PageOrigin::Host { scheme, host: host.to_ascii_lowercase(), port })
}
