//! The PROXY protocol at a listener that demands it: who a connection is from, as whoever passes it on states.
//!
//! **Invariant:** only a peer in `trust` may state anything, and nothing is read past its header.

use std::{future::poll_fn, io, time::Duration};

use rsp_core::frame::proxy_protocol::{self, HEADER_MAX, Stated};
use rustix::net::{RecvFlags, recv};
use tokio::time::timeout;

use super::hello::await_bytes;
use crate::stream::{Peer, Socket, Wire};

/// Takes the header off a connection, within a time. Errors say what was wrong.
pub async fn introduced(socket: Socket, peer: Peer, within: Duration) -> Result<Wire, String> {
    let stated = match timeout(within, header(&socket)).await {
        Ok(stated) => stated.map_err(|e| e.to_string())?,
        Err(_) => return Err("no header of the PROXY protocol in time".to_owned()),
    };
    let (peer, local) = match stated.ends {
        Some((source, destination)) => (Peer::from(source), Some(destination)),
        None => (peer, None),
    };
    Ok(Wire::introduced(socket, peer, (local, stated.is_tls)))
}

/// Looks at what has come until it is a whole header, and takes no more than that.
async fn header(socket: &Socket) -> io::Result<Stated> {
    let mut bytes = vec![0; HEADER_MAX];
    let mut found = None;
    poll_fn(|cx| {
        socket.poll_read_with(cx, |socket| {
            loop {
                let (n, _) = recv(socket, &mut bytes[..], RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
                if n == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                match proxy_protocol::read(&bytes[..n]) {
                    Ok(Some((stated, length))) => {
                        found = Some(stated);
                        let (taken, _) = recv(socket, &mut bytes[..length], RecvFlags::DONTWAIT)?;
                        return Ok(taken);
                    }
                    Ok(None) => await_bytes(socket, n + 1)?,
                    Err(malformed) => return Err(io::Error::new(io::ErrorKind::InvalidData, malformed.to_string())),
                }
            }
        })
    })
    .await?;
    found.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
