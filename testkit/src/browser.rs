//! Headless Chromium, driven through playwright-core by the script in `testkit/browser/`.

use std::{path::Path, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::program::{find_program, run};

/// Debian's Chromium with a fresh profile for each visit.
#[derive(Debug)]
pub struct Chromium;

/// What a visit brought back.
#[derive(Debug, Clone)]
pub struct Visit {
    /// What the steps returned.
    pub value: Value,
    /// What the page wrote to its console.
    pub console: Vec<String>,
    /// Exceptions that nobody caught in the page.
    pub errors: Vec<String>,
}

impl Chromium {
    /// Opens `url` and runs `steps`, the body of an async JavaScript function with Playwright's `page` and `context`:
    /// `await page.click("#stop"); return await page.textContent("h1")`. Panics with the browser's reason if a step
    /// fails, or after a minute.
    #[track_caller]
    pub fn visit(url: &str, steps: &str) -> Visit {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
        assert!(folder.join("node_modules").is_dir(), "no playwright-core: run scripts/install-test-needs");
        let profile = tempfile::Builder::new().prefix("rsp-browser-").tempdir().expect("a folder");
        let order = json!({
            "browser": find_program(&["chromium", "chromium-browser", "google-chrome"]),
            "profile": profile.path(),
            "url": url,
            "steps": steps,
            "timeout": 15_000,
        });
        let mut command = Command::new(find_program(&["node", "nodejs"]));
        command.arg("drive.js").current_dir(folder);
        let output = run(&mut command, order.to_string(), Duration::from_secs(60));
        assert_eq!(output.code, Some(0), "the visit of {url} failed:\n{}", output.stderr);
        let answer: Value = serde_json::from_slice(&output.stdout).expect("a line of JSON");
        let lines = |key: &str| -> Vec<String> {
            let all = answer[key].as_array().cloned().unwrap_or_default();
            all.iter().filter_map(|line| line.as_str().map(str::to_owned)).collect()
        };
        Visit { value: answer["value"].clone(), console: lines("console"), errors: lines("errors") }
    }
}
