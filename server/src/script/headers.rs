//! `request.headers`, as a function of the config sees them.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use mlua::{Function, Lua, MetaMethod, UserData, UserDataMethods, Value as LuaValue};
use rsp_core::frame::http1::is_connection_field;

use super::call::Shared;

/// The fields of a request; nothing is copied before it is asked for.
pub(super) struct Headers(Shared);

impl Headers {
    pub(super) fn of(request: &Shared) -> Self {
        Self(request.clone())
    }

    /// `request.headers = { … }`: all fields but Host.
    pub(super) fn replace(&self, all: &mlua::Table) -> mlua::Result<()> {
        let mut fields = HeaderMap::new();
        all.for_each(|name: mlua::LuaString, value: LuaValue| {
            let name = field_name(&name)?;
            put(&mut fields, &name, &value)
        })?;
        self.0.with(|state| {
            let headers = &mut state.request.head.headers;
            if let Some(host) = headers.get(header::HOST).filter(|_| !fields.contains_key(header::HOST)) {
                fields.insert(header::HOST, host.clone());
            }
            *headers = fields;
            state.request.body.withhold_trailers();
            Ok(())
        })
    }

    fn get(&self, lua: &Lua, name: &mlua::LuaString) -> mlua::Result<LuaValue> {
        // No field has a name that is no token: nil, as for any other that isn't there.
        let Ok(name) = HeaderName::from_bytes(&name.as_bytes()) else { return Ok(LuaValue::Nil) };
        self.0.with(|state| match state.request.head.headers.get(&name) {
            Some(value) => lua.create_string(value.as_bytes()).map(LuaValue::String),
            None => Ok(LuaValue::Nil),
        })
    }

    fn set(&self, name: &mlua::LuaString, value: &LuaValue) -> mlua::Result<()> {
        let name = field_name(name)?;
        let mut fields = HeaderMap::new();
        put(&mut fields, &name, value)?;
        if name == header::HOST && fields.is_empty() {
            return Err(mlua::Error::runtime("a request needs its `Host`"));
        }
        self.0.with(|state| {
            state.request.body.withhold_trailer(&name);
            let headers = &mut state.request.head.headers;
            headers.remove(&name);
            for value in fields.get_all(&name) {
                headers.append(&name, value.clone());
            }
            Ok(())
        })
    }

    /// Every value of a name.
    fn all(&self, lua: &Lua, name: &mlua::LuaString) -> mlua::Result<mlua::Table> {
        let Ok(name) = HeaderName::from_bytes(&name.as_bytes()) else { return lua.create_table() };
        let values = |headers: &HeaderMap| {
            headers
                .get_all(&name)
                .iter()
                .map(|value| lua.create_string(value.as_bytes()))
                .collect::<mlua::Result<Vec<_>>>()
        };
        lua.create_sequence_from(self.0.with(|state| values(&state.request.head.headers))?)
    }

    /// A step of `for name, value in request.headers do`.
    fn every(&self, lua: &Lua) -> mlua::Result<Function> {
        let fields: Vec<_> = self.0.with(|state| {
            Ok(state.request.head.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
        })?;
        let mut fields = fields.into_iter();
        lua.create_function_mut(move |lua, _: mlua::MultiValue| match fields.next() {
            Some((name, value)) => {
                Ok((Some(lua.create_string(name.as_str())?), Some(lua.create_string(value.as_bytes())?)))
            }
            None => Ok((None, None)),
        })
    }
}

impl UserData for Headers {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("all", |lua, this, name: mlua::LuaString| this.all(lua, &name));
        methods.add_meta_method(MetaMethod::Index, |lua, this, name: mlua::LuaString| this.get(lua, &name));
        methods.add_meta_method(MetaMethod::NewIndex, |_, this, (name, value): (mlua::LuaString, LuaValue)| {
            this.set(&name, &value)
        });
        methods.add_meta_method(MetaMethod::Iter, |lua, this, ()| this.every(lua));
    }
}

/// A host and an optional port (RFC 9110 §7.2).
pub(super) fn host(host: &[u8]) -> mlua::Result<HeaderValue> {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte);
    match HeaderValue::from_bytes(host) {
        Ok(value) if !host.is_empty() && host.iter().all(legal) => Ok(value),
        _ => Err(mlua::Error::runtime("this is no host: letters, digits, `-._`, and a port")),
    }
}

/// A name that a function may set.
fn field_name(name: &mlua::LuaString) -> mlua::Result<HeaderName> {
    let text = name.to_string_lossy();
    match HeaderName::from_bytes(&name.as_bytes()) {
        Ok(name) if is_connection_field(&name) || name == header::EXPECT => {
            let message = format!("the header `{text}` belongs to the connection, and can't be set");
            Err(mlua::Error::runtime(message))
        }
        Ok(name) => Ok(name),
        Err(_) => Err(mlua::Error::runtime(format!("`{}` is no name of a header", text.escape_debug()))),
    }
}

/// Adds what a function said: a string, a number, several in a list, or nil for none.
fn put(fields: &mut HeaderMap, name: &HeaderName, value: &LuaValue) -> mlua::Result<()> {
    match value {
        LuaValue::Nil => Ok(()),
        LuaValue::Table(list) => list.for_each_value(|value: mlua::LuaString| put_one(fields, name, &value.as_bytes())),
        LuaValue::String(text) => put_one(fields, name, &text.as_bytes()),
        LuaValue::Integer(number) => put_one(fields, name, number.to_string().as_bytes()),
        LuaValue::Number(number) => put_one(fields, name, number.to_string().as_bytes()),
        _ => Err(mlua::Error::runtime(format!("the header `{name}` must be a string, or a list of strings"))),
    }
}

fn put_one(fields: &mut HeaderMap, name: &HeaderName, value: &[u8]) -> mlua::Result<()> {
    let value = match *name == header::HOST {
        true => host(value)?,
        false => HeaderValue::from_bytes(value.trim_ascii()).map_err(|_| {
            mlua::Error::runtime(format!("a line break, NUL or another control character in the header `{name}`"))
        })?,
    };
    fields.append(name, value);
    Ok(())
}
