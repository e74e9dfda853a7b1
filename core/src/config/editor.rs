//! Renders `rsp.d.luau`, the types that editors check a config file with, from the table of options.

use std::fmt::Write;

use super::options::{self, Constructor, Kind, Opt, Type, constructors};

/// Type definitions of every constructor, of `request` and `response`; `rsp.d.luau` is this text.
pub fn luau_types() -> String {
    let mut out = String::from(TYPES);
    out.push('\n');
    endpoint(&mut out);
    forward(&mut out);
    certificate(&mut out);
    constructors().for_each(|constructor| declare(&mut out, constructor));
    out
}

/// One constructor: its options as a type of its own, then the function in each of its forms.
fn declare(out: &mut String, constructor: &Constructor) {
    let name = constructor.name;
    let table = table_name(name);
    out.push('\n');
    if !constructor.options.is_empty() || constructor.repeats {
        let _ = writeln!(out, "export type {table} = {{");
        positional_field(out, constructor);
        fields(out, constructor.options, constructor.landed, 1);
        out.push_str("}\n\n");
    }
    comment(out, constructor);
    match name {
        "site" => out.push_str(SITE),
        "upstream" => out.push_str(UPSTREAM),
        "log" | "channel" | "redis" | "metrics" | "errors" | "env" => special(out, constructor, &table),
        _ => plain(out, constructor, &table),
    }
}

fn plain(out: &mut String, constructor: &Constructor, table: &str) {
    let result = result(constructor);
    let arguments = arguments(constructor);
    let call = format!("({arguments}) -> {result}");
    let has_table = !constructor.options.is_empty() || constructor.repeats;
    let declared = match has_table {
        true if constructor.required == 0 && constructor.positional.is_empty() => {
            format!("(options: {table}?) -> {result}")
        }
        true => format!("({call}) & ((options: {table}) -> {result})"),
        false => call,
    };
    let _ = writeln!(out, "declare {}: {declared}", constructor.name);
}

/// Those whose shape the table can't say.
fn special(out: &mut String, constructor: &Constructor, table: &str) {
    let name = constructor.name;
    let declared = match name {
        "log" => format!("(options: {table}) -> ()"),
        // It is called, and has functions.
        "channel" => format!(
            "typeof(setmetatable({{}} :: ChannelFunctions, {{}} :: {{ __call: ((self: any, name: string) -> Handler) & \
             ((self: any, options: {table}) -> Handler) }}))"
        ),
        "errors" => format!("(pages: {}) -> ()", options::PAGES),
        "env" => "((name: string) -> string) & ((name: string, default: string) -> string)".to_owned(),
        _ => "(name: string) -> any".to_owned(),
    };
    let _ = writeln!(out, "declare {name}: {declared}");
}

fn endpoint(out: &mut String) {
    out.push_str("export type EndpointOptions = {\n  [number]: string,\n");
    fields(out, options::ENDPOINT, true, 1);
    out.push_str("}\n\nexport type Endpoint = string | EndpointOptions\n");
}

fn forward(out: &mut String) {
    out.push_str("\nexport type ForwardOptions = {\n  [number]: Upstream | string,\n");
    fields(out, options::FORWARD, true, 1);
    out.push_str("}\n");
}

fn certificate(out: &mut String) {
    out.push_str("\nexport type Certificate = {\n");
    fields(out, options::SITE_TLS, true, 1);
    out.push_str("}\n");
}

fn positional_field(out: &mut String, constructor: &Constructor) {
    let types: Vec<_> = constructor.positional.iter().map(|argument| luau(argument.of, 1)).collect();
    if constructor.name == "site" {
        out.push_str("  [string]: Route,\n");
    }
    if !types.is_empty() {
        let _ = writeln!(out, "  [number]: {},", types.join(" | "));
    }
}

fn arguments(constructor: &Constructor) -> String {
    let argument = |(index, argument): (usize, &Opt)| {
        let optional = if index < constructor.required { "" } else { "?" };
        let of = luau(argument.of, 0);
        let of =
            if of.contains(" -> ") || (of.contains(" | ") && !optional.is_empty()) { format!("({of})") } else { of };
        format!("{}: {of}{optional}", word(argument.name))
    };
    let mut arguments: Vec<_> = constructor.positional.iter().enumerate().map(argument).collect();
    if let Some(last) = constructor.positional.last().filter(|_| constructor.repeats) {
        arguments.push(format!("...{}", luau(last.of, 0)));
    }
    arguments.join(", ")
}

fn fields(out: &mut String, options: &[Opt], landed: bool, depth: usize) {
    let indent = "  ".repeat(depth);
    for option in options {
        let mark = if landed && !option.landed { " (not in this version)" } else { "" };
        let default = option.default.written().map(|default| format!(" Default: {default}.")).unwrap_or_default();
        let _ = writeln!(out, "{indent}--- {}{default}{mark}", option.doc);
        let of = match option.is_told_elsewhere() {
            true => table_name(option.name),
            false => luau(option.of, depth),
        };
        let of = if of.contains(" | ") || of.contains(" -> ") { format!("({of})") } else { of };
        let _ = writeln!(out, "{indent}{}: {of}?,", option.name);
    }
}

/// The type in Luau.
fn luau(of: Type, depth: usize) -> String {
    match of {
        Type::Bool => "boolean".to_owned(),
        Type::Integer(..) | Type::Share => "number".to_owned(),
        Type::Duration(..) => "Duration".to_owned(),
        Type::Size(..) => "Size".to_owned(),
        Type::Rate => "Rate".to_owned(),
        Type::Choice(words) => words.iter().map(|word| format!("\"{}\"", word.name)).collect::<Vec<_>>().join(" | "),
        Type::Mode | Type::Text | Type::Lines | Type::Path | Type::Address | Type::Network => "string".to_owned(),
        Type::Table(options) => {
            let mut out = String::from("{\n");
            fields(&mut out, options, true, depth + 1);
            out + &"  ".repeat(depth) + "}"
        }
        Type::Other(_, luau) => luau.to_owned(),
    }
}

fn comment(out: &mut String, constructor: &Constructor) {
    let mark = if constructor.landed { "" } else { "Not in this version. " };
    let _ = writeln!(out, "--- {mark}{}\n--- `{}`", constructor.doc, constructor.usage);
}

fn result(constructor: &Constructor) -> &'static str {
    match constructor.kind {
        Kind::Value if constructor.name == "passthrough" => "Passthrough",
        Kind::Statement => "()",
        Kind::Handler => "Handler",
        Kind::Filter => "Filter",
        Kind::Value | Kind::Evaluation => "any",
    }
}

/// `cache_disk` has the options `CacheDiskOptions`.
fn table_name(name: &str) -> String {
    let capital = |part: &str| part.chars().next().map(|first| first.to_uppercase().collect::<String>() + &part[1..]);
    name.split('_').filter_map(capital).collect::<String>() + "Options"
}

/// The name of an argument, where it would be a word of the language.
fn word(name: &str) -> String {
    match name.to_lowercase().as_str() {
        "function" => "callback".to_owned(),
        name => name.to_owned(),
    }
}

const TYPES: &str = include_str!("editor/types.luau");

const SITE: &str = "declare site: (hosts: string | { [number]: string, listen: (string | { string })?, limits: LimitsOptions?, \
log: LogOptions?, \
tls: (Certificate | { Certificate } | \"acme\" | Passthrough)?, redirect_http: boolean?, hsts: (boolean | Duration)? }) -> (routes: SiteOptions | Handler | RequestFunction | { Step }) -> ()\n";

const UPSTREAM: &str = "declare upstream: ((name: string) -> (options: UpstreamOptions) -> Upstream) & ((options: UpstreamOptions) \
-> Upstream)\n";
