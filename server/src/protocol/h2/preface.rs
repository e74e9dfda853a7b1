//! Tells HTTP/2 by prior knowledge from HTTP/1 by a connection's first bytes (RFC 9113 §3.3).

use std::{future::poll_fn, io, task::Poll};

use rustix::net::{RecvFlags, recv};

use crate::protocol::Connection;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether a connection begins with the preface; looks without reading, for `head_timeout` at most. None: nothing came that
/// could be answered.
pub async fn is_spoken(connection: &Connection) -> Option<bool> {
    let within = connection.worker.current().snapshot.config.limits.head_timeout;
    let mut bytes = [0; PREFACE.len()];
    let looked = poll_fn(|cx| {
        let peeked = connection.wire.poll_read_with(
            cx,
            |socket| {
                let (n, _) = recv(socket, &mut bytes[..], RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
                // The next byte is an event, as nothing of these is taken.
                let undecided = n > 0 && n < PREFACE.len() && bytes[..n] == PREFACE[..n];
                if undecided { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(n) }
            },
            Some(within),
        );
        match peeked {
            // HTTP/1 knows how long a new connection is waited for in a drain.
            Poll::Pending if connection.guard.poll_begun(cx).is_ready() => Poll::Ready(Ok(usize::MAX)),
            peeked => peeked,
        }
    })
    .await;
    match looked {
        Ok(0) | Err(_) => None,
        Ok(n) => Some(n == PREFACE.len() && bytes == PREFACE),
    }
}
