//! The examples that come with pages, in a browser and from a shell.

use serde_json::{Value, json};
use testkit::{Chromium, EventStream, Puppet, Rsp, RspBuilder, curl};

#[test]
fn the_chat_brings_a_browser_a_websocket_and_a_shell_together() {
    let page = include_str!("../../../example/chat/index.html");
    let rsp = example(include_str!("../../../example/chat.lua")).file("chat/index.html", page).start();
    let redirected = curl(&["-L", "-o", "/dev/null", "-w", "%{url_effective} %{http_code}", &rsp.url("/")]);
    assert_eq!(redirected.text(), format!("{} 200", rsp.url("/chat/")));
    let room = format!("{}/chat/room", rsp.address());
    let mut ws = Puppet::node("ws.js", &json!({ "url": format!("ws://{room}?name=Node") }));
    ws.hear_of("open");
    let visit = Chromium::visit(
        &rsp.url("/chat/"),
        r##"await page.fill("#name", "Zoë");
        await page.keyboard.press("Enter");
        await page.locator("#here li", { hasText: "Zoë (you)" }).waitFor();
        await page.locator("#here li", { hasText: "Node" }).waitFor();
        await page.fill("#text", "hello");
        await page.keyboard.press("Enter");
        await page.locator("#log > .said .text").getByText("hello", { exact: true }).waitFor();
        return await page.textContent("#count");"##,
    );
    assert_eq!((visit.errors, visit.value), (vec![], "2 here".into()));
    let said = ws.hear_of("text");
    let said: Value = serde_json::from_str(said.as_str().unwrap()).unwrap();
    assert_eq!(said, json!({ "name": "Zoë", "text": "hello" }));
    // Nobody is whom no browser could be.
    let url = format!("http://{room}?presence&name=%ff");
    let present: Value = serde_json::from_slice(&curl(&[&url]).stdout).unwrap();
    assert_eq!(present["clients"][0]["user"], "Node");
}

#[test]
fn the_comet_chat_of_2008_works_in_a_browser_and_from_a_shell() {
    let page = include_str!("../../../example/mochiweb-chat/index.html");
    let config = example(include_str!("../../../example/mochiweb-chat.lua"));
    let rsp = config.file("mochiweb-chat/index.html", page).start();
    let visit = Chromium::visit(
        &rsp.url("/"),
        r##"const said = (visitor, text) => visitor.locator("li").getByText(text, { exact: true }).waitFor();
        const polls = (visitor) => visitor.waitForRequest((request) => request.method() === "GET" && request.url().includes("since"));
        const other = await context.newPage();
        const begun = polls(other);
        await other.goto(page.url());
        // It has a place once it has heard something.
        const knock = setInterval(() => fetch(page.url() + "chat", { method: "POST", body: new URLSearchParams({ message: "knock" }) }), 200);
        await begun;
        clearInterval(knock);
        for (const text of ["one & two", "100 % <b>three</b>", "vier – 猫"]) {
          await page.fill("input", text);
          await page.keyboard.press("Enter");
          await said(other, text);
          await said(page, text);
        }
        return (await other.locator("li").allTextContents()).filter((text) => text !== "knock");"##,
    );
    assert_eq!(visit.errors, Vec::<String>::new());
    assert_eq!(visit.value, json!(["one & two", "100 % <b>three</b>", "vier – 猫"]));
    let url = rsp.url("/chat");
    let answer = curl(&["-d", "message=from+a%20shell&other=x", &url]).text();
    let position = serde_json::from_str::<Value>(&answer).unwrap()["position"].as_str().unwrap().to_owned();
    let (epoch, offset) = position.split_once('-').unwrap();
    let before = offset.parse::<u64>().unwrap() - 1;
    assert_eq!(curl(&[&format!("{url}?since={epoch}-{before}")]).text(), "from a shell");
}

#[test]
fn the_script_of_fizzbuzz_counts_in_a_browser_and_over_an_event_stream() {
    let page = include_str!("../../../example/fizzbuzz/index.html");
    let config = include_str!("../../../example/fizzbuzz.lua");
    assert!(config.contains("PAUSE = \"0.3\""));
    let rsp = example(&config.replace("PAUSE = \"0.3\"", "PAUSE = \"0\"")).file("fizzbuzz/index.html", page);
    let rsp = rsp.program("fizzbuzz/fizzbuzz.sh", include_str!("../../../example/fizzbuzz/fizzbuzz.sh")).start();
    let visit = Chromium::visit(
        &rsp.url("/"),
        r##"await page.locator("#state", { hasText: "That's it." }).waitFor();
        return await page.locator("li").allTextContents();"##,
    );
    assert_eq!((visit.errors, visit.console), (vec![], vec![]));
    let said: Vec<String> = serde_json::from_value(visit.value).unwrap();
    assert_eq!(said, (1..=100).map(fizzbuzz).collect::<Vec<_>>());
    let mut stream = EventStream::open(&rsp.address(), "/count");
    let mut heard = Vec::new();
    while let Some(event) = stream.next_event() {
        heard.extend(event.data.filter(|_| event.name.is_none()));
    }
    assert_eq!(heard, said);
    // The route is the page's alone.
    assert_eq!(rsp.client().get("/fizzbuzz.sh").status, 404);
}

fn fizzbuzz(number: u32) -> String {
    match (number % 3, number % 5) {
        (0, 0) => "FizzBuzz".to_owned(),
        (0, _) => "Fizz".to_owned(),
        (_, 0) => "Buzz".to_owned(),
        _ => number.to_string(),
    }
}

/// An example's config, at a port of its own.
fn example(text: &str) -> RspBuilder {
    assert!(text.contains("listen \"127.0.0.1:8080\""));
    Rsp::config(&text.replace("listen \"127.0.0.1:8080\"", "listen \"127.0.0.1:$PORT\""))
}
