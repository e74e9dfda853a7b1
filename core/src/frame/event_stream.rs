//! Event streams as browsers read them (HTML Standard, §9.2).

use std::{fmt::Write, time::Duration};

/// A line that keeps a connection alive and means nothing.
pub const HEARTBEAT: &[u8] = b":\n\n";

/// One event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Event<'a> {
    /// What the client sends back as `Last-Event-ID`; without line ends.
    pub id: Option<&'a str>,
    /// Its name; None is `message`. Without line ends.
    pub name: Option<&'a str>,
    /// What it says. An event stream knows one kind of line end: each of LF, CR and CR LF arrives as LF.
    pub data: &'a str,
}

impl Event<'_> {
    /// Writes it.
    pub fn write(&self, out: &mut String) {
        for (field, value) in [("id", self.id), ("event", self.name)] {
            if let Some(value) = value {
                debug_assert!(!value.contains(['\r', '\n', '\0']), "{field} would end its line");
                let _ = writeln!(out, "{field}: {value}");
            }
        }
        let mut rest = self.data;
        loop {
            let end = rest.find(['\r', '\n']);
            let _ = writeln!(out, "data: {}", &rest[..end.unwrap_or(rest.len())]);
            let Some(end) = end else { break };
            let line_end = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
            rest = &rest[end + line_end..];
        }
        out.push('\n');
    }
}

/// Tells the client how long to wait before it comes back.
pub fn write_retry(out: &mut String, wait: Duration) {
    let _ = write!(out, "retry: {}\n\n", wait.as_millis());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(event: Event<'_>) -> String {
        let mut out = String::new();
        event.write(&mut out);
        out
    }

    /// As the standard says that a browser reads it: the data of every event.
    fn read(stream: &str) -> Vec<String> {
        let (mut events, mut data) = (Vec::new(), String::new());
        for line in stream.replace("\r\n", "\n").replace('\r', "\n").lines() {
            match line.strip_prefix("data:") {
                Some(value) => {
                    data.push_str(value.strip_prefix(' ').unwrap_or(value));
                    data.push('\n');
                }
                None if line.is_empty() && !data.is_empty() => {
                    data.pop();
                    events.push(std::mem::take(&mut data));
                }
                None => {}
            }
        }
        events
    }

    #[test]
    fn fields_stand_in_lines_of_their_own() {
        let event = Event { id: Some("e-1"), name: Some("join"), data: "a\nb\r\nc\rd" };
        assert_eq!(written(event), "id: e-1\nevent: join\ndata: a\ndata: b\ndata: c\ndata: d\n\n");
        assert_eq!(written(Event::default()), "data: \n\n");
        assert_eq!(written(Event { data: " x\n", ..Event::default() }), "data:  x\ndata: \n\n");
        let mut out = String::new();
        write_retry(&mut out, Duration::from_millis(1500));
        assert_eq!(out, "retry: 1500\n\n");
    }

    proptest! {
        #[test]
        fn any_text_is_one_event(text in "[a-c: \r\n]{0,20}") {
            let wanted = text.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(read(&written(Event { data: &text, ..Event::default() })), vec![wanted]);
        }
    }
}
