//! The handlers: what answers a request.

use super::{
    Constructor, Kind, Literal, NONE, Opt, TIME, Type, Word,
    filters::ONE_OR_LIST,
    opt,
    programs::{BRIDGE, CGI, EXEC},
    word,
};

pub(super) const ALL: &[&Constructor] =
    &[&PROXY, &FILES, &REPLY, &REDIRECT, &CGI, &FASTCGI, &CHANNEL, &EXEC, &BRIDGE, &TUNNEL];

pub(super) const REQUIRED: Literal = Literal::Unset("required");
pub(super) const UPSTREAM: Type = Type::Other("an upstream or an address", "Upstream | string");
pub(super) const LIST: Type = Type::Other("a list of strings", "{ string }");
pub(super) const VARIABLES: Type = Type::Other("a table of strings", "{ [string]: string }");

pub(super) const fn handler(name: &'static str, usage: &'static str, doc: &'static str) -> Constructor {
    Constructor::new(Kind::Handler, name, usage, doc)
}

const PROXY: Constructor = handler(
    "proxy",
    "proxy { app, timeout = \"30s\" }",
    "Forwards to an upstream: one that was declared, its name, or an address (`\"127.0.0.1:3000\"`, \
     `\"unix:/run/app.sock\"`). Bodies stream both ways. The whole raw path is sent as it was received.",
)
.takes(&[opt("TARGET", UPSTREAM, REQUIRED, "An upstream, the name of one, or an address.")], 1)
.options(&[
    opt("strip", Type::Text, NONE, "Removed from the front of the path, if it is there."),
    opt(
        "host",
        Type::Text,
        Literal::Text("keep"),
        "The `Host` sent: `\"keep\"` what the client sent, `\"upstream\"` the endpoint's, or a name.",
    ),
    opt("timeout", TIME, Literal::Text("60s"), "From the request sent to the head of the answer; then 504."),
    opt("body_timeout", TIME, Literal::Text("60s"), "Between two reads of the answer's body."),
    opt(
        "forwarded",
        Type::Choice(FORWARDED),
        Literal::Text("x"),
        "`x`: `X-Forwarded-For/-Proto/-Host` and `X-Real-IP`; `rfc`: `Forwarded`.",
    ),
    opt(
        "retry",
        Type::Table(RETRY),
        Literal::Unset("the upstream's"),
        "Second attempts; what it doesn't say is as in the upstream.",
    ),
    opt(
        "buffer",
        Type::Size(4 << 10, 64 << 20),
        Literal::Unset("the limit `buffer`"),
        "Bytes of a body in flight, in each direction.",
    ),
    opt(
        "upgrade",
        Type::Bool,
        Literal::Bool(true),
        "Pass on `Upgrade` (WebSocket and any other); it becomes a tunnel.",
    ),
    opt("tunnel_timeout", TIME, NONE, "Silence after which a tunnel is cut; no other time-out touches it."),
]);

const FORWARDED: &[Word] = &[word("x"), word("rfc"), word("both"), word("off")];

pub(in crate::config) const RETRY: &[Opt] = &[
    opt("tries", Type::Integer(1, 100), Literal::Number(2), "Attempts in all, the first one counted."),
    opt("budget", Type::Share, Literal::Share(0.2), "Retries as a share of requests."),
];

const FILES: Constructor = handler(
    "files",
    "files \"./public\"",
    "Serves a folder. The path below the route's literal prefix names the file: with `[\"/static/*\"] = files \"./public\"`, \
     `/static/x` is `public/x`. No `..` and no link leads out of the folder. Conditions, ranges and several ranges at once \
     are answered. The config file, what it includes and the admin socket are never served.",
)
.takes(&[opt("FOLDER", Type::Path, REQUIRED, "The folder; relative to the file that says it.")], 1)
.options(&[
    opt("index", Type::Text, Literal::Text("index.html"), "The file that stands for a folder."),
    opt(
        "listing",
        Type::Bool,
        Literal::Bool(false),
        "List a folder without index: a page, or JSON for `Accept: application/json`. `?sort=name`, `size` or `time` and \
         `&order=asc` or `desc`; 10,000 names at most.",
    ),
    opt(
        "dotfiles",
        Type::Bool,
        Literal::Bool(false),
        "Serve names that begin with a dot. Without it they are 404, but for `.well-known` at the top (RFC 8615).",
    ),
    opt(
        "precompressed",
        Type::Bool,
        Literal::Bool(true),
        "Send `x.br`, `x.zst` or `x.gz` for `x` to whom accepts it, unless it is older than `x`.",
    ),
    opt("cache_control", Type::Text, NONE, "The `Cache-Control` of every file: with 200, 206 and 304."),
    opt(
        "try",
        LIST,
        Literal::Unset("the path"),
        "Files to try instead of the path; the first that is there answers: `{ \"{path}\", \"{path}.html\", \"/index.html\" }`. \
         `{path}` is the path below the prefix; a folder is there if it has its index.",
    ),
    opt(
        "mime",
        VARIABLES,
        NONE,
        "Media types by file ending, before the built-in ones: `{ md = \"text/markdown; charset=utf-8\" }`.",
    ),
]);

const REPLY: Constructor = handler(
    "reply",
    "reply(200, \"hello\\n\", { [\"Cache-Control\"] = \"no-store\" })",
    "A fixed answer. A table as body is sent as JSON; a list as a header's value sends the header once for each.",
)
.takes(
    &[
        opt("STATUS", Type::Integer(200, 599), REQUIRED, "The status."),
        opt(
            "BODY",
            Type::Other("a string or a table", "string | { [any]: any }"),
            Literal::Unset("empty"),
            "A string, or a table for JSON.",
        ),
        opt("HEADERS", FIELDS, NONE, "More headers. `Content-Type` is text/plain or application/json unless given."),
    ],
    1,
);

pub(super) const FIELDS: Type = Type::Other("a table of headers", "{ [string]: string | { string } }");

const REDIRECT: Constructor = handler(
    "redirect",
    "redirect(\"https://{host}{uri}\", 301)",
    "Sends the client to another URL. `{host}`, `{hostname}` (without its port), `{uri}` (path and query), `{path}`, \
     `{query}` and the route's own parameters are filled in.",
)
.takes(
    &[
        opt("URL", Type::Text, REQUIRED, "The URL or path."),
        opt("STATUS", Type::Integer(301, 308), Literal::Number(302), "301, 302, 303, 307 or 308."),
    ],
    1,
);

const FASTCGI: Constructor = handler(
    "fastcgi",
    "fastcgi { \"unix:/run/php/php-fpm.sock\", root = \"./public\" }",
    "php-fpm and its like, at an upstream or an address. The first name of the path that ends in `split` is the script, \
     404 if `root` has no such file; what follows is `PATH_INFO`. A path without a script is that of a folder with an \
     `index`, and else of the `index` of `root` (`/index.php`), which sees what was asked for in `REQUEST_URI`. Only \
     scripts are asked for: give other files a route with `files`. A `root` that is not on this machine is \
     never looked at, and every path without a script goes to its `index`. Fields become `HTTP_` parameters if their \
     names are letters, digits and hyphens; `X-Forwarded-*`, `X-Real-IP` and `Forwarded` only from `trust`; `Proxy` \
     never. Bodies stream both ways; one without a length is 411.",
)
.takes(&[opt("TARGET", UPSTREAM, REQUIRED, "An upstream, the name of one, or an address.")], 1)
.options(&[
    opt("root", Type::Path, NONE, "The folder of the scripts."),
    opt("index", Type::Text, Literal::Text("index.php"), "The script that stands for a folder."),
    opt("params", VARIABLES, NONE, "More parameters, or other values for those there are."),
    opt("split", Type::Text, Literal::Text(".php"), "How the name of a script ends."),
    opt(
        "keepalive",
        Type::Bool,
        Literal::Bool(false),
        "Keep connections open as the upstream's `keepalive` says. Each idle one occupies a process of php-fpm, so that \
         `pm.max_children` must be larger than `keepalive` times the workers.",
    ),
    opt("timeout", TIME, Literal::Text("60s"), "From the request sent to the head of the answer; then 504."),
    opt("body_timeout", TIME, Literal::Text("60s"), "Between two reads of the answer's body."),
]);

const CHANNEL: Constructor = handler(
    "channel",
    "channel { \"chat:{room}\", history = 100, presence = true }",
    "One URL at which clients subscribe and publish: WebSocket, event stream, long poll, POST. Channels of one name are \
     one, in whatever route or site they stand.",
)
.takes(
    &[opt(
        "NAME",
        Type::Text,
        REQUIRED,
        "The channel: 1 to 255 bytes without control characters. Parameters of the route are filled in; as none of them \
         ever holds a `/`, `\"{team}/{room}\"` can't be mistaken for another pair.",
    )],
    1,
)
.options(&[
    opt("history", Type::Integer(0, 1_000_000), Literal::Number(0), "Messages kept, the latest ones; who comes back after more of them has missed some."),
    opt("ttl", Type::Duration(1000, 365 * 86_400_000), Literal::Text("1h"), "How long a message is kept."),
    opt("presence", Type::Bool, Literal::Bool(false), "Keep the list of who is there, for `GET ?presence`."),
    opt("join_leave", Type::Bool, Literal::Bool(false), "Tell subscribers who comes and goes."),
    opt(
        "publish",
        Type::Other("\"client\", \"server\" or a function", "\"client\" | \"server\" | PublishFunction"),
        Literal::Text("client"),
        "Who may publish: `\"client\"` whoever may open the URL, `\"server\"` only the admin API, functions and other \
         handlers, or a function of the request and the message that returns true, false or another message.",
    ),
    opt(
        "subscribe",
        Type::Other("a function", "SubscribeFunction"),
        Literal::Unset("whoever may open the URL"),
        "Who may subscribe: a function of the request that returns true, false or `{ user = …, info = … }`, which others \
         see with messages and presence. It guards history and presence too.",
    ),
    opt(
        "delete",
        Type::Other("a function", "DeleteFunction"),
        Literal::Unset("the admin API only"),
        "Who may drop the history: a function of the request that returns true or false.",
    ),
    opt(
        "origins",
        ONE_OR_LIST,
        Literal::Unset("the same origin"),
        "Foreign origins whose pages may come, as `cors` takes them; `\"*\"` is any. Others get 403 for WebSocket, POST and \
         DELETE. Who sends no `Origin` (curl, servers) may come.",
    ),
    opt("field", Type::Text, NONE, "The field of a posted form that is the message."),
    opt("poll_timeout", AN_HOUR, Literal::Text("25s"), "How long a poll waits for a message; then 204."),
    opt("ping", AN_HOUR, Literal::Text("25s"), "Between two pings of a WebSocket or comments of an event stream."),
    opt("message_max", Type::Size(1, 1 << 30), Literal::Text("64KiB"), "Bytes of a message; a larger one is refused."),
    opt(
        "queue_max",
        Type::Size(1 << 10, 1 << 40),
        Literal::Text("1MiB"),
        "Bytes that wait for a subscriber who doesn't read as fast as they come; then `slow`.",
    ),
    opt(
        "slow",
        Type::Choice(&[word("disconnect"), word("drop_oldest"), word("latest")]),
        Literal::Text("disconnect"),
        "What happens to such a subscriber: it is disconnected, it misses the oldest messages that wait, or all but the \
         latest one.",
    ),
    opt(
        "protocols",
        ONE_OR_LIST,
        Literal::Unset("plain"),
        "Client protocols; in this version `\"plain\"` only, which is always spoken.",
    ),
]);

/// From a second, less than which only makes load, to an hour, which no network keeps a silent connection for.
const AN_HOUR: Type = Type::Duration(1000, 3_600_000);

/// What `protocols` of `channel` may say.
pub(in crate::config) const PROTOCOLS: &[Word] = &[
    word("plain"),
    word("sockjs").later(),
    word("engineio").later(),
    word("socketio").later(),
    word("centrifugo").later(),
    word("grip").later(),
    word("pusher").later(),
    word("bayeux").later(),
    word("wamp").later(),
];

pub(in crate::config) const TUNNEL: Constructor =
    handler("tunnel", "tunnel(app)", "Bytes both ways, unread: for `listen { \":5432\", tcp = tunnel(app) }`, not for routes. The endpoints are balanced and ejected as ever.")
        .takes(&[opt("TARGET", UPSTREAM, REQUIRED, "An upstream.")], 1)
        .options(&[opt("idle_timeout", TIME, NONE, "Silence after which it is cut.")]);
