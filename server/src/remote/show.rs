//! The status for a person: tables as wide as the terminal, with rates between two looks.

mod table;

use serde_json::Value;

use self::table::{Cell, Table};

/// Sites and upstreams that are shown; more are counted.
const SHOWN_MAX: usize = 20;

/// Endpoints of one upstream that are shown.
const ENDPOINTS_MAX: usize = 32;

/// How the text may look.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Columns; longer names are cut.
    pub width: usize,
    /// Whether to mark what is bad by colour.
    pub colour: bool,
}

impl Look {
    /// As standard output takes it: plain and as wide as need be, unless it is a terminal.
    pub fn of_output() -> Self {
        use std::io::IsTerminal;
        let output = std::io::stdout();
        let Ok(size) = rustix::termios::tcgetwinsize(&output) else { return Self { width: usize::MAX, colour: false } };
        // https://no-color.org
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { width: usize::from(size.ws_col).max(40), colour: wanted && output.is_terminal() }
    }
}

/// Readable text of a status; `before` is an earlier one, for the rates. What is no status is shown as it came.
pub fn readable(before: Option<&str>, now: &str, look: Look) -> String {
    let Ok(status @ Value::Object(_)) = serde_json::from_str(now) else { return now.to_owned() };
    let before = before.and_then(|before| serde_json::from_str(before).ok()).unwrap_or(Value::Null);
    let rates = Rates { seconds: real(&status, "uptime_seconds") - real(&before, "uptime_seconds"), before };
    let parts = [
        head(&status),
        listeners(&status, look),
        sites(&status, &rates, look),
        upstreams(&status, &rates, look),
        broker(&status, look),
        certificates(&status, look),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

/// What a counter grew by since an earlier status.
struct Rates {
    before: Value,
    seconds: f64,
}

impl Rates {
    /// A second; "-" where the earlier status does not know it.
    fn of(&self, count: u64, earlier: impl FnOnce(&Value) -> Option<u64>) -> String {
        match earlier(&self.before).filter(|_| self.seconds > 0.0) {
            Some(before) => format!("{:.1}", count.saturating_sub(before) as f64 / self.seconds),
            None => "-".to_owned(),
        }
    }
}

fn head(status: &Value) -> String {
    let mut out = format!(
        "rsp {}, pid {}, up {}, {} worker{}\n",
        text(status, "version"),
        number(status, "pid"),
        span(real(status, "uptime_seconds") as u64),
        number(status, "workers"),
        if number(status, "workers") == 1 { "" } else { "s" },
    );
    if let Some(config) = status["config"].as_str() {
        out += &format!("config {}\n", clean(config));
    }
    let reload = &status["last_reload"];
    match (reload["time"].as_str(), reload["message"].as_str()) {
        (None, _) => {}
        (Some(time), None) => out += &format!("reloaded {}\n", clean(time)),
        (Some(time), Some(why)) => {
            out += &format!("reload refused {}, nothing has changed: {}\n", clean(time), clean(why));
        }
    }
    let open = [("connections", "connections"), ("requests in flight", "requests_in_flight"), ("tunnels", "tunnels")];
    let open = open.map(|(name, key)| format!("{} {name}", grouped(number(status, key))));
    out + &open.join(", ") + "\n" + &channels(status)
}

/// Nothing where there are none.
fn channels(status: &Value) -> String {
    let open = number(status, "channels");
    let by_transport = status["subscribers"].as_object().into_iter().flatten();
    let by_transport = by_transport.map(|(name, count)| (clean(name), count.as_u64().unwrap_or_default()));
    let by_transport: Vec<_> = by_transport.filter(|(_, count)| *count > 0).collect();
    let subscribers: u64 = by_transport.iter().map(|(_, count)| count).sum();
    if open == 0 && subscribers == 0 {
        return String::new();
    }
    let by_transport: Vec<_> = by_transport.iter().map(|(name, count)| format!("{} {name}", grouped(*count))).collect();
    let by_transport = if by_transport.is_empty() { String::new() } else { format!(" ({})", by_transport.join(", ")) };
    format!("{} channels, {} subscribers{by_transport}\n", grouped(open), grouped(subscribers))
}

fn listeners(status: &Value, look: Look) -> String {
    let mut table = Table::new(["LISTENER", "OPEN", "ACCEPTED", "REFUSED"]);
    for listener in list(status, "listeners") {
        let counts = ["open", "accepted", "refused"].map(|key| Cell::right(grouped(number(listener, key))));
        table.row([Cell::left(text(listener, "address"))].into_iter().chain(counts));
    }
    table.draw(look)
}

/// The servers that channels are at, if they are at any.
fn broker(status: &Value, look: Look) -> String {
    let mut table = Table::new(["BROKER", "STATE", "SINCE", "LAST ERROR"]);
    for server in list(&status["broker"], "servers").iter().take(SHOWN_MAX) {
        let is_up = server["up"] == true;
        let state = Cell::left(if is_up { "up" } else { "away" }.to_owned()).bad_if(!is_up);
        let error = server["last_error"].as_str().unwrap_or("-");
        table.row([
            Cell::left(text(server, "address")),
            state,
            Cell::left(text(server, "since")),
            Cell::left(clean(error)),
        ]);
    }
    table.draw(look)
}

/// Those of an authority, if any site has one.
fn certificates(status: &Value, look: Look) -> String {
    let mut table = Table::new(["CERTIFICATE", "STATE", "EXPIRES", "NEXT ATTEMPT", "LAST ERROR"]);
    for one in list(status, "certificates").iter().take(SHOWN_MAX) {
        let names = list(one, "names");
        let first = names.first().and_then(Value::as_str).unwrap_or("-");
        let more = if names.len() > 1 { format!(" +{}", names.len() - 1) } else { String::new() };
        table.row([
            Cell::left(clean(first) + &more),
            Cell::left(text(one, "state")).bad_if(!one["last_error"].is_null()),
            Cell::left(clean(one["expires"].as_str().unwrap_or("-"))),
            Cell::left(text(one, "next_attempt")),
            Cell::left(clean(one["last_error"].as_str().unwrap_or("-"))),
        ]);
    }
    table.draw(look)
}

fn sites(status: &Value, rates: &Rates, look: Look) -> String {
    let mut table = Table::new(["SITE", "ROUTES", "REQUESTS/S", "REQUESTS", "2XX", "3XX", "4XX", "5XX"]);
    let shown = list(status, "sites").iter().take(SHOWN_MAX);
    for site in shown {
        let requests = number(site, "requests");
        let earlier = |before: &Value| {
            let same = |known: &&Value| known["hosts"] == site["hosts"];
            list(before, "sites").iter().find(same).map(|known| number(known, "requests"))
        };
        let hosts: Vec<_> = list(site, "hosts").iter().filter_map(Value::as_str).collect();
        let mut row = vec![Cell::left(clean(&hosts.join(", ")))];
        row.push(Cell::right(grouped(number(site, "routes"))));
        row.push(Cell::right(rates.of(requests, earlier)));
        row.extend(["requests", "2xx", "3xx", "4xx"].map(|key| Cell::right(grouped(number(site, key)))));
        let failed = number(site, "5xx");
        row.push(Cell::right(grouped(failed)).bad_if(failed > 0));
        table.row(row);
    }
    table.draw(look) + &more(number(status, "sites_total"), SHOWN_MAX, "sites")
}

fn upstreams(status: &Value, rates: &Rates, look: Look) -> String {
    let mut table = Table::new([
        "UPSTREAM",
        "STATE",
        "IN FLIGHT",
        "REQUESTS/S",
        "REQUESTS",
        "FAILED CONNECTS",
        "EJECTIONS",
        "WEIGHT",
    ]);
    for group in list(status, "upstreams").iter().take(SHOWN_MAX) {
        let (name, endpoints) = (text(group, "name"), list(group, "endpoints"));
        let up = endpoints.iter().filter(|endpoint| endpoint["available"] == true).count();
        let earlier = |before: &Value| named(list(before, "upstreams"), &name).map(|known| number(known, "requests"));
        let requests = number(group, "requests");
        let summary = format!("{up} of {} up", endpoints.len());
        let sum = |key| endpoints.iter().map(|endpoint| number(endpoint, key)).sum::<u64>();
        table.row([
            Cell::left(name.clone()),
            Cell::left(summary).bad_if(up < endpoints.len()),
            Cell::right(grouped(sum("in_flight"))),
            Cell::right(rates.of(requests, earlier)),
            Cell::right(grouped(requests)),
            Cell::right(grouped(sum("connect_failures"))),
            Cell::right(grouped(sum("ejections"))),
        ]);
        for each in endpoints.iter().take(ENDPOINTS_MAX) {
            table.row(endpoint(each, &name, rates));
        }
        let left = number(group, "endpoints_total").saturating_sub(endpoints.len().min(ENDPOINTS_MAX) as u64);
        if left > 0 {
            table.row([Cell::left(format!("  and {} more endpoints", grouped(left)))]);
        }
    }
    table.draw(look) + &more(number(status, "upstreams_total"), SHOWN_MAX, "upstreams")
}

fn endpoint(endpoint: &Value, upstream: &str, rates: &Rates) -> Vec<Cell> {
    let name = text(endpoint, "name");
    let earlier = |before: &Value| {
        let group = named(list(before, "upstreams"), upstream)?;
        named(list(group, "endpoints"), &name).map(|known| number(known, "requests"))
    };
    let state = match endpoint["state_seconds"].as_u64() {
        Some(seconds) => format!("{} for {}", text(endpoint, "state"), span(seconds)),
        None => text(endpoint, "state"),
    };
    let requests = number(endpoint, "requests");
    let counts = ["connect_failures", "ejections"].map(|key| Cell::right(grouped(number(endpoint, key))));
    let weight = if endpoint["backup"] == true { "backup".to_owned() } else { number(endpoint, "weight").to_string() };
    let mut row = vec![Cell::left(format!("  {name}")), Cell::left(state).bad_if(endpoint["state"] != "up")];
    row.push(Cell::right(grouped(number(endpoint, "in_flight"))));
    row.push(Cell::right(rates.of(requests, earlier)));
    row.push(Cell::right(grouped(requests)));
    row.extend(counts);
    row.push(Cell::right(weight));
    row
}

fn more(total: u64, shown: usize, what: &str) -> String {
    match total.saturating_sub(shown as u64) {
        0 => String::new(),
        left => format!("and {} more {what}\n", grouped(left)),
    }
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn named<'v>(values: &'v [Value], name: &str) -> Option<&'v Value> {
    values.iter().find(|value| value["name"].as_str().is_some_and(|known| clean(known) == name))
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_default()
}

fn real(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_default()
}

fn text(value: &Value, key: &str) -> String {
    clean(value[key].as_str().unwrap_or("-"))
}

/// Nothing that steers the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// `1,234,567`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `7 s`, `3 min 20 s`, `2 h 5 min`, `4 d 3 h`
fn span(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(length, _)| seconds >= *length).unwrap_or(3);
    let mut left = seconds;
    let mut parts = Vec::new();
    for (length, unit) in &units[first..units.len().min(first + 2)] {
        if left >= *length || parts.is_empty() {
            parts.push(format!("{} {unit}", left / length));
        }
        left %= length;
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look { width: usize::MAX, colour: false };

    fn status(seconds: f64, requests: u64) -> String {
        let endpoint = |name: &str, state: &str, seconds: Option<u64>, backup: bool| {
            serde_json::json!({
                "name": name, "available": state == "up", "state": state, "state_seconds": seconds, "in_flight": 2,
                "requests": requests, "connect_failures": 3, "ejections": 1, "weight": 1, "backup": backup,
            })
        };
        serde_json::json!({
            "version": "0.1.0", "pid": 7, "uptime_seconds": seconds, "workers": 2, "config": "site.lua",
            "last_reload": { "time": "2026-11-20 12:00:00", "result": "refused", "message": "error: x" },
            "connections": 12, "requests_in_flight": 3, "tunnels": 1,
            "channels": 1200, "subscribers": { "websocket": 4000, "poll": 0, "ndjson": 1 },
            "listeners": [{ "address": "127.0.0.1:8080", "open": 12, "accepted": 1234567, "refused": 0 }],
            "sites": [{ "hosts": ["example.com", "*.example.com"], "routes": 3, "requests": requests, "2xx": requests,
                        "3xx": 0, "4xx": 0, "5xx": 1 }],
            "sites_total": 100_000,
            "upstreams": [{ "name": "app", "requests": 2 * requests, "endpoints_total": 2, "endpoints": [
                endpoint("127.0.0.1:3000", "up", None, false),
                endpoint("127.0.0.1:3001", "ejected", Some(7), true),
            ]}],
            "upstreams_total": 1,
            "broker": { "kind": "redis", "servers": [
                { "address": "10.0.0.1:6379", "up": false, "since": "2026-11-20T12:00:00.000+00:00", "last_error": "closed" },
            ]},
        })
        .to_string()
    }

    #[test]
    fn the_status_reads_as_tables_with_rates() {
        let wanted = "\
rsp 0.1.0, pid 7, up 1 h 2 min, 2 workers
config site.lua
reload refused 2026-11-20 12:00:00, nothing has changed: error: x
12 connections, 3 requests in flight, 1 tunnels
1,200 channels, 4,001 subscribers (1 ndjson, 4,000 websocket)

LISTENER        OPEN   ACCEPTED  REFUSED
127.0.0.1:8080    12  1,234,567        0

SITE                        ROUTES  REQUESTS/S  REQUESTS    2XX  3XX  4XX  5XX
example.com, *.example.com       3       500.0     1,500  1,500    0    0    1
and 99,980 more sites

UPSTREAM          STATE            IN FLIGHT  REQUESTS/S  REQUESTS  FAILED CONNECTS  EJECTIONS  WEIGHT
app               1 of 2 up                4      1000.0     3,000                6          2
  127.0.0.1:3000  up                       2       500.0     1,500                3          1       1
  127.0.0.1:3001  ejected for 7 s          2       500.0     1,500                3          1  backup

BROKER         STATE  SINCE                          LAST ERROR
10.0.0.1:6379  away   2026-11-20T12:00:00.000+00:00  closed
";
        assert_eq!(readable(Some(&status(3720.0, 1000)), &status(3721.0, 1500), PLAIN), wanted);
        let without = readable(None, &status(1.0, 1), PLAIN);
        assert!(without.contains("  3           -         1 "), "{without}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_only_one_that_wants_them_gets_colours() {
        let narrow = readable(None, &status(1.0, 1), Look { width: 60, colour: false });
        assert!(narrow.lines().all(|line| line.chars().count() <= 60 || !line.contains("  ")), "{narrow}");
        assert!(!narrow.contains('\x1b'));
        let coloured = readable(None, &status(1.0, 1), Look { width: 120, colour: true });
        assert!(coloured.contains("\x1b[31mejected for 7 s\x1b[0m"), "{coloured}");
    }

    #[test]
    fn what_is_no_status_is_shown_as_it_came_and_nothing_steers_the_terminal() {
        assert_eq!(readable(None, "nonsense", PLAIN), "nonsense");
        let evil = r#"{"upstreams":[{"name":"a\u001b[2J","endpoints":[]}]}"#;
        assert!(!readable(None, evil, PLAIN).contains('\x1b'));
    }

    #[test]
    fn times_are_told_in_two_units() {
        for (seconds, wanted) in [(0, "0 s"), (59, "59 s"), (60, "1 min"), (200, "3 min 20 s"), (90_061, "1 d 1 h")] {
            assert_eq!(span(seconds), wanted);
        }
    }
}
