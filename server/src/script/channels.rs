//! `channel` in a function: messages to whoever listens, and a look at what was said and who is there.

use std::{rc::Rc, sync::Arc};

use mlua::{FromLuaMulti, IntoLuaMulti, Lua, MetaMethod, MultiValue, UserData, UserDataMethods, Value as LuaValue};
use rsp_core::{
    channel::{Item, KEY_MAX, Member, Message, Who, check_name},
    config::{Config, nearest, options::Constructor},
};

use super::{construct::construct, convert::kind, json, recorder::Recorder, trouble::Raised};
use crate::{
    broker::{self, Broker, Look, Name, Receipt},
    observe::Metrics,
};

const FUNCTIONS: [&str; 3] = ["history", "presence", "publish"];

/// Messages that `channel.history` returns at most; as many as that of 64 KiB are what a call may have of memory.
const HISTORY_MAX: usize = 1000;
const HISTORY_DEFAULT: usize = 100;

/// What functions reach besides their request.
#[derive(Clone)]
pub struct Services {
    /// Channels.
    pub broker: Arc<Broker>,
    /// Counters of the process.
    pub metrics: Arc<Metrics>,
}

/// What serves the functions of one state.
struct Served {
    config: Arc<Config>,
    services: Services,
}

/// Lets the functions of this state reach channels from now on.
pub(super) fn serve(lua: &Lua, config: Arc<Config>, services: Services) {
    // A thread's first random number takes many milliseconds, and the first function that publishes on a new channel would
    // have to answer for them. Whoever needs one asks again.
    let _ = aws_lc_rs::rand::fill(&mut [0; 8]);
    lua.set_app_data(Rc::new(Served { config, services }));
}

/// The global `channel`: called, it builds a handler.
pub(super) struct Channels {
    pub(super) recorder: Rc<Recorder>,
    pub(super) constructor: &'static Constructor,
}

impl UserData for Channels {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::Call, |lua, this, arguments: MultiValue| {
            construct(lua, &this.recorder, this.constructor, arguments)
        });
        function(methods, "publish", publish);
        function(methods, "history", history);
        function(methods, "presence", presence);
        methods.add_meta_method(MetaMethod::Index, |_, _, name: LuaValue| -> mlua::Result<()> {
            let name = name.as_string().map(|name| name.to_string_lossy()).unwrap_or_default();
            let near = nearest(&name, FUNCTIONS).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            Err(mlua::Error::runtime(format!("`channel` has no function `{name}`{near}")))
        });
        methods.add_meta_method(MetaMethod::NewIndex, |_, _, _: MultiValue| -> mlua::Result<()> {
            Err(mlua::Error::runtime("`channel` can't be changed"))
        });
        methods.add_meta_method(MetaMethod::ToString, |_, _, ()| Ok("channel"));
    }
}

/// Adds a function that may wait, and runs on requests only.
fn function<A, R, F>(
    methods: &mut impl UserDataMethods<Channels>,
    name: &'static str,
    act: impl Fn(Lua, Rc<Served>, A) -> F + Copy + 'static,
) where
    A: FromLuaMulti + 'static,
    R: IntoLuaMulti,
    F: Future<Output = mlua::Result<R>>,
{
    methods.add_async_function(name, move |lua, arguments: A| async move {
        let served = lua.app_data_ref::<Rc<Served>>().map(|served| Rc::clone(&served));
        match served {
            Some(served) => act(lua, served, arguments).await,
            None => {
                let span = lua.app_data_ref::<Rc<Recorder>>().map(|recorder| recorder.nearest_line(&lua, 1));
                let message = format!("`channel.{name}` is for functions, while a request runs");
                Err(Raised::error(span.unwrap_or_default(), message, "call it within a function of a route"))
            }
        }
    });
}

/// `channel.publish(name, message, { key = … })` is the position.
async fn publish(
    _: Lua,
    served: Rc<Served>,
    (name, message, options): (LuaValue, LuaValue, LuaValue),
) -> mlua::Result<String> {
    let name = channel_name("publish", &name)?;
    let key = key(&options)?;
    let spec = served.services.broker.spec(&served.config, &name);
    let max = spec.message_max;
    let too_large = |length| wrong("publish", format!("a message of {length} bytes, and \"{name}\" takes {max}"));
    let data = match &message {
        LuaValue::String(text) if text.as_bytes().len() > max => return Err(too_large(text.as_bytes().len())),
        LuaValue::String(text) => text.as_bytes().to_vec(),
        LuaValue::Table(_) => {
            json::write(&message, max).map_err(|why| wrong("publish", format!("a message {why}")))?.into_bytes()
        }
        other => return Err(wrong("publish", format!("a message is a string or a table, not {}", kind(other)))),
    };
    let is_text = str::from_utf8(&data).is_ok();
    let message = Message { data: data.into(), is_text, time: broker::now(), by: None };
    served.services.metrics.channels.published.inc();
    let published = served.services.broker.publish(&name, &spec.rules, message, key.as_deref()).await;
    let Receipt { position, .. } = published.map_err(|refused| wrong("publish", refused.reason()))?;
    Ok(position.to_string())
}

/// `channel.history(name, count)` is the latest messages, the oldest of them first.
async fn history(lua: Lua, served: Rc<Served>, (name, count): (LuaValue, LuaValue)) -> mlua::Result<mlua::Table> {
    let name = channel_name("history", &name)?;
    let count = match count {
        LuaValue::Nil => HISTORY_DEFAULT,
        LuaValue::Integer(count) if (0..=HISTORY_MAX as i64).contains(&count) => count as usize,
        LuaValue::Number(count) if (0.0..=HISTORY_MAX as f64).contains(&count) => count as usize,
        _ => return Err(wrong("history", format!("a count is a number from 0 to {HISTORY_MAX}"))),
    };
    let spec = served.services.broker.spec(&served.config, &name);
    let past = served.services.broker.read(&name, &spec.rules, Look::Latest(count)).await;
    let past = past.map_err(|_| wrong("history", "the broker did not answer"))?;
    let table = lua.create_table_with_capacity(past.items.len(), 0)?;
    for (index, item) in past.items.iter().enumerate() {
        table.raw_set(index + 1, item_table(&lua, item)?)?;
    }
    Ok(table)
}

/// `channel.presence(name)` is who is there, the longest present first.
async fn presence(lua: Lua, served: Rc<Served>, name: LuaValue) -> mlua::Result<mlua::Table> {
    let name = channel_name("presence", &name)?;
    let members = served.services.broker.present(&name).await;
    let members = members.map_err(|_| wrong("presence", "the broker did not answer"))?;
    let table = lua.create_table_with_capacity(members.len(), 0)?;
    for (index, Member { id, who, since }) in members.iter().enumerate() {
        let member = lua.create_table()?;
        member.raw_set("id", &**id)?;
        member.raw_set("since", since.as_secs_f64())?;
        set_who(&lua, &member, who.as_deref())?;
        table.raw_set(index + 1, member)?;
    }
    Ok(table)
}

fn item_table(lua: &Lua, item: &Item) -> mlua::Result<mlua::Table> {
    let table = lua.create_table()?;
    table.raw_set("position", item.position.to_string())?;
    table.raw_set("time", item.message.time.as_secs_f64())?;
    table.raw_set("data", lua.create_string(&item.message.data)?)?;
    set_who(lua, &table, item.message.by.as_deref())?;
    Ok(table)
}

fn set_who(lua: &Lua, table: &mlua::Table, who: Option<&Who>) -> mlua::Result<()> {
    let Some(who) = who else { return Ok(()) };
    if let Some(user) = &who.user {
        table.raw_set("user", &**user)?;
    }
    if let Some(info) = &who.info {
        table.raw_set("info", json::parse(lua, info.as_bytes())?)?;
    }
    Ok(())
}

fn channel_name(function: &str, name: &LuaValue) -> mlua::Result<Name> {
    let LuaValue::String(text) = name else {
        return Err(wrong(function, format!("a channel's name is a string, not {}", kind(name))));
    };
    let text = text.to_str().map_err(|_| wrong(function, "a channel's name is UTF-8"))?;
    check_name(&text).map_err(|bad| wrong(function, bad.to_string()))?;
    Ok(Arc::from(&*text))
}

/// The key in `{ key = … }`.
fn key(options: &LuaValue) -> mlua::Result<Option<String>> {
    let table = match options {
        LuaValue::Nil => return Ok(None),
        LuaValue::Table(table) => table,
        other => return Err(wrong("publish", format!("options are {{ key = … }}, not {}", kind(other)))),
    };
    let mut key = None;
    table.for_each(|name: LuaValue, value: LuaValue| {
        let name = name.as_string().map(|name| name.to_string_lossy());
        if name.as_deref() != Some("key") {
            let name = name.map_or("a list".to_owned(), |name| format!("`{}`", name.escape_debug()));
            return Err(wrong("publish", format!("the only option is `key`, not {name}")));
        }
        let text = value.as_string().and_then(|value| value.to_str().ok().map(|text| text.to_owned()));
        key = text.filter(|text| (1..=KEY_MAX).contains(&text.len()));
        match key {
            Some(_) => Ok(()),
            None => Err(wrong("publish", format!("a `key` is a text of 1 to {KEY_MAX} bytes"))),
        }
    })?;
    Ok(key)
}

fn wrong(function: &str, reason: impl AsRef<str>) -> mlua::Error {
    mlua::Error::runtime(format!("channel.{function}: {}", reason.as_ref()))
}
