//! Stories of `bridge`: a client and a socket that speaks lines.
