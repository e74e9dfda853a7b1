//! Stories of `exec` with one process for all clients, or for a channel.
