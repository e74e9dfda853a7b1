//! The handlers that let a program, or a socket that speaks its language, talk with clients.

use super::{
    COUNT, Constructor, Literal, NONE, Opt, TIME, TIME_OR_ZERO, Type, Word,
    filters::ONE_OR_LIST,
    handlers::{LIST, REQUIRED, UPSTREAM, VARIABLES, handler},
    opt, word,
};

const FRAMING: &[Word] = &[word("lines"), word("raw"), word("length")];

/// Seconds are what the kernel counts the time of a processor in.
const LIMITS: &[Opt] = &[
    opt(
        "cpu",
        Type::Duration(1000, 365 * 86_400_000),
        NONE,
        "Time of a processor, in whole seconds; then it is killed.",
    ),
    opt("memory", Type::Size(1 << 20, 1 << 50), NONE, "Address space; asking for more fails."),
    opt("files", Type::Integer(3, 1 << 20), NONE, "Open files, the three it begins with counted."),
];

const ENV: Opt = opt("env", VARIABLES, NONE, "More environment variables; they win over those of the request.");
const PASSENV: Opt = opt(
    "passenv",
    LIST,
    Literal::Unset("PATH, LD_LIBRARY_PATH"),
    "The variables of rsp's own environment that it gets; all others are hidden from it.",
);
const USER: Opt = opt(
    "user",
    Type::Text,
    Literal::Unset("rsp's own"),
    "Whom it runs as, `\"name\"` or `\"name:group\"`; only root can become another.",
);
const PROCESS_LIMITS: Opt = opt("limits", Type::Table(LIMITS), NONE, "What the kernel lets it use.");
const OTHERWISE: Opt = opt(
    "otherwise",
    Type::Other("a handler", "Handler"),
    Literal::Unset("404"),
    "What answers the requests that are not for it.",
);
const LINE_MAX: Opt = opt(
    "line_max",
    Type::Size(1, 1 << 30),
    Literal::Text("1MiB"),
    "Bytes of a line or message for the client; a longer one ends the connection with 1009.",
);
const MESSAGE_MAX: Opt = opt(
    "message_max",
    Type::Size(1, 1 << 30),
    Literal::Text("1MiB"),
    "Bytes of a client's message; a longer one ends the connection with 1009.",
);
const PING: Opt = opt(
    "ping",
    Type::Duration(10, 3_600_000),
    NONE,
    "The time between two pings of a WebSocket, or comments of an event stream. Who is silent for two of them is gone.",
);
const ORIGINS: Opt = opt(
    "origins",
    ONE_OR_LIST,
    Literal::Unset("the same origin"),
    "The origins whose pages may come, as `cors` takes them; also `\"https://example.com:*\"` for any port, and \
     `\"example.com\"` for any scheme and port; `\"*\"` is any. Others get 403.",
);
const ORIGIN_REQUIRED: Opt =
    opt("origin_required", Type::Bool, Literal::Bool(false), "Refuse who sends no `Origin`, too: no browser, then.");
const SAME_ORIGIN: Opt = opt(
    "same_origin",
    Type::Bool,
    Literal::Bool(false),
    "Refuse pages of other origins than the URL's own, whatever `origins` lists.",
);

pub(super) const EXEC: Constructor = handler(
    "exec",
    "exec { \"./clock.sh\" }",
    "A program for each client: what the client sends is a line of its standard input, each line that it prints is a \
     message. Clients come by WebSocket; those without come by event stream (`Accept: text/event-stream`), whose first \
     event names the session that they POST to: `?session=…`. The environment tells the program of the request as CGI does. When \
     either side ends, standard input is closed; then come SIGINT, SIGTERM and SIGKILL, for its whole process group.",
)
.takes(
    &[opt(
        "PROGRAM",
        Type::Lines,
        REQUIRED,
        "The program, then its arguments: no shell reads them. A name with a slash is relative to the folder of the file that \
         says it, one without is looked up in `PATH`.",
    )],
    0,
)
.repeats()
.options(&[
    opt(
        "shared",
        Type::Bool,
        Literal::Bool(false),
        "One process for all clients, which is started with the first one and again whenever it ends. It speaks JSON \
         objects: `{\"id\", \"event\": \"open\" | \"message\" | \"close\", \"data\"}` in, and out the same; without `id` it \
         is for all.",
    ),
    opt(
        "framing",
        Type::Choice(FRAMING),
        Literal::Text("lines"),
        "What separates messages on its side: `lines`; `raw` passes bytes on as they come, in binary messages; with \
         `length` each has its length before it, four bytes, the highest first, and goes to the client as text or binary, as the \
         client's own last one came (text at first, and binary where it is not UTF-8).",
    ),
    opt(
        "channel",
        Type::Other("a name or a channel", "string | Handler"),
        NONE,
        "What it prints is published on this channel, and what others publish there it reads. The URL is the channel's. \
         It runs from the start, whether or not somebody listens.",
    ),
    opt("dir", Type::Path, NONE, "A folder of programs instead of one: the path names the program, what follows is `PATH_INFO`."),
    opt("processes_max", COUNT, Literal::Number(1024), "Processes at once; for one more client 429."),
    opt(
        "stderr",
        Type::Choice(&[word("log"), word("client")]),
        Literal::Text("log"),
        "Where the lines of its standard error go: to rsp's own messages, or to the client. With `client` every message is an \
         object, `{\"stream\": \"stdout\" | \"stderr\", \"data\"}`.",
    ),
    ENV,
    PASSENV,
    opt("cwd", Type::Path, Literal::Unset("the config's folder"), "Its working folder."),
    USER,
    PROCESS_LIMITS,
    LINE_MAX,
    MESSAGE_MAX,
    opt(
        "close",
        TIME_OR_ZERO,
        Literal::Text("0s"),
        "Added to each step of its end: 100 ms after its input is closed, 250 ms after SIGINT, 500 ms after SIGTERM.",
    ),
    PING,
    ORIGINS,
    ORIGIN_REQUIRED,
    SAME_ORIGIN,
    opt("reverse_lookup", Type::Bool, Literal::Bool(false), "Fill `REMOTE_HOST` with the client's name, by DNS."),
    opt("console", Type::Bool, Literal::Bool(false), "Answer browsers that open the URL with a page to try the program by hand."),
    OTHERWISE,
]);

pub(super) const CGI: Constructor = handler(
    "cgi",
    "cgi \"./cgi-bin\"",
    "Programs of a folder, by RFC 3875: the path names the program, what follows is `PATH_INFO`. Each request starts one; \
     bodies stream both ways. Nothing of a request is ever on its command line. A `Location` that is a path, and the only \
     field, is answered as a request for it. A name that begins with `nph-` is 501, a file that is not executable 403, a \
     body without a length 411.",
)
.takes(&[opt("FOLDER", Type::Path, REQUIRED, "The folder.")], 1)
.options(&[
    opt(
        "timeout",
        TIME,
        Literal::Text("60s"),
        "How long it may do nothing: from its start, or from the last byte of the request that it took, to the head of its \
         answer; and between two reads of the body. Then 504, or a cut.",
    ),
    ENV,
    PASSENV,
    USER,
    PROCESS_LIMITS,
    opt("processes_max", COUNT, Literal::Number(64), "Processes at once; for one more request 429."),
    opt("reverse_lookup", Type::Bool, Literal::Bool(false), "Fill `REMOTE_HOST` with the client's name, by DNS."),
    OTHERWISE,
]);

pub(super) const BRIDGE: Constructor = handler(
    "bridge",
    "bridge \"127.0.0.1:7000\"",
    "A connection of its own to a TCP or unix socket for each client: what the client sends is a line, each line that comes \
     back is a message. Clients come as to `exec`.",
)
.takes(&[opt("TARGET", UPSTREAM, REQUIRED, "An upstream, the name of one, or an address.")], 1)
.options(&[
    opt("framing", Type::Choice(FRAMING), Literal::Text("lines"), "What separates messages on its side, as with `exec`."),
    LINE_MAX,
    MESSAGE_MAX,
    PING,
    ORIGINS,
    ORIGIN_REQUIRED,
    SAME_ORIGIN,
    OTHERWISE,
]);
