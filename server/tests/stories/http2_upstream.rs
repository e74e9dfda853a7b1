//! Stories of HTTP/2 towards upstreams: streams that requests share a connection by, what servers do with them, and gRPC.

mod grpc;
mod server;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use server::{Server, body_of, send_all};
use testkit::{Authority, End, Message, Nginx, Rsp, WebSocket, curl, eventually};

use super::{SOON, front};

/// rsp whose upstream speaks HTTP/2 by prior knowledge.
fn before(address: &str) -> Rsp {
    let upstream = "upstream \"app\" { \"$SERVER\", http2 = true }";
    front(upstream, "proxy \"app\"").set("SERVER", address).start()
}

fn ok() -> Response<()> {
    Response::new(())
}

/// So many threads that each ask for `/` a few times; every answer must be this.
#[track_caller]
fn ask_at_once(rsp: &Rsp, threads: usize, times: usize, wanted: &str) {
    let asking: Vec<_> = (0..threads)
        .map(|_| {
            let (mut client, wanted) = (rsp.client(), wanted.to_owned());
            thread::spawn(move || {
                for _ in 0..times {
                    let answer = client.get("/");
                    assert_eq!((answer.status, answer.text()), (200, wanted.clone()));
                }
            })
        })
        .collect();
    asking.into_iter().for_each(|asking| asking.join().unwrap());
}

#[test]
fn requests_share_a_connection() {
    let server = Server::start(|_, _, mut answer| async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        send_all(&mut answer, ok(), "hello").await;
    });
    let rsp = before(server.address());
    ask_at_once(&rsp, 20, 10, "hello");
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_request_arrives_as_it_was_sent_and_without_fields_of_a_connection() {
    let server = Server::start(|_, request, mut answer| async move {
        let (head, _) = request.into_parts();
        let text = format!("{} {} {:?}", head.method, head.uri, head.headers);
        send_all(&mut answer, ok(), text).await;
    });
    let rsp = before(server.address());
    let head = "GET /a%20b?c=\"d\" HTTP/1.1\r\nHost: example.com\r\nX-A: 1\r\nConnection: keep-alive, x-b\r\nX-B: 2\r\n\
                TE: gzip\r\n\r\n";
    let text = rsp.client().request(head).text();
    assert!(text.starts_with("GET http://example.com/a%20b?c="), "{text}");
    assert!(text.contains("\"x-a\": \"1\"") && text.contains("\"te\": \"trailers\""), "{text}");
    assert!(!text.contains("x-b") && !text.contains("\"connection\""), "{text}");
    assert!(text.contains("\"via\": \"1.1 rsp\"") && text.contains("\"x-forwarded-for\": \"127.0.0.1\""), "{text}");
}

#[test]
fn bodies_and_trailers_go_both_ways() {
    let server = Server::start(|_, request, mut answer| async move {
        let mut body = request.into_body();
        let content = body_of(&mut body).await.unwrap();
        let trailers = body.trailers().await.unwrap().unwrap_or_default();
        let mut stream = answer.send_response(ok(), false).unwrap();
        stream.send_data(content.into(), false).unwrap();
        let mut told = HeaderMap::new();
        told.insert("x-told", trailers.get("x-sum").cloned().unwrap_or(HeaderValue::from_static("nothing")));
        stream.send_trailers(told).unwrap();
    });
    let rsp = before(server.address());
    let answer = rsp.client().request(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n",
    );
    assert_eq!((answer.text().as_str(), answer.trailers.get("x-told")), ("abcde", Some("5")));
    assert_eq!(answer.end, End::Framed);
}

#[test]
fn an_answer_comes_while_the_request_is_still_sent() {
    let server = Server::start(|_, request, mut answer| async move {
        let mut body = request.into_body();
        let mut stream = answer.send_response(ok(), false).unwrap();
        while let Some(Ok(data)) = body.data().await {
            body.flow_control().release_capacity(data.len()).unwrap();
            stream.send_data(data, false).unwrap();
        }
        stream.send_data(Bytes::new(), true).unwrap();
    });
    let rsp = before(server.address());
    let mut client = rsp.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    client.read_head();
    for (sent, heard) in [("3\r\ntwo\r\n", "3\r\none\r\n"), ("0\r\n\r\n", "3\r\ntwo\r\n")] {
        assert_eq!(client.read_exactly(heard.len() as u64), heard.as_bytes());
        client.send(sent);
    }
    assert_eq!(client.read_exactly(5), b"0\r\n\r\n");
}

#[test]
fn what_a_server_refuses_to_look_at_is_sent_again() {
    let server = Server::start(|count, _, mut answer| async move {
        match count {
            0 | 2 => answer.send_reset(Reason::REFUSED_STREAM),
            _ => send_all(&mut answer, ok(), "hello").await,
        }
    });
    let rsp = before(server.address());
    let mut client = rsp.client();
    assert_eq!(client.get("/").text(), "hello");
    // It is no matter what the method means, as nothing was done.
    let answer = client.request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(answer.text(), "hello");
    assert_eq!(server.requests(), 4);
}

#[test]
fn a_server_that_refuses_everything_is_a_503() {
    let server = Server::start(|_, _, mut answer| async move { answer.send_reset(Reason::REFUSED_STREAM) });
    let rsp = before(server.address());
    assert_eq!(rsp.client().get("/").status, 503);
    rsp.wait_for_line(SOON, |line| line.contains("it reset the stream: REFUSED_STREAM"));
    assert!(server.requests() < 10);
}

#[test]
fn connections_that_are_about_to_end_lose_no_request() {
    let nginx =
        Nginx::start("server { listen 127.0.0.1:$PORT http2; keepalive_requests 5; location / { return 200 hello; } }");
    let rsp = before(&nginx.address());
    ask_at_once(&rsp, 6, 30, "hello");
}

#[test]
fn more_requests_than_a_connection_takes_open_others() {
    let most = Arc::new(AtomicUsize::new(0));
    let now = Arc::new(AtomicUsize::new(0));
    let (most_seen, at_work) = (Arc::clone(&most), now);
    let server = Server::with(h2::server::Builder::new().max_concurrent_streams(2), move |_, _, mut answer| {
        let (most, now) = (Arc::clone(&most_seen), Arc::clone(&at_work));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(30)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            send_all(&mut answer, ok(), "hello").await;
        }
    });
    let rsp = before(server.address());
    assert_eq!(rsp.client().get("/").text(), "hello");
    ask_at_once(&rsp, 30, 4, "hello");
    assert!(server.connections() <= 8, "{}", server.connections());
    assert!(most.load(Ordering::SeqCst) > 2);
}

#[test]
fn an_answer_that_breaks_off_is_a_cut() {
    let server = Server::start(|count, _, mut answer| async move {
        let length = HeaderValue::from_static("10");
        let mut head = ok();
        if count % 2 == 0 {
            head.headers_mut().insert(http::header::CONTENT_LENGTH, length);
        }
        let mut stream = answer.send_response(head, false).unwrap();
        stream.send_data(Bytes::from_static(b"half"), false).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        match count {
            0 | 1 => stream.send_reset(Reason::INTERNAL_ERROR),
            // The whole connection goes.
            _ => server::hang_up(),
        }
    });
    let rsp = before(server.address());
    for _ in 0..4 {
        let mut client = rsp.client();
        let answer = client.get("/");
        assert_eq!((answer.status, answer.end, answer.text().as_str()), (200, End::Cut, "half"));
    }
}

#[test]
fn a_body_that_is_shorter_than_its_length_is_a_cut() {
    let server = Server::start(|_, _, mut answer| async move {
        let mut head = ok();
        head.headers_mut().insert(http::header::CONTENT_LENGTH, HeaderValue::from_static("10"));
        send_all(&mut answer, head, "half").await;
    });
    let rsp = before(server.address());
    let answer = rsp.client().get("/");
    assert!(answer.status == 502 || answer.end == End::Cut, "{answer:?}");
}

#[test]
fn a_client_that_goes_away_cancels_its_stream_only() {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let server = Server::start(move |count, _, mut answer| {
        let tell = tell.clone();
        async move {
            if count > 0 {
                return send_all(&mut answer, ok(), "hello").await;
            }
            let mut stream = answer.send_response(ok(), false).unwrap();
            stream.send_data(Bytes::from_static(b"half"), false).unwrap();
            let reason = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
            tell.send(reason.unwrap()).unwrap();
        }
    });
    let rsp = before(server.address());
    let mut client = rsp.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_head();
    client.reset();
    assert_eq!(told.recv_timeout(SOON).unwrap(), Reason::CANCEL);
    assert_eq!(rsp.client().get("/").text(), "hello");
    assert_eq!(server.connections(), 1);
}

#[test]
fn an_answer_before_the_end_of_the_request_counts() {
    let server = Server::start(|_, _, mut answer| async move {
        let mut head = ok();
        *head.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        send_all(&mut answer, head, "enough").await;
    });
    let rsp = before(server.address());
    let mut client = rsp.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 8 << 20));
    client.send(vec![b'a'; 100 << 10]);
    let answer = client.read_response("POST");
    assert_eq!((answer.status, answer.text().as_str()), (413, "enough"));
}

#[test]
fn interim_answers_are_passed_on() {
    let server = Server::start(|_, _, mut answer| async move {
        let mut hints = ok();
        *hints.status_mut() = StatusCode::EARLY_HINTS;
        hints.headers_mut().insert("link", HeaderValue::from_static("</a.css>"));
        // Some clients would wait for that much.
        hints.headers_mut().insert("content-length", HeaderValue::from_static("5"));
        answer.send_informational(hints).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        send_all(&mut answer, ok(), "hello").await;
    });
    let rsp = before(server.address());
    let answer = rsp.client().get("/");
    assert_eq!(answer.text(), "hello");
    assert_eq!(answer.informational.len(), 1);
    assert_eq!(answer.informational[0].headers.get("link"), Some("</a.css>"));
    assert_eq!(answer.informational[0].headers.get("content-length"), None);
}

#[test]
fn a_server_without_an_answer_is_a_504() {
    let server = Server::start(|_, _, answer| async move {
        tokio::time::sleep(SOON).await;
        drop(answer);
    });
    let upstream = "upstream \"app\" { \"$SERVER\", http2 = true }";
    let rsp = front(upstream, "proxy { \"app\", timeout = \"200ms\" }").set("SERVER", server.address()).start();
    assert_eq!(rsp.client().get("/").status, 504);
}

#[test]
fn a_server_that_speaks_no_http2_is_a_502() {
    let nginx = Nginx::start("server { listen 127.0.0.1:$PORT; }");
    let rsp = before(&nginx.address());
    assert_eq!(rsp.client().get("/").status, 502);
}

#[test]
fn nobody_reads_faster_than_the_other_side() {
    const LENGTH: usize = 48 << 20;
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let server = Server::start(move |_, request, mut answer| {
        let sent = Arc::clone(&counted);
        async move {
            if request.method() == http::Method::POST {
                let mut body = request.into_body();
                let mut length = 0;
                while let Some(Ok(data)) = body.data().await {
                    length += data.len();
                    body.flow_control().release_capacity(data.len()).unwrap();
                }
                return send_all(&mut answer, ok(), length.to_string()).await;
            }
            let mut stream = answer.send_response(ok(), false).unwrap();
            while sent.load(Ordering::SeqCst) < LENGTH {
                let Some(room) = server::room(&mut stream, 64 << 10).await else { return };
                stream.send_data(vec![b'x'; room].into(), false).unwrap();
                sent.fetch_add(room, Ordering::SeqCst);
            }
            stream.send_data(Bytes::new(), true).unwrap();
        }
    });
    let rsp = before(server.address());
    let mut client = rsp.client();
    assert_eq!(client.request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").text(), "2");
    let memory = rsp.user_memory();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n"));
    client.send(vec![b'y'; LENGTH]);
    assert_eq!(client.read_response("POST").text(), LENGTH.to_string());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_head();
    // Who reads nothing stops the server.
    let mut before = usize::MAX;
    eventually(SOON, || std::mem::replace(&mut before, sent.load(Ordering::SeqCst)) == before && before > 0);
    assert!(before < 16 << 20, "{before}");
    let grown = rsp.user_memory().saturating_sub(memory);
    assert!(grown < 8 << 20, "{grown} bytes more");
}

/// nginx by TLS, with what `listen` has besides, and rsp that asks it for HTTP/2.
fn by_tls(listen: &str) -> (Nginx, Rsp, tempfile::TempDir) {
    let keys = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(keys.path());
    authority.sign(&["127.0.0.1"]).write(keys.path(), "server");
    let folder = keys.path().display();
    let nginx = Nginx::start(&format!(
        "server {{ listen 127.0.0.1:$PORT ssl {listen}; ssl_certificate {folder}/server.pem; \
         ssl_certificate_key {folder}/server.key; location / {{ return 200 $server_protocol; }} }}"
    ));
    let upstream = "upstream \"app\" { \"https://$SERVER\", http2 = true, tls = { ca = \"$KEYS/ca.pem\" } }";
    let rsp = front(upstream, "proxy \"app\"").set("SERVER", nginx.address()).set("KEYS", folder).start();
    (nginx, rsp, keys)
}

#[test]
fn by_tls_the_server_chooses_the_protocol() {
    for (listen, protocol) in [("http2", "HTTP/2.0"), ("", "HTTP/1.1")] {
        let (_nginx, rsp, _keys) = by_tls(listen);
        let mut client = rsp.client();
        for _ in 0..3 {
            let answer = client.get("/");
            assert_eq!(answer.text(), protocol);
            assert_eq!(answer.header("via").map(|via| via.starts_with("2.0")), Some(protocol == "HTTP/2.0"));
        }
    }
}

#[test]
fn probes_speak_http2() {
    let server = Server::start(|_, request, mut answer| async move {
        let mut head = ok();
        if request.uri().path() == "/health" && request.uri().authority().is_none() {
            *head.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        send_all(&mut answer, head, "all is well").await;
    });
    let probe = "probe = { path = \"/health\", body = \"well\", every = \"100ms\", fall = 1 }";
    let upstream = format!("upstream \"app\" {{ \"$SERVER\", http2 = true, {probe} }}");
    let rsp = front(&upstream, "proxy \"app\"").set("SERVER", server.address()).start();
    eventually(SOON, || server.requests() > 2);
    assert_eq!(rsp.client().get("/").text(), "all is well");
    assert!(!rsp.output().contains("is down"), "{}", rsp.output());
}

#[test]
fn a_websocket_is_opened_on_a_stream_where_the_server_takes_it() {
    let app = "listen { \"127.0.0.1:$PORT\", http2 = true } site \"*\" { [\"/\"] = exec { \"cat\" } }";
    let app = Rsp::config(app).start();
    let rsp = before(&app.address());
    let mut socket = WebSocket::open(&rsp.address(), "/");
    let mut other = WebSocket::open(&rsp.address(), "/");
    for text in ["hello", "again"] {
        socket.send(text);
        other.send("other");
        assert_eq!((socket.text().as_str(), other.text().as_str()), (text, "other"));
    }
    socket.close(1000);
    assert!(matches!(socket.read(), Message::Close(1000, _)));
    assert!(socket.client().is_closed_within(SOON));
    other.send("still here");
    assert_eq!(other.text(), "still here");
}

#[test]
fn a_websocket_to_a_server_that_takes_none_is_a_502_that_says_so() {
    let server = Server::start(|_, _, mut answer| async move { send_all(&mut answer, ok(), "hello").await });
    let rsp = before(server.address());
    let Err(refused) = WebSocket::try_open(&rsp.address(), "/", "") else { panic!("it was opened") };
    assert_eq!(refused.status, 502);
    rsp.wait_for_line(SOON, |line| line.contains("it takes no WebSockets by HTTP/2"));
}

#[test]
fn by_tls_a_server_that_takes_no_websockets_on_streams_is_asked_by_http_1() {
    let (_nginx, rsp, _keys) = by_tls("http2");
    let mut client = rsp.client();
    assert_eq!(client.get("/").text(), "HTTP/2.0");
    let Err(refused) = WebSocket::try_open(&rsp.address(), "/", "") else { panic!("nginx opened it") };
    assert_eq!((refused.status, refused.text().as_str()), (200, "HTTP/1.1"));
    assert_eq!(client.get("/").text(), "HTTP/2.0", "only the WebSocket has another connection");
}

#[test]
fn a_call_of_grpc_that_fails_here_is_told_in_its_own_words() {
    let config = "listen { \"127.0.0.1:$PORT\", http2 = true }\n\
                  upstream \"app\" { \"127.0.0.1:$PORT2\", http2 = true }\nsite \"*\" { [\"/a.B/C\"] = proxy \"app\" }";
    let rsp = Rsp::config(config).start();
    let kind = "content-type: application/grpc+proto";
    for (path, code) in [("/a.B/C", "14"), ("/nowhere", "12")] {
        let url = rsp.url(path);
        let answer = curl(&["-si", "--http2-prior-knowledge", "-H", kind, "-H", "te: trailers", "-d", "x", &url]);
        let text = answer.text();
        assert!(text.starts_with("HTTP/2 200") && text.contains(&format!("grpc-status: {code}")), "{text}");
    }
}
