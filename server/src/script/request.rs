//! `request`, as a function of the config sees it.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    time::SystemTime,
};

use bytes::Bytes;
use http::{HeaderValue, Version, header};
use mlua::{Lua, MetaMethod, UserData, UserDataFields, UserDataMethods, UserDataRef, Value as LuaValue};
use percent_encoding::{AsciiSet, percent_decode, percent_encode};
use rsp_core::{
    config::{nearest, units},
    frame::http1::Target,
    route::{PLAIN, Path},
};

use super::{
    call::{Live, Shared, State},
    headers::{self, Headers},
    json,
};
use crate::stream::Security;

/// What `request:body()` reads at most when it isn't told.
const BODY_DEFAULT: usize = 1 << 20;

/// What stays as it is in a query (RFC 3986 §3.4), whose own encoding is kept.
const QUERY: &AsciiSet = &PLAIN.remove(b'?').remove(b'%').remove(b'[').remove(b']');

const FIELDS: [&str; 23] = [
    "args", "body", "client", "cookies", "form", "headers", "host", "id", "info", "json", "method", "params", "path",
    "peer", "query", "raw_path", "route", "scheme", "site", "time", "tls", "user", "version",
];

/// The `request` of a function.
pub(super) struct RequestHandle(Shared);

impl RequestHandle {
    pub(super) fn new(live: &Live) -> Self {
        Self(live.shared())
    }
}

impl UserData for RequestHandle {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("method", |lua, this| {
            this.0.with(|state| lua.create_string(state.request.head.method.as_str()))
        });
        fields.add_field_method_get("path", |lua, this| this.0.with(|state| lua.create_string(path(state))));
        fields.add_field_method_set("path", |_, this, path: mlua::LuaString| {
            this.0.with(|state| set_path(state, &path.as_bytes()))
        });
        fields.add_field_method_get("raw_path", |lua, this| {
            this.0.with(|state| lua.create_string(state.request.head.target.path()))
        });
        fields.add_field_method_get("query", |lua, this| {
            this.0.with(|state| lua.create_string(state.request.head.target.query().unwrap_or_default()))
        });
        fields.add_field_method_set("query", |_, this, query: Option<mlua::LuaString>| {
            let query = query.map(|query| query.as_bytes().to_vec()).unwrap_or_default();
            this.0.with(|state| set_query(state, &query))
        });
        fields.add_field_method_get("host", |lua, this| {
            this.0.with(|state| match state.request.head.headers.get(header::HOST) {
                Some(host) => lua.create_string(host.as_bytes()).map(LuaValue::String),
                None => Ok(LuaValue::Nil),
            })
        });
        fields.add_field_method_set("host", |_, this, host: mlua::LuaString| {
            let host = headers::host(&host.as_bytes())?;
            this.0.with(|state| {
                state.request.head.headers.insert(header::HOST, host);
                Ok(())
            })
        });
        fields.add_field_method_get("scheme", |_, this| this.0.with(|state| Ok(state.request.scheme)));
        fields.add_field_method_get("version", |_, this| this.0.with(|state| Ok(version(state.request.head.version))));
        fields.add_field_method_get("id", |_, this| this.0.with(|state| Ok(state.request.id.to_string())));
        fields.add_field_method_get("time", |_, this| this.0.with(|state| Ok(received(state))));
        fields.add_field_method_get("site", |lua, this| this.0.with(|state| lua.create_string(&*state.site)));
        fields.add_field_method_get("route", |lua, this| this.0.with(|state| lua.create_string(state.route.as_str())));
        fields.add_field_method_get("headers", |_, this| this.0.with(|_| Ok(Headers::of(&this.0))));
        fields.add_field_method_set("headers", |_, this, all: mlua::Table| Headers::of(&this.0).replace(&all));
        fields.add_field_method_get("args", |lua, this| {
            this.0.with(|state| pairs(lua, state.request.head.target.query().unwrap_or_default(), b'&'))
        });
        fields.add_field_method_get("cookies", |lua, this| this.0.with(|state| cookies(lua, state)));
        fields.add_field_method_get("params", |lua, this| {
            this.0.with(|state| {
                let table = lua.create_table()?;
                for (name, value) in state.params.iter() {
                    table.raw_set(name, lua.create_string(value)?)?;
                }
                Ok(table)
            })
        });
        add_sender(fields);
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_async_method("body", |lua, this: UserDataRef<Self>, limit: LuaValue| async move {
            let body = this.0.body(bound(&limit)?).await?;
            lua.create_string(&body)
        });
        methods.add_async_method("json", |lua, this: UserDataRef<Self>, limit: LuaValue| async move {
            let body = this.0.body(bound(&limit)?).await?;
            json::parse(&lua, &body)
        });
        methods.add_async_method("form", |lua, this: UserDataRef<Self>, limit: LuaValue| async move {
            let body: Bytes = this.0.body(bound(&limit)?).await?;
            pairs(&lua, &body, b'&')
        });
        methods.add_meta_method(MetaMethod::Index, |_, _, name: LuaValue| -> mlua::Result<()> {
            let name = name.as_string().map(|name| name.to_string_lossy()).unwrap_or_default();
            let near = nearest(&name, FIELDS).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            Err(mlua::Error::runtime(format!("`request` has no field `{name}`{near}")))
        });
        methods.add_meta_method(MetaMethod::NewIndex, |_, _, (name, _): (LuaValue, LuaValue)| -> mlua::Result<()> {
            let name = name.as_string().map(|name| name.to_string_lossy()).unwrap_or_default();
            let message = format!("`request.{name}` can't be assigned; path, query, headers and host can");
            Err(mlua::Error::runtime(message))
        });
        methods.add_meta_method(MetaMethod::ToString, |_, _, ()| Ok("request"));
    }
}

/// Whom a request is from: addresses, TLS, and what `auth` found out.
fn add_sender<F: UserDataFields<RequestHandle>>(fields: &mut F) {
    fields.add_field_method_get("client", |lua, this| {
        this.0.with(|state| {
            let client = &state.request.client;
            let peer = client.peer_address();
            // The port is the client's only where the peer is the client.
            let port = peer.filter(|peer| client.ip == Some(peer.ip())).map(|peer| peer.port());
            address(lua, client.ip, port)
        })
    });
    fields.add_field_method_get("peer", |lua, this| {
        this.0.with(|state| {
            let peer = state.request.client.peer_address();
            address(lua, peer.map(|peer| peer.ip()), peer.as_ref().map(SocketAddr::port))
        })
    });
    fields.add_field_method_get("user", |lua, this| {
        this.0.with(|state| match &state.request.user {
            Some(user) => lua.create_string(&*user.name).map(LuaValue::String),
            None => Ok(LuaValue::Nil),
        })
    });
    fields.add_field_method_get("info", |lua, this| {
        this.0.with(|state| match state.request.user.as_ref().and_then(|user| user.info.as_deref()) {
            Some(info) => json::parse(lua, info.as_bytes()),
            None => Ok(LuaValue::Nil),
        })
    });
    fields.add_field_method_get("tls", |lua, this| this.0.with(|state| tls(lua, state.request.security.as_deref())));
}

/// Empty where TLS did not end here, so that a function may ask for a field of it all the same.
fn tls(lua: &Lua, security: Option<&Security>) -> mlua::Result<mlua::Table> {
    let table = lua.create_table()?;
    if let Some(security) = security {
        table.raw_set("sni", security.server_name.as_deref())?;
        table.raw_set("version", security.version.trim_start_matches("TLSv"))?;
        table.raw_set("subject", security.subject.as_deref())?;
    }
    Ok(table)
}

/// Decoded and without dot segments, as routes see it.
fn path(state: &State) -> Cow<'_, [u8]> {
    let raw = state.request.head.target.path();
    match Path::new(raw) {
        Ok(path) => Cow::Owned(path.decoded().to_vec()),
        Err(_) => Cow::Borrowed(raw),
    }
}

fn set_path(state: &mut State, path: &[u8]) -> mlua::Result<()> {
    refuse_breaks("path", path)?;
    if path.first() != Some(&b'/') {
        return Err(mlua::Error::runtime("`request.path` must begin with a slash"));
    }
    if path.split(|&byte| byte == b'/' || byte == b'\\').any(|segment| matches!(segment, b"." | b"..")) {
        return Err(mlua::Error::runtime("`request.path` can't have the segments `.` and `..`"));
    }
    let mut target = percent_encode(path, PLAIN).to_string();
    if let Some(query) = state.request.head.target.query() {
        target.push('?');
        target.push_str(&String::from_utf8_lossy(query));
    }
    retarget(state, target)
}

fn set_query(state: &mut State, query: &[u8]) -> mlua::Result<()> {
    refuse_breaks("query", query)?;
    let mut target = String::from_utf8_lossy(state.request.head.target.path()).into_owned();
    if !query.is_empty() {
        target.push('?');
        target.extend(percent_encode(query, QUERY));
    }
    retarget(state, target)
}

fn retarget(state: &mut State, target: String) -> mlua::Result<()> {
    let target = Target::new(target.into()).map_err(|error| mlua::Error::runtime(error.to_string()))?;
    state.request.head.target = target;
    Ok(())
}

/// Nothing that a function says may end a line of the head.
pub(super) fn refuse_breaks(what: &str, value: &[u8]) -> mlua::Result<()> {
    match value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        true => Err(mlua::Error::runtime(format!("a line break or NUL in `request.{what}`"))),
        false => Ok(()),
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

/// Seconds since 1970.
fn received(state: &State) -> f64 {
    let at = SystemTime::now().checked_sub(state.request.received.elapsed());
    let since = at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.unwrap_or_default().as_secs_f64()
}

fn address(lua: &Lua, ip: Option<IpAddr>, port: Option<u16>) -> mlua::Result<mlua::Table> {
    let table = lua.create_table()?;
    // A peer on a unix socket has none, and a function that joins strings must not fail on it.
    table.raw_set("ip", ip.map_or("unix".to_owned(), |ip| ip.to_string()))?;
    table.raw_set("port", port)?;
    Ok(table)
}

/// `a=1&b=2`, decoded; of several with one name the first.
fn pairs(lua: &Lua, text: &[u8], separator: u8) -> mlua::Result<mlua::Table> {
    let table = lua.create_table()?;
    for pair in text.split(|&byte| byte == separator).filter(|pair| !pair.is_empty()) {
        let (name, value) = halves(pair);
        let name = lua.create_string(plain(name))?;
        if table.raw_get::<LuaValue>(&name)?.is_nil() {
            table.raw_set(name, lua.create_string(plain(value))?)?;
        }
    }
    Ok(table)
}

fn halves(pair: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'=', pair) {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, b""),
    }
}

/// As forms encode it: a plus is a space.
fn plain(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'+') {
        return percent_decode(text).into();
    }
    let spaced: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    Cow::Owned(percent_decode(&spaced).collect())
}

/// RFC 6265 §5.4, as sent: nothing is decoded but quotes.
fn cookies(lua: &Lua, state: &State) -> mlua::Result<mlua::Table> {
    let table = lua.create_table()?;
    let fields = state.request.head.headers.get_all(header::COOKIE);
    for pair in fields.iter().map(HeaderValue::as_bytes).flat_map(|field| field.split(|&byte| byte == b';')) {
        let (name, value) = halves(pair.trim_ascii());
        let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        let name = lua.create_string(name.trim_ascii())?;
        if table.raw_get::<LuaValue>(&name)?.is_nil() {
            table.raw_set(name, lua.create_string(quoted.unwrap_or(value.trim_ascii()))?)?;
        }
    }
    Ok(table)
}

/// Bytes of a body: a number or a size like `"64KiB"`.
fn bound(limit: &LuaValue) -> mlua::Result<usize> {
    let bytes = match limit {
        LuaValue::Nil => return Ok(BODY_DEFAULT),
        LuaValue::Integer(bytes) => u64::try_from(*bytes).ok(),
        LuaValue::Number(bytes) if *bytes >= 0.0 => Some(*bytes as u64),
        LuaValue::String(text) => text.to_str().ok().and_then(|text| units::size(&text)),
        _ => None,
    };
    match bytes.and_then(|bytes| usize::try_from(bytes).ok()) {
        Some(bytes) => Ok(bytes),
        None => Err(mlua::Error::runtime("the limit of a body is a number of bytes, or a size like \"64KiB\"")),
    }
}
