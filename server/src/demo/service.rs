//! A small HTTP/1.1 server on `core`'s codec, for servers that are meant to die: cancelled, it cuts its connections.

use std::{net::TcpListener as Listening, rc::Rc, time::Duration};

use http::StatusCode;
use rsp_core::{
    frame::http1::{self, Framing, HeadLimits, RequestHead},
    head::{Clientward, write_client_response},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{message::Response, observe::http_date};

/// More connections wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1024;

/// A connection that is silent for longer is closed; longer than rsp keeps an idle one.
const SILENCE: Duration = Duration::from_secs(75);

/// Pause when no connection can be accepted.
const BACK_OFF: Duration = Duration::from_millis(100);

const HEAD_LIMITS: HeadLimits = HeadLimits { head: 32 << 10, headers: 128, uri: 8 << 10 };

/// Answers requests whose bodies do not matter.
pub trait Service {
    /// The answer, its body in memory.
    async fn answer(&self, head: &RequestHead) -> Response;
}

/// Serves until the task is cancelled; then the listener is closed and its connections are cut, as when a process dies.
pub async fn serve(listener: Listening, service: Rc<impl Service + 'static>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(e) => return tracing::error!("a server of the demo: {e}"),
    };
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if open.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => drop(open.spawn_local(converse(stream, Rc::clone(&service)))),
                Err(_) => sleep(BACK_OFF).await,
            },
            Some(_) = open.join_next() => {}
        }
    }
}

async fn converse(mut stream: TcpStream, service: Rc<impl Service>) {
    let mut received = Vec::new();
    while let Some(head) = read_head(&mut stream, &mut received).await {
        let response = service.answer(&head).await;
        // A body would have to be read before the next head.
        let keep_alive = head.keep_alive && matches!(head.framing, Framing::Empty | Framing::Length(0));
        let out = render(&response, &head, keep_alive);
        if !matches!(timeout(SILENCE, stream.write_all(&out)).await, Ok(Ok(()))) || !keep_alive {
            return;
        }
    }
}

/// The next head; None at the end, and for what rsp would never send.
async fn read_head(stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<RequestHead> {
    loop {
        if let Some((head, bytes)) = http1::parse_request(received, &HEAD_LIMITS).ok()? {
            received.drain(..bytes);
            return Some(head);
        }
        let read = timeout(SILENCE, stream.read_buf(received)).await;
        if !matches!(read, Ok(Ok(1..))) {
            return None;
        }
    }
}

fn render(response: &Response, asked: &RequestHead, keep_alive: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let framing = write_client_response(
        &mut out,
        &Clientward {
            status: response.status,
            headers: &response.headers,
            framing: response.body.framing(),
            content_length: None,
            method: &asked.method,
            version: asked.version,
            keep_alive,
            upgrade: None,
            via: None,
            date: http_date().as_bytes(),
        },
    );
    if framing != Framing::Empty {
        out.extend_from_slice(response.body.chunk());
    }
    out
}

/// A path that the service does not have.
pub fn not_found() -> Response {
    Response::text(StatusCode::NOT_FOUND, "not found\n")
}
