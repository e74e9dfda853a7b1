//! Stories of command lines: the config that each stands for, and those that are refused.

use super::*;

fn command(name: &str, words: &[&str]) -> Result<Task, Outcome> {
    let folder = Path::new("/");
    read(name, words.iter().map(OsString::from), folder)
}

#[track_caller]
fn config(name: &str, words: &[&str]) -> String {
    match command(name, words) {
        Ok(Task::Run { origin: Origin::Command { text, .. }, watch: false, .. }) => text,
        Ok(_) => panic!("another task"),
        Err(outcome) => panic!("{outcome:?}"),
    }
}

/// The last site's handler and filters, as one line.
#[track_caller]
fn chain(words: &[&str]) -> String {
    let text = config("websocketd", words);
    let (_, chain) = text.rsplit_once("[\"/*\"] = {\n").unwrap();
    chain.trim_end_matches("  },\n}\n").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn refused(words: &[&str]) -> (u8, String) {
    match command("websocketd", words) {
        Err(Outcome::Refuse { code, said }) => (code, said.lines().next().unwrap_or_default().to_owned()),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("{words:?} was taken"),
    }
}

#[test]
fn by_itself_it_is_for_this_machine_and_for_its_own_pages() {
    assert_eq!(
        config("rsp exec", &["cat", "-n"]),
        "listen \"127.0.0.1:8080\"\nlog { format = \"websocketd\" }\nsite { \"127.0.0.1\", \"localhost\" } {\n  [\"/*\"] = {\n    exec { \"cat\", \"-n\" },\n  },\n}\n"
    );
    assert!(
        config("rsp exec", &["--redirport=81", "cat"])
            .starts_with("listen \"127.0.0.1:8080\"\nlisten \"127.0.0.1:81\"\n")
    );
    assert!(config("rsp exec", &["--origin=a.example", "cat"]).contains("site \"*\" {"));
}

#[test]
fn told_where_to_listen_or_called_websocketd_it_has_the_defaults_of_websocketd() {
    for (name, words, listeners) in [
        ("websocketd", &["cat"][..], &[":80"][..]),
        ("websocketd", &["--port=0", "cat"], &[":80"]),
        ("rsp exec", &["-port", "9000", "cat"], &[":9000"]),
        (
            "rsp exec",
            &["--address=127.0.0.1", "--address", "[::1]", "--address=127.0.0.1", "cat"],
            &["127.0.0.1:80", "[::1]:80"],
        ),
        ("rsp exec", &["--address=localhost", "--port=81", "cat"], &["127.0.0.1:81"]),
        ("rsp exec", &["--unixsocket=x.sock", "cat"], &["unix:x.sock"]),
        ("websocketd", &["--unixsocket=/x.sock", "--port=81", "cat"], &[":81", "unix:/x.sock"]),
    ] {
        let text = config(name, words);
        let found: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("listen ")).collect();
        let wanted: Vec<_> = listeners.iter().map(|one| format!("{one:?}")).collect();
        assert_eq!(found, wanted, "{words:?}");
        assert!(text.contains("exec { \"cat\", origins = \"*\" }"), "{text}");
    }
}

#[test]
fn each_flag_is_an_option() {
    for (flag, option) in [
        ("--binary", "framing = \"raw\", origins = \"*\""),
        ("--binary=false", "origins = \"*\""),
        ("--passstderr", "stderr = \"client\", origins = \"*\""),
        ("--devconsole", "console = true, origins = \"*\""),
        ("--maxforks=3", "processes_max = 3, origins = \"*\""),
        ("--maxforks=0", "processes_max = 4294967295, origins = \"*\""),
        ("--maxforks=-1", "processes_max = 4294967295, origins = \"*\""),
        ("--maxframesize=10", "message_max = 10, origins = \"*\""),
        ("--maxframesize=0", "message_max = 1073741824, origins = \"*\""),
        ("--closems=20", "close = \"20ms\", origins = \"*\""),
        ("--closems=0", "origins = \"*\""),
        ("--pingms=5000", "ping = \"5000ms\", origins = \"*\""),
        ("--pingms=1", "ping = \"10ms\", origins = \"*\""),
        ("--passenv=PATH, HOME,,HTTPS", "passenv = { \"PATH\", \"HOME\" }, origins = \"*\""),
        ("--passenv=", "passenv = {}, origins = \"*\""),
        ("--reverselookup", "reverse_lookup = true, origins = \"*\""),
        ("--sameorigin", "same_origin = true, origin_required = true"),
        (
            "--origin=Example.com, a.b:80,https://c,http://d:80,https://e:8443",
            "origin_required = true, origins = { \"example.com\", \"a.b:80\", \"https://c:*\", \"http://d\", \"https://e:8443\" }",
        ),
        ("--ssl=false", "origins = \"*\""),
    ] {
        assert_eq!(chain(&[flag, "cat"]), format!("exec {{ \"cat\", {option} }},"), "{flag}");
    }
}

#[test]
fn what_is_no_websocket_is_for_cgi_and_then_for_files() {
    let files = "files { \"/tmp\", listing = true }";
    assert_eq!(chain(&["--staticdir=/tmp"]), format!("{files},"));
    assert_eq!(
        chain(&["--staticdir=/tmp", "cat"]),
        format!("exec {{ \"cat\", origins = \"*\", otherwise = {files} }},")
    );
    assert_eq!(
        chain(&["--staticdir=/tmp", "--cgidir=/usr", "--dir=/bin", "--maxforks=5", "--reverselookup"]),
        format!(
            "exec {{ dir = \"/bin\", processes_max = 5, reverse_lookup = true, origins = \"*\", otherwise = cgi {{ \"/usr\", \
             processes_max = 5, reverse_lookup = true, otherwise = {files} }} }},"
        )
    );
    assert_eq!(chain(&["--cgidir=/usr"]), "cgi { \"/usr\", processes_max = 1024 },");
}

#[test]
fn header_fields_are_for_all_answers_or_some() {
    let words = ["--header=X-A: 1", "--header-ws", "X-B:2:3", "--header-http=X-C:", "--header=x-a: \"4\"", "cat"];
    assert_eq!(
        chain(&words),
        "headers { response = { set = { [\"X-A\"] = { \"1\", \"\\\"4\\\"\" } } } }, headers { response = { set = { [\"X-B\"] = { \"2:3\" } } }, \
         only = \"websocket\" }, headers { response = { set = { [\"X-C\"] = { \"\" } } }, only = \"http\" }, exec { \"cat\", origins = \"*\" },"
    );
    assert_eq!(
        refused(&["--header=abc", "cat"]),
        (2, "invalid value \"abc\" for flag -header: it has no colon".into())
    );
}

#[test]
fn a_port_of_its_own_redirects_to_the_main_one() {
    let text =
        config("websocketd", &["--port=8443", "--redirport=81", "--address=127.0.0.1", "--unixsocket=/x", "cat"]);
    assert_eq!(
        text.lines().filter(|line| line.starts_with("listen") || line.starts_with("site")).collect::<Vec<_>>(),
        [
            "listen \"127.0.0.1:8443\"",
            "listen \"unix:/x\"",
            "listen \"127.0.0.1:81\"",
            "site { \"*\", listen = { \"127.0.0.1:81\" } } { [\"/*\"] = redirect(\"http://{hostname}:8443/\", 301) }",
            "site { \"*\", listen = { \"127.0.0.1:8443\", \"unix:/x\" } } {",
        ]
    );
    assert!(config("websocketd", &["--redirport=81", "cat"]).contains("redirect(\"http://{hostname}/\", 301)"));
}

#[test]
fn tls_has_its_certificate_in_the_site_and_its_own_usual_port() {
    let file = |name: &str| format!("{}/tests/config/{name}", env!("CARGO_MANIFEST_DIR"));
    let flags = ["--ssl".to_owned(), format!("--sslcert={}", file("tls.pem")), format!("--sslkey={}", file("tls.key"))];
    let ca = format!("--sslca={}", file("tls.pem"));
    let config = |name, words: &[&str]| {
        let flags: Vec<_> = flags.iter().map(String::as_str).chain(words.iter().copied()).chain(["cat"]).collect();
        config(name, &flags)
    };
    let text = config("websocketd", &["--redirport=80", &ca]);
    let site = format!(
        "site {{ \"*\", listen = {{ \":443\" }} }} {{\n  tls = {{ cert = \"{0}\", key = \"{1}\", client_ca = \"{0}\" }},\n",
        file("tls.pem"),
        file("tls.key")
    );
    assert!(text.starts_with("listen { \":443\", tls = true }\nlisten \":80\"\n"), "{text}");
    assert!(text.contains("redirect(\"https://{hostname}/\", 301)") && text.contains(&site), "{text}");
    let text = config("websocketd", &["--port=8443", "--redirport=80"]);
    assert!(text.contains("redirect(\"https://{hostname}:8443/\", 301)") && !text.contains("client_ca"), "{text}");
    assert!(config("rsp exec", &["--address=127.0.0.1"]).starts_with("listen { \"127.0.0.1:443\", tls = true }\n"));
    assert!(config("rsp exec", &[]).starts_with("listen { \"127.0.0.1:8080\", tls = true }\n"));
}

#[test]
fn no_word_leaves_its_quotes() {
    let evil = "a\" } } os.exit() --\\\n\r[[";
    assert_eq!(chain(&["echo", evil]), "exec { \"echo\", \"a\\\" } } os.exit() --\\\\\\n\\r[[\", origins = \"*\" },");
}

#[test]
fn levels_are_websocketds() {
    for (level, messages, access) in [
        ("debug", "trace", "websocketd"),
        ("trace", "debug", "websocketd"),
        ("access", "info", "websocketd"),
        ("info", "info", "none"),
        ("error", "error,rsp::process::errors=info", "none"),
        ("fatal", "off", "none"),
    ] {
        let words = [&*format!("--loglevel={level}"), "cat"];
        assert!(config("websocketd", &words).contains(&format!("log {{ format = \"{access}\" }}")), "{level}");
        assert_eq!(command("websocketd", &words).ok().and_then(|task| task.messages()), Some(messages));
    }
    let said = "Incorrect loglevel flag 'loud'. Use --help to see allowed values.";
    assert_eq!(refused(&["--loglevel=loud", "cat"]), (1, said.into()));
}

#[test]
fn what_can_not_be_served_is_refused_as_websocketd_does() {
    for (words, code, said) in [
        (&[][..], 1, "Command line arguments are missing."),
        (&["--port=80"], 1, "Please specify COMMAND or provide --dir, --staticdir or --cgidir argument."),
        (&["--devconsole"], 1, "Please specify COMMAND or provide --dir, --staticdir or --cgidir argument."),
        (&["--dir=/bin", "cat"], 1, "Ambiguous. Provided COMMAND and --dir argument. Please only specify just one."),
        (&["no-such-program"], 1, "Unable to locate specified COMMAND 'no-such-program' in OS path."),
        (&["./no-such-program"], 1, "Unable to locate specified COMMAND './no-such-program' in OS path."),
        (&["--dir=/no/such"], 1, "Could not find your script dir '/no/such'."),
        (&["--staticdir=/no/such", "cat"], 1, "Your static dir '/no/such' is not pointing to an accessible directory."),
        (&["--cgidir=/no/such", "cat"], 1, "Your CGI dir '/no/such' is not pointing to an accessible directory."),
        (&["--ssl", "cat"], 1, "Please specify both --sslcert and --sslkey when requesting --ssl."),
        (&["--sslca=x", "cat"], 1, "You should not be using --ssl* flags when there is no --ssl option."),
        (
            &["--devconsole", "--staticdir=/tmp", "cat"],
            4,
            "Invalid parameters: --devconsole cannot be used with --staticdir. Pick one.",
        ),
        (
            &["--devconsole", "--cgidir=/tmp"],
            4,
            "Invalid parameters: --devconsole cannot be used with --cgidir. Pick one.",
        ),
        (&["--port=70000", "cat"], 3, "cannot listen on port 70000: a port is a number up to 65535"),
        (&["--bogus", "cat"], 2, "flag provided but not defined: -bogus"),
        (&["--port=abc", "cat"], 2, "invalid value \"abc\" for flag -port: parse error"),
    ] {
        assert_eq!(refused(words), (code, said.to_owned()), "{words:?}");
    }
    let (code, said) = refused(&["--ssl", "--sslcert=/no/such.pem", "--sslkey=b", "cat"]);
    assert!(code == 3 && said.starts_with("Can't start server: ") && said.contains("/no/such.pem"), "{said}");
    assert_eq!(refused(&["--binary", "--passstderr", "cat"]).0, 1);
    for origin in ["--origin=*", "--origin=http://", "--origin=:80", "--origin=,"] {
        assert_eq!(refused(&[origin, "cat"]).0, 2, "{origin}");
    }
}

#[test]
fn a_word_that_is_no_utf_8_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let words = ["cat".into(), OsString::from_vec(vec![b'a', 0xff])];
    let Err(Outcome::Refuse { code: 2, said }) = read("rsp exec", words.into_iter(), Path::new("/")) else {
        panic!("taken")
    };
    assert!(said.starts_with("this word is no UTF-8: a"), "{said}");
}

#[test]
fn help_version_and_license_come_before_what_is_missing() {
    for (flag, part) in [
        ("--help", "--maxforks=N"),
        ("-h", "Usage:"),
        ("--version", "standing in for websocketd 0.5.0\n"),
        ("--license", "Permission is hereby granted"),
    ] {
        let Err(Outcome::Print(text)) = command("rsp exec", &[flag]) else { panic!("{flag}") };
        assert!(text.contains(part), "{text}");
    }
}
