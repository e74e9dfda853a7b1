//! The filters: what stands before a handler, sees the request on the way in and the answer on the way out.

use super::{COUNT, Constructor, Kind, Literal, NONE, Opt, TIME, TIME_OR_ZERO, Type, handlers::FIELDS, opt, word};

pub(super) const ALL: &[&Constructor] = &[&HEADERS, &ALLOW, &DENY, &LIMIT, &AUTH, &CORS, &REWRITE, &COMPRESS, &CACHE];

const REQUIRED: Literal = Literal::Unset("required");
const LIST: Type = Type::Other("a list of strings", "{ string }");
pub(super) const ONE_OR_LIST: Type = Type::Other("a string or a list of strings", "string | { string }");
const KEY: Type = Type::Other("a string or a function", "string | (request: Request) -> string");

const fn filter(name: &'static str, usage: &'static str, doc: &'static str) -> Constructor {
    Constructor::new(Kind::Filter, name, usage, doc)
}

const NETWORK: Opt =
    opt("NETWORK", Type::Network, REQUIRED, "An address, a network, or `\"unix\"` for peers on unix sockets.");

const ALLOW: Constructor =
    filter("allow", "allow { \"10.0.0.0/8\", \"unix\" }", "Lets only these clients pass; all others get 403.")
        .takes(&[NETWORK], 1)
        .repeats();

const DENY: Constructor =
    filter("deny", "deny { \"192.0.2.0/24\" }", "These clients get 403.").takes(&[NETWORK], 1).repeats();

const HEADERS: Constructor = filter(
    "headers",
    "headers { response = { set = { [\"X-Frame-Options\"] = \"DENY\" }, remove = { \"Server\" } } }",
    "Edits headers: of the request before the handler sees it, of the answer before the client does. \
     First `remove`, then `set`, then `add`. Headers that frame a message can't be touched; what \
     `proxy` says in `X-Forwarded-*`, `X-Real-IP` and `Forwarded` it writes afterwards.",
)
.options(&[
    opt("request", Type::Table(EDIT), NONE, "Edits of the request."),
    opt("response", Type::Table(EDIT), NONE, "Edits of the answer."),
    opt(
        "only",
        Type::Choice(&[word("websocket"), word("http")]),
        Literal::Unset("all"),
        "Only requests that ask for a WebSocket and answers that open one; or only the others.",
    ),
]);

const EDIT: &[Opt] = &[
    opt("set", FIELDS, NONE, "Replaces all values of these names."),
    opt("add", FIELDS, NONE, "Adds to what is there."),
    opt(
        "remove",
        Type::Other("a name or a list of names", "string | { string }"),
        NONE,
        "Removes all values of these names.",
    ),
];

const LIMIT: Constructor = filter(
    "limit",
    "limit { rate = \"5/s\" }",
    "Bounds how often, or how many at once: it has a `rate`, `concurrent` or both. What is too much gets `status` at \
     once, with `Retry-After` where the rate says when. One `limit` that stands in several routes counts them together. \
     All workers count together, and a limit that a reload leaves as it is goes on counting.",
)
.options(&[
    opt("rate", Type::Rate, NONE, "How often, at an even pace."),
    opt("burst", COUNT, Literal::Unset("the rate's number"), "How many at once after a pause."),
    opt(
        "key",
        Type::Text,
        Literal::Text("client.ip"),
        "What is counted together: `client.ip` (of IPv6 the /64), `header:NAME`, `cookie:NAME`, `uri`, `path` or \
         `host`. A request without the header or cookie is counted by its client's address.",
    ),
    opt(
        "by",
        Type::Other("\"local\" or `redis \"URL\"`", "string | Redis"),
        Literal::Text("local"),
        "Where it is counted.",
    ),
    opt("concurrent", COUNT, NONE, "Requests of a key at once, until their answers are out; tunnels count too."),
    opt("status", Type::Integer(400, 599), Literal::Number(429), "The status of what is too much."),
]);

const AUTH: Constructor = filter(
    "auth",
    "auth { basic = \"./htpasswd\" }",
    "Who may pass: users by name and password, whoever has a signed token, or whoever another server lets pass. One of \
     them; of two `auth` in a route both must let a request pass.",
)
.options(&[
    opt(
        "basic",
        Type::Other("a path or a table", "string | { [string]: string }"),
        NONE,
        "An htpasswd file, or a table of names and hashes; bcrypt and argon2. Read at start and at a reload. Others get \
         401 with the site's name as realm.",
    ),
    opt(
        "jwt",
        Type::Table(JWT),
        NONE,
        "A signed token (JWT), looked for in `Authorization: Bearer`, in a cookie, in `Sec-WebSocket-Protocol` behind \
         `bearer`, and in the query; the first one found counts. It has `secret`, `key` or `jwks`. A token needs `exp`; \
         `exp` and `nbf` are checked with 5 s of leeway. Its `sub` and `info` are `request.user` and `request.info`. \
         Others get 401 with the reason.",
    ),
    opt(
        "forward",
        Type::Other("a table", "ForwardOptions"),
        NONE,
        "`{ TARGET, path = \"/auth\" }`: an upstream or an address is asked about every request, with a `GET` that has \
         the request's own fields but no body, and `X-Forwarded-Method`, `-Uri`, `-Host`, `-Proto` and `-For`. 2xx lets it \
         pass, 3xx and 4xx are the client's answer, everything else is 503.",
    ),
]);

pub(in crate::config) const FORWARD: &[Opt] = &[
    opt("path", Type::Text, REQUIRED, "What is asked for."),
    opt("timeout", TIME, Literal::Text("5s"), "From the question sent to the head of the answer; then 503."),
    opt(
        "cache",
        TIME_OR_ZERO,
        Literal::Text("0s"),
        "How long a 2xx may be used again for the same question: the same fields, method, URI and client. Less, where its \
         `Cache-Control` says so. `\"0s\"`: every request is asked about.",
    ),
    opt(
        "copy",
        Type::Other("a name or a list of names", "string | { string }"),
        NONE,
        "Headers of a 2xx that go onto the request; what the client sent under these names is removed first.",
    ),
];

const JWT: &[Opt] = &[
    opt("secret", Type::Text, NONE, "A shared secret of 32 bytes or more, for HS256; best from `env`."),
    opt(
        "key",
        Type::Path,
        NONE,
        "A PEM file with a public key: RSA of 2048 to 8192 bits for RS256, EC P-256 for ES256. Read at start and at a \
         reload.",
    ),
    opt(
        "jwks",
        Type::Path,
        NONE,
        "A JWKS file, not a URL: RSA and EC P-256 keys, 64 at most. The token's `kid` chooses among them; without one \
         each key that fits is tried. Read at start and at a reload.",
    ),
    opt(
        "algorithms",
        ONE_OR_LIST,
        Literal::Unset("those of the keys"),
        "The algorithms taken, of `HS256`, `RS256` and `ES256`; each needs a key for it.",
    ),
    opt("issuer", Type::Text, NONE, "What the claim `iss` must be."),
    opt("audience", Type::Text, NONE, "What the claim `aud` must be, or have in its list."),
    opt("cookie", Type::Text, Literal::Text("token"), "The name of the cookie; cookies go on to the handler."),
    opt(
        "query",
        Type::Text,
        Literal::Text("token"),
        "The name of the parameter. Handlers and upstreams don't see it, and the site's logs show `-` as its value.",
    ),
];

const CORS: Constructor = filter(
    "cors",
    "cors { origins = { \"https://example.com\" } }",
    "Lets pages of other origins read the answers, errors included, in place of what the upstream says about that. It \
     answers preflights itself (204), also those for a route with a method: a preflight goes to the route of the \
     method it asks for, and to the filters before this one. It keeps nobody out: that is for `auth` and `allow`.",
)
.options(&[
    opt(
        "origins",
        ONE_OR_LIST,
        REQUIRED,
        "The origins, as a browser writes them: `https://example.com`, `https://*.example.com`, `null`; or `\"*\"`.",
    ),
    opt("methods", ONE_OR_LIST, NONE, "The methods beside GET, HEAD and POST; `\"*\"` is any."),
    opt("headers", ONE_OR_LIST, NONE, "The request headers beside those that every page may send; `\"*\"` is any."),
    opt("credentials", Type::Bool, Literal::Bool(false), "Whether cookies may be sent along; not with every origin."),
    opt(
        "max_age",
        TIME,
        Literal::Unset("5s in browsers"),
        "How long a browser may remember the answer to a preflight.",
    ),
]);

const REWRITE: Constructor = filter(
    "rewrite",
    "rewrite(\"^/old/(.*)\", \"/new/$1\")",
    "Changes the path by a regular expression; what follows it sees the new one, the route stays. The pattern sees the \
     path as routes do: decoded, without dot segments. A new path that could be read in two ways is 400.",
)
.takes(
    &[
        opt("PATTERN", Type::Text, REQUIRED, "A regular expression, of Rust's crate `regex`."),
        opt(
            "REPLACEMENT",
            Type::Text,
            REQUIRED,
            "What stands in the place of the first match, decoded, with `$1` or `${name}`; behind a `?` a new query.",
        ),
    ],
    2,
);

const COMPRESS: Constructor = filter("compress", "compress()", "Compresses answers.")
    .options(&[
        opt("types", LIST, Literal::Unset("text and its like"), "The media types."),
        opt("min", Type::Size(0, 1 << 30), Literal::Text("1KiB"), "Shorter bodies stay as they are."),
        opt("codings", LIST, Literal::Unset("zstd, br, gzip"), "The codings, best first."),
        opt("level", Type::Integer(1, 22), NONE, "How hard to try."),
    ])
    .later();

const CACHE: Constructor = filter("cache", "cache { ttl = \"10s\" }", "Keeps answers, by RFC 9111.")
    .options(&[
        opt("ttl", TIME, NONE, "Freshness where the origin states none."),
        opt("key", KEY, Literal::Unset("method, host and URI"), "What is the same answer."),
        opt("bypass", Type::Other("a function", "(request: Request) -> boolean"), NONE, "What goes past the cache."),
        opt("statuses", Type::Other("a list of numbers", "{ number }"), NONE, "The statuses kept."),
        opt("methods", LIST, NONE, "The methods kept."),
        opt("size_max", Type::Size(0, u64::MAX), NONE, "Bytes of the largest answer kept."),
        opt("grace", TIME, NONE, "How long a stale answer is served while a fresh one is fetched."),
        opt("keep", TIME, NONE, "How long a stale answer is kept to be revalidated."),
        opt("vary", LIST, NONE, "Request headers that tell answers apart."),
    ])
    .later();
