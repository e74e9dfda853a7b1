//! Which endpoint gets a request, who stands in, and who is left out for a while.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use testkit::{Answer, Client, Gate, Origin, Rsp, Step};

use super::{SOON, front};

/// rsp before an upstream written like this, with `$A`, `$B`, `$C` for the origins.
#[track_caller]
fn before(upstream: &str, origins: &[&Origin]) -> Rsp {
    let builder = front(&format!("local app = upstream \"app\" {{ {upstream} }}"), "proxy(app)");
    let named = origins.iter().zip(["A", "B", "C"]);
    named.fold(builder, |builder, (origin, name)| builder.set(name, origin.address())).start()
}

fn counts(origins: &[&Origin]) -> Vec<usize> {
    origins.iter().map(|origin| origin.received().len()).collect()
}

#[test]
fn round_robin_shares_by_weight() {
    let [a, b, c] = [(); 3].map(|()| Origin::replying("ok"));
    let rsp = before("\"$A\", { \"$B\", weight = 2 }, { \"$C\", weight = 3 }", &[&a, &b, &c]);
    let mut client = rsp.client();
    (0..60).for_each(|_| assert_eq!(client.get("/").status, 200));
    assert_eq!(counts(&[&a, &b, &c]), [10, 20, 30]);
}

#[test]
fn least_connections_goes_round_the_busy_one() {
    let gate = Gate::new();
    let waits = gate.clone();
    let busy = Origin::start(move |_| Answer(vec![Step::ReadBody, Step::Pass(waits.clone())]).then(Step::Close));
    let idle = Origin::replying("idle");
    let rsp = before("\"$A\", \"$B\", balance = \"least_connections\"", &[&busy, &idle]);
    let mut held: Vec<Client> = Vec::new();
    while busy.received().is_empty() {
        let mut client = rsp.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        testkit::eventually(SOON, || busy.received().len() + idle.received().len() > held.len());
        held.push(client);
    }
    let mut client = rsp.client();
    (0..20).for_each(|_| assert_eq!(client.get("/").text(), "idle"));
    assert_eq!(busy.received().len(), 1);
    gate.open();
}

#[test]
fn power_of_two_uses_every_endpoint() {
    let [a, b, c] = [(); 3].map(|()| Origin::replying("ok"));
    let rsp = before("\"$A\", \"$B\", \"$C\", balance = \"power_of_two\"", &[&a, &b, &c]);
    let mut client = rsp.client();
    (0..90).for_each(|_| assert_eq!(client.get("/").status, 200));
    let counts = counts(&[&a, &b, &c]);
    assert_eq!(counts.iter().sum::<usize>(), 90);
    assert!(counts.iter().all(|count| *count > 5), "{counts:?}");
}

#[test]
fn a_backup_stands_in_only_while_no_other_is_available() {
    let (mut main, backup) = (Origin::replying("main"), Origin::replying("backup"));
    let rsp = before("\"$A\", { \"$B\", backup = true }, outlier = { eject = \"200ms\" }", &[&main, &backup]);
    let mut client = rsp.client();
    (0..10).for_each(|_| assert_eq!(client.get("/").text(), "main"));
    main.stop();
    (0..10).for_each(|_| assert_eq!(client.get("/").text(), "backup"));
    main.restart();
    testkit::eventually(SOON, || client.get("/").text() == "main");
}

#[test]
fn three_bad_answers_eject_an_endpoint_until_its_time_is_over() {
    let sick = Arc::new(AtomicBool::new(true));
    let is_sick = Arc::clone(&sick);
    let patient = Origin::start(move |_| match is_sick.load(Ordering::SeqCst) {
        true => Answer::status("502 Bad Gateway", "sick"),
        false => Answer::ok("well"),
    });
    let other = Origin::replying("other");
    let rsp = before("\"$A\", \"$B\", outlier = { eject = \"2s\" }", &[&patient, &other]);
    let mut client = rsp.client();
    testkit::eventually(SOON, || {
        client.get("/");
        patient.received().len() == 3
    });
    (0..10).for_each(|_| assert_eq!(client.get("/").text(), "other"));
    assert_eq!(patient.received().len(), 3);
    sick.store(false, Ordering::SeqCst);
    testkit::eventually(SOON, || client.get("/").text() == "well");
    rsp.wait_for_line(SOON, |line| line.contains("ejected for"));
}

#[test]
fn good_answers_between_bad_ones_and_maintenance_eject_nobody() {
    let uneven = Origin::start(|request| match request.number % 3 {
        0 => Answer::ok("ok"),
        _ => Answer::status("502 Bad Gateway", "bad"),
    });
    let maintained =
        Origin::start(|_| Answer::with_headers("503 Service Unavailable", "Retry-After: 5\r\n", "maintenance"));
    let rsp = before("\"$A\", \"$B\"", &[&uneven, &maintained]);
    let mut client = rsp.client();
    (0..40).for_each(|_| _ = client.get("/"));
    assert_eq!(counts(&[&uneven, &maintained]), [20, 20]);
}

#[test]
fn the_last_endpoint_is_never_ejected() {
    let bad = Origin::start(|_| Answer::status("502 Bad Gateway", "bad"));
    let rsp = before("\"$A\", outlier = { eject = \"5m\" }", &[&bad]);
    let mut client = rsp.client();
    (0..10).for_each(|_| assert_eq!(client.get("/").text(), "bad"));
}

#[test]
fn a_dead_endpoint_is_left_out_after_one_failed_connect() {
    let (mut dead, live) = (Origin::replying("never"), Origin::replying("live"));
    dead.stop();
    let rsp = before("\"$A\", \"$B\", retry = { tries = 1 }, outlier = { eject = \"5m\" }", &[&dead, &live]);
    let mut client = rsp.client();
    let refused = (0..20).filter(|_| client.get("/").status == 502).count();
    assert_eq!(refused, 1);
}

#[test]
fn a_slow_answer_counts_as_a_bad_one() {
    let (slow, live) = (Origin::start(|_| Answer::never()), Origin::replying("live"));
    let handler = "proxy { app, timeout = \"500ms\" }";
    let rsp = front("local app = upstream \"app\" { \"$A\", \"$B\", outlier = { eject = \"5m\" } }", handler)
        .set("A", slow.address())
        .set("B", live.address())
        .start();
    let mut client = rsp.client();
    let late = (0..20).filter(|_| client.get("/").status == 504).count();
    assert_eq!((late, slow.received().len()), (3, 3));
}

#[test]
fn workers_share_one_round_robin() {
    let [a, b] = [(); 2].map(|()| Origin::replying("ok"));
    let rsp = Rsp::config(
        "workers(2)\nlisten \"127.0.0.1:$PORT\"\nsite \"*\" (proxy(upstream { \"$A\", { \"$B\", weight = 3 } }))\n",
    )
    .set("A", a.address())
    .set("B", b.address())
    .start();
    (0..40).for_each(|_| assert_eq!(rsp.client().get("/").status, 200));
    assert_eq!(counts(&[&a, &b]), [10, 30]);
}
