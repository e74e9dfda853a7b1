//! What an operator sees of a running rsp: metrics, the access log, rsp's own messages, and the times printed in them.
//!
//! **Invariant:** nothing here waits on the request path: counting is relaxed atomics, a log line is copied into a
//! bounded queue or dropped and counted.
//! **Invariant:** no byte of a client can end a log line or forge a field of it.

mod access_log;
mod clock;
mod messages;
mod metrics;
mod standard_error;

pub use access_log::{AccessLog, AccessLogs, Moment, Record};
pub use clock::{http_date, http_date_of, now_seconds, push_rfc3339, timestamp};
pub use messages::messages;
pub use metrics::{
    AuthCounts, BrokerCounts, EndpointCounts, Handshake, ListenerCounts, Metrics, Series, Transport, UpstreamCounts,
};
pub use standard_error::flush as flush_messages;
