//! The flags of `rsp exec`, which are websocketd's, and what is printed about them.

use super::super::flags::{self, Flag, Takes};

/// The websocketd whose command line this is.
const WEBSOCKETD: &str = "0.5.0";

/// Its flags, in the order of the help.
pub const FLAGS: &[Flag] = &[
    flag("port", Takes::Number("PORT"), "Port to listen on; 80 if it is not said, with --ssl 443."),
    flag(
        "address",
        Takes::Text("ADDRESS"),
        "Address to listen on, IPv6 in square brackets; all if none is said. May be repeated.",
    ),
    flag(
        "unixsocket",
        Takes::Text("PATH"),
        "Listen on a unix socket; on nothing else, unless --port or --address is said, too.",
    ),
    flag("sameorigin", Takes::Nothing, "Refuse (403) pages of other origins, and clients that name none."),
    flag(
        "origin",
        Takes::Text("[SCHEME://]HOST[:PORT],..."),
        "Refuse (403) pages of other origins than these, and clients that name none. Without a port any will do, without a scheme http and https.",
    ),
    flag("binary", Takes::Nothing, "Pass bytes on as they come, in binary messages, not lines as texts."),
    flag(
        "passstderr",
        Takes::Nothing,
        "Send the lines of standard error to the client, too: each message is {\"stream\": \"stdout\" or \"stderr\", \"data\": ...}. Not with --binary.",
    ),
    flag("dir", Takes::Text("DIR"), "Programs of a folder instead of one: the path of the URL names the program."),
    flag("staticdir", Takes::Text("DIR"), "Serve the files of a folder to those who ask for no WebSocket."),
    flag("cgidir", Takes::Text("DIR"), "Run the CGI programs of a folder for those who ask for no WebSocket."),
    flag("devconsole", Takes::Nothing, "Serve a page to try the program by hand. Not with --staticdir or --cgidir."),
    flag(
        "maxforks",
        Takes::Number("N"),
        "Processes at once, of programs and CGI together; more get 429. 1024 if it is not said, 0 is no limit.",
    ),
    flag(
        "maxframesize",
        Takes::Number("BYTES"),
        "Bytes of a client's message; a longer one closes with 1009. 1048576 if it is not said, 0 is as many as possible.",
    ),
    flag(
        "closems",
        Takes::Count("MS"),
        "Milliseconds that are added to each step of a program's end, 0 if it is not said: 100 after its input is closed, 250 after SIGINT, 500 after SIGTERM.",
    ),
    flag(
        "pingms",
        Takes::Count("MS"),
        "Milliseconds between pings; who is silent for two of them is gone. 0, if it is not said: no pings.",
    ),
    flag(
        "passenv",
        Takes::Text("VAR,..."),
        "Environment variables that programs get of rsp's own; PATH,LD_LIBRARY_PATH if it is not said.",
    ),
    flag("reverselookup", Takes::Nothing, "Look the client's name up, for REMOTE_HOST."),
    flag("header", Takes::Text("\"NAME: VALUE\""), "A header field of every answer. May be repeated."),
    flag("header-ws", Takes::Text("\"NAME: VALUE\""), "The same of answers that open a WebSocket."),
    flag("header-http", Takes::Text("\"NAME: VALUE\""), "The same of all others."),
    flag("redirport", Takes::Number("PORT"), "A port that redirects to the main one."),
    flag(
        "ssl",
        Takes::Nothing,
        "Speak TLS, 1.2 or 1.3, with --sslcert and --sslkey; the port is 443 if it is not said. Programs see HTTPS=on.",
    ),
    flag("sslcert", Takes::Text("FILE"), "The certificate, in PEM, with those that lead to an authority."),
    flag("sslkey", Takes::Text("FILE"), "Its key, in PEM."),
    flag("sslca", Takes::Text("FILE"), "Refuse clients without a certificate of one of these authorities, in PEM."),
    flag("loglevel", Takes::Text("LEVEL"), "debug, trace, access, info, error or fatal; access if it is not said."),
    flag("version", Takes::Nothing, "Print the version and exit."),
    flag("license", Takes::Nothing, "Print the license and exit."),
];

const fn flag(name: &'static str, takes: Takes, help: &'static str) -> Flag {
    Flag { name, takes, help }
}

/// How it is called, for who did it wrong.
pub fn usage(name: &str) -> String {
    format!(
        "\nUsage:\n\n  A program for each WebSocket:\n    {name} [flags] COMMAND [arguments]\n\n  \
         Or each program of a folder at its path:\n    {name} [flags] --dir=DIR\n\n  \
         Or all about the flags:\n    {name} --help\n"
    )
}

/// All about the flags.
pub fn help(name: &str) -> String {
    let where_else = match name {
        "websocketd" => "",
        _ => {
            "Without --port, --address and --unixsocket it listens on 127.0.0.1:8080, for pages of the same origin, and without\n--origin under no other name than that and localhost.\n"
        }
    };
    format!(
        "Runs a program for each WebSocket: what the client sends is a line of its\nstandard input, each line that it prints is a message.\n{}\n\
         Flags (one hyphen will do):\n{}{where_else}",
        usage(name),
        flags::help(FLAGS)
    )
}

/// rsp's version, and whom it stands in for.
pub fn version() -> String {
    format!("rsp {}, standing in for websocketd {WEBSOCKETD}\n", env!("CARGO_PKG_VERSION"))
}

/// The license.
pub fn license() -> String {
    format!(
        "{}\nrsp is under the MIT license or the Apache license 2.0, as you like; this is the first:\n\n{}",
        version(),
        include_str!("../../../../LICENSE-MIT")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_of_websocketd_is_in_the_help() {
        let help = help("rsp exec");
        for name in [
            "port",
            "address",
            "unixsocket",
            "sameorigin",
            "origin",
            "ssl",
            "sslcert",
            "sslkey",
            "sslca",
            "redirport",
            "passenv",
            "binary",
            "passstderr",
            "reverselookup",
            "dir",
            "staticdir",
            "cgidir",
            "maxforks",
            "maxframesize",
            "closems",
            "pingms",
            "header",
            "header-ws",
            "header-http",
            "devconsole",
            "loglevel",
            "version",
            "license",
        ] {
            assert!(help.contains(&format!("  --{name}")), "{name}");
        }
        assert!(help.lines().all(|line| line.len() <= 120), "{help}");
    }
}
