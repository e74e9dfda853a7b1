//! What answers a request: a closed set of handlers, a folder each.

pub mod files;
