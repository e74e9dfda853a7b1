//! `rsp demo`: a site balanced over three servers that live inside this process, with a page to watch it and to break
//! it, a chat, and programs that talk with the page.
//!
//! **Invariant:** nothing outside the process is needed, and nothing listens beyond the loopback but the site itself.
//! **Invariant:** the site is an ordinary config; rsp does not know that it is the demo's.
//! **Invariant:** no file is written outside of a temporary folder of its own, which is gone at the end.

mod backstage;
mod secured;
mod service;

use std::{io, path::PathBuf, process::ExitCode};

use self::{backstage::Backstage, secured::Secured};
use crate::boot::{self, Origin};

/// The site's config; the names in capitals are filled in at the start.
const CONFIG: &str = include_str!("demo.lua");

/// Runs the demo until it is told to end. `listen` is an address as in a config, `admin` the admin socket's path.
pub fn run(listen: &str, admin: PathBuf) -> ExitCode {
    match raise(listen) {
        Ok((text, secured)) => {
            let greeting = greeting(listen, secured.as_ref());
            let ended = boot::run(Origin::Command { text, folder: PathBuf::from("/"), admin, greeting }, false);
            drop(secured);
            ended
        }
        Err(e) => {
            eprintln!("the demo's own servers can't start: {e}");
            ExitCode::from(boot::CANNOT_LISTEN)
        }
    }
}

/// Starts the demo's own servers; returns the config of the site in front of them, and what it has for TLS.
fn raise(listen: &str) -> io::Result<(String, Option<Secured>)> {
    let (backstage, secured) = (Backstage::new()?, Secured::new(listen)?);
    let text = fill(CONFIG, listen, secured.as_ref(), &backstage);
    backstage.open(text.clone())?;
    Ok((text, secured))
}

fn fill(config: &str, listen: &str, secured: Option<&Secured>, backstage: &Backstage) -> String {
    let mut text = config.replace("\"$LISTEN\"", &boot::quoted(listen)).replace("$BACKSTAGE", &backstage.address());
    match secured {
        Some(secured) => {
            text = text.replace("\"$SECURED\"", &boot::quoted(&secured.listen));
            for (blank, name) in [("\"$CERTIFICATE\"", "demo.pem"), ("\"$KEY\"", "demo.key")] {
                text = text.replace(blank, &boot::quoted(&secured.file(name)));
            }
        }
        // On a unix socket there is nobody to listen in.
        None => text = text.lines().filter(|line| !line.contains("tls = ")).map(|line| format!("{line}\n")).collect(),
    }
    for upstream in backstage.upstreams() {
        text = text.replace(&format!("${}", upstream.name.to_uppercase()), &upstream.address());
    }
    text
}

/// Where a browser finds a listener.
fn url(scheme: &str, listen: &str) -> String {
    let (host, port) = listen.rsplit_once(':').unwrap_or((listen, ""));
    let host = if matches!(host, "" | "0.0.0.0" | "[::]") { "127.0.0.1" } else { host };
    format!("{scheme}://{host}:{port}/")
}

/// What a person does next; empty where a browser can't go.
fn greeting(listen: &str, secured: Option<&Secured>) -> String {
    if listen.starts_with("unix:") || !listen.contains(':') {
        return String::new();
    }
    let url = url("http", listen);
    let mut lines = vec![
        (format!("Open {url}"), "three servers, one address: stop one and watch"),
        (format!("Open {url}chat"), "a chat: open it in two browsers"),
        (format!("Open {url}programs"), "two shell scripts, each over a WebSocket"),
        (format!("curl {url}hello"), "the servers from a shell"),
        (format!("curl -d hello {url}chat/room"), "the chat from a shell"),
    ];
    if let Some(secured) = secured {
        lines.push((format!("Open {}", secured.url()), "all of it by TLS and HTTP/2; nobody signed its certificate"));
        lines.push((format!("curl --insecure {}hello", secured.url()), "the same from a shell"));
    }
    let width = lines.iter().map(|(what, _)| what.len()).max().unwrap_or_default();
    let lines: String = lines.iter().map(|(what, why)| format!("  {what:width$}   {why}\n")).collect();
    format!("\n{lines}  Ctrl-C ends it all.\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_blank_of_the_config_is_filled_in() {
        let secured = Secured::new("127.0.0.1:0").unwrap().unwrap();
        let text = fill(CONFIG, "127.0.0.1:8080", Some(&secured), &Backstage::new().unwrap());
        // A script of its own may have variables, too.
        assert!(!text.contains("\"$"), "{text}");
        assert!(text.contains("listen \"127.0.0.1:8080\""));
        assert!(text.contains(&format!("listen {{ \"{}\", tls = true }}", secured.listen)), "{text}");
        let plain = fill(CONFIG, "unix:/tmp/x", None, &Backstage::new().unwrap());
        assert!(!plain.contains("\"$") && !plain.contains("tls"), "{plain}");
    }

    #[test]
    fn the_greeting_names_an_address_that_a_browser_understands() {
        assert!(greeting(":80", None).contains("Open http://127.0.0.1:80/ "));
        assert!(greeting("[::1]:8080", None).contains("Open http://[::1]:8080/ "));
        assert!(greeting("0.0.0.0:81", None).contains("Open http://127.0.0.1:81/chat "));
        assert_eq!(greeting("unix:/tmp/x", None), "");
        let secured = Secured::new("0.0.0.0:0").unwrap().unwrap();
        let (_, port) = secured.listen.rsplit_once(':').unwrap();
        assert!(greeting("0.0.0.0:81", Some(&secured)).contains(&format!("Open https://127.0.0.1:{port}/ ")));
    }
}
