//! What stands inside of others, and what runs while the file is evaluated.

use super::{Constructor, Kind, Literal, NONE, Opt, TIME, Type, opt};

pub(super) const ALL: &[&Constructor] = &[&ENV, &REQUIRE, &INCLUDE, &ROUTES, &REDIS, &PASSTHROUGH, &SHARED, &METRICS];

const REQUIRED: Literal = Literal::Unset("required");

const fn text(name: &'static str, doc: &'static str) -> Opt {
    opt(name, Type::Text, REQUIRED, doc)
}

const ENV: Constructor = Constructor::new(
    Kind::Evaluation,
    "env",
    "env(\"PORT\", \"8080\")",
    "An environment variable, as a string. Unset and without a default it is an error.",
)
.takes(
    &[text("NAME", "The variable."), opt("DEFAULT", Type::Text, Literal::Unset("none"), "What it is when unset.")],
    1,
);

const REQUIRE: Constructor = Constructor::new(
    Kind::Evaluation,
    "require",
    "require \"./shared\"",
    "Runs another Lua file once and gives what it returns; relative to the file that says so, nothing above the config's folder.",
)
.takes(&[text("PATH", "The file, with or without `.lua`.")], 1);

const INCLUDE: Constructor = Constructor::new(
    Kind::Evaluation,
    "include",
    "include \"sites/*.lua\"",
    "Runs every file that matches, in the order of their names; relative to the file that says so.",
)
.takes(&[text("PATTERN", "The files; `*` and `?` stand for any characters and any one.")], 1);

const ROUTES: Constructor = Constructor::new(
    Kind::Value,
    "routes",
    "routes { redis \"redis://127.0.0.1:6379/0\", schema = \"hipache\" }",
    "A table of routes that changes at run time.",
)
.takes(&[opt("FROM", Type::Other("a `redis`", "Redis"), REQUIRED, "Where the table lives.")], 1)
.options(&[opt("schema", Type::Text, REQUIRED, "The layout of its keys.")])
.later();

const REDIS: Constructor = Constructor::new(Kind::Value, "redis", "redis \"redis://127.0.0.1:6379/0\"", "A Redis.")
    .takes(&[text("URL", "Where it is.")], 1)
    .later();

pub(in crate::config) const PASSTHROUGH: Constructor = Constructor::new(
    Kind::Value,
    "passthrough",
    "passthrough(app)",
    "As a site's `tls`: the connection goes to the upstream unopened, chosen by the name in its first message. The upstream \
     has the key; `proxy_protocol = \"v2\"` of `upstream` tells it the client's address.",
)
.takes(
    &[opt(
        "TARGET",
        Type::Other("an upstream or an address", "Upstream | string"),
        REQUIRED,
        "An upstream, the name of one, or an address.",
    )],
    1,
)
.options(&[opt("idle_timeout", TIME, NONE, "Silence after which it is cut.")]);

const SHARED: Constructor =
    Constructor::new(Kind::Value, "shared", "shared \"hits\"", "A table that all workers share.")
        .takes(&[text("NAME", "Its name.")], 1)
        .later();

const METRICS: Constructor = Constructor::new(Kind::Value, "metrics", "metrics \"logins\"", "A counter of your own.")
    .takes(&[text("NAME", "Its name.")], 1)
    .later();
