//! Clients that misused a connection: a new one of theirs is closed unread for a moment, as coming back at once would
//! otherwise be the cheapest part of it.

use std::{cell::RefCell, collections::HashMap, net::IpAddr};

use tokio::time::Instant;

use super::CALM;
use crate::{protocol::Connection, stream::Peer};

/// Clients that a worker remembers; more at once are no client's own misuse, and all are forgotten.
const CLIENTS_MAX: usize = 1024;

thread_local! {
    static UNTIL: RefCell<HashMap<IpAddr, Instant>> = RefCell::default();
}

/// Remembers a client for a moment. Not whoever is in `trust`: it passes on what others send.
pub(super) fn remember(connection: &Connection) {
    let Peer::Ip(address) = connection.wire.peer() else { return };
    if connection.worker.current().snapshot.config.trust.contains(Some(address.ip())) {
        return;
    }
    let now = Instant::now();
    UNTIL.with_borrow_mut(|until| {
        if until.len() >= CLIENTS_MAX {
            until.retain(|_, at| *at > now);
        }
        if until.len() >= CLIENTS_MAX {
            until.clear();
        }
        until.insert(client(address.ip()), now + CALM);
    });
}

/// Whether a connection is of a client that is left alone for now.
pub(super) fn is_left_alone(connection: &Connection) -> bool {
    let Peer::Ip(address) = connection.wire.peer() else { return false };
    UNTIL.with_borrow_mut(|until| match until.get(&client(address.ip())) {
        None => false,
        Some(at) if *at > Instant::now() => true,
        Some(_) => {
            until.remove(&client(address.ip()));
            false
        }
    })
}

/// Of IPv6 the /64, the least that one customer has.
fn client(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
    }
}
