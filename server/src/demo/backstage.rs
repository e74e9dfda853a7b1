//! The demo's own servers: three upstreams with a switch each, and one that serves the pages and works the switches.

use std::{
    cell::RefCell,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    rc::Rc,
    sync::mpsc::sync_channel,
    thread,
};

use http::{HeaderName, HeaderValue, StatusCode, header};
use rsp_core::frame::http1::RequestHead;
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::task::JoinHandle;

use super::service::{Service, not_found, serve};
use crate::message::{Body, Response};

const PAGE: &str = include_str!("page.html");
const CHAT: &str = include_str!("../../../example/chat/index.html");
const PROGRAMS: &str = include_str!("programs.html");
const NAMES: [&str; 3] = ["one", "two", "three"];
const BACKLOG: i32 = 128;

/// The demo's own servers; they have their ports, and listen once they are opened.
pub struct Backstage {
    upstreams: Vec<Upstream>,
    held: Held,
}

/// A server that says its name, and can be stopped and started.
pub struct Upstream {
    /// As the config and the answers have it.
    pub name: &'static str,
    held: Held,
    /// None while it is stopped.
    serving: RefCell<Option<JoinHandle<()>>>,
}

/// A port of the loopback that stays ours while nobody listens on it: a connection to it is refused.
struct Held {
    address: SocketAddr,
    _socket: Socket,
}

impl Backstage {
    /// Takes four ports of the kernel's choice.
    pub fn new() -> io::Result<Self> {
        let upstream = |name| Ok(Upstream { name, held: Held::new()?, serving: RefCell::default() });
        let upstreams = NAMES.into_iter().map(upstream).collect::<io::Result<_>>()?;
        Ok(Self { upstreams, held: Held::new()? })
    }

    /// The upstreams, in the order of the page.
    pub fn upstreams(&self) -> &[Upstream] {
        &self.upstreams
    }

    /// Where the page and the switches are.
    pub fn address(&self) -> String {
        self.held.address.to_string()
    }

    /// Serves on a thread of its own until the process ends. `config` is what the page shows as the site's config.
    pub fn open(self, config: String) -> io::Result<()> {
        let (ready, opened) = sync_channel(1);
        let live = move || {
            let runtime = tokio::runtime::LocalRuntime::new()?;
            let listener = self.held.listen()?;
            let control = Control { upstreams: self.upstreams, config };
            runtime.block_on(async move {
                control.upstreams.iter().try_for_each(Upstream::start)?;
                // The opener waits for this.
                let _ = ready.send(());
                serve(listener, Rc::new(control)).await;
                Ok::<_, io::Error>(())
            })
        };
        let report = |outcome: io::Result<()>| {
            if let Err(e) = outcome {
                tracing::error!("the demo's own servers: {e}");
            }
        };
        thread::Builder::new().name("demo".to_owned()).spawn(move || report(live()))?;
        opened.recv().map_err(|_| io::Error::other("they ended while they started"))
    }
}

impl Upstream {
    /// Where it is, started or not.
    pub fn address(&self) -> String {
        self.held.address.to_string()
    }

    /// Listens; one that does already goes on.
    fn start(&self) -> io::Result<()> {
        if self.serving.borrow().is_none() {
            let serving = serve(self.held.listen()?, Rc::new(Greeter(self.name)));
            *self.serving.borrow_mut() = Some(tokio::task::spawn_local(serving));
        }
        Ok(())
    }

    /// Closes the listener and cuts every connection; both are gone when this returns.
    async fn stop(&self) {
        let serving = self.serving.borrow_mut().take();
        if let Some(serving) = serving {
            serving.abort();
            // It ends as cancelled, which is what was asked for.
            let _ = serving.await;
        }
    }

    fn state(&self) -> Value {
        json!({ "name": self.name, "address": self.address(), "running": self.serving.borrow().is_some() })
    }
}

impl Held {
    fn new() -> io::Result<Self> {
        let socket = bound((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { address, _socket: socket })
    }

    /// A second socket on the port, which the kernel allows because the first never listens.
    fn listen(&self) -> io::Result<TcpListener> {
        let socket = bound(self.address)?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    }
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// An upstream's answers.
struct Greeter(&'static str);

impl Service for Greeter {
    async fn answer(&self, _: &RequestHead) -> Response {
        // The page reads the name from the field, a person from the text.
        Response::text(StatusCode::OK, format!("Hello from {}.\n", self.0))
            .with(HeaderName::from_static("x-upstream"), HeaderValue::from_static(self.0))
            .with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
    }
}

/// The pages, the site's config, and the switches.
struct Control {
    upstreams: Vec<Upstream>,
    config: String,
}

impl Service for Control {
    async fn answer(&self, head: &RequestHead) -> Response {
        let path = String::from_utf8_lossy(head.target.path());
        let words: Vec<&str> = path.split('/').skip(1).collect();
        match (head.method.as_str(), words.as_slice()) {
            ("GET" | "HEAD", [""]) => of_type("text/html; charset=utf-8", PAGE.into()),
            ("GET" | "HEAD", ["chat"]) => of_type("text/html; charset=utf-8", CHAT.into()),
            ("GET" | "HEAD", ["programs"]) => of_type("text/html; charset=utf-8", PROGRAMS.into()),
            ("GET" | "HEAD", ["demo", "config"]) => of_type("text/plain; charset=utf-8", self.config.clone().into()),
            ("GET" | "HEAD", ["demo", "upstreams"]) => self.states(),
            ("POST", ["demo", "upstreams", number, switch]) => match self.numbered(number) {
                Some(upstream) => self.switch(upstream, switch).await,
                None => not_found(),
            },
            _ => not_found(),
        }
    }
}

impl Control {
    /// Counted from 1, as on the page.
    fn numbered(&self, number: &str) -> Option<&Upstream> {
        let index = number.parse::<usize>().ok()?.checked_sub(1)?;
        self.upstreams.get(index)
    }

    async fn switch(&self, upstream: &Upstream, switch: &str) -> Response {
        match switch {
            "stop" => upstream.stop().await,
            "start" => {
                if let Err(e) = upstream.start() {
                    return Response::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{}: {e}\n", upstream.name));
                }
            }
            _ => return not_found(),
        }
        self.states()
    }

    fn states(&self) -> Response {
        let states: Vec<_> = self.upstreams.iter().map(Upstream::state).collect();
        of_type("application/json", Value::from(states).to_string().into())
    }
}

fn of_type(media_type: &'static str, body: Body) -> Response {
    Response::new(StatusCode::OK, body)
        .with(header::CONTENT_TYPE, HeaderValue::from_static(media_type))
        .with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_held_port_refuses_until_it_listens_and_again_afterwards() {
        let held = Held::new().unwrap();
        let refused = || TcpStream::connect(held.address).map(drop).map_err(|e| e.kind());
        for _ in 0..3 {
            assert_eq!(refused(), Err(io::ErrorKind::ConnectionRefused));
            let listening = held.listen().unwrap();
            assert_eq!(refused(), Ok(()));
            drop(listening);
        }
        assert_eq!(refused(), Err(io::ErrorKind::ConnectionRefused));
    }
}
