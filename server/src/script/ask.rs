//! Functions of a channel: what they are asked, and what their answers mean.

use std::sync::Arc;

use bytes::Bytes;
use mlua::Value as LuaValue;
use rsp_core::{channel::Who, config::FunctionId};

use super::{
    call::Live,
    convert::kind,
    engine::{Engine, Visit},
    json,
};
use crate::{
    error::{Fault, Kind},
    message::Request,
};

/// Bytes of a user's name: it goes with every message.
const USER_MAX: usize = 255;

/// Bytes of what is said of a user, in JSON: it goes with every message, and is kept as long.
const INFO_MAX: usize = 4 << 10;

/// What a `publish` function decided.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is published.
    Refused,
    /// The message, as it is.
    AsItIs,
    /// Other bytes.
    Instead(Bytes),
}

/// What a `subscribe` function decided.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// This client may not.
    Refused,
    /// Whoever it is.
    Admitted,
    /// As this one.
    As(Arc<Who>),
}

impl Engine {
    /// Asks a function of a request and a message whether it may be published.
    ///
    /// Faults: `Script`, also where it returns anything but a boolean, nil or a string.
    pub async fn may_publish(
        &self,
        id: FunctionId,
        request: Request,
        visit: Visit<'_>,
        message: &[u8],
    ) -> Result<Verdict, Fault> {
        let live = Live::new(request, visit);
        let message = self.lua.create_string(message).map_err(|error| self.failed(id, &error))?;
        let value = self.run(id, &live, |request| (request, message)).await?;
        match &value {
            LuaValue::Nil | LuaValue::Boolean(false) => Ok(Verdict::Refused),
            LuaValue::Boolean(true) => Ok(Verdict::AsItIs),
            LuaValue::String(text) => Ok(Verdict::Instead(Bytes::copy_from_slice(&text.as_bytes()))),
            other => Err(self.strange(id, other, "true, false or a message")),
        }
    }

    /// Asks a function of a request whether its client may subscribe, and as whom.
    ///
    /// Faults: `Script`, also where it returns anything but a boolean, nil or a table of `user` and `info`.
    pub async fn may_subscribe(&self, id: FunctionId, request: Request, visit: Visit<'_>) -> Result<Admission, Fault> {
        let live = Live::new(request, visit);
        let value = self.run(id, &live, |request| request).await?;
        match &value {
            LuaValue::Nil | LuaValue::Boolean(false) => Ok(Admission::Refused),
            LuaValue::Boolean(true) => Ok(Admission::Admitted),
            LuaValue::Table(table) => match who(table) {
                Ok(who) => Ok(Admission::As(Arc::new(who))),
                Err(reason) => Err(Fault::new(Kind::Script, format!("{}: {reason}", self.name(id)))),
            },
            other => Err(self.strange(id, other, "true, false or { user = …, info = … }")),
        }
    }

    /// Asks a function of a request whether its client may do what it asks for.
    ///
    /// Faults: `Script`, also where it returns anything but a boolean or nil.
    pub async fn may_delete(&self, id: FunctionId, request: Request, visit: Visit<'_>) -> Result<bool, Fault> {
        let live = Live::new(request, visit);
        let value = self.run(id, &live, |request| request).await?;
        match &value {
            LuaValue::Nil | LuaValue::Boolean(false) => Ok(false),
            LuaValue::Boolean(true) => Ok(true),
            other => Err(self.strange(id, other, "true or false")),
        }
    }

    fn strange(&self, id: FunctionId, value: &LuaValue, wanted: &str) -> Fault {
        Fault::new(Kind::Script, format!("{} returned {}, not {wanted}", self.name(id), kind(value)))
    }
}

/// Reads without Lua's own functions: nothing of the config runs here, beside its meter.
fn who(table: &mlua::Table) -> Result<Who, String> {
    let mut who = Who::default();
    let mut wrong = None;
    let read = table.for_each(|key: LuaValue, value: LuaValue| {
        let outcome = match key.as_string().map(|key| key.to_string_lossy()).as_deref() {
            Some("user") => user(&value).map(|user| who.user = Some(user)),
            Some("info") => json::write(&value, INFO_MAX)
                .map(|info| who.info = Some(info.into()))
                .map_err(|reason| format!("`info` {reason}")),
            Some(other) => Err(format!("a client has no `{}`, only `user` and `info`", other.escape_debug())),
            None => Err(format!("a client has `user` and `info`, and no list or key that is {}", kind(&key))),
        };
        outcome.map_err(|reason| {
            wrong = Some(reason);
            mlua::Error::runtime("")
        })
    });
    match (wrong, read) {
        (Some(reason), _) => Err(reason),
        (None, Err(error)) => Err(error.to_string()),
        (None, Ok(())) => Ok(who),
    }
}

fn user(value: &LuaValue) -> Result<Arc<str>, String> {
    let LuaValue::String(text) = value else {
        return Err(format!("`user` must be a string, not {}", kind(value)));
    };
    match text.to_str() {
        Ok(text) if text.len() <= USER_MAX => Ok(Arc::from(&*text)),
        Ok(_) => Err(format!("`user` has more than {USER_MAX} bytes")),
        Err(_) => Err("`user` is not UTF-8".to_owned()),
    }
}
