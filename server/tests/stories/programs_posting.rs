//! Stories of clients without WebSocket: an event stream down, POST up.
