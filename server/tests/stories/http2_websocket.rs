//! WebSockets over HTTP/2 (RFC 8441): tunnels, channels and programs.
