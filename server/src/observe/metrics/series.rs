//! Counters of one site's requests to one upstream; they take memory only once there is traffic.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Upper bounds of the histograms' buckets, in microseconds; one more bucket has no bound.
const BOUNDS: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];

/// Requests of one site to one upstream.
#[derive(Debug, Default)]
pub struct Series(OnceLock<Box<Traffic>>);

/// In an order that lets a quick answer touch few cache lines: with many sites each of them is a wait for memory.
#[derive(Debug, Default)]
#[repr(C)]
struct Traffic {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// By first digit of the status, from 1 on; a class gets its hundred counters with its first answer.
    statuses: [OnceLock<Box<[AtomicU64; 100]>>; 9],
    took: Histogram,
    /// Empty where nothing goes to an upstream.
    upstream_took: Histogram,
}

#[derive(Debug, Default)]
#[repr(C)]
struct Histogram {
    nanoseconds: AtomicU64,
    buckets: [AtomicU64; BOUNDS.len() + 1],
}

/// A histogram as it is printed.
pub struct Times {
    /// Seconds in all.
    pub sum: f64,
    /// Values in all.
    pub count: u64,
    /// Upper bound in seconds, and how many values are in this bucket alone.
    pub buckets: Vec<(f64, u64)>,
}

impl Series {
    /// Counts one request: a handful of relaxed atomics.
    pub fn record(&self, status: u16, took: Duration, upstream_took: Option<Duration>, bytes_in: u64, bytes_out: u64) {
        let traffic = self.0.get_or_init(Box::default);
        let status = usize::from(status.clamp(100, 999));
        let class = traffic.statuses[status / 100 - 1].get_or_init(|| Box::new([const { AtomicU64::new(0) }; 100]));
        class[status % 100].fetch_add(1, Relaxed);
        traffic.took.record(took);
        if let Some(took) = upstream_took {
            traffic.upstream_took.record(took);
        }
        if bytes_in > 0 {
            traffic.bytes_in.fetch_add(bytes_in, Relaxed);
        }
        traffic.bytes_out.fetch_add(bytes_out, Relaxed);
    }

    /// Counts the bytes of a connection that was a tunnel from its beginning.
    pub fn record_bytes(&self, bytes_in: u64, bytes_out: u64) {
        let traffic = self.0.get_or_init(Box::default);
        traffic.bytes_in.fetch_add(bytes_in, Relaxed);
        traffic.bytes_out.fetch_add(bytes_out, Relaxed);
    }

    /// Every status that occurred, with its count.
    pub fn statuses(&self) -> impl Iterator<Item = (u16, u64)> {
        let classes = self.0.get().into_iter().flat_map(|traffic| (1u16..).zip(&traffic.statuses));
        classes.flat_map(|(class, counts)| {
            let counts = counts.get().into_iter().flat_map(|counts| counts.iter());
            let counts = (0u16..).zip(counts).map(move |(last, count)| (class * 100 + last, count.load(Relaxed)));
            counts.filter(|(_, count)| *count > 0)
        })
    }

    /// Answers by the first digit of their status, 1 to 5 and above; None without traffic.
    pub fn classes(&self) -> Option<[u64; 5]> {
        let traffic = self.0.get()?;
        let mut classes = [0; 5];
        for (class, counts) in traffic.statuses.iter().enumerate() {
            let counts = counts.get().into_iter().flat_map(|counts| counts.iter());
            classes[class.min(4)] += counts.map(|count| count.load(Relaxed)).sum::<u64>();
        }
        Some(classes)
    }

    /// Request head complete to answer sent; None without traffic.
    pub fn took(&self) -> Option<Times> {
        self.0.get().map(|traffic| traffic.took.read())
    }

    /// Request sent to the upstream's answer head; None where no upstream answered.
    pub fn upstream_took(&self) -> Option<Times> {
        self.0.get().map(|traffic| traffic.upstream_took.read()).filter(|times| times.count > 0)
    }

    /// Bytes of requests and of answers; None without traffic.
    pub fn bytes(&self) -> Option<(u64, u64)> {
        self.0.get().map(|traffic| (traffic.bytes_in.load(Relaxed), traffic.bytes_out.load(Relaxed)))
    }
}

impl Histogram {
    fn record(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| bound * 1_000 < nanoseconds);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.nanoseconds.fetch_add(nanoseconds, Relaxed);
    }

    fn read(&self) -> Times {
        let bounds = BOUNDS.iter().map(|&micros| micros as f64 / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(&self.buckets).map(|(bound, count)| (bound, count.load(Relaxed))).collect();
        // The count is what the buckets say: a value recorded meanwhile must not make the text contradict itself.
        let count = buckets.iter().map(|(_, count)| count).sum();
        Times { sum: self.nanoseconds.load(Relaxed) as f64 / 1e9, count, buckets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_without_traffic_is_small() {
        assert!(size_of::<Series>() <= 32, "{}", size_of::<Series>());
        let series = Series::default();
        assert!(series.took().is_none() && series.bytes().is_none());
        assert_eq!(series.statuses().count(), 0);
    }

    #[test]
    fn requests_are_counted_by_status_time_and_bytes() {
        let series = Series::default();
        series.record(200, Duration::from_micros(500), Some(Duration::from_micros(400)), 0, 1000);
        series.record(200, Duration::from_micros(501), None, 7, 1);
        series.record(502, Duration::from_secs(3600), None, 0, 0);
        series.record(0, Duration::ZERO, None, 0, 0);
        assert_eq!(series.statuses().collect::<Vec<_>>(), [(100, 1), (200, 2), (502, 1)]);
        let took = series.took().unwrap();
        assert_eq!((took.count, took.buckets[0], took.buckets[1]), (4, (0.0005, 2), (0.001, 1)));
        assert_eq!(took.buckets.last(), Some(&(f64::INFINITY, 1)));
        assert!((took.sum - 3_600.001_001).abs() < 1e-6, "{}", took.sum);
        assert_eq!(series.upstream_took().unwrap().count, 1);
        assert_eq!(series.bytes(), Some((7, 1001)));
    }
}
