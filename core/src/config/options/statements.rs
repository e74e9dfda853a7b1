//! The statements: what stands at the top of a file.

use super::{COUNT, Constructor, Kind, Literal, NONE, Opt, TIME, TIME_OR_ZERO, Type, Word, opt, word};

pub(super) const ALL: &[&Constructor] = &[
    &LISTEN,
    &SITE,
    &ADMIN,
    &LOG,
    &WORKERS,
    &TRUST,
    &LIMITS,
    &DRAIN,
    &RESOLVER,
    &ERRORS,
    &USER,
    &BROKER,
    &CACHE_DISK,
    &ACME,
    &EVERY,
    &ON_START,
];

const fn statement(name: &'static str, usage: &'static str, doc: &'static str) -> Constructor {
    Constructor::new(Kind::Statement, name, usage, doc)
}

const ADDRESS: Opt = opt("ADDRESS", Type::Address, Literal::Unset("required"), "Where to listen.");

const LISTEN: Constructor = statement(
    "listen",
    "listen \"127.0.0.1:8080\"",
    "An address to accept connections on; as many as wanted, at least one. `\":8080\"` is that port on all addresses, \
     IPv4 and IPv6; `\"unix:/run/rsp.sock\"` is a unix socket; port 0 is any free port.",
)
.takes(&[ADDRESS], 1)
.options(&[
    opt("mode", Type::Mode, Literal::Text("0660"), "Permission bits of a unix socket."),
    opt(
        "backlog",
        Type::Integer(1, 65535),
        Literal::Number(4096),
        "Connections that the kernel keeps until they are accepted.",
    ),
    opt(
        "tls",
        Type::Other("true or a table", "boolean | { min: (\"1.2\" | \"1.3\")? }"),
        Literal::Bool(false),
        "TLS with the certificates of the sites that have `tls`, or passed through to their upstreams; at least one has. \
         `{ min = \"1.3\" }` is the lowest version, otherwise `\"1.2\"`.",
    ),
    opt(
        "http2",
        Type::Bool,
        Literal::Bool(false),
        "HTTP/2 by prior knowledge without TLS, beside HTTP/1.1; with TLS it is always offered.",
    ),
    opt(
        "proxy_protocol",
        Type::Bool,
        Literal::Bool(false),
        "Every connection begins with a header of the PROXY protocol, version 1 or 2, which says whose it is. Who is not \
         in `trust`, and who sends no such header, is closed.",
    ),
    opt(
        "tcp",
        Type::Other("a `tunnel`", "Handler"),
        NONE,
        "Every connection goes through this tunnel, whatever it speaks; no site answers here. Not together with `tls` \
         or `http2`.",
    ),
]);

pub(in crate::config) const SITE: Constructor = statement(
    "site",
    "site \"example.com\" { [\"/*\"] = proxy \"127.0.0.1:3000\" }",
    "What answers for a host: `site \"a\"`, `site { \"a\", \"*.b\" }` for several, `site \"*\"` for any other. \
     `\"*.b\"` is every name below `b`, not `b` itself; the exact name wins, then the longest suffix, then `\"*\"`. \
     Keys with a `/` are routes, all others options. `site \"a\" (handler)` is short for `{ [\"/*\"] = handler }`. \
     Options may also stand beside the hosts: `site { \"a\", listen = \":80\" } { … }`.",
)
.options(&[
    opt(
        "listen",
        Type::Other("a listener's address or a list of them", "string | { string }"),
        Literal::Unset("all listeners"),
        "Answer on these listeners only.",
    ),
    opt(
        "limits",
        Type::Table(LIMITS.options),
        Literal::Unset("those of `limits`"),
        "Its own limits; what it doesn't say is as in `limits`.",
    ),
    opt(
        "log",
        Type::Table(LOG.options),
        Literal::Unset("that of `log`"),
        "Its own access log; what it doesn't say is as in `log`.",
    ),
    opt(
        "tls",
        Type::Other("a certificate", "Certificate | { Certificate } | \"acme\" | Passthrough"),
        NONE,
        "What becomes of TLS connections that ask for its hosts: `{ cert = …, key = … }` opens them, a list of those has \
         keys of different kinds (ECDSA and RSA) or several names, `\"acme\"` asks the authority of `acme` for a \
         certificate, and `passthrough(upstream)` opens nothing. Who asks for no name gets the site \"*\" or the listener's first, who asks for \
         one that no site has an alert.",
    ),
    opt(
        "errors",
        Type::Other("a table of pages", PAGES),
        Literal::Unset("those of `errors`"),
        "Its own error pages; what it doesn't say is as in `errors`.",
    ),
    opt(
        "redirect_http",
        Type::Bool,
        Literal::Bool(false),
        "Answer what comes without TLS with a redirect to `https://`. Needs the site's `tls`.",
    ),
    opt(
        "hsts",
        Type::Other("true or a duration", "boolean | Duration"),
        Literal::Bool(false),
        "Send `Strict-Transport-Security` over TLS, so that browsers come by TLS only; true is a year, `\"0s\"` takes it \
         back. Needs the site's `tls`.",
    ),
]);

/// What `errors` takes, in Luau.
pub(in crate::config) const PAGES: &str =
    "{ [number | string]: string | ((request: Request, status: number) -> Handler?) }";

const ADMIN: Constructor = statement(
    "admin",
    "admin { \"127.0.0.1:9600\", token = env \"TOKEN\" }",
    "Where the admin API listens. Without it: a unix socket with mode 0600 beside the config file, at its path with \
     `.sock` at the end. A TCP address needs a token. The socket is never reachable through `files`.",
)
.takes(&[ADDRESS], 1)
.options(&[opt("token", Type::Text, NONE, "What a client must send as `Authorization: Bearer …`; required for TCP.")]);

const FORMATS: &[Word] = &[word("combined"), word("common"), word("json"), word("websocketd"), word("none")];

const LOG: Constructor = statement(
    "log",
    "log { format = \"json\", to = \"/var/log/rsp/access.log\" }",
    "The access log. rsp's own messages go to standard error, at the level of the environment variable `RSP_LOG` (info).",
)
.options(&[
    opt("format", Type::Choice(FORMATS), Literal::Text("combined"), "The layout of a line; `none` is no access log. `websocketd` is that program's: a line when a session begins and one when \
         it ends."),
    opt("to", Type::Text, Literal::Text("stdout"), "A path, reopened on USR1, or `\"stdout\"`."),
]);

const WORKERS: Constructor = statement(
    "workers",
    "workers(2)",
    "How many workers share the work, one thread each. It can't change on reload; a try is a warning.",
)
.takes(&[opt("COUNT", Type::Integer(1, 1024), Literal::Unset("one a core"), "How many.")], 1);

const TRUST: Constructor = statement(
    "trust",
    "trust { \"unix\", \"10.0.0.0/8\" }",
    "Whose `X-Forwarded-*`, `Forwarded`, PROXY header and `X-Debug` are believed. Without it: nobody's.",
)
.takes(
    &[opt(
        "NETWORK",
        Type::Network,
        Literal::Unset("nobody"),
        "An address, a network, or `\"unix\"` for peers on unix sockets.",
    )],
    1,
)
.repeats();

const BUFFER: Type = Type::Size(4 << 10, 64 << 20);

const LIMITS: Constructor = statement(
    "limits",
    "limits { body = \"10MiB\", connections = 20000 }",
    "Every bound, for the whole process; the key `limits` of a site overrides what can be told by site.",
)
.options(&[
    opt(
        "head",
        Type::Size(256, 1 << 20),
        Literal::Text("16KiB"),
        "Bytes of a request head; a longer one is answered 431.",
    ),
    opt("headers", Type::Integer(1, 1000), Literal::Number(100), "Fields in a request head; more are answered 431."),
    opt(
        "uri",
        Type::Size(16, 1 << 20),
        Literal::Text("8KiB"),
        "Bytes of a request target; a longer one is answered 414.",
    ),
    opt("body", Type::Size(0, u64::MAX), NONE, "Bytes of a request body; a larger one is answered 413."),
    opt("head_timeout", TIME, Literal::Text("10s"), "From the first byte of a head to its end; then 408."),
    opt("idle_timeout", TIME, Literal::Text("75s"), "Between two requests of a connection."),
    opt("body_timeout", TIME, Literal::Text("60s"), "Between two reads of a request body."),
    opt("write_timeout", TIME, Literal::Text("60s"), "Without progress of a write to the client."),
    opt(
        "connections",
        COUNT,
        Literal::Number(100_000),
        "Open client connections, all workers; more wait in the kernel.",
    ),
    opt("connections_per_client", COUNT, NONE, "Open connections of one client address."),
    opt("requests_per_connection", COUNT, NONE, "Requests on one connection; then it is closed."),
    opt("buffer", BUFFER, Literal::Text("64KiB"), "Bytes of a body in flight, in each direction."),
    opt("tunnels", COUNT, NONE, "Open tunnels, WebSockets among them; more are answered 503."),
    opt(
        "channels",
        COUNT,
        Literal::Number(1_000_000),
        "Channels with subscribers or something to remember, all workers; what needs one more is answered 503.",
    ),
    opt(
        "script_cpu",
        Type::Duration(1, 60_000),
        Literal::Text("50ms"),
        "CPU time of one call of a function; then 500.",
    ),
    opt(
        "script_memory",
        Type::Size(64 << 10, 1 << 40),
        Literal::Text("64MiB"),
        "Bytes by which one call of a function may grow its memory.",
    ),
    opt("cache", Type::Size(0, u64::MAX), Literal::Text("256MiB"), "Memory of the cache, all workers.").later(),
]);

const RESOLVER: Constructor = statement(
    "resolver",
    "resolver { \"10.0.0.2:53\", \"10.0.0.3:53\" }",
    "Name servers that the names of endpoints are asked of: an IP address, with a port if it isn't 53. Without it \
     those of the system; its hosts file comes first either way.",
)
.takes(&[opt("ADDRESS", Type::Text, Literal::Unset("required"), "A name server.")], 1)
.repeats();

const DRAIN: Constructor = statement(
    "drain",
    "drain \"30s\"",
    "How long TERM and `rsp drain` wait for what is open; what is still open then is closed.",
)
.takes(&[opt("DURATION", TIME_OR_ZERO, Literal::Text("30s"), "How long.")], 1);

const ERRORS: Constructor = statement(
    "errors",
    "errors { [502] = \"./502.html\", [\"5xx\"] = \"./error.html\" }",
    "Bodies of the error answers that rsp makes itself (an upstream's own pass as they are): by status from 400 to 599, or by \
     class, `\"4xx\"` or `\"5xx\"`. The status wins over its class, and what a site says with its key `errors` over the \
     statement. A file of 1 MiB at most is read with the config; its type is told by its ending. `{id}`, `{status}` and \
     `{reason}` in it are filled in, in a text of 64 KiB at most: the id is the one that the access log shows. Who prefers JSON \
     gets the built-in JSON instead, unless the file is JSON. A function gets the request, without its body, and the status, \
     and returns `reply` or `redirect`, whose status is used, or nil for the built-in page; where there was no whole request \
     (408, 431), only files count.",
);

const USER: Constructor = statement(
    "user",
    "user \"www-data\"",
    "Whom to run as once the ports are bound and the logs are open, for a start as root; anybody else stays who he is, \
     with a warning. The unix sockets are given to that user. What is opened later is opened as that user: files, the \
     config on a reload, logs on USR1, ports below 1024 that a reload adds. It can't change on reload; a try is a warning.",
)
.takes(&[opt("USER", Type::Text, Literal::Unset("required"), "The name, or `name:group`; its own group otherwise.")], 1);

const BROKER: Constructor = statement(
    "broker",
    "broker { redis = \"redis://127.0.0.1:6379/0\" }",
    "What carries channels: `broker \"memory\"`, the default, is this process alone. With a Redis all processes and machines \
     that name it, with the same `prefix`, share messages, history and presence. It can't change on reload; a try is a \
     warning.",
)
.takes(&[opt("KIND", KIND, Literal::Unset("memory"), "Channels live in this process, or give `redis`.")], 0)
.options(&[
    opt(
        "redis",
        Type::Text,
        NONE,
        "Where it is: `redis://[USER][:PASSWORD@]HOST[:PORT][/DATABASE]`, the same with `rediss://` for TLS, \
         `unix:/PATH[?db=N&user=…&pass=…]`, `redis-sentinel://[…@]HOST[:PORT],…/MAIN[/DATABASE]` or \
         `redis+cluster://[…@]HOST[:PORT],…`; \
         with TLS `rediss-sentinel://` and `rediss+cluster://`. User and password are percent-encoded; they are in no message and no log.",
    ),
    opt(
        "prefix",
        Type::Text,
        Literal::Text("rsp:"),
        "Before every key and the name of every Redis channel; 64 bytes at most.",
    ),
    opt("timeout", Type::Duration(10, 60_000), Literal::Text("2s"), "For one answer of Redis."),
]);

const KIND: Type = Type::Other("\"memory\"", "\"memory\"");

const CACHE_DISK: Constructor = statement(
    "cache_disk",
    "cache_disk { \"/var/cache/rsp\", size = \"10GiB\" }",
    "A second tier of the cache, on disk.",
)
.takes(&[opt("PATH", Type::Path, Literal::Unset("required"), "The folder.")], 1)
.options(&[opt("size", Type::Size(1 << 20, u64::MAX), Literal::Unset("required"), "Bytes at most.")])
.later();

const CHALLENGES: &[Word] = &[word("http-01"), word("tls-alpn-01")];

const ACME: Constructor = statement(
    "acme",
    "acme { email = \"me@example.com\", cache = \"./acme\" }",
    "The authority that gives certificates to the sites with `tls = \"acme\"` (RFC 8555). A certificate is renewed at two \
     thirds of its life, or when the authority says so. Wildcards can't be had: these challenges don't prove them.",
)
.options(&[
    opt("email", Type::Text, NONE, "Whom the authority may write to."),
    opt(
        "directory",
        Type::Text,
        Literal::Text("production"),
        "The authority's URL; `\"production\"` and `\"staging\"` are those of Let's Encrypt.",
    ),
    opt(
        "cache",
        Type::Path,
        Literal::Unset("required"),
        "The folder for the account, keys (mode 0600) and certificates; made if it is missing, and never served by `files`.",
    ),
    opt(
        "challenge",
        Type::Choice(CHALLENGES),
        Literal::Text("http-01"),
        "How control of a name is proved: by an answer on port 80 (RFC 8555 §8.3), or by a handshake on port 443 (RFC 8737).",
    ),
    opt(
        "ca",
        Type::Path,
        Literal::Unset("the system's"),
        "A PEM file of authorities, one of which signed the certificate of the directory itself.",
    ),
]);

const VERSIONS: &[Word] = &[word("1.2"), word("1.3")];

/// What `tls` of a listener takes.
pub(in crate::config) const LISTEN_TLS: &[Opt] =
    &[opt("min", Type::Choice(VERSIONS), Literal::Text("1.2"), "The lowest version.")];

/// What `tls` of a site takes.
pub(in crate::config) const SITE_TLS: &[Opt] = &[
    opt(
        "cert",
        Type::Path,
        Literal::Unset("required"),
        "A PEM file: the site's certificate first, then those that lead to an authority. Read again when it changes, \
         with its key; the old one stays while the new one is wrong. Never served by `files`.",
    ),
    opt(
        "key",
        Type::Path,
        Literal::Unset("in `cert`"),
        "A PEM file of its key: RSA or ECDSA. Never served by `files`.",
    ),
    opt("ocsp", Type::Path, NONE, "A DER file of an OCSP response, which is stapled."),
    opt(
        "client_ca",
        Type::Path,
        NONE,
        "A PEM file of authorities; clients need a certificate of one of them. Its subject is `request.tls.subject`, and \
         upstreams get it as `X-SSL-Client-S-DN`.",
    ),
    opt(
        "min",
        Type::Choice(VERSIONS),
        Literal::Unset("the listener's"),
        "The lowest version, if the listener's is not higher.",
    ),
    opt(
        "ciphers",
        Type::Other("a list of strings", "{ string }"),
        Literal::Unset("all"),
        "The cipher suites, the preferred first, by the names of the standards: `{ \"TLS_AES_128_GCM_SHA256\" }`.",
    ),
    opt("certificate", FUNCTION_OF_NAME, NONE, "Gives the certificate for a name.").later(),
];

const FUNCTION_OF_NAME: Type = Type::Other("a function", "(sni: string) -> Certificate?");

const FUNCTION: Type = Type::Other("a function", "() -> ()");

const EVERY: Constructor =
    statement("every", "every(\"10s\", function() … end)", "Runs a function again and again, on worker 1.")
        .takes(
            &[
                opt("DURATION", TIME, Literal::Unset("required"), "The time between two starts."),
                opt("FUNCTION", FUNCTION, Literal::Unset("required"), "What to run."),
            ],
            2,
        )
        .later();

const ON_START: Constructor =
    statement("on_start", "on_start(function() … end)", "Runs a function once at the start, on worker 1.")
        .takes(&[opt("FUNCTION", FUNCTION, Literal::Unset("required"), "What to run.")], 1)
        .later();
