//! Codecs: bytes to heads and messages and back, one protocol a file.

pub mod fastcgi;
pub mod http1;
