//! Against a real Redis.
