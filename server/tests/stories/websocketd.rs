//! Stories of rsp beside Debian's websocketd, and of what replaces it.
