//! What is no TLS, or stops halfway.
