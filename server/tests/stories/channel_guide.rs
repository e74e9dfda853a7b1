//! What the guide to live channels shows is tried: its commands, and its code in a browser.

use testkit::{Chromium, Rsp, curl};

use super::channel::wait_for_subscribers;

const GUIDE: &str = include_str!("../../../doc/guide/live-channels.md");

fn blocks(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    let blocks = GUIDE.split(&opening).skip(1).filter_map(|rest| rest.split("```").next()).collect::<Vec<_>>();
    assert!(!blocks.is_empty(), "the guide shows no {language}");
    blocks
}

/// The config of the guide.
fn guide() -> Rsp {
    let config = blocks("lua")[0].replace("127.0.0.1:8080", "127.0.0.1:$PORT");
    Rsp::config(&config).file("public/index.html", "<!doctype html><title>a page</title>").start()
}

/// The words of a command line, of which single quotes make one.
fn words(line: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            all.last_mut().unwrap().push_str(part);
            continue;
        }
        for (index, word) in part.split(' ').enumerate() {
            if index > 0 {
                all.push(String::new());
            }
            all.last_mut().unwrap().push_str(word);
        }
    }
    all.retain(|word| !word.is_empty());
    all
}

#[test]
fn the_commands_of_the_guide_get_the_status_that_it_says() {
    let rsp = guide();
    std::fs::write(rsp.folder().join("a.png"), b"\x89PNG").unwrap();
    let lines: Vec<_> = blocks("sh").iter().flat_map(|block| block.lines()).collect();
    assert!(lines.len() > 8);
    for line in lines {
        let (command, said) = line.split_once(" # ").expect("a status behind each command");
        let command = command.replace("127.0.0.1:8080", &rsp.address());
        let command = command.replace("@a.png", &format!("@{}", rsp.folder().join("a.png").display()));
        let mut arguments = words(command.strip_prefix("curl ").expect("a curl"));
        arguments.extend(["-w", "\n%{http_code}", "--max-time", "2"].map(str::to_owned));
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let output = curl(&arguments);
        // 28: a stream was ended by curl.
        let ends = !said.contains("until you end it");
        assert_eq!(output.code, Some(if ends { 0 } else { 28 }), "{line}\n{}", output.stderr);
        assert_eq!(output.text().lines().last(), Some(&said[..3]), "{line}");
    }
    let history = rsp.client().get("/chat/lobby?history=10").text();
    assert_eq!(history.matches("\"hello\"").count(), 2, "{history}");
}

#[test]
fn the_code_of_the_guide_shows_every_message_once_in_a_browser() {
    let rsp = guide();
    let steps = format!(
        r#"
        await page.addScriptTag({{ content: {} }});
        return await page.evaluate(async () => {{
          const until = async (condition) => {{
            for (let tries = 0; !condition(); tries++) {{
              if (tries > 500) throw new Error("still not so: " + JSON.stringify(shown));
              await new Promise((resolve) => setTimeout(resolve, 20));
            }}
          }};
          const url = "/chat/browser";
          const post = (body) => fetch(url, {{ method: "POST", body }});
          const shown = {{ history: [], events: [], socket: [], poll: [], missed: [] }};
          const to = (name) => (text) => shown[name].push(text);
          const lost = (name) => () => shown.missed.push(name);
          await post("before");
          const closeHistory = await followFromHistory(url, to("history"), lost("history"));
          const close = follow(url, to("events"), lost("events"));
          let done = false;
          const polled = poll(url, to("poll"), lost("poll"), () => done);
          const socket = connect(url, to("socket"), lost("socket"));
          // Written when all four are there, the poll too.
          while (!(await fetch("/ready.txt")).ok) await new Promise((resolve) => setTimeout(resolve, 20));
          socket.send("from the socket", 1);
          await until(() => shown.socket.length === 1 && shown.events.length === 1 && shown.poll.length === 1);
          await post("one");
          await post("two");
          await until(() => ["events", "socket", "poll"].every((name) => shown[name].length === 3));
          await until(() => shown.history.length === 4);
          done = true;
          await post("end");
          await polled;
          close(); closeHistory(); socket.close();
          return shown;
        }});
        "#,
        serde_json::Value::from(blocks("js").concat())
    );
    let visit = std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_for_subscribers(&rsp, 4);
            std::fs::write(rsp.folder().join("public/ready.txt"), "").unwrap();
        });
        Chromium::visit(&rsp.url("/"), &steps)
    });
    assert_eq!(visit.errors, [""; 0]);
    let said = ["from the socket", "one", "two"];
    for name in ["events", "socket", "poll"] {
        let shown: Vec<_> = visit.value[name].as_array().unwrap().iter().take(3).collect();
        assert_eq!(shown, said, "{name}");
    }
    let shown: Vec<_> = visit.value["history"].as_array().unwrap().iter().take(4).collect();
    assert_eq!(shown, ["before", "from the socket", "one", "two"]);
    assert_eq!(visit.value["missed"], serde_json::json!([]));
    wait_for_subscribers(&rsp, 0);
}
