//! What is counted of handshakes.

use prometheus_client::metrics::counter::Counter;

/// How a handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// TLS 1.2.
    Full12,
    /// TLS 1.3.
    Full13,
    /// TLS 1.2, with a session of before.
    Resumed12,
    /// TLS 1.3, with a session of before.
    Resumed13,
    /// No site has the name.
    UnknownName,
    /// HTTP without TLS.
    PlainHttp,
    /// No TLS, or broken.
    Malformed,
    /// No version, cipher suite or protocol in common.
    Incompatible,
    /// The client's certificate is missing or not believed.
    ClientCertificate,
    /// The client refused ours, or what was agreed on.
    Refused,
    /// Not done in time.
    Late,
    /// The client went away.
    Gone,
    /// Trouble of ours.
    Failed,
}

impl Handshake {
    const ALL: [Self; 13] = [
        Self::Full12,
        Self::Full13,
        Self::Resumed12,
        Self::Resumed13,
        Self::UnknownName,
        Self::PlainHttp,
        Self::Malformed,
        Self::Incompatible,
        Self::ClientCertificate,
        Self::Refused,
        Self::Late,
        Self::Gone,
        Self::Failed,
    ];

    /// One that was done, with the version as `TLSv1.3`.
    pub fn done(version: &str, is_resumed: bool) -> Self {
        match (version, is_resumed) {
            ("TLSv1.2", false) => Self::Full12,
            ("TLSv1.2", true) => Self::Resumed12,
            (_, false) => Self::Full13,
            (_, true) => Self::Resumed13,
        }
    }

    /// Its labels: result and version.
    const fn names(self) -> [&'static str; 2] {
        match self {
            Self::Full12 => ["full", "1.2"],
            Self::Full13 => ["full", "1.3"],
            Self::Resumed12 => ["resumed", "1.2"],
            Self::Resumed13 => ["resumed", "1.3"],
            Self::UnknownName => ["unknown_name", ""],
            Self::PlainHttp => ["plain_http", ""],
            Self::Malformed => ["malformed", ""],
            Self::Incompatible => ["incompatible", ""],
            Self::ClientCertificate => ["client_certificate", ""],
            Self::Refused => ["refused", ""],
            Self::Late => ["late", ""],
            Self::Gone => ["gone", ""],
            Self::Failed => ["failed", ""],
        }
    }
}

/// Handshakes of all listeners by their end.
#[derive(Debug, Default)]
pub struct HandshakeCounts([Counter; Handshake::ALL.len()]);

impl HandshakeCounts {
    /// One more ended so.
    pub fn ended(&self, how: Handshake) {
        self.0[how as usize].inc();
    }

    /// Labels and counts.
    pub(super) fn rows(&self) -> impl Iterator<Item = ([&'static str; 2], u64)> {
        Handshake::ALL.into_iter().map(|how| (how.names(), self.0[how as usize].get()))
    }
}
