//! Stories of routes and hosts, against matchers written the dumbest possible way.

use std::cmp::Ordering;

use http::Method;
use proptest::prelude::*;

use super::*;
use crate::config::Host;

/// A table whose values are the positions of the keys.
fn table(keys: &[&str]) -> Table<usize> {
    build(keys).unwrap()
}

fn build(keys: &[&str]) -> Result<Table<usize>, Vec<Conflict>> {
    let route = |(index, key): (usize, &&str)| {
        let (method, pattern) = parse_key(key).unwrap();
        (method, pattern, index)
    };
    Table::build(keys.iter().enumerate().map(route).collect())
}

/// The answer in words: the key that was found, `405 …`, `404` or `400`.
fn ask(keys: &[&str], method: &str, path: &str) -> String {
    let table = table(keys);
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let Ok(path) = Path::new(path.as_bytes()) else { return "400".into() };
    match table.find(&method, &path) {
        Lookup::Found(found) => keys[*found.value].to_string(),
        Lookup::MethodNotAllowed(methods) => {
            let methods: Vec<&str> = methods.iter().map(Method::as_str).collect();
            format!("405 {}", methods.join(", "))
        }
        Lookup::NotFound => "404".into(),
        Lookup::Ambiguous => "400".into(),
    }
}

#[test]
fn the_most_specific_route_wins_whatever_the_order() {
    let keys = ["/*", "/{page}", "/a/*", "/a/{id}", "/a/b", "/a", "/a/{id}/c", "/a/b/d"];
    for (path, key) in [
        ("/", "/*"),
        ("/x", "/{page}"),
        ("/a", "/a"),
        ("/a/", "/a/*"),
        ("/a/b", "/a/b"),
        ("/a/x", "/a/{id}"),
        ("/a/x/c", "/a/{id}/c"),
        ("/a/b/d", "/a/b/d"),
        ("/a/x/d", "/a/*"),
        ("/x/y", "/*"),
    ] {
        assert_eq!(ask(&keys, "GET", path), key, "{path}");
        let backwards: Vec<&str> = keys.into_iter().rev().collect();
        assert_eq!(ask(&backwards, "GET", path), key, "{path}");
    }
}

#[test]
fn a_literal_that_leads_nowhere_gives_way_to_a_name_and_a_name_to_the_rest() {
    let keys = ["/a/b/c", "/a/{x}/d", "/{x}/b/e", "/a/*", "/*"];
    assert_eq!(ask(&keys, "GET", "/a/b/c"), "/a/b/c");
    assert_eq!(ask(&keys, "GET", "/a/b/d"), "/a/{x}/d");
    assert_eq!(ask(&keys, "GET", "/a/b/e"), "/a/*");
    assert_eq!(ask(&keys, "GET", "/z/b/e"), "/{x}/b/e");
    assert_eq!(ask(&keys, "GET", "/z/b/f"), "/*");
}

#[test]
fn a_wildcard_takes_what_is_below_its_slash_and_nothing_else() {
    for (path, answer) in
        [("/a", "404"), ("/a/", "/a/*"), ("/a/b/c", "/a/*"), ("/ab", "404"), ("/", "404"), ("/b/a/", "404")]
    {
        assert_eq!(ask(&["/a/*"], "GET", path), answer, "{path}");
    }
}

#[test]
fn a_name_is_one_whole_segment_and_not_an_empty_one() {
    for (path, answer) in
        [("/a/x", "/a/{id}"), ("/a/", "404"), ("/a", "404"), ("/a/x/", "404"), ("/a/x/y", "404"), ("/a/%20", "/a/{id}")]
    {
        assert_eq!(ask(&["/a/{id}"], "GET", path), answer, "{path}");
    }
}

#[test]
fn the_path_decides_before_the_method() {
    let keys = ["GET /a", "POST /a", "/{x}", "DELETE /b", "/b", "HEAD /c", "GET /c", "GET /d/*", "/*"];
    for (method, path, answer) in [
        ("GET", "/a", "GET /a"),
        ("HEAD", "/a", "GET /a"),
        ("POST", "/a", "POST /a"),
        ("PUT", "/a", "405 GET, POST, HEAD"),
        ("DELETE", "/b", "DELETE /b"),
        ("GET", "/b", "/b"),
        ("HEAD", "/c", "HEAD /c"),
        ("PUT", "/c", "405 GET, HEAD"),
        ("POST", "/d/x", "405 GET, HEAD"),
        ("POST", "/d", "/{x}"),
        ("BREW", "/e", "/{x}"),
        ("BREW", "/e/f", "/*"),
    ] {
        assert_eq!(ask(&keys, method, path), answer, "{method} {path}");
    }
}

#[test]
fn a_head_route_does_not_answer_get() {
    assert_eq!(ask(&["HEAD /a"], "GET", "/a"), "405 HEAD");
}

#[test]
fn params_are_decoded_and_named_by_the_route_that_won() {
    let table = table(&["GET /u/{user}/p/{post}", "POST /u/{name}/p/{id}", "/u/{only}/*"]);
    let path = Path::new(b"/u/J%C3%B6rg/p/%ff1").unwrap();
    let Lookup::Found(found) = table.find(&Method::POST, &path) else { panic!("not found") };
    assert_eq!((*found.value, found.pattern.as_str()), (1, "/u/{name}/p/{id}"));
    assert_eq!(found.params.get("name"), Some("Jörg".as_bytes()));
    assert_eq!(found.params.get("id"), Some(&b"\xff1"[..]));
    assert_eq!(found.params.get("user"), None);
    let path = Path::new(b"/u/x/p/y/z").unwrap();
    let Lookup::Found(found) = table.find(&Method::GET, &path) else { panic!("not found") };
    assert_eq!(found.params.iter().collect::<Vec<_>>(), [("only", &b"x"[..])]);
}

#[test]
fn a_name_that_was_tried_in_vain_leaves_no_param() {
    let table = table(&["/{x}/b", "/{x}/{y}/c", "/a/*", "/*"]);
    for path in ["/q/z", "/a/z", "/q/z/d"] {
        let Lookup::Found(found) = table.find(&Method::GET, &Path::new(path.as_bytes()).unwrap()) else {
            panic!("not found")
        };
        assert!(found.params.is_empty(), "{path}: {:?}", found.params);
    }
}

#[test]
fn routes_that_no_request_tells_apart_are_all_reported() {
    let keys = ["/a/{x}", "GET /b", "/a/{y}", "GET /b", "POST /b", "/b", "/*", "/a/{z}", "/*"];
    let pairs: Vec<(usize, usize)> = build(&keys).unwrap_err().iter().map(|c| (c.first, c.second)).collect();
    assert_eq!(pairs, [(0, 2), (1, 3), (0, 7), (6, 8)]);
}

#[test]
fn an_empty_table_finds_nothing() {
    assert_eq!(ask(&[], "GET", "/"), "404");
    assert_eq!(ask(&[], "GET", "/a//../b"), "404");
}

#[test]
fn a_path_that_upstreams_may_read_differently_must_choose_one_route() {
    let admin = &["/admin/*", "/*"][..];
    let files = &["/a/b", "/*"][..];
    for (keys, path, answer) in [
        // Every reading is the same route.
        (&["/*"][..], "/admin/%2e%2e/x", "/*"),
        (&["/*"], "//a", "/*"),
        (&["/*"], "/a\\..\\b", "/*"),
        (&["/*"], "/a%2f%2e%2e%5cb//", "/*"),
        (&["/static/*", "/*"], "/static/a//b", "/static/*"),
        (&["/static/*", "/*"], "/static/a%2fb", "/static/*"),
        (&["/static/*", "/*"], "/static/./b", "/static/*"),
        (&["/static/*", "/*"], "/static/a\\b", "/static/*"),
        (&["/a"], "/b//c", "404"),
        // Ours is one route, somebody's is another.
        (admin, "/admin/%2e%2e/x", "400"),
        (admin, "/admin/../x", "400"),
        (admin, "/x/../admin/", "400"),
        (admin, "/x/%2e%2e/admin/", "400"),
        (admin, "/x/..%2fadmin/", "400"),
        (admin, "/admin%2fx", "400"),
        (admin, "/admin%2Fx", "400"),
        (admin, "/admin\\x", "400"),
        (admin, "/admin%5Cx", "400"),
        (admin, "/x\\..\\admin\\y", "400"),
        (admin, "/x/..\\admin/y", "400"),
        (admin, "//admin/x", "400"),
        (admin, "/./admin/x", "400"),
        (admin, "/%2e/admin/x", "400"),
        (admin, "/admin//../../x", "400"),
        (admin, "/x//../admin/", "400"),
        (admin, "/x\\..\\..\\y", "400"),
        (&["/b/*", "/*"], "/a/../b/%2e%2e/c", "400"),
        (files, "/a%2fb", "400"),
        (files, "/a\\b", "400"),
        (files, "//a/b", "400"),
        (files, "/a/./b", "400"),
        (files, "/a/b/.", "/*"),
        (&["/a"], "//a", "400"),
        (&["/{x}", "/*"], "/a%2fb", "400"),
        (&["/{x}"], "/a%2fb", "400"),
        (&["GET /a/b", "POST /a/{x}"], "/a/./b", "400"),
        // Not ambiguous: escapes that decode to nothing special.
        (admin, "/%61dmin/x", "/admin/*"),
        (admin, "/%2561dmin/x", "/*"),
        // No reading at all.
        (admin, "/../x", "400"),
        (admin, "/a%00", "400"),
        (admin, "/a%", "400"),
    ] {
        assert_eq!(ask(keys, "GET", path), answer, "{path} in {keys:?}");
    }
}

#[test]
fn a_hostile_path_costs_no_more_than_the_tree_has_nodes() {
    // Every level doubles the ways to go on; the only full-length pattern starts the least specific way.
    let mut keys: Vec<String> = Vec::new();
    for depth in 1..10 {
        for bits in 0..1u32 << depth {
            let segments = (0..depth).map(|at| if bits >> at & 1 == 0 { "/a".into() } else { format!("/{{p{at}}}") });
            keys.push(segments.collect::<String>() + "/end");
        }
    }
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert_eq!(ask(&keys, "GET", &"/a".repeat(4000)), "404");
}

// ---- against the naive matcher ------------------------------------------------------------------------------------

/// Whether a pattern matches, segment by segment, from their texts alone.
fn naive_matches(pattern: &str, path: &str) -> bool {
    let mut segments: Vec<&str> = path.split('/').skip(1).collect();
    let mut wanted: Vec<&str> = pattern.split('/').skip(1).collect();
    if wanted.last() == Some(&"*") {
        wanted.pop();
        if segments.len() <= wanted.len() {
            return false;
        }
        segments.truncate(wanted.len());
    }
    segments.len() == wanted.len()
        && segments.iter().zip(wanted).all(|(s, w)| if w.starts_with('{') { !s.is_empty() } else { *s == w })
}

/// Literal before name before rest, from the left.
fn naive_precedence(a: &str, b: &str) -> Ordering {
    let rank = |pattern: &str| -> Vec<u8> {
        let kind = |segment: &str| if segment == "*" { 2 } else { u8::from(segment.starts_with('{')) };
        pattern.split('/').skip(1).map(kind).collect()
    };
    rank(a).cmp(&rank(b))
}

fn naive(keys: &[&str], method: &str, path: &str) -> String {
    let split = |key: &&str| -> (String, String) {
        let (method, pattern) = key.split_once(' ').unwrap_or(("", key));
        (method.into(), pattern.into())
    };
    let all: Vec<(String, String)> = keys.iter().map(split).collect();
    let matching = || all.iter().filter(|(_, pattern)| naive_matches(pattern, path));
    let Some((_, best)) = matching().min_by(|(_, a), (_, b)| naive_precedence(a, b)) else { return "404".into() };
    let same: Vec<_> = matching().filter(|(_, pattern)| naive_precedence(pattern, best).is_eq()).collect();
    let get = if method == "HEAD" { "GET" } else { method };
    for wanted in [method, get, ""] {
        if let Some((method, pattern)) = same.iter().find(|(method, _)| method == wanted) {
            return format!("{method} {pattern}").trim_start().into();
        }
    }
    "405".into()
}

fn a_key() -> impl Strategy<Value = String> {
    let segment = prop_oneof![4 => "[ab]", 2 => Just("{}".to_string()), 1 => "[ab]{2}"];
    let method = prop_oneof![3 => Just(""), 1 => Just("GET "), 1 => Just("POST "), 1 => Just("HEAD ")];
    let tail = prop_oneof![3 => Just(""), 2 => Just("/*"), 1 => Just("/")];
    (method, prop::collection::vec(segment, 0..4), tail).prop_map(|(method, segments, tail)| {
        let named =
            segments.iter().enumerate().map(|(at, s)| if s == "{}" { format!("/{{p{at}}}") } else { format!("/{s}") });
        let path: String = named.collect::<String>() + tail;
        format!("{method}{}", if path.is_empty() { "/" } else { &path })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn precedence_is_the_naive_matchers(
        keys in prop::collection::btree_set(a_key(), 1..25),
        paths in prop::collection::vec("(/[abc]{1,2}){0,5}/?", 1..20),
        method in prop_oneof![Just("GET"), Just("HEAD"), Just("POST"), Just("PUT")],
    ) {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        for path in paths.iter().map(|path| if path.is_empty() { "/" } else { path }) {
            let mut answer = ask(&keys, method, path);
            if answer.starts_with("405") {
                answer.truncate(3);
            }
            prop_assert_eq!(answer, naive(&keys, method, path), "{} {} in {:?}", method, path, keys);
        }
    }

    #[test]
    fn no_upstreams_reading_escapes_the_filters_of_its_route(
        path in "(/|\\\\|%2f|%5c|\\.|%2e|a|b|/a/|/b/){1,12}",
    ) {
        let keys = ["/a/*", "/b/*", "/a", "/{x}", "/*"];
        let path = format!("/{path}");
        let Ok(parsed) = Path::new(path.as_bytes()) else { return Ok(()) };
        let table = table(&keys);
        let Lookup::Found(found) = table.find(&Method::GET, &parsed) else { return Ok(()) };
        for reading in readings_of_known_servers(&path) {
            prop_assert_eq!(naive(&keys, "GET", &reading), keys[*found.value], "{} read as {}", path, reading);
        }
    }

    #[test]
    fn any_bytes_are_a_path_or_an_error(path in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(path) = Path::new(&path) {
            prop_assert_eq!(path.decoded().first(), Some(&b'/'));
            prop_assert!(!path.decoded().contains(&0));
            table(&["/{a}/*", "/b"]).find(&Method::GET, &path);
        }
    }
}

/// What some servers make of a path: written with string replacement, unlike the code under test. `\u{1}` stands for
/// an encoded slash that separates nothing.
fn readings_of_known_servers(path: &str) -> Vec<String> {
    let lower = path.to_lowercase();
    let dots = |text: &str| text.replace("%2e", ".");
    let decoded = dots(&lower.replace("%2f", "/").replace("%5c", "\\"));
    let split_first = dots(&lower.replace("%2f", "\u{1}").replace("%5c", "\\"));
    let mut readings = Vec::new();
    for text in [decoded.clone(), split_first.clone(), decoded.replace('\\', "/"), split_first.replace('\\', "/")] {
        let merged = merge(&text);
        readings.extend([clean(&text), clean(&merged), Some(merged), Some(text)].into_iter().flatten());
    }
    readings
}

fn merge(path: &str) -> String {
    let mut path = path.to_string();
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    path
}

/// Dot segments removed, as RFC 3986 §5.2.4 says it.
fn clean(path: &str) -> Option<String> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let mut out: Vec<&str> = Vec::new();
    for segment in &segments {
        match *segment {
            "." => {}
            ".." => drop(out.pop()?),
            other => out.push(other),
        }
    }
    if matches!(segments.last(), Some(&"." | &"..")) {
        out.push("");
    }
    Some(format!("/{}", out.join("/")))
}

// ---- hosts --------------------------------------------------------------------------------------------------------

fn hosts(names: &[&str]) -> Result<Hosts<usize>, Vec<DuplicateHost>> {
    Hosts::build(names.iter().enumerate().map(|(index, name)| (host(name), index)))
}

fn host(name: &str) -> Host {
    match name {
        "*" => Host::Any,
        _ => match name.strip_prefix("*.") {
            Some(suffix) => Host::Suffix(suffix.into()),
            None => Host::Exact(name.into()),
        },
    }
}

#[test]
fn a_host_is_found_exactly_then_by_the_longest_suffix_then_by_any() {
    let names = ["*", "*.example.com", "example.com", "*.b.example.com", "a.example.com", "[::1]", "127.0.0.1"];
    let hosts = hosts(&names).unwrap();
    for (asked, name) in [
        ("example.com", "example.com"),
        ("EXAMPLE.com.", "example.com"),
        ("example.com:8080", "example.com"),
        ("Example.Com.:80", "example.com"),
        ("example.com:", "example.com"),
        ("a.example.com", "a.example.com"),
        ("x.example.com", "*.example.com"),
        ("x.a.example.com", "*.example.com"),
        ("b.example.com", "*.example.com"),
        ("x.b.example.com", "*.b.example.com"),
        ("x.y.b.example.com:1", "*.b.example.com"),
        ("notexample.com", "*"),
        ("com", "*"),
        ("", "*"),
        ("bad host", "*"),
        ("[::1]:8080", "[::1]"),
        ("[0:0:0:0:0:0:0:1]", "[::1]"),
        ("[::2]", "*"),
        ("127.0.0.1:80", "127.0.0.1"),
    ] {
        assert_eq!(hosts.find(asked).map(|index| names[*index]), Some(name), "{asked}");
    }
}

#[test]
fn a_host_nobody_declared_is_not_found() {
    let hosts = hosts(&["*.example.com"]).unwrap();
    assert_eq!(hosts.find("example.com"), None);
    assert_eq!(hosts.find(".example.com"), None);
    assert_eq!(hosts.find("a..example.com"), None);
    assert_eq!(hosts.find(""), None);
}

#[test]
fn hosts_declared_twice_are_all_reported() {
    let duplicates = hosts(&["a", "*.a", "a", "*", "*.a", "*", "a"]).unwrap_err();
    let pairs: Vec<(usize, usize)> = duplicates.iter().map(|d| (d.first, d.second)).collect();
    assert_eq!(pairs, [(0, 2), (1, 4), (3, 5), (0, 6)]);
}

#[test]
fn a_normal_host_is_borrowed_and_others_are_brought_to_it() {
    use std::borrow::Cow;
    for plain in ["example.com", "a_b-c.1", "[::1]", "10.0.0.1", "xn--bcher-kva.ch"] {
        assert!(matches!(normalise_host(plain), Ok(Cow::Borrowed(host)) if host == plain), "{plain}");
    }
    for (host, normal) in [("A.b:80", "a.b"), ("a.b.", "a.b"), ("[2001:DB8::0]:1", "[2001:db8::]")] {
        assert_eq!(normalise_host(host).as_deref(), Ok(normal));
    }
}

#[test]
fn a_text_that_is_no_host_is_refused_with_its_reason() {
    let long_label = "a".repeat(64);
    let long_name = "a.".repeat(127) + "b";
    for (host, error) in [
        ("", HostError::Empty),
        (".", HostError::Empty),
        (":80", HostError::Empty),
        ("bücher.ch", HostError::NotAscii('ü')),
        ("a b", HostError::Character(' ')),
        ("a/b", HostError::Character('/')),
        ("a*b", HostError::Character('*')),
        ("*.a", HostError::Character('*')),
        ("user@a", HostError::Character('@')),
        ("a\0", HostError::Character('\0')),
        ("a..b", HostError::EmptyLabel),
        (".a", HostError::EmptyLabel),
        ("a..", HostError::EmptyLabel),
        (&long_label, HostError::TooLong),
        (&long_name, HostError::TooLong),
        ("a:x", HostError::Port),
        ("a:+1", HostError::Port),
        ("a:65536", HostError::Port),
        ("[::1]x", HostError::Port),
        ("::1", HostError::Address),
        ("[::1", HostError::Address),
        ("[1.2.3.4]", HostError::Address),
        ("[]", HostError::Address),
    ] {
        assert_eq!(normalise_host(host), Err(error), "{host}");
    }
    assert!(HostError::NotAscii('ü').to_string().contains("A-label"));
}

proptest! {
    #[test]
    fn hosts_are_the_naive_matchers(
        names in prop::collection::btree_set("\\*|(\\*\\.)?[ab](\\.[ab]){0,3}", 1..12),
        asked in prop::collection::vec("[abAB](\\.[abAB]){0,4}\\.?(:80)?", 1..20),
    ) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let hosts = hosts(&names).unwrap();
        for asked in &asked {
            let plain = asked.to_lowercase().replace(":80", "");
            let plain = plain.trim_end_matches('.');
            let exact = names.iter().find(|name| **name == plain);
            let suffix = names.iter().filter(|name| name.len() > 1 && name.starts_with('*') && plain.ends_with(&name[1..]));
            let expected = exact.or(suffix.max_by_key(|name| name.len())).or(names.iter().find(|name| **name == "*"));
            prop_assert_eq!(hosts.find(asked).map(|index| &names[*index]), expected, "{} in {:?}", asked, names);
        }
    }
}
