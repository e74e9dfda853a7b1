//! What a TLS handshake found out about a connection.

/// The facts of one handshake; they hold for as long as the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    /// The name that the client asked for, lower-cased.
    pub server_name: Option<Box<str>>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// Whether HTTP/2 was agreed on.
    pub http2: bool,
    /// The subject of the client's certificate, as RFC 4514 writes it; None: it showed none.
    pub subject: Option<Box<str>>,
    /// Which of the running config's sites with TLS it was opened for.
    pub site: Option<std::sync::Arc<str>>,
}
