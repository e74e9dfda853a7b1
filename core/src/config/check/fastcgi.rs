//! `fastcgi`: an application, its scripts, and the parameters that it gets.

use super::{Checker, PathKind};
use crate::config::{
    checked::{Fastcgi, Scripts},
    diagnostic::Diagnostic,
    raw::Span,
    settings::{Arguments, Setting, Settings},
};

impl Checker<'_> {
    pub(super) fn fastcgi(&mut self, arguments: &Arguments<'_>, span: Span) -> Option<Fastcgi> {
        let target = match arguments.positional.first() {
            Some((Some(Setting::Raw(value)), place)) => self.target("fastcgi", value, *place),
            _ => None,
        };
        let settings = &arguments.settings;
        let root = match settings.given("root") {
            Some((_, Setting::Path(root), place)) => Some((root.clone(), *place)),
            _ => None,
        };
        let scripts = match root {
            Some((folder, place)) => Some(Scripts { seen: self.sees_scripts(&folder, place)?, folder }),
            None => None,
        };
        let params = settings
            .raw("params")
            .map(|(value, span)| self.variables(("params", "fastcgi"), value, span))
            .unwrap_or_default();
        let index = self.name_in_path("index", settings, span)?;
        let split = self.name_in_path("split", settings, span)?;
        Some(Fastcgi {
            upstream: target?,
            scripts,
            index,
            split,
            params,
            keepalive: settings.bool("keepalive"),
            timeout: settings.duration("timeout")?,
            body_timeout: settings.duration("body_timeout")?,
        })
    }

    /// Whether the scripts are on this machine; what is no folder is an error.
    fn sees_scripts(&mut self, folder: &std::path::Path, span: Span) -> Option<bool> {
        let shown = folder.display();
        let message = match (self.context.probe)(folder) {
            PathKind::Folder => return Some(true),
            PathKind::File => {
                let message = format!("`root` of `fastcgi` needs a folder, and this is none: {shown}");
                self.reader.error(span, message, "a path is relative to the folder of the file that says it");
                return None;
            }
            PathKind::Missing => format!("there is no folder {shown} here"),
            PathKind::Denied => format!("the folder {shown} can't be read here"),
        };
        let label =
            "right if it is on the application's machine; its scripts are not looked for before they are asked for";
        self.reader.report(Diagnostic::warning(span, message, label));
        Some(false)
    }

    /// The name of a file, or the end of one.
    fn name_in_path(&mut self, option: &str, settings: &Settings<'_>, span: Span) -> Option<String> {
        let name = settings.text(option)?;
        if name.is_empty() || name.contains('/') {
            let (is, example) = match option {
                "index" => ("the name of a file", "for example \"index.php\""),
                _ => ("how a script's name ends", "for example \".php\""),
            };
            let message = format!("`{option}` of `fastcgi` must be {is}");
            self.reader.error(settings.span(option, span), message, example);
        }
        Some(name.to_owned())
    }
}
