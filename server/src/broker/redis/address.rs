//! Where Redis is: the forms of its URL.

use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo, RedisResult,
    TlsMode,
    sentinel::{SentinelClientBuilder, SentinelServerType},
};

/// Addresses of sentinels or of a cluster that a URL may name.
const ADDRESSES_MAX: usize = 64;

/// What a URL names.
#[derive(Clone)]
pub enum Target {
    /// One server.
    Server(Box<ConnectionInfo>),
    /// The server that sentinels call the master of this name.
    Master {
        /// Where the sentinels are, with the user, password and database of the master.
        sentinels: Vec<ConnectionInfo>,
        /// The master's name.
        name: Box<str>,
    },
    /// Some of the servers of a cluster.
    Cluster(Vec<ConnectionInfo>),
}

impl Target {
    /// Reads a URL; the error says what is wrong with it, without a password.
    ///
    /// `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`, `rediss://` (TLS),
    /// `unix:/PATH[?db=DATABASE&user=USER&pass=PASSWORD]`,
    /// `redis-sentinel://[[USER]:PASSWORD@]HOST[:26379],HOST…/NAME[/DATABASE]`,
    /// `redis+cluster://[[USER]:PASSWORD@]HOST[:6379],HOST…`; `rediss-sentinel` and `rediss+cluster` for TLS.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once(':').ok_or("not a URL of Redis")?;
        let (base, kind) = match scheme {
            "redis" | "rediss" | "unix" => return one(url).map(|info| Self::Server(Box::new(info))),
            "redis-sentinel" => ("redis", Kind::Sentinel),
            "rediss-sentinel" => ("rediss", Kind::Sentinel),
            "redis+cluster" => ("redis", Kind::Cluster),
            "rediss+cluster" => ("rediss", Kind::Cluster),
            _ => return Err("not a URL of Redis".to_owned()),
        };
        let rest = rest.strip_prefix("//").ok_or("not a URL of Redis")?;
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = place.rsplit_once('@').map_or(("", place), |(user, hosts)| (user, hosts));
        let at = if user.is_empty() { "" } else { "@" };
        let (name, database) = match kind {
            Kind::Sentinel => path.split_once('/').unwrap_or((path, "")),
            Kind::Cluster => ("", path),
        };
        let port = if matches!(kind, Kind::Sentinel) { ":26379" } else { "" };
        let all = hosts.split(',').map(|host| {
            let has_port =
                host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
            one(&format!("{base}://{user}{at}{host}{}/{database}", if has_port { "" } else { port }))
        });
        let all = all.collect::<Result<Vec<_>, _>>()?;
        match kind {
            _ if all.len() > ADDRESSES_MAX => Err(format!("more than {ADDRESSES_MAX} addresses")),
            Kind::Sentinel if name.is_empty() => {
                Err("the name of the master is missing: `redis-sentinel://HOST,HOST/NAME`".to_owned())
            }
            Kind::Sentinel => Ok(Self::Master { sentinels: all, name: name.into() }),
            Kind::Cluster if !database.is_empty() && database != "0" => Err("a cluster has no databases".to_owned()),
            Kind::Cluster => Ok(Self::Cluster(all)),
        }
    }

    /// The database.
    pub fn database(&self) -> i64 {
        match self {
            Self::Server(info) => info.redis_settings().db(),
            Self::Master { sentinels: all, .. } | Self::Cluster(all) => {
                all.first().map_or(0, |info| info.redis_settings().db())
            }
        }
    }

    /// For log lines: without user and password.
    pub fn describe(&self) -> String {
        match self {
            Self::Server(info) => info.addr().to_string(),
            Self::Master { name, .. } => format!("{name} (of sentinels)"),
            Self::Cluster(all) => all.iter().map(|info| info.addr().to_string()).collect::<Vec<_>>().join(","),
        }
    }

    /// Whoever is to be connected to now. Sentinels are asked.
    pub async fn client(&self) -> RedisResult<Client> {
        match self {
            Self::Server(info) => Client::open((**info).clone()),
            Self::Cluster(all) => match all.first() {
                Some(info) => Client::open(info.clone()),
                None => Err((redis::ErrorKind::InvalidClientConfig, "no address").into()),
            },
            Self::Master { sentinels, name } => {
                let addresses: Vec<_> = sentinels.iter().map(|info| info.addr().clone()).collect();
                let is_tls = matches!(addresses.first(), Some(ConnectionAddr::TcpTls { .. }));
                let mut builder = SentinelClientBuilder::new(addresses, name, SentinelServerType::Master)?
                    .set_client_to_redis_protocol(ProtocolVersion::RESP3);
                if is_tls {
                    builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
                }
                if let Some(settings) = sentinels.first().map(ConnectionInfo::redis_settings) {
                    builder = builder.set_client_to_redis_db(settings.db());
                    builder = match settings.username() {
                        Some(user) => builder.set_client_to_redis_username(user),
                        None => builder,
                    };
                    builder = match settings.password() {
                        Some(password) => builder.set_client_to_redis_password(password),
                        None => builder,
                    };
                }
                builder.build()?.async_get_client().await
            }
        }
    }
}

enum Kind {
    Sentinel,
    Cluster,
}

/// The same server settings at another address, as a cluster names it.
pub fn elsewhere(like: &ConnectionInfo, host: &str, port: u16) -> ConnectionInfo {
    let address = match like.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host.to_owned(), port),
    };
    like.clone().set_addr(address)
}

fn one(url: &str) -> Result<ConnectionInfo, String> {
    // The crate's words name no part of the URL.
    let info =
        url.into_connection_info().map_err(|e| format!("not a URL of Redis: {}", e.to_string().to_lowercase()))?;
    if let ConnectionAddr::TcpTls { .. } = info.addr() {
        // Fails where there is one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
    let settings: RedisConnectionInfo = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(info.set_redis_settings(settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_url_is_read() {
        let all = [
            ("redis://localhost", "localhost:6379", 0),
            ("redis://:secret@10.0.0.1:7000/3", "10.0.0.1:7000", 3),
            ("unix:/run/redis.sock?db=2", "/run/redis.sock", 2),
            ("unix:///run/redis.sock", "/run/redis.sock", 0),
            ("redis-sentinel://u:secret@a,b:26380/main/4", "main (of sentinels)", 4),
            ("redis+cluster://:secret@a,b:7001", "a:6379,b:7001", 0),
            ("rediss+cluster://a", "a:6379", 0),
        ];
        for (url, described, database) in all {
            let target = Target::parse(url).unwrap_or_else(|e| panic!("{url}: {e}"));
            assert_eq!((target.describe().as_str(), target.database()), (described, database), "{url}");
        }
        let Ok(Target::Master { sentinels, .. }) = Target::parse("redis-sentinel://u:p%40w@a,b:26380/main") else {
            panic!("no sentinels");
        };
        assert_eq!(sentinels[0].addr().to_string(), "a:26379");
        assert_eq!(sentinels[1].redis_settings().password(), Some("p@w"));
    }

    #[test]
    fn what_is_no_url_is_refused_without_its_password() {
        for url in [
            "",
            "localhost",
            "http://:secret@a",
            "redis://:secret@/x",
            "redis://:secret@a/x",
            "redis-sentinel://:secret@a",
            "redis+cluster://:secret@a/1",
            "redis+cluster://:secret@a,,b",
        ] {
            let Err(why) = Target::parse(url) else { panic!("{url} is taken") };
            assert!(!why.contains("secret"), "{why}");
        }
    }
}
