//! A connection becomes requests, responses become bytes; a folder for each protocol.
//!
//! **Invariant:** answers leave in the order of their requests.
//! **Invariant:** what follows a body whose end is not certain is never read as a request.

mod connection;
mod h1;
mod h2;
mod request;

pub use connection::{Connection, Origin};

/// Serves a connection until it ends, on a task of its own.
pub fn serve(connection: Connection) {
    let security = connection.wire.security();
    let is_agreed = security.is_some_and(|security| security.http2);
    if is_agreed {
        tokio::task::spawn_local(h2::serve(connection));
    } else if connection.origin.spec().http2 && security.is_none() {
        tokio::task::spawn_local(tell_apart(connection));
    } else {
        tokio::task::spawn_local(h1::serve(connection));
    }
}

/// Serves a connection that speaks HTTP/2 without having said so.
async fn tell_apart(connection: Connection) {
    match h2::is_spoken(&connection).await {
        Some(true) => Box::pin(h2::serve(connection)).await,
        Some(false) => h1::serve(connection).await,
        None => {}
    }
}
