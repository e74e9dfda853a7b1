//! Two ends over a pair of unix sockets, and a peer that writes whatever it likes.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    task::Poll,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::{
    pair::{configs, connected, name, raw},
    *,
};

fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), test).await.expect("it hangs") })
}

/// Writes all and flushes.
async fn write(end: &mut Secure, bytes: &[u8]) -> io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        sent += poll_fn(|cx| end.poll_write(cx, &[IoSlice::new(&bytes[sent..])])).await?;
    }
    poll_fn(|cx| end.poll_flush(cx)).await
}

async fn read(end: &mut Secure, n: usize) -> io::Result<Vec<u8>> {
    let mut all = vec![0; n];
    let mut filled = 0;
    while filled < n {
        let read = poll_fn(|cx| end.poll_read(cx, &mut all[filled..])).await?;
        if read == 0 {
            all.truncate(filled);
            break;
        }
        filled += read;
    }
    Ok(all)
}

fn holds_nothing(end: &Secure) -> bool {
    end.buffers.incoming.is_none() && end.buffers.outgoing.is_none() && end.buffers.spilled.is_none()
}

fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251) as u8).collect()
}

async fn is_quiet(end: &mut Secure) -> bool {
    poll_fn(|cx| Poll::Ready(end.poll_readable(cx).is_pending())).await
}

#[test]
fn both_ends_agree_and_hold_nothing_while_idle() {
    run(async {
        let mut pair = connected().await;
        assert!(pair.server.security().http2 && pair.client.security().http2);
        assert_eq!(pair.server.security().version, "TLSv1.3");
        assert!(!pair.server.resumed() && pair.server.peer_certificates().is_empty());
        assert_eq!(pair.client.peer_certificates().len(), 1);
        assert!(is_quiet(&mut pair.server).await, "this sends the tickets");
        assert!(is_quiet(&mut pair.client).await, "a ticket is no data");
        assert!(holds_nothing(&pair.server) && holds_nothing(&pair.client));
    });
}

#[test]
fn tickets_go_with_the_first_answer_or_before_the_first_wait() {
    run(async {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut pair = raw(ours, theirs);
        // The client's request comes in one segment with the end of its handshake.
        let (server, client) = (&mut pair.server, &mut pair.client);
        let (served, asked) = tokio::join!(poll_fn(|cx| server.poll_handshake(cx)), async {
            poll_fn(|cx| client.poll_handshake(cx)).await.unwrap();
            assert!(client.corked, "the end of the handshake waits for the request");
            write(client, b"request").await
        });
        served.unwrap();
        asked.unwrap();
        assert!(server.corked && server.unflushed() > 0, "the tickets wait for the answer");
        assert_eq!(read(server, 7).await.unwrap(), b"request");
        write(server, b"answer").await.unwrap();
        assert!(holds_nothing(server));
        assert_eq!(read(client, 6).await.unwrap(), b"answer");
    });
}

#[test]
fn large_and_tiny_writes_arrive_in_order_whatever_the_kernel_takes() {
    run(async {
        let mut pair = connected().await;
        let (server, client) = (&mut pair.server, &mut pair.client);
        for n in [1, 100, PLAINTEXT - 1, PLAINTEXT, PLAINTEXT + 1, ACCEPTED, ACCEPTED + 1, 3 << 20] {
            let bytes = pattern(n);
            let (sent, got) = tokio::join!(write(server, &bytes), read(client, n));
            sent.unwrap();
            assert!(got.unwrap() == bytes, "{n} bytes");
        }
        assert!(holds_nothing(server) && holds_nothing(client));
    });
}

#[test]
fn a_head_and_its_body_are_one_record() {
    run(async {
        let mut pair = connected().await;
        write(&mut pair.server, b"after the tickets").await.unwrap();
        read(&mut pair.client, 17).await.unwrap();
        let parts = [IoSlice::new(b"head"), IoSlice::new(b""), IoSlice::new(b"body"), IoSlice::new(b"\r\n")];
        assert_eq!(poll_fn(|cx| pair.server.poll_write(cx, &parts)).await.unwrap(), 10);
        let mut raw = [0; 100];
        let n = poll_fn(|cx| pair.client.socket.poll_read(cx, &mut raw)).await.unwrap();
        assert_eq!(n, 5 + 10 + 1 + 16, "one header, one type, one tag");
    });
}

#[test]
fn parts_longer_than_a_record_are_cut_into_whole_ones() {
    run(async {
        let mut pair = connected().await;
        let body = pattern(100_000);
        let (mut sent, total) = (0, 4 + body.len());
        let (server, client) = (&mut pair.server, &mut pair.client);
        let sending = async {
            while sent < total {
                let (head, rest) = (&b"head"[sent.min(4)..], &body[sent.saturating_sub(4)..]);
                let parts = [IoSlice::new(head), IoSlice::new(rest)];
                sent += poll_fn(|cx| server.poll_write(cx, &parts)).await.unwrap();
            }
            poll_fn(|cx| server.poll_flush(cx)).await.unwrap();
        };
        let ((), got) = tokio::join!(sending, read(client, total));
        assert!(got.unwrap() == [&b"head"[..], &body].concat());
    });
}

#[test]
fn a_full_kernel_takes_no_more_than_one_buffer_from_us() {
    run(async {
        let mut pair = connected().await;
        assert!(is_quiet(&mut pair.server).await);
        let bytes = pattern(60_000);
        let mut accepted = 0;
        while let Ok(n) = pair.server.write_now(&bytes) {
            accepted += n;
            assert!(pair.server.unflushed() <= 64 << 10);
        }
        assert_eq!(pair.server.write_now(b"x").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let waiting = poll_fn(|cx| Poll::Ready(pair.server.poll_write(cx, &[IoSlice::new(b"x")]).is_pending())).await;
        assert!(waiting && pair.server.unflushed() > 0);
        let (server, client) = (&mut pair.server, &mut pair.client);
        let (flushed, got) = tokio::join!(poll_fn(|cx| server.poll_flush(cx)), read(client, accepted));
        flushed.unwrap();
        assert_eq!(got.unwrap().len(), accepted);
        assert_eq!(server.unflushed(), 0);
    });
}

#[test]
fn what_is_written_while_input_waits_loses_none_of_it() {
    run(async {
        let mut pair = connected().await;
        let (server, client) = (&mut pair.server, &mut pair.client);
        for part in ["one", "two", "three"] {
            write(client, part.as_bytes()).await.unwrap();
        }
        poll_fn(|cx| server.poll_readable(cx)).await.unwrap();
        assert!(server.has_unread());
        write(server, b"meanwhile").await.unwrap();
        assert_eq!(read(server, 5).await.unwrap(), b"onetw");
        write(server, b" more").await.unwrap();
        assert_eq!(read(server, 6).await.unwrap(), b"othree");
        assert!(!server.has_unread() && holds_nothing(server));
        assert_eq!(read(client, 14).await.unwrap(), b"meanwhile more");
    });
}

#[test]
fn an_announced_end_is_zero_and_the_other_direction_goes_on() {
    run(async {
        let mut pair = connected().await;
        write(&mut pair.client, b"last").await.unwrap();
        pair.client.shutdown_write().unwrap();
        assert_eq!(read(&mut pair.server, 100).await.unwrap(), b"last");
        assert_eq!(poll_fn(|cx| pair.server.poll_read(cx, &mut [0; 9])).await.unwrap(), 0);
        assert!(pair.client.poll_write(&mut noop(), &[IoSlice::new(b"x")]).map(|r| r.is_err()) == Poll::Ready(true));
        write(&mut pair.server, b"answer").await.unwrap();
        assert_eq!(read(&mut pair.client, 6).await.unwrap(), b"answer");
        drop(pair.server);
        assert_eq!(poll_fn(|cx| pair.client.poll_read(cx, &mut [0; 9])).await.unwrap(), 0, "a drop says so, too");
    });
}

fn noop() -> Context<'static> {
    Context::from_waker(std::task::Waker::noop())
}

#[test]
fn an_end_behind_a_full_kernel_follows_what_waits() {
    run(async {
        let mut pair = connected().await;
        assert!(is_quiet(&mut pair.server).await);
        let bytes = pattern(60_000);
        let mut accepted = 0;
        while let Ok(n) = pair.server.write_now(&bytes) {
            accepted += n;
        }
        pair.server.shutdown_write().unwrap();
        let (server, client) = (&mut pair.server, &mut pair.client);
        // Whoever lingers reads, and so sends the rest.
        let lingering = poll_fn(|cx| server.poll_readable(cx));
        let reading = async {
            let got = read(client, accepted + 1).await;
            client.shutdown_write().unwrap();
            got
        };
        let (lingered, got) = tokio::join!(lingering, reading);
        lingered.unwrap();
        assert_eq!(got.unwrap().len(), accepted);
    });
}

#[test]
fn an_end_without_a_word_is_a_cut() {
    run(async {
        let mut pair = connected().await;
        write(&mut pair.client, b"half of").await.unwrap();
        pair.client.socket.shutdown_write().unwrap();
        assert_eq!(read(&mut pair.server, 7).await.unwrap(), b"half of");
        poll_fn(|cx| pair.server.poll_readable(cx)).await.unwrap();
        let cut = poll_fn(|cx| pair.server.poll_read(cx, &mut [0; 9])).await.unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(pair.server.watch(&mut noop()), Watched::Ended);
    });
}

#[test]
fn a_watched_peer_is_quiet_then_unread_then_gone() {
    run(async {
        let mut pair = connected().await;
        assert_eq!(poll_fn(|cx| Poll::Ready(pair.server.watch(cx))).await, Watched::Quiet);
        write(&mut pair.client, b"more").await.unwrap();
        let watched = poll_fn(|cx| match pair.server.watch(cx) {
            Watched::Quiet => Poll::Pending,
            other => Poll::Ready(other),
        });
        assert_eq!(watched.await, Watched::Unread);
        drop(pair.client);
        let gone = poll_fn(|cx| match pair.server.watch(cx) {
            Watched::Ended => Poll::Ready(()),
            _ => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        });
        gone.await;
        assert_eq!(read(&mut pair.server, 9).await.unwrap(), b"more", "what came before is not lost");
    });
}

#[test]
fn garbage_is_answered_by_an_alert_and_an_end() {
    run(async {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut server = Secure::accept(Socket::Unix(ours), configs().0).unwrap();
        theirs.write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await.unwrap();
        let failed = poll_fn(|cx| server.poll_handshake(cx)).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::InvalidData);
        let mut answer = Vec::new();
        theirs.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, [21, 3, 3, 0, 2, 2, 50], "decode_error");
        drop(theirs);
        assert_eq!(poll_fn(|cx| server.poll_discard(cx)).await, 0);
        assert!(holds_nothing(&server));
    });
}

#[test]
fn a_changed_record_ends_the_connection_with_an_alert() {
    run(async {
        let mut pair = connected().await;
        assert!(is_quiet(&mut pair.server).await && is_quiet(&mut pair.client).await);
        let lie = [&[23, 3, 3, 0, 40][..], &[7; 40]].concat();
        poll_fn(|cx| pair.client.socket.poll_write(cx, &[IoSlice::new(&lie)])).await.unwrap();
        let failed = read(&mut pair.server, 1).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::InvalidData, "{failed}");
        assert!(poll_fn(|cx| pair.server.poll_write(cx, &[IoSlice::new(b"x")])).await.is_err());
        drop(pair.server);
        let told = read(&mut pair.client, 1).await.unwrap_err();
        assert!(told.to_string().contains("BadRecordMac"), "{told}");
    });
}

#[test]
fn a_certificate_that_is_not_believed_ends_both_sides() {
    run(async {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut server = Secure::accept(Socket::Unix(ours), configs().0).unwrap();
        let mut client = Secure::connect(Socket::Unix(theirs), configs().1, name()).unwrap();
        let (served, asked) =
            tokio::join!(poll_fn(|cx| server.poll_handshake(cx)), poll_fn(|cx| client.poll_handshake(cx)));
        let asked = asked.unwrap_err().to_string();
        assert!(asked.contains("invalid peer certificate"), "{asked}");
        let served = served.unwrap_err().to_string();
        assert!(served.contains("received fatal alert"), "{served}");
    });
}

#[test]
fn a_peer_that_says_nothing_or_little_costs_one_small_buffer() {
    run(async {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut server = Secure::accept(Socket::Unix(ours), configs().0).unwrap();
        assert!(server.poll_handshake(&mut noop()).is_pending() && holds_nothing(&server));
        theirs.write_all(&[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc]).await.unwrap();
        poll_fn(|cx| {
            let pending = server.poll_handshake(cx).is_pending();
            assert!(pending);
            if server.buffers.incoming.is_some() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let mut incoming = server.buffers.incoming.take().unwrap();
        incoming.consume(9);
        assert!(incoming.spare().len() <= 20 << 10);
    });
}

#[test]
fn a_message_of_the_handshake_without_end_is_refused() {
    run(async {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut server = Secure::accept(Socket::Unix(ours), configs().0).unwrap();
        let flooding = async {
            // A ClientHello of 65,535 bytes, one byte a record.
            let record = [22, 3, 1, 0, 1, 0];
            theirs.write_all(&[22, 3, 1, 0, 4, 1, 0, 0xff, 0xff]).await.unwrap();
            while theirs.write_all(&record).await.is_ok() {}
        };
        let serving = async {
            let failed = poll_fn(|cx| server.poll_handshake(cx)).await.unwrap_err();
            assert!(failed.to_string().contains("longer than its bound"), "{failed}");
            drop(server);
        };
        tokio::join!(flooding, serving);
    });
}

#[test]
fn one_byte_at_a_time_makes_the_same_connection() {
    run(async {
        let (ours, a) = UnixStream::pair().unwrap();
        let (b, theirs) = UnixStream::pair().unwrap();
        let trickle = |from: UnixStream, to: UnixStream| async move {
            let (mut from_read, mut from_write) = from.into_split();
            let (mut to_read, mut to_write) = to.into_split();
            let one = async {
                while let Ok(byte) = from_read.read_u8().await {
                    if to_write.write_u8(byte).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                to_write.shutdown().await
            };
            let other = async {
                while let Ok(byte) = to_read.read_u8().await {
                    if from_write.write_u8(byte).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                from_write.shutdown().await
            };
            tokio::join!(one, other)
        };
        let relay = tokio::spawn(trickle(a, b));
        let mut pair = raw(ours, theirs);
        pair.shake().await;
        let bytes = pattern(20_000);
        let (server, client) = (&mut pair.server, &mut pair.client);
        let (sent, got) = tokio::join!(write(server, &bytes), read(client, bytes.len()));
        sent.unwrap();
        assert!(got.unwrap() == bytes);
        let (sent, got) = tokio::join!(write(client, &bytes), read(server, bytes.len()));
        sent.unwrap();
        assert!(got.unwrap() == bytes);
        drop(pair);
        let _ = relay.await.unwrap();
    });
}

#[test]
fn new_keys_wake_nobody_and_a_flood_of_them_ends_the_connection() {
    run(async {
        let mut pair = connected().await;
        let refresh = |client: &mut Secure| {
            let End::Client(end) = &mut client.end else { unreachable!() };
            let rustls::unbuffered::ConnectionState::WriteTraffic(traffic) =
                end.process_tls_records(&mut []).state.unwrap()
            else {
                unreachable!()
            };
            traffic.refresh_traffic_keys().unwrap();
        };
        assert!(is_quiet(&mut pair.client).await);
        refresh(&mut pair.client);
        pair.client.advance(&mut Task::Peek);
        poll_fn(|cx| pair.client.poll_flush(cx)).await.unwrap();
        assert!(is_quiet(&mut pair.server).await, "new keys are no data");
        write(&mut pair.client, b"under new keys").await.unwrap();
        assert_eq!(read(&mut pair.server, 14).await.unwrap(), b"under new keys");
        for _ in 0..100 {
            refresh(&mut pair.client);
            pair.client.advance(&mut Task::Peek);
        }
        poll_fn(|cx| pair.client.poll_flush(cx)).await.unwrap();
        assert!(read(&mut pair.server, 1).await.is_err());
    });
}
