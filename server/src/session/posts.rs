//! Messages that are posted to the session of an event stream, from whatever worker.

/// The sessions that can be posted to, by their tokens.
#[derive(Default)]
pub struct Posts {}
