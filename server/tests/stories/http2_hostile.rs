//! Clients that break the rules of HTTP/2, or wear its limits out.
