//! `rsp demo`: a site balanced over three servers that live inside this process, with a page to watch it and to break
//! it, a chat, and programs that talk with the page.
//!
//! **Invariant:** nothing outside the process is needed, and nothing listens beyond the loopback but the site itself.
//! **Invariant:** the site is an ordinary config; rsp does not know that it is the demo's.

mod backstage;
mod service;

use std::{io, path::PathBuf, process::ExitCode};

use self::backstage::Backstage;
use crate::boot::{self, Origin};

/// The site's config; the names in capitals are filled in at the start.
const CONFIG: &str = include_str!("demo.lua");

/// Runs the demo until it is told to end. `listen` is an address as in a config, `admin` the admin socket's path.
pub fn run(listen: &str, admin: PathBuf) -> ExitCode {
    match raise(listen) {
        Ok(text) => {
            let greeting = greeting(listen);
            boot::run(Origin::Command { text, folder: PathBuf::from("/"), admin, greeting }, false)
        }
        Err(e) => {
            eprintln!("the demo's own servers can't start: {e}");
            ExitCode::from(boot::CANNOT_LISTEN)
        }
    }
}

/// Starts the demo's own servers; returns the config of the site in front of them.
fn raise(listen: &str) -> io::Result<String> {
    let backstage = Backstage::new()?;
    let text = fill(CONFIG, listen, &backstage);
    backstage.open(text.clone())?;
    Ok(text)
}

fn fill(config: &str, listen: &str, backstage: &Backstage) -> String {
    let mut text = config.replace("\"$LISTEN\"", &boot::quoted(listen)).replace("$BACKSTAGE", &backstage.address());
    for upstream in backstage.upstreams() {
        text = text.replace(&format!("${}", upstream.name.to_uppercase()), &upstream.address());
    }
    text
}

/// What a person does next; empty where a browser can't go.
fn greeting(listen: &str) -> String {
    let Some((host, port)) = listen.rsplit_once(':').filter(|_| !listen.starts_with("unix:")) else {
        return String::new();
    };
    let host = if matches!(host, "" | "0.0.0.0" | "[::]") { "127.0.0.1" } else { host };
    let url = format!("http://{host}:{port}/");
    let lines = [
        (format!("Open {url}"), "three servers, one address: stop one and watch"),
        (format!("Open {url}chat"), "a chat: open it in two browsers"),
        (format!("Open {url}programs"), "two shell scripts, each over a WebSocket"),
        (format!("curl {url}hello"), "the servers from a shell"),
        (format!("curl -d hello {url}chat/room"), "the chat from a shell"),
    ];
    let width = lines.iter().map(|(what, _)| what.len()).max().unwrap_or_default();
    let lines: String = lines.iter().map(|(what, why)| format!("  {what:width$}   {why}\n")).collect();
    format!("\n{lines}  Ctrl-C ends it all.\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_blank_of_the_config_is_filled_in() {
        let text = fill(CONFIG, "127.0.0.1:8080", &Backstage::new().unwrap());
        // A script of its own may have variables, too.
        assert!(!text.contains("\"$"), "{text}");
        assert!(text.contains("listen \"127.0.0.1:8080\""));
    }

    #[test]
    fn the_greeting_names_an_address_that_a_browser_understands() {
        assert!(greeting(":80").contains("Open http://127.0.0.1:80/ "));
        assert!(greeting("[::1]:8080").contains("Open http://[::1]:8080/ "));
        assert!(greeting("0.0.0.0:81").contains("Open http://127.0.0.1:81/chat "));
        assert_eq!(greeting("unix:/tmp/x"), "");
    }
}
