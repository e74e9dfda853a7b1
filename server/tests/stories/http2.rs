//! HTTP/2 towards clients, with curl, nghttp and raw frames.
