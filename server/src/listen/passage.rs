//! Connections that go on unread: all of a listener that is a tunnel, and those of sites that are passed through.
//!
//! **Invariant:** the client is told of its end, or of a cut, exactly as the endpoint says it, and the other way round.

use std::sync::Arc;

use rsp_core::frame::{
    client_hello::{Alert, ClientHello},
    proxy_protocol::Said,
};

use super::hello::part;
use crate::{
    error::{Fault, Kind, Whose},
    protocol::Connection,
    route::Passage,
    stream::{Buffer, tunnel as move_bytes},
    upstream::{Caller, Dialled, affinity, dial},
};

/// The life of a connection to a listener that is a tunnel.
pub async fn tunnel(connection: Connection) {
    let current = connection.worker.current();
    let Some(passage) = current.snapshot.tunnel(&connection.origin.address).await else { return };
    drop(current);
    match dialled(&connection, &passage, Said::default()).await {
        Ok(dialled) => go_on(connection, &passage, dialled, None),
        // Who is closed at once is told so as well as by any words.
        Err(fault) => failed(&connection, &passage, &fault),
    }
}

/// The life of a connection whose hello was looked at, and which goes on unopened.
pub async fn pass(connection: Connection, passage: Arc<Passage>, hello: ClientHello) {
    match dialled(&connection, &passage, Said::offered(&hello)).await {
        Ok(dialled) => go_on(connection, &passage, dialled, hello.server_name),
        Err(fault) => {
            failed(&connection, &passage, &fault);
            part(&connection.wire, &Alert::InternalError.record()).await;
        }
    }
}

async fn dialled(connection: &Connection, passage: &Passage, said: Said<'_>) -> Result<Dialled, Fault> {
    let open = usize::try_from(connection.worker.metrics.tunnels_open.get()).unwrap_or_default();
    if passage.limits.tunnels.is_some_and(|most| open >= most) {
        return Err(Fault::new(Kind::Full, "as many tunnels are open as the limit allows"));
    }
    let caller = Caller::at(&connection.wire, said);
    let affinity = affinity::of_connection(&passage.group, connection.wire.peer());
    Box::pin(dial(&passage.group, &caller, affinity)).await
}

/// Moves bytes on a task of its own, so that what was needed to come so far is given back.
fn go_on(connection: Connection, passage: &Arc<Passage>, dialled: Dialled, name: Option<Box<str>>) {
    let Dialled { wire, in_flight, answered } = dialled;
    let endpoint = &answered.by.endpoint;
    tracing::debug!(
        "{:?} goes on from {} to {endpoint} of {} unread{}",
        connection.wire.peer(),
        connection.origin.address,
        passage.group.name,
        name.as_ref().map(|n| format!(" as {n}")).unwrap_or_default()
    );
    drop(name);
    let metrics = &connection.worker.metrics;
    let counted = metrics.begin_passage();
    let series = metrics.series(&passage.site, &passage.group.name);
    let silence = passage.spec.idle_timeout;
    let capacity = passage.limits.buffer;
    wire.probe_peer();
    wire.keep_urgent();
    connection.wire.disarm();
    tokio::task::spawn_local(async move {
        let ends = ((&*connection.wire, Buffer::default()), (&*wire, Buffer::default()));
        let end = move_bytes(ends.0, ends.1, capacity, silence).await;
        series.record_bytes(end.forth, end.back);
        drop((in_flight, counted, connection));
    });
}

/// The operator hears of what is the upstream's fault, or ours.
fn failed(connection: &Connection, passage: &Passage, fault: &Fault) {
    let (from, listener, to) = (connection.wire.peer(), &connection.origin.address, &passage.group.name);
    match fault.kind.whose() {
        Whose::Client => {
            tracing::debug!("a connection of {from:?} at {listener} does not go on to {to}: {}", fault.cause)
        }
        Whose::Upstream | Whose::Ours => {
            tracing::warn!("a connection at {listener} does not go on to {to}: {}", fault.cause);
        }
    }
}
