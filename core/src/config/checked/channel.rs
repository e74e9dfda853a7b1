//! `channel { … }` and `broker` as they were checked.

use std::{fmt, sync::Arc, time::Duration};

use super::{Config, Origin};
use crate::{
    channel::{Rules, Template},
    config::raw::FunctionId,
};

/// How long a publication can be repeated under its key.
pub(in crate::config) const REPEAT: Duration = Duration::from_secs(5 * 60);

/// `channel { NAME, … }`
#[derive(Debug, Clone)]
pub struct Channel {
    /// Its parameters are those of the route.
    pub name: Template,
    /// What is kept of messages and idempotency keys.
    pub rules: Rules,
    /// Whether it is known who is there.
    pub presence: bool,
    /// Whether subscribers are told who comes and goes.
    pub join_leave: bool,
    /// Who may publish at the URL.
    pub publish: Publish,
    /// Who may subscribe, see the history and who is there; None: whoever may open the URL.
    pub subscribe: Option<FunctionId>,
    /// Who may drop the history; None: only the admin API.
    pub delete: Option<FunctionId>,
    /// Foreign origins whose pages may come; None: the same origin only.
    pub origins: Option<Origins>,
    /// The field of a posted form that is the message; not empty.
    pub field: Option<Box<str>>,
    /// How long a poll is held.
    pub poll_timeout: Duration,
    /// Between two pings.
    pub ping: Duration,
    /// Bytes of a message.
    pub message_max: usize,
    /// Bytes that wait for one subscriber.
    pub queue_max: usize,
    /// What happens to a subscriber for whom more would wait.
    pub slow: Slow,
}

/// Who may publish at a channel's URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// Whoever may open it.
    Client,
    /// Nobody: the admin API, functions and other handlers publish.
    Server,
    /// Whom a function lets, perhaps something else than was sent.
    Function(FunctionId),
}

/// What happens to a subscriber that doesn't take its messages as fast as they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Slow {
    /// It is disconnected, and may come back with its position.
    #[default]
    Disconnect,
    /// It misses the oldest ones that wait.
    DropOldest,
    /// It misses all that wait but the latest one.
    Latest,
}

/// Foreign origins whose pages may come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// `"*"`
    Any,
    /// These; not empty.
    Listed(Vec<Origin>),
}

/// What carries channels between processes.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Broker {
    /// Nothing: they live in this process.
    #[default]
    Memory,
    /// A Redis, or several.
    Redis {
        /// `redis://`, `rediss://`, `unix:`, `redis-sentinel://…/MASTER` or `redis+cluster://`, its form checked. It may
        /// hold a password: only [`Broker`]'s own `Debug` and `Display` may show it.
        url: Box<str>,
        /// Before every key and the name of every Redis channel.
        prefix: Box<str>,
        /// For one answer.
        timeout: Duration,
    },
}

impl Channel {
    /// One that no file declares, with the default of every option.
    pub fn undeclared(name: &str) -> Self {
        Self {
            name: Template::unchecked(name),
            rules: Rules { history: 0, ttl: Duration::from_secs(60 * 60), repeat: REPEAT },
            presence: false,
            join_leave: false,
            publish: Publish::Client,
            subscribe: None,
            delete: None,
            origins: None,
            field: None,
            poll_timeout: Duration::from_secs(25),
            ping: Duration::from_secs(25),
            message_max: 64 << 10,
            queue_max: 1 << 20,
            slow: Slow::Disconnect,
        }
    }
}

impl Config {
    /// The declared channel whose rules apply to a channel of this name: the first one in the file whose template matches.
    pub fn channel(&self, name: &str) -> Option<&Arc<Channel>> {
        self.channels.iter().find(|channel| channel.name.matches(name))
    }
}

/// Where it is, without user, password and query.
impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Redis { url, .. } = self else { return f.write_str("memory") };
        let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
        let (place, behind) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
        // Only a unix socket's password stands behind it; elsewhere an `@` there is the end of one that was not encoded.
        if scheme != "unix" && behind.contains('@') {
            return write!(f, "{scheme}:…");
        }
        match (scheme, place.rsplit_once('@')) {
            ("unix", _) | (_, None) => write!(f, "{scheme}:{place}"),
            (_, Some((_, host))) => write!(f, "{scheme}://{host}"),
        }
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("Memory"),
            Self::Redis { prefix, timeout, .. } => f
                .debug_struct("Redis")
                .field("url", &format_args!("{self}"))
                .field("prefix", prefix)
                .field("timeout", timeout)
                .finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_in_no_output() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
            ("rediss://user:secret@a.example/0", "rediss://a.example/0"),
            ("redis://:secret@a,b:1/1#insecure", "redis://a,b:1/1"),
            ("redis://:se@cr/et@a", "redis://a"),
            ("redis://:secr?et@a", "redis:…"),
            ("unix:/run/a@b.sock?pass=sec@ret", "unix:/run/a@b.sock"),
            ("unix:/run/redis.sock?db=1&pass=secret", "unix:/run/redis.sock"),
            ("unix:///run/redis.sock?pass=secret", "unix:///run/redis.sock"),
            ("redis-sentinel://:secret@a:26379,b:26379/main", "redis-sentinel://a:26379,b:26379/main"),
        ] {
            let broker = Broker::Redis { url: url.into(), prefix: "rsp:".into(), timeout: Duration::from_secs(2) };
            assert_eq!(broker.to_string(), shown);
            assert_eq!(format!("{broker:?}"), format!("Redis {{ url: {shown}, prefix: \"rsp:\", timeout: 2s }}"));
        }
        assert_eq!((Broker::Memory.to_string(), format!("{:?}", Broker::Memory)), ("memory".into(), "Memory".into()));
    }
}
