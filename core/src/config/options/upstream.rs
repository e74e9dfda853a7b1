//! `upstream`: a group of endpoints and how one of them is chosen.

use super::{COUNT, Constructor, Kind, Literal, NONE, Opt, TIME, TIME_OR_ZERO, Type, Word, handlers::RETRY, opt, word};

pub(super) const ALL: &[&Constructor] = &[&UPSTREAM];

pub(in crate::config) const UPSTREAM: Constructor = Constructor::new(
    Kind::Statement,
    "upstream",
    "upstream \"app\" { \"127.0.0.1:3000\", { \"127.0.0.1:3001\", weight = 2 }, balance = \"least_connections\" }",
    "A group of endpoints that share work, for `proxy(app)` or `proxy \"app\"`. The name may be left out: \
     `upstream { \"127.0.0.1:3000\" }`. States (health, position of the round robin, requests in flight) live under \
     the name across reloads.",
)
.takes(
    &[opt(
        "ENDPOINT",
        Type::Other("an endpoint", "Endpoint"),
        Literal::Unset("required"),
        "`\"host:port\"`, `\"https://host\"`, `\"unix:/path\"`, or `{ ADDRESS, … }` with the options of an endpoint.",
    )],
    1,
)
.repeats()
.options(&[
    opt(
        "balance",
        Type::Choice(BALANCES),
        Literal::Text("round_robin"),
        "How an endpoint is chosen. (A function: *not in this version*.)",
    ),
    opt(
        "outlier",
        Type::Table(OUTLIER),
        Literal::Unset("its defaults"),
        "When a failing endpoint is left out for a while.",
    ),
    opt("connect_timeout", TIME, Literal::Text("5s"), "To establish a connection."),
    opt("keepalive", Type::Integer(0, 65535), Literal::Number(64), "Idle connections kept, a worker and endpoint."),
    opt("keepalive_timeout", TIME, Literal::Text("60s"), "How long an idle connection is kept."),
    opt(
        "retry",
        Type::Table(RETRY),
        Literal::Unset("its defaults"),
        "Second attempts, on another endpoint, where repeating is safe.",
    ),
    opt(
        "key",
        Type::Other("a string or a function", "string | (request: Request) -> string"),
        Literal::Text("client.ip"),
        "What `hash` hashes: `client.ip`, `header:NAME`, `cookie:NAME` or `uri` (path and query). What a request lacks \
         is no key: it takes its turn. (A function: *not in this version*.)",
    ),
    opt(
        "sticky",
        Type::Text,
        NONE,
        "The cookie that keeps a client on its endpoint. It names the endpoint by a code that only this rsp can make; \
         upstreams don't see it. Its secret is a file of mode 0600 beside the admin socket, or beside the config.",
    ),
    opt("probe", Type::Table(PROBE), NONE, "Active health checks: `path`, or `tcp = true`."),
    opt(
        "max_connections",
        COUNT,
        NONE,
        "Requests and tunnels that each endpoint has at once at most, all workers together. When all have: `queue`, \
         else 503.",
    ),
    opt("queue", Type::Table(QUEUE), NONE, "Where requests wait when all endpoints are full or down."),
    opt("slow_start", TIME_OR_ZERO, Literal::Text("0s"), "How long an endpoint that is back gets less than its share."),
    opt("http2", Type::Bool, Literal::Bool(false), "HTTP/2 to the endpoints: by ALPN over TLS, where one that has only HTTP/1.1 gets that, and else by prior knowledge. Needed for gRPC."),
    opt("tls", Type::Table(TLS), NONE, "TLS to all endpoints; those written as `https://` have it anyway, with these options."),
    opt("proxy_protocol", Type::Choice(&[word("v1"), word("v2")]), NONE, "Each connection begins with a header of the PROXY protocol, which says whose it is; so it serves one client, and is not kept."),
    opt(
        "resolve",
        Type::Choice(&[word("ttl")]),
        Literal::Text("ttl"),
        "When names are looked up again: when DNS says that the answer is too old (not before 1 s, after 5 min at the \
         latest). What is known stands until there is a new answer.",
    ),
]);

pub(in crate::config) const ENDPOINT: &[Opt] = &[
    opt("weight", Type::Integer(1, 65535), Literal::Number(1), "Its share of the traffic, relative to the others."),
    opt("backup", Type::Bool, Literal::Bool(false), "Used only when no other endpoint is available."),
    opt("name", Type::Text, Literal::Unset("the address"), "Its name in logs and metrics."),
    opt(
        "max_connections",
        COUNT,
        Literal::Unset("the upstream's"),
        "Requests and tunnels that it has at once at most, all workers together.",
    ),
];

const BALANCES: &[Word] =
    &[word("round_robin"), word("least_connections"), word("power_of_two"), word("hash"), word("random")];

pub(in crate::config) const OUTLIER: &[Opt] = &[
    opt(
        "failures",
        Type::Integer(1, 1000),
        Literal::Number(3),
        "Bad answers in a row; a failed connect counts as three.",
    ),
    opt("eject", TIME, Literal::Text("10s"), "The first time out; each one that follows is twice as long."),
    opt("eject_max", TIME, Literal::Text("5m"), "The longest time out."),
    opt(
        "max_ejected",
        Type::Share,
        Literal::Share(0.5),
        "How much of the group may be out at once for its answers; what can't be reached is out anyway, but for the last \
         endpoint.",
    ),
    opt("error_rate", Type::Share, NONE, "Bad answers as a share of all, in place of a row of them.").later(),
    opt("slow", TIME, NONE, "An answer whose head takes longer is a bad one."),
];

const PROBE: &[Opt] = &[
    opt("path", Type::Text, NONE, "The path to ask for."),
    opt("tcp", Type::Bool, Literal::Bool(false), "A connect is enough, in place of `path`."),
    opt("method", Type::Text, Literal::Text("GET"), "The method."),
    opt("host", Type::Text, Literal::Unset("the endpoint's address"), "The `Host` to send."),
    opt("every", TIME, Literal::Text("2s"), "The time between two probes."),
    opt("timeout", TIME, Literal::Text("1s"), "For one probe."),
    opt("fall", COUNT, Literal::Number(2), "Failures in a row that take it out."),
    opt("rise", COUNT, Literal::Number(2), "Successes in a row that bring it back."),
    opt(
        "status",
        Type::Text,
        Literal::Text("200-399"),
        "The statuses that are successes: `\"200\"`, `\"200-299,404\"`.",
    ),
    opt("body", Type::Text, NONE, "What the first 64 KiB of the body must contain."),
];

pub(in crate::config) const QUEUE: &[Opt] = &[
    opt("size", Type::Integer(0, 1_000_000), Literal::Number(0), "Requests that wait."),
    opt("timeout", TIME, Literal::Text("1s"), "How long one waits; then 503. A full queue is 503 at once."),
];

const TLS: &[Opt] = &[
    opt(
        "ca",
        Type::Path,
        Literal::Unset("the system's"),
        "A PEM file of authorities, one of which must have signed the endpoint's certificate.",
    ),
    opt(
        "server_name",
        Type::Text,
        Literal::Unset("the endpoint's host"),
        "The name to ask for and to verify; a unix socket has none of its own.",
    ),
    opt("cert", Type::Path, NONE, "Our own certificate, a PEM file, for endpoints that ask for one."),
    opt("key", Type::Path, Literal::Unset("in `cert`"), "Its key, a PEM file."),
    opt(
        "verify",
        Type::Bool,
        Literal::Bool(true),
        "Whether the endpoint's certificate must be right. Without it anybody on the way can answer.",
    ),
];
