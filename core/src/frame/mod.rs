//! Codecs: bytes to heads and messages and back, one protocol a file.

pub mod cgi;
pub mod client_hello;
pub mod event_stream;
pub mod fastcgi;
pub mod http1;
pub mod http2;
pub mod messages;
pub mod proxy_protocol;
pub mod websocket;
