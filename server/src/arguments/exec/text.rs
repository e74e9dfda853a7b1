//! The text of the config that a websocketd command line stands for.

use std::fmt::Write;

use super::{super::flags::Given, Plan, Tls};
use crate::boot::quoted;

/// The most that `processes_max` takes: no limit.
const PROCESSES_MAX: i64 = u32::MAX as i64;
/// The most that `message_max` takes: 1 GiB.
const MESSAGE_MAX: i64 = 1 << 30;
/// What `ping` takes, in milliseconds.
const PING: (i64, i64) = (10, 3_600_000);

/// The config. Errors: a line that says which flag is wrong.
pub fn config(plan: &Plan, given: &Given) -> Result<String, String> {
    let mut out = String::new();
    for listener in &plan.listeners {
        let _ = match plan.tls {
            Some(_) => writeln!(out, "listen {{ {}, tls = true }}", quoted(listener)),
            None => writeln!(out, "listen {}", quoted(listener)),
        };
    }
    for listener in &plan.redirects {
        let _ = writeln!(out, "listen {}", quoted(listener));
    }
    let _ = writeln!(out, "log {{ format = \"{}\" }}", if plan.logs_access { "websocketd" } else { "none" });
    // A page whose name leads to this machine, as its owner pleases, would be of the same origin.
    let hosts = match plan.any_origin || given.has("origin") {
        true => "\"*\"",
        false => "\"127.0.0.1\", \"localhost\"",
    };
    let site = match plan.redirects.is_empty() {
        true if hosts.contains(',') => format!("{{ {hosts} }}"),
        true => hosts.to_owned(),
        false => {
            let (scheme, usual) = if plan.tls.is_some() { ("https", 443) } else { ("http", 80) };
            let port = if plan.port == usual { String::new() } else { format!(":{}", plan.port) };
            let target = quoted(&format!("{scheme}://{{hostname}}{port}/"));
            let _ = writeln!(
                out,
                "site {{ \"*\", listen = {} }} {{ [\"/*\"] = redirect({target}, 301) }}",
                list(plan.redirects.iter().map(String::as_str))
            );
            format!("{{ {hosts}, listen = {} }}", list(plan.listeners.iter().map(String::as_str)))
        }
    };
    let mut chain = Vec::new();
    for (flag, only) in [("header", None), ("header-ws", Some("websocket")), ("header-http", Some("http"))] {
        chain.extend(fields(flag, only, given)?);
    }
    chain.push(handler(plan, given)?);
    let tls = plan.tls.as_ref().map_or(String::new(), certificate);
    let _ = writeln!(out, "site {site} {{\n{tls}  [\"/*\"] = {{\n    {},\n  }},\n}}", chain.join(",\n    "));
    Ok(out)
}

fn certificate(tls: &Tls) -> String {
    let ca = tls.ca.as_ref().map_or(String::new(), |ca| format!(", client_ca = {}", quoted(ca)));
    format!("  tls = {{ cert = {}, key = {}{ca} }},\n", quoted(&tls.cert), quoted(&tls.key))
}

/// The filter that sets the fields of one flag; None: it was not given.
fn fields(flag: &str, only: Option<&str>, given: &Given) -> Result<Option<String>, String> {
    let mut set: Vec<(&str, Vec<&str>)> = Vec::new();
    for text in given.texts(flag) {
        let (name, value) =
            text.split_once(':').ok_or_else(|| format!("invalid value {text:?} for flag -{flag}: it has no colon"))?;
        let (name, value) = (name.trim(), value.trim());
        match set.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, values)) => values.push(value),
            None => set.push((name, vec![value])),
        }
    }
    if set.is_empty() {
        return Ok(None);
    }
    let set = set.into_iter().map(|(name, values)| format!("[{}] = {}", quoted(name), list(values.into_iter())));
    let set = set.collect::<Vec<_>>().join(", ");
    let only = only.map_or(String::new(), |only| format!(", only = {}", quoted(only)));
    Ok(Some(format!("headers {{ response = {{ set = {{ {set} }} }}{only} }}")))
}

/// What answers: the program, then CGI, then files.
fn handler(plan: &Plan, given: &Given) -> Result<String, String> {
    let files = given.text("staticdir").map(|folder| format!("files {{ {}, listing = true }}", quoted(folder)));
    let cgi = given.text("cgidir").map(|folder| {
        let otherwise = files.iter().map(|files| format!("otherwise = {files}"));
        let words = [quoted(folder)].into_iter().chain(of_processes(given)).chain(otherwise);
        format!("cgi {{ {} }}", words.collect::<Vec<_>>().join(", "))
    });
    let otherwise = cgi.or(files);
    if plan.command.is_empty() && given.text("dir").is_none() {
        return Ok(otherwise.unwrap_or_default());
    }
    let mut words: Vec<_> = plan.command.iter().map(|word| quoted(word)).collect();
    words.extend(given.text("dir").map(|folder| format!("dir = {}", quoted(folder))));
    words.extend(of_processes(given));
    words.extend(of_talks(plan, given)?);
    words.extend(otherwise.map(|handler| format!("otherwise = {handler}")));
    Ok(format!("exec {{ {} }}", words.join(", ")))
}

/// Options that `exec` and `cgi` have in common.
fn of_processes(given: &Given) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(most) = given.number("maxforks") {
        let most = if most <= 0 { PROCESSES_MAX } else { most.min(PROCESSES_MAX) };
        words.push(format!("processes_max = {most}"));
    } else if given.text("cgidir").is_some() {
        words.push("processes_max = 1024".to_owned());
    }
    if given.has("passenv") {
        let names = given.text("passenv").unwrap_or_default().split(',').map(str::trim);
        // HTTPS is the server's to say.
        words.push(format!("passenv = {}", list(names.filter(|name| !name.is_empty() && *name != "HTTPS"))));
    }
    if given.switch("reverselookup") {
        words.push("reverse_lookup = true".to_owned());
    }
    words
}

fn of_talks(plan: &Plan, given: &Given) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    for (flag, word) in [
        ("binary", "framing = \"raw\""),
        ("passstderr", "stderr = \"client\""),
        ("devconsole", "console = true"),
        ("sameorigin", "same_origin = true"),
    ] {
        words.extend(given.switch(flag).then(|| word.to_owned()));
    }
    if let Some(most) = given.number("maxframesize") {
        let most = if most <= 0 { MESSAGE_MAX } else { most.min(MESSAGE_MAX) };
        words.push(format!("message_max = {most}"));
    }
    if let Some(time) = given.number("closems").filter(|time| *time > 0) {
        words.push(format!("close = \"{time}ms\""));
    }
    if let Some(time) = given.number("pingms").filter(|time| *time > 0) {
        words.push(format!("ping = \"{}ms\"", time.clamp(PING.0, PING.1)));
    }
    if given.switch("sameorigin") || given.text("origin").is_some() {
        words.push("origin_required = true".to_owned());
    }
    match given.text("origin") {
        Some(text) => {
            let all = text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(origin);
            let all = all.collect::<Result<Vec<_>, _>>()?;
            if all.is_empty() {
                return Err(format!("invalid value {text:?} for flag -origin: it names none"));
            }
            words.push(format!("origins = {}", list(all.iter().map(String::as_str))));
        }
        None if plan.any_origin && !given.switch("sameorigin") => words.push("origins = \"*\"".to_owned()),
        None => {}
    }
    Ok(words)
}

/// An origin as `origins` takes it: where websocketd leaves the port out, any will do.
fn origin(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let wrong = || {
        format!(
            "invalid value {text:?} for flag -origin: for example example.com, example.com:8080 or https://example.com"
        )
    };
    let Some((scheme, authority)) = lower.split_once("://") else {
        return if lower.starts_with(['*', '/', ':']) { Err(wrong()) } else { Ok(lower) };
    };
    let authority = authority.trim_end_matches('/');
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    if scheme.is_empty() || authority.is_empty() || authority.starts_with('*') {
        return Err(wrong());
    }
    Ok(match (scheme, has_port) {
        (_, false) => format!("{scheme}://{authority}:*"),
        ("http", true) => format!("http://{}", authority.strip_suffix(":80").unwrap_or(authority)),
        ("https", true) => format!("https://{}", authority.strip_suffix(":443").unwrap_or(authority)),
        (_, true) => format!("{scheme}://{authority}"),
    })
}

fn list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts: Vec<_> = texts.map(quoted).collect();
    if texts.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", texts.join(", ")) }
}
