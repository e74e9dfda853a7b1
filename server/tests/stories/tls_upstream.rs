//! Upstreams behind TLS, and which of them are believed.
