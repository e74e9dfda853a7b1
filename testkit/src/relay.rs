//! The network between a client and a server, which a test cuts and mends.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use crate::wait::pause;

/// Passes connections on to a server; what it does is what the client can tell of the network.
#[derive(Debug, Clone)]
pub struct Relay {
    address: String,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    target: String,
    is_cut: bool,
    is_stalled: bool,
    /// Both ends of every connection since the last cut.
    open: Vec<TcpStream>,
}

impl Relay {
    /// Relays to `target`, an address, until the test ends.
    pub fn start(target: &str) -> Relay {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        let shared = Arc::new(Mutex::new(Shared {
            target: target.to_owned(),
            is_cut: false,
            is_stalled: false,
            open: Vec::new(),
        }));
        let relay = Relay { address, shared };
        let relaying = relay.clone();
        thread::spawn(move || listener.incoming().flatten().for_each(|client| relaying.connect(client)));
        relay
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// A URL through it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Ends every connection, and those that come, too.
    pub fn cut(&self) {
        let mut shared = self.shared.lock().unwrap();
        shared.is_cut = true;
        for stream in shared.open.drain(..) {
            // One that has ended already is cut enough.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Nothing arrives any more, and nobody is told: as when a radio has gone.
    pub fn stall(&self) {
        self.shared.lock().unwrap().is_stalled = true;
    }

    /// New connections pass again, and what is left of the old ones.
    pub fn mend(&self) {
        let mut shared = self.shared.lock().unwrap();
        (shared.is_cut, shared.is_stalled) = (false, false);
    }

    /// New connections go elsewhere.
    pub fn point_to(&self, target: &str) {
        target.clone_into(&mut self.shared.lock().unwrap().target);
    }

    fn connect(&self, client: TcpStream) {
        let mut shared = self.shared.lock().unwrap();
        if shared.is_cut {
            return;
        }
        let Ok(server) = TcpStream::connect(&shared.target) else { return };
        let share = |stream: &TcpStream| stream.try_clone().expect("a second handle");
        shared.open.extend([share(&client), share(&server)]);
        for (from, to) in [(share(&client), share(&server)), (server, client)] {
            let relay = self.clone();
            thread::spawn(move || relay.pass(from, to));
        }
    }

    /// Passes on one direction and its end.
    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            while self.shared.lock().unwrap().is_stalled {
                pause(Duration::from_millis(5));
            }
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }
}
