//! HTTP/2 to upstreams, gRPC among it.
