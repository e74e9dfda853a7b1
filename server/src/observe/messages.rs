//! rsp's own messages: one line each on standard error, at the level that `RSP_LOG` sets.

use std::fmt::{self, Write};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    filter::ParseError,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::{standard_error::StandardError, timestamp};

/// Sends rsp's messages to standard error from now on; a second call changes nothing.
///
/// `RSP_LOG` takes a level or tracing's filter directives; `otherwise` or `info` without it, and `info`, with a warning, if it
/// is unreadable.
pub fn messages(otherwise: Option<&str>) {
    let wanted = std::env::var("RSP_LOG").unwrap_or_default();
    let parsed = filter(if wanted.is_empty() { otherwise.unwrap_or("info") } else { &wanted });
    let unreadable = parsed.is_err();
    let filter = parsed.unwrap_or_else(|_| EnvFilter::new("info"));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| StandardError)
        .log_internal_errors(false)
        .with_ansi(false)
        // Where standard error is full or closed, complaining about that on standard error would panic.
        .log_internal_errors(false)
        .event_format(Line)
        .try_init();
    if unreadable && started.is_ok() {
        tracing::warn!("RSP_LOG is no filter: {wanted:?}; using \"info\"");
    }
}

/// What is said; h2 tells of each client that breaks the rules of HTTP/2, so that clients could fill a log, and is heard only
/// where it is named.
fn filter(directives: &str) -> Result<EnvFilter, ParseError> {
    match directives.contains("h2=") {
        true => EnvFilter::try_new(directives),
        false => EnvFilter::try_new(format!("{directives},h2=off")),
    }
}

/// `[2026-11-20 12:00:00.000000 +0000] warn: text`; plain information bears no level.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut text = String::new();
        ctx.field_format().format_fields(Writer::new(&mut text), event)?;
        let level = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warn: ",
            Level::INFO => "",
            Level::DEBUG => "debug: ",
            Level::TRACE => "trace: ",
        };
        write!(out, "{} {level}", timestamp())?;
        write_one_line(&mut out, text.trim_end())?;
        out.write_char('\n')
    }
}

/// Messages quote what peers sent; a control character in it must not start a new line or drive a terminal.
fn write_one_line(out: &mut impl Write, text: &str) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() { write!(out, "{}", c.escape_default())? } else { out.write_char(c)? }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn printed(say: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter("info").unwrap())
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .event_format(Line)
            .finish();
        tracing::subscriber::with_default(subscriber, say);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_h2_says_of_clients_fills_no_log() {
        assert_eq!(printed(|| tracing::warn!(target: "h2::proto::streams::recv", "too many resets")), "");
    }

    #[test]
    fn a_message_is_one_line_with_time_and_level() {
        let text = printed(|| tracing::warn!("the upstream is gone"));
        assert!(text.starts_with("[20") && text.ends_with("] warn: the upstream is gone\n"), "{text}");
        let text = printed(|| tracing::info!("Started."));
        assert!(text.ends_with("] Started.\n"), "{text}");
        assert_eq!(printed(|| tracing::debug!("not asked for")), "");
    }

    #[test]
    fn what_a_peer_sent_can_not_start_a_new_line() {
        let text = printed(|| tracing::warn!("bad head: {}", "x\n[2026] error: forged\x1b[2J\u{85}"));
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("x\\n[2026]"), "{text}");
        assert!(!text.contains('\x1b') && !text.contains('\u{85}'));
    }
}
