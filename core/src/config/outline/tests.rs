//! Stories of the outline: what it finds in texts, and what it is not taken in by.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Outline {
    Outline::read(text, 0, |name| ["proxy", "site", "reply", "f"].contains(&name))
}

fn text(key: &str) -> Key {
    Key::Text(key.to_owned())
}

/// Every call as `name/step@line(argument, …)`; a table shows its keys.
fn calls(source: &str) -> Vec<String> {
    let outline = read(source);
    let show = |argument: &Argument| match (&argument.text, argument.table) {
        (Some(text), _) => format!("{text:?}"),
        (None, Some(id)) => {
            let literal = outline.table(id).unwrap();
            let keys: Vec<_> = literal.entries.iter().map(|entry| format!("{:?}", entry.key)).collect();
            format!("{{{} items, {}}}", literal.items.len(), keys.join(" "))
        }
        (None, None) => "_".to_owned(),
    };
    let call = |call: &Call| {
        let arguments: Vec<_> = call.arguments.iter().map(show).collect();
        format!("{}/{}@{}({})", call.name, call.step, call.line, arguments.join(", "))
    };
    outline.calls().map(call).collect()
}

fn duplicates(source: &str) -> Vec<(Key, u32, u32)> {
    read(source).duplicates().iter().map(|d| (d.key.clone(), d.first.column, d.again.column)).collect()
}

#[test]
fn every_form_of_a_call_is_found() {
    assert_eq!(calls("f 'a'"), ["f/1@1(\"a\")"]);
    assert_eq!(calls("f{'a',b=1}"), ["f/1@1({1 items, Text(\"b\")})"]);
    assert_eq!(calls("f('a', {x=1}, y + 2)"), ["f/1@1(\"a\", {0 items, Text(\"x\")}, _)"]);
    assert_eq!(calls("f()"), ["f/1@1()"]);
    assert_eq!(calls("f [[a]]"), ["f/1@1(\"a\")"]);
    assert_eq!(calls("site 'h' { ['/'] = f() }"), ["site/1@1(\"h\")", "f/1@1()", "site/2@1({0 items, Text(\"/\")})"]);
}

#[test]
fn the_line_of_a_call_is_where_what_is_called_ends() {
    assert_eq!(calls("site {\n 'a',\n}\n{\n}"), ["site/1@1({1 items, })", "site/2@3({0 items, })"]);
}

#[test]
fn only_calls_of_the_wanted_globals_are_found() {
    assert!(calls("a.f 'x' a:f 'x' function f() end local function f(x) end g 'x' f.x() f = 1").is_empty());
}

#[test]
fn strings_comments_and_types_are_not_code() {
    for source in [
        "--[==[ f 'x' ]] ]==] --[[ f 'x'\n ]] -- f 'x'",
        "local s = \"f 'x' \\\" f 'x' \\\n f 'x'\" .. 'a\\z\n  f \"x\"' .. [=[ f 'x' ]] f 'x' ]=]",
        "local s = `f 'x' {1} \\` f 'x' {{ a = 'f' }}`",
        "type f = { f: string, [string]: number } local x: { a: f, b: (f) -> () } = y :: f",
    ] {
        assert_eq!(calls(source), Vec::<String>::new(), "{source}");
    }
}

#[test]
fn a_function_among_the_fields_does_not_end_the_table() {
    let fields = "
        a = function(x: number, y: { z: f }): (number, string)
            local p, q = 1, 2
            if p then q = 3 elseif q then p = 4 else p, q = 5, 6 end
            for i = 1, 2 do while true do repeat local u, v = 1 until u, 2 end end
            local w = if p then if q then 1 else 2 elseif x then 3 else 4
            return if p then 1 else 2, function() return 1, 2 end
        end,
        b = if x then 1 else 2, c = (function() end)(), 'item',
        d = { e = 1 }, ['f g'] = 2, [3] = 4; [x] = 5,";
    let outline = read(&format!("f {{ {fields} }}"));
    let call = outline.calls().next().unwrap();
    let literal = outline.table(call.arguments[0].table.unwrap()).unwrap();
    let keys: Vec<_> = literal.entries.iter().map(|entry| entry.key.clone()).collect();
    assert_eq!(keys, [text("a"), text("b"), text("c"), text("d"), text("f g"), Key::Number(3)]);
    assert_eq!((literal.items.len(), literal.computed), (1, true));
    let nested =
        literal.entry(&text("d")).and_then(|entry| entry.value.table).and_then(|id| outline.table(id)).unwrap();
    assert_eq!(nested.entries[0].key, text("e"));
}

#[test]
fn a_key_that_one_literal_has_twice_is_told_with_both_places() {
    assert_eq!(duplicates("x = { a = 1, ['a'] = 2 }"), [(text("a"), 7, 15)]);
    assert_eq!(duplicates("x = { ['\\x61'] = 1, a = 2, a = 3 }"), [(text("a"), 8, 21), (text("a"), 8, 28)]);
    assert_eq!(duplicates("x = { [1] = 1, [1] = 2 }"), [(Key::Number(1), 8, 17)]);
    assert_eq!(duplicates("x = { a = { a = 1 }, b = { a = 1 } }"), []);
    assert_eq!(duplicates("x = { a == 1, a == 1, [a] = 1, [a] = 2 }"), []);
}

#[test]
fn a_key_knows_its_place_and_its_quotes() {
    let outline = read("f {\n  [\"/x\"] = 1,\n  yy = 2 }");
    let literal = outline.table(outline.calls().next().unwrap().arguments[0].table.unwrap()).unwrap();
    let places: Vec<_> =
        literal.entries.iter().map(|entry| (entry.span.line, entry.span.column, entry.span.length)).collect();
    assert_eq!(places, [(2, 4, 4), (3, 3, 2)]);
}

#[test]
fn a_text_nested_too_deep_ends_the_outline_and_nothing_else() {
    for bracket in ["{", "(", "f(", "f{", "function() ", "{a=", "[", "`{"] {
        read(&bracket.repeat(100_000));
    }
}

proptest! {
    #[test]
    fn no_text_upsets_it(source in "[a-f{}()\\[\\]=,;'\"`\\\\\n\\- .:<>|0-9]{0,200}|([a-z]{1,8}|end|function|if|then|else|[{}()=,\\[\\]'\"`] ){0,60}") {
        let outline = read(&source);
        for call in outline.calls() {
            prop_assert!(call.span.line > 0 && call.line >= call.span.line);
        }
        for duplicate in outline.duplicates() {
            prop_assert!(duplicate.first < duplicate.again);
        }
    }
}
