//! Stories of counting and printing.

use std::{collections::BTreeSet, path::Path, time::Duration};

use super::*;

/// Metrics with one of everything counted.
fn busy() -> Arc<Metrics> {
    let metrics = Metrics::new();
    let series = metrics.series("example.com", "app");
    series.record(200, Duration::from_millis(3), Some(Duration::from_millis(2)), 10, 500);
    series.record(503, Duration::from_millis(3), None, 0, 20);
    metrics.listener(":80").accepted.inc();
    metrics.upstream("app").idle.set(3);
    metrics.endpoint("app", "10.0.0.7:80").ejections.inc();
    metrics.reloads_failed.inc();
    metrics
}

#[test]
fn a_name_is_one_series_across_reloads() {
    let metrics = Metrics::new();
    let first = metrics.series("a", "app");
    assert!(Arc::ptr_eq(&first, &metrics.series("a", "app")));
    assert!(!Arc::ptr_eq(&first, &metrics.series("a", "other")));
    assert!(!Arc::ptr_eq(&metrics.series("ab", "c"), &metrics.series("a", "bc")));
}

#[test]
fn names_beyond_the_bound_share_one_series() {
    let metrics = Arc::new(Metrics::bounded(2, 1));
    let (one, two) = (metrics.series("1", ""), metrics.series("2", ""));
    let (three, four) = (metrics.series("3", ""), metrics.series("4", ""));
    assert!(Arc::ptr_eq(&three, &four) && !Arc::ptr_eq(&one, &two) && !Arc::ptr_eq(&two, &three));
    assert!(Arc::ptr_eq(&one, &metrics.series("1", "")), "what was there before goes on");
    three.record(200, Duration::ZERO, None, 0, 0);
    let text = metrics.render();
    assert!(text.contains("rsp_requests_total{site=\"_other\",upstream=\"_other\",status=\"200\"} 1\n"), "{text}");
}

#[test]
fn the_page_says_what_was_counted() {
    let text = busy().render();
    for line in [
        "rsp_requests_total{site=\"example.com\",upstream=\"app\",status=\"200\"} 1\n",
        "rsp_requests_total{site=\"example.com\",upstream=\"app\",status=\"503\"} 1\n",
        "rsp_request_seconds_count{site=\"example.com\",upstream=\"app\"} 2\n",
        "rsp_request_seconds_sum{site=\"example.com\",upstream=\"app\"} 0.006\n",
        "rsp_request_seconds_bucket{le=\"0.0025\",site=\"example.com\",upstream=\"app\"} 0\n",
        "rsp_request_seconds_bucket{le=\"0.005\",site=\"example.com\",upstream=\"app\"} 2\n",
        "rsp_request_seconds_bucket{le=\"+Inf\",site=\"example.com\",upstream=\"app\"} 2\n",
        "rsp_upstream_seconds_count{site=\"example.com\",upstream=\"app\"} 1\n",
        "rsp_bytes_total{site=\"example.com\",upstream=\"app\",direction=\"in\"} 10\n",
        "rsp_bytes_total{site=\"example.com\",upstream=\"app\",direction=\"out\"} 520\n",
        "rsp_connections_accepted_total{listener=\":80\"} 1\n",
        "rsp_upstream_connections_idle{upstream=\"app\"} 3\n",
        "rsp_ejections_total{upstream=\"app\",endpoint=\"10.0.0.7:80\"} 1\n",
        "rsp_endpoint_up{upstream=\"app\",endpoint=\"10.0.0.7:80\"} 1\n",
        "rsp_reloads_total{result=\"ok\"} 0\n",
        "rsp_reloads_total{result=\"failed\"} 1\n",
        "rsp_requests_in_flight 0\n",
    ] {
        assert!(text.contains(line), "{line}is missing in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn a_name_can_not_forge_a_line() {
    let metrics = Metrics::new();
    metrics.upstream("a\"} 1\nforged 2\n").retries.inc();
    assert!(!metrics.render().lines().any(|line| line.starts_with("forged")));
}

#[test]
fn every_metric_of_the_table_is_printed_with_its_labels_and_no_other() {
    let text = busy().render();
    let printed: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let defined: Vec<_> =
        definition::ALL.iter().map(|metric| format!("{} {}", metric.name, metric.kind.as_str())).collect();
    assert_eq!(printed, defined);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let metric = definition::ALL.iter().rfind(|metric| name.starts_with(metric.name)).unwrap();
        let labels: BTreeSet<_> =
            line.split(['{', ',']).filter_map(|part| part.split_once('=')).map(|(l, _)| l).collect();
        let wanted: BTreeSet<_> = metric.labels.iter().copied().collect();
        assert_eq!(labels.into_iter().filter(|label| *label != "le").collect::<BTreeSet<_>>(), wanted, "{line}");
    }
}

#[test]
fn the_reference_of_metrics_is_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../doc/metrics.md");
    let wanted = definition::reference();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "doc/metrics.md is stale; run `make reference`");
}

#[test]
fn counts_of_many_threads_add_up() {
    let metrics = Metrics::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let series = metrics.series("a", "");
                (0..1000).for_each(|_| series.record(200, Duration::from_micros(1), None, 1, 1));
            });
        }
    });
    let series = metrics.series("a", "");
    assert_eq!(series.statuses().collect::<Vec<_>>(), [(200, 4000)]);
    assert_eq!((series.took().unwrap().count, series.bytes()), (4000, Some((4000, 4000))));
}
