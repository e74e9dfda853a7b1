//! The one table of metrics: what is printed, and what `doc/metrics.md` says of it.

use prometheus_client::metrics::MetricType;

/// One metric.
pub struct Definition {
    /// Without the `_total` that the text gives counters.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: MetricType,
    /// In the order they are printed.
    pub labels: &'static [&'static str],
    /// One sentence without its full stop.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Definition =
                Definition { name: $name, kind: MetricType::$kind, labels: &[$($label),*], help: $help };
        )*

        /// All of them, in the order they are printed.
        #[cfg(test)]
        pub const ALL: &[&Definition] = &[$(&$id),*];
    };
}

metrics! {
    REQUESTS = Counter "rsp_requests" ["site", "upstream", "status"]
        "Requests that were answered; the upstream is empty where rsp answered itself";
    REQUEST_SECONDS = Histogram "rsp_request_seconds" ["site", "upstream"]
        "Time from the complete request head to the end of the answer";
    UPSTREAM_SECONDS = Histogram "rsp_upstream_seconds" ["site", "upstream"]
        "Time from the request being sent to the head of the upstream's answer";
    BYTES = Counter "rsp_bytes" ["site", "upstream", "direction"]
        "Bytes of requests (in) and answers (out)";
    LIMITED = Counter "rsp_limited" ["site"]
        "Requests that a limit of the site refused";
    REQUESTS_IN_FLIGHT = Gauge "rsp_requests_in_flight" []
        "Requests between their head and the end of their answer";
    TUNNELS_OPEN = Gauge "rsp_tunnels_open" []
        "Connections that became tunnels and are open";
    CONNECTIONS_OPEN = Gauge "rsp_connections_open" ["listener"]
        "Client connections that are open";
    CONNECTIONS_ACCEPTED = Counter "rsp_connections_accepted" ["listener"]
        "Client connections that were accepted";
    CONNECTIONS_REFUSED = Counter "rsp_connections_refused" ["listener"]
        "Client connections that were closed at once because a limit was reached";
    ACCEPT_BACKOFFS = Counter "rsp_accept_backoffs" []
        "Pauses in accepting because descriptors ran out";
    HANDSHAKES = Counter "rsp_tls_handshakes" ["result", "version"]
        "TLS handshakes with clients: done (full, or resumed with a session of before), and those that came to nothing, by reason";
    UPSTREAM_OPENED = Counter "rsp_upstream_connections_opened" ["upstream"]
        "Connections that were opened to the upstream";
    UPSTREAM_REUSED = Counter "rsp_upstream_connections_reused" ["upstream"]
        "Requests that went over a connection that was open already";
    UPSTREAM_IDLE = Gauge "rsp_upstream_connections_idle" ["upstream"]
        "Idle connections in the pools";
    RETRIES = Counter "rsp_retries" ["upstream"]
        "Second and further attempts of a request";
    QUEUED = Gauge "rsp_queued" ["upstream"]
        "Requests that wait because every endpoint is full or down";
    QUEUE_REFUSED = Counter "rsp_queue_refused" ["upstream"]
        "Requests that were refused because the queue was full";
    QUEUE_TIMEOUTS = Counter "rsp_queue_timeouts" ["upstream"]
        "Requests that waited in the queue in vain";
    CONNECT_FAILURES = Counter "rsp_connect_failures" ["upstream", "endpoint"]
        "Connections that could not be opened";
    EJECTIONS = Counter "rsp_ejections" ["upstream", "endpoint"]
        "Times the endpoint was taken out because it failed";
    PROBE_FAILURES = Counter "rsp_probe_failures" ["upstream", "endpoint"]
        "Probes of the endpoint that failed";
    ENDPOINT_UP = Gauge "rsp_endpoint_up" ["upstream", "endpoint"]
        "1 while the endpoint gets requests, 0 while it is out";
    RELOADS = Counter "rsp_reloads" ["result"]
        "Reloads of the config that were done (ok) or refused (failed)";
    ACCESS_LOG_DROPPED = Counter "rsp_access_log_dropped" []
        "Access log lines that were dropped because the queue was full";
    ACCESS_LOG_ERRORS = Counter "rsp_access_log_errors" []
        "Attempts to write or reopen an access log that failed";
    SCRIPT_ERRORS = Counter "rsp_script_errors" []
        "Functions of the config that failed or ran too long";
    AUTH = Counter "rsp_auth" ["result"]
        "Requests at `auth`: passed after a check, passed as known (cached), refused, and 503 because too many waited (full) or the auth server gave no answer (unavailable)";
    BROKER_UP = Gauge "rsp_broker_up" []
        "Servers of Redis that `broker` can reach: 0 or 1 but for a cluster";
    BROKER_CONNECTED = Counter "rsp_broker_connected" []
        "Times a server of Redis could be reached for the first time or again";
    BROKER_COMMANDS = Counter "rsp_broker_commands" ["result"]
        "Commands for Redis: done, not done because it is away or too many wait (full), and unknown: sent and not answered";
    BROKER_WAITING = Gauge "rsp_broker_waiting" []
        "Commands that wait for an answer of Redis";
    CHANNEL_SUBSCRIBERS = Gauge "rsp_channel_subscribers" ["transport"]
        "Subscribers of channels";
    CHANNEL_PUBLISHED = Counter "rsp_channel_published" []
        "Messages that clients and functions wanted to publish";
    CHANNEL_DELIVERED = Counter "rsp_channel_delivered" []
        "Messages that were sent to a subscriber, or wait for it";
    CHANNEL_DROPPED = Counter "rsp_channel_dropped" []
        "Messages that slow subscribers missed";
    CHANNEL_SLOW = Counter "rsp_channel_slow" []
        "Subscribers that were disconnected because they were slow";
    CHANNEL_RESUMES = Counter "rsp_channel_resumes" ["result"]
        "Subscribers that came back with a position: everything after it was there (kept), or not (lost)";
    PROCESSES = Gauge "rsp_processes" []
        "Processes of programs that run, or end";
    PROCESSES_STARTED = Counter "rsp_processes_started" []
        "Processes that were started";
    PROCESSES_FAILED = Counter "rsp_processes_failed" []
        "Processes that could not be started";
}

/// What `doc/metrics.md` must hold.
#[cfg(test)]
pub fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         `GET /metrics` on the admin address answers with these, as OpenMetrics 1.0 text. They live across reloads.\n\
         There are at most 100,000 pairs of site and upstream, and as many listeners, upstreams, endpoints and sites with\n\
         limits; what is beyond is counted under the name `_other`.\n\n\
         This page is made from the table in `server/src/observe/metrics/definition.rs`; a test fails when it is stale\n\
         and `make reference` writes it anew.\n\n\
         | metric | kind | labels | what it counts |\n|---|---|---|---|\n",
    );
    for metric in ALL {
        let total = if matches!(metric.kind, MetricType::Counter) { "_total" } else { "" };
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let row = format!(
            "| `{}{total}` | {} | {} | {} |\n",
            metric.name,
            metric.kind.as_str(),
            labels.join(" "),
            metric.help
        );
        page.push_str(&row);
    }
    page
}
