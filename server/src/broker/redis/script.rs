//! The two scripts, and what is asked of them.

use std::{sync::LazyLock, time::Duration};

use redis::{Cmd, Value};
use rsp_core::channel::{Epoch, Position};

use super::{encode, interests::Known, names::Place};

/// A script that runs at Redis, as one step.
pub struct Script {
    code: &'static str,
    sha: String,
}

/// A channel's stream.
pub static CHANNEL: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("prelude.lua"), include_str!("channel.lua"))));

/// Who is present.
pub static PRESENCE: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("prelude.lua"), include_str!("presence.lua"))));

impl Script {
    fn new(code: &'static str) -> Self {
        Self { code, sha: redis::Script::new(code).get_hash().to_owned() }
    }

    /// Makes it known to a server.
    pub fn load(&self) -> Cmd {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(self.code);
        command
    }
}

/// One run of a script.
pub struct Call {
    script: &'static Script,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl Call {
    /// Of the script on presence.
    pub fn presence(op: &str, word: &str, place: &Place, node: &str, life: Duration) -> Self {
        Self::new(&PRESENCE, op, word, place).with(node).with(millis(life))
    }

    /// Of the script on streams, in a run of the server; `life` is how long the channel is remembered.
    pub fn channel(
        op: &str,
        word: &str,
        place: &Place,
        run: &str,
        fresh: Epoch,
        life: Duration,
        known: Option<&Known>,
    ) -> Self {
        let call = Self::new(&CHANNEL, op, word, place).with(run).with(fresh.to_string()).with(millis(life));
        match known {
            Some(Known { position, run }) => {
                call.with(position.epoch.to_string()).with(position.offset.to_string()).with(&**run)
            }
            None => call.with("").with("").with(""),
        }
    }

    fn new(script: &'static Script, op: &str, word: &str, place: &Place) -> Self {
        let call = Self { script, keys: place.keys().collect(), arguments: Vec::with_capacity(15) };
        call.with(op).with(word).with(&*place.heard)
    }

    /// One argument more.
    pub fn with(mut self, argument: impl Into<Vec<u8>>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Its bytes, nearly.
    pub fn size(&self) -> usize {
        self.arguments.iter().map(|argument| argument.len() + 16).sum()
    }

    /// The command; with the code, for a server that doesn't know the script.
    pub fn command(&self, with_code: bool) -> Cmd {
        let mut command = if with_code { redis::cmd("EVAL") } else { redis::cmd("EVALSHA") };
        if with_code {
            command.arg(self.script.code)
        } else {
            command.arg(&self.script.sha)
        };
        command.arg(self.keys.len()).arg(&self.keys);
        for argument in &self.arguments {
            command.arg(argument.as_slice());
        }
        command
    }
}

/// For the scripts, which count in milliseconds; at least one.
pub fn millis(duration: Duration) -> String {
    // A hundred years are enough, and Redis adds the time of the day.
    duration.as_millis().clamp(1, 3_153_600_000_000).to_string()
}

/// The position that every answer of the script on streams begins with, and the rest.
pub fn position(answer: Value) -> Option<(Position, std::vec::IntoIter<Value>)> {
    let Value::Array(parts) = answer else { return None };
    let mut parts = parts.into_iter();
    let position = encode::position(&bytes(parts.next()?)?)?;
    Some((position, parts))
}

/// A text.
pub fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}
