//! All metrics as OpenMetrics text, by prometheus-client's encoder.

use std::{array, fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    registry::Registry,
};

use super::{
    AuthCounts, BrokerCounts, ChannelCounts, Metrics, Series, Transport,
    definition::{self as defined, Definition},
    series::Times,
};

type Names<const N: usize> = [Box<str>; N];

/// The text; what is counted while it is made may or may not be in it.
pub fn render(metrics: &Arc<Metrics>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(metrics.clone()));
    let mut text = String::new();
    // The encoder fails only where its writer does, and a String takes everything.
    let _ = text::encode(&mut text, &registry);
    text
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        page.requests(&self.series.sorted())?;
        let limited = self.limited.sorted();
        page.counters(&defined::LIMITED, limited.iter().map(|(site, n)| (plain(site), n.get())))?;
        page.gauges(&defined::REQUESTS_IN_FLIGHT, [([], self.requests_in_flight.get())])?;
        page.gauges(&defined::TUNNELS_OPEN, [([], self.tunnels_open.get())])?;
        page.connections(self)?;
        page.counters(&defined::HANDSHAKES, self.handshakes.rows())?;
        page.upstreams(self)?;
        let reloads = [(["ok"], self.reloads_ok.get()), (["failed"], self.reloads_failed.get())];
        page.counters(&defined::RELOADS, reloads)?;
        page.counters(&defined::ACCESS_LOG_DROPPED, [([], self.access_log_dropped.get())])?;
        page.counters(&defined::ACCESS_LOG_ERRORS, [([], self.access_log_errors.get())])?;
        page.counters(&defined::SCRIPT_ERRORS, [([], self.script_errors.get())])?;
        page.auth(&self.auth)?;
        page.broker(&self.broker)?;
        page.channels(&self.channels)?;
        page.gauges(&defined::PROCESSES, [([], self.processes.running.get())])?;
        page.counters(&defined::PROCESSES_STARTED, [([], self.processes.started.get())])?;
        page.counters(&defined::PROCESSES_FAILED, [([], self.processes.failed.get())])
    }
}

struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn requests(&mut self, all: &[(Names<2>, Arc<Series>)]) -> fmt::Result {
        let mut status_text = itoa::Buffer::new();
        let mut metric = self.begin(&defined::REQUESTS)?;
        for ([site, upstream], series) in all {
            for (status, count) in series.statuses() {
                let values = [site, upstream, status_text.format(status)];
                counter(&mut metric, &defined::REQUESTS, values, count)?;
            }
        }
        self.times(&defined::REQUEST_SECONDS, all, Series::took)?;
        self.times(&defined::UPSTREAM_SECONDS, all, Series::upstream_took)?;
        let bytes = all.iter().filter_map(|(names, series)| Some((names, series.bytes()?)));
        self.counters(
            &defined::BYTES,
            bytes.flat_map(|([site, upstream], (received, sent))| {
                [([&**site, &**upstream, "in"], received), ([&**site, &**upstream, "out"], sent)]
            }),
        )
    }

    fn auth(&mut self, counts: &AuthCounts) -> fmt::Result {
        let rows = [
            (["passed"], counts.passed.get()),
            (["cached"], counts.cached.get()),
            (["refused"], counts.refused.get()),
            (["full"], counts.full.get()),
            (["unavailable"], counts.unavailable.get()),
        ];
        self.counters(&defined::AUTH, rows)
    }

    fn broker(&mut self, counts: &BrokerCounts) -> fmt::Result {
        self.gauges(&defined::BROKER_UP, [([], counts.up.get())])?;
        self.counters(&defined::BROKER_CONNECTED, [([], counts.connected.get())])?;
        let full = counts.full.get();
        let rows = [
            (["done"], counts.done.get()),
            (["away"], counts.away.get().saturating_sub(full)),
            (["full"], full),
            (["unknown"], counts.unknown.get()),
        ];
        self.counters(&defined::BROKER_COMMANDS, rows)?;
        self.gauges(&defined::BROKER_WAITING, [([], counts.waiting.get())])
    }

    fn channels(&mut self, counts: &ChannelCounts) -> fmt::Result {
        let subscribers = Transport::ALL.map(|transport| ([transport.name()], counts.subscribers(transport).get()));
        self.gauges(&defined::CHANNEL_SUBSCRIBERS, subscribers)?;
        self.counters(&defined::CHANNEL_PUBLISHED, [([], counts.published.get())])?;
        self.counters(&defined::CHANNEL_DELIVERED, [([], counts.delivered.get())])?;
        self.counters(&defined::CHANNEL_DROPPED, [([], counts.dropped.get())])?;
        self.counters(&defined::CHANNEL_SLOW, [([], counts.slow.get())])?;
        let resumes = [(["kept"], counts.resumed.get()), (["lost"], counts.lost.get())];
        self.counters(&defined::CHANNEL_RESUMES, resumes)
    }

    fn connections(&mut self, metrics: &Metrics) -> fmt::Result {
        let all = metrics.listeners.sorted();
        self.gauges(&defined::CONNECTIONS_OPEN, all.iter().map(|(name, n)| (plain(name), n.open.get())))?;
        self.counters(&defined::CONNECTIONS_ACCEPTED, all.iter().map(|(name, n)| (plain(name), n.accepted.get())))?;
        self.counters(&defined::CONNECTIONS_REFUSED, all.iter().map(|(name, n)| (plain(name), n.refused.get())))?;
        self.counters(&defined::ACCEPT_BACKOFFS, [([], metrics.accept_backoffs.get())])
    }

    fn upstreams(&mut self, metrics: &Metrics) -> fmt::Result {
        let all = metrics.upstreams.sorted();
        self.counters(&defined::UPSTREAM_OPENED, all.iter().map(|(name, n)| (plain(name), n.opened.get())))?;
        self.counters(&defined::UPSTREAM_REUSED, all.iter().map(|(name, n)| (plain(name), n.reused.get())))?;
        self.gauges(&defined::UPSTREAM_IDLE, all.iter().map(|(name, n)| (plain(name), n.idle.get())))?;
        self.counters(&defined::RETRIES, all.iter().map(|(name, n)| (plain(name), n.retries.get())))?;
        self.gauges(&defined::QUEUED, all.iter().map(|(name, n)| (plain(name), n.queued.get())))?;
        self.counters(&defined::QUEUE_REFUSED, all.iter().map(|(name, n)| (plain(name), n.queue_refused.get())))?;
        self.counters(&defined::QUEUE_TIMEOUTS, all.iter().map(|(name, n)| (plain(name), n.queue_timeouts.get())))?;
        let all = metrics.endpoints.sorted();
        self.counters(&defined::CONNECT_FAILURES, all.iter().map(|(name, n)| (plain(name), n.connect_failures.get())))?;
        self.counters(&defined::EJECTIONS, all.iter().map(|(name, n)| (plain(name), n.ejections.get())))?;
        self.counters(&defined::PROBE_FAILURES, all.iter().map(|(name, n)| (plain(name), n.probe_failures.get())))?;
        self.gauges(&defined::ENDPOINT_UP, all.iter().map(|(name, n)| (plain(name), n.is_up().into())))
    }

    fn counters<'a, const N: usize>(
        &mut self,
        definition: &Definition,
        rows: impl IntoIterator<Item = ([&'a str; N], u64)>,
    ) -> fmt::Result {
        let mut metric = self.begin(definition)?;
        rows.into_iter().try_for_each(|(values, count)| counter(&mut metric, definition, values, count))
    }

    fn gauges<'a, const N: usize>(
        &mut self,
        definition: &Definition,
        rows: impl IntoIterator<Item = ([&'a str; N], i64)>,
    ) -> fmt::Result {
        let mut metric = self.begin(definition)?;
        for (values, level) in rows {
            match N {
                0 => metric.encode_gauge(&level)?,
                _ => metric.encode_family(&labels(definition, values))?.encode_gauge(&level)?,
            }
        }
        Ok(())
    }

    fn times(
        &mut self,
        definition: &Definition,
        all: &[(Names<2>, Arc<Series>)],
        times: impl Fn(&Series) -> Option<Times>,
    ) -> fmt::Result {
        let mut metric = self.begin(definition)?;
        for (names, series) in all {
            let Some(times) = times(series) else { continue };
            let labels = labels(definition, plain(names));
            let mut metric = metric.encode_family(&labels)?;
            metric.encode_histogram::<NoLabelSet>(times.sum, times.count, &times.buckets, None)?;
        }
        Ok(())
    }

    fn begin<'s>(&'s mut self, definition: &'s Definition) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(definition.name, definition.help, None, definition.kind)
    }
}

fn counter<const N: usize>(
    metric: &mut MetricEncoder<'_>,
    definition: &Definition,
    values: [&str; N],
    count: u64,
) -> fmt::Result {
    match N {
        0 => metric.encode_counter::<NoLabelSet, _, u64>(&count, None),
        _ => metric.encode_family(&labels(definition, values))?.encode_counter::<NoLabelSet, _, u64>(&count, None),
    }
}

/// A test compares the labels with the table's.
fn labels<'a, const N: usize>(definition: &Definition, values: [&'a str; N]) -> [(&'static str, &'a str); N] {
    array::from_fn(|i| (definition.labels.get(i).copied().unwrap_or("label"), values[i]))
}

fn plain<const N: usize>(names: &Names<N>) -> [&str; N] {
    array::from_fn(|i| &*names[i])
}
