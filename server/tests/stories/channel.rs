//! What the stories of channels share: a channel at `/room`, somebody who publishes, and what the metrics say.

use testkit::{Response, Rsp, RspBuilder, eventually};

use super::SOON;

/// A config with one channel at `/room`.
pub struct Channel {
    options: String,
    statements: String,
    workers: usize,
}

/// A channel with these options.
pub fn channel(options: &str) -> Channel {
    Channel { options: options.to_owned(), statements: String::new(), workers: 1 }
}

impl Channel {
    /// How long a drain may take.
    pub fn drain(self, time: &str) -> Self {
        self.with(&format!("drain \"{time}\""))
    }

    /// One statement more.
    pub fn with(mut self, statement: &str) -> Self {
        self.statements.push_str(statement);
        self.statements.push('\n');
        self
    }

    /// So many workers.
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = count;
        self
    }

    /// The text of the config.
    pub fn text(&self) -> String {
        let Self { options, statements, workers } = self;
        format!(
            "workers({workers})\nlisten \"127.0.0.1:$PORT\"\n{statements}site \"*\" {{ [\"/room\"] = channel {{ \"room\", {options} }} }}\n"
        )
    }

    /// How to start it.
    pub fn builder(&self) -> RspBuilder {
        Rsp::config(&self.text())
    }

    /// Runs it.
    #[track_caller]
    pub fn start(self) -> Rsp {
        self.builder().start()
    }
}

/// Publishes a text and returns its position.
#[track_caller]
pub fn publish(rsp: &Rsp, text: &str) -> String {
    let answer = post(rsp, "Content-Type: text/plain\r\n", text);
    assert!(matches!(answer.status, 201 | 202), "{answer:?}");
    let object: serde_json::Value = serde_json::from_slice(&answer.body).expect("an object");
    object["position"].as_str().expect("a position").to_owned()
}

/// A POST with these fields, each with its line end.
#[track_caller]
pub fn post(rsp: &Rsp, fields: &str, body: &str) -> Response {
    rsp.client()
        .request(&format!("POST /room HTTP/1.1\r\nHost: test\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len()))
}

/// What a metric stands at, or the sum of those whose name and labels begin so.
#[track_caller]
pub fn metric(rsp: &Rsp, beginning: &str) -> u64 {
    let admin = rsp.folder().join("site.lua.sock");
    let text = testkit::Client::connect(&format!("unix:{}", admin.display())).get("/metrics").text();
    let lines = text.lines().filter(|line| line.starts_with(beginning));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

/// Waits until so many subscribers are there.
#[track_caller]
pub fn wait_for_subscribers(rsp: &Rsp, count: u64) {
    eventually(SOON, || metric(rsp, "rsp_channel_subscribers") == count);
}
