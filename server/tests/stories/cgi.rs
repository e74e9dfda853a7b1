//! Stories of `cgi`.
