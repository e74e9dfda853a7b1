//! A FastCGI application inside the test, which sends whatever bytes its script says, and remembers what it was asked.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{Gate, Pattern};

/// A listening application.
#[derive(Debug)]
pub struct Application {
    address: String,
    shared: Arc<Shared>,
}

/// What it was asked: everything before the body, and how much of that came.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// `SCRIPT_NAME` and its like.
    pub params: BTreeMap<String, String>,
    /// Whether the connection is to be kept.
    pub keep: bool,
    /// Which connection of the application's life it came on, from 1.
    pub connection: u64,
    /// Bytes of the body, once it was read.
    pub body: u64,
    /// Whether these were the bytes of a [`Pattern`].
    pub body_is_pattern: bool,
}

/// What the application does once it has the parameters.
#[derive(Debug, Clone, Default)]
pub struct Play(Vec<Act>);

#[derive(Debug, Clone)]
enum Act {
    ReadBody,
    Send(Vec<u8>),
    Flood(Vec<u8>),
    Wait(Gate),
    Close,
}

type Script = dyn Fn(&Asked) -> Play + Send + Sync;

struct Shared {
    script: Box<Script>,
    asked: Mutex<Vec<Asked>>,
    opened: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Shared").field("opened", &self.opened).finish_non_exhaustive()
    }
}

impl Play {
    /// Reads the body, then gives this output and the end in one piece.
    pub fn answer(output: &str) -> Play {
        let whole = [record(6, 1, output.as_bytes()), record(3, 1, &[0; 8])].concat();
        Play::default().read_body().send(&whole)
    }

    /// Reads the body to its end.
    pub fn read_body(self) -> Play {
        self.then(Act::ReadBody)
    }

    /// A record of output.
    pub fn output(self, text: &str) -> Play {
        self.send(&record(6, 1, text.as_bytes()))
    }

    /// A record of the error stream.
    pub fn error(self, text: &str) -> Play {
        self.send(&record(7, 1, text.as_bytes()))
    }

    /// The end, with a protocol status: 0 is done, 1 takes no second request, 2 is overloaded, 3 is no responder.
    pub fn end(self, status: u8) -> Play {
        self.send(&record(3, 1, &[0, 0, 0, 0, status, 0, 0, 0]))
    }

    /// Any bytes.
    pub fn send(self, bytes: &[u8]) -> Play {
        self.then(Act::Send(bytes.to_vec()))
    }

    /// The same bytes until nobody takes them.
    pub fn flood(self, bytes: &[u8]) -> Play {
        self.then(Act::Flood(bytes.to_vec()))
    }

    /// Waits until the test goes on.
    pub fn wait(self, gate: &Gate) -> Play {
        self.then(Act::Wait(gate.clone()))
    }

    /// Ends the connection.
    pub fn close(self) -> Play {
        self.then(Act::Close)
    }

    fn then(mut self, act: Act) -> Play {
        self.0.push(act);
        self
    }
}

/// A record of any type and request, with padding.
pub fn record(kind: u8, id: u16, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("no more than fits a record").to_be_bytes();
    let id = id.to_be_bytes();
    let mut record = vec![1, kind, id[0], id[1], length[0], length[1], 3, 0];
    record.extend_from_slice(content);
    record.extend_from_slice(b"pad");
    record
}

impl Application {
    /// Listens on a free port; `script` says what to do when the parameters are there.
    pub fn start(script: impl Fn(&Asked) -> Play + Send + Sync + 'static) -> Application {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound address").to_string();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            asked: Mutex::default(),
            opened: AtomicU64::new(0),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                let number = accepting.opened.fetch_add(1, Ordering::SeqCst) + 1;
                accepting.open.lock().unwrap().extend(socket.try_clone());
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || {
                    let _ = serve(&socket, number, &shared);
                    let _ = socket.shutdown(Shutdown::Both);
                });
            }
        });
        Application { address, shared }
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How many connections were ever accepted.
    pub fn connections_opened(&self) -> u64 {
        self.shared.opened.load(Ordering::SeqCst)
    }

    /// Ends every connection, and goes on listening.
    pub fn close_connections(&self) {
        for socket in self.shared.open.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

fn serve(mut socket: &TcpStream, connection: u64, shared: &Shared) -> io::Result<()> {
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    socket.set_write_timeout(Some(Duration::from_secs(30)))?;
    loop {
        let mut asked = Asked { connection, ..Asked::default() };
        let mut params = Vec::new();
        loop {
            let (kind, content) = read_record(socket)?;
            match kind {
                1 => asked.keep = content.get(2).is_some_and(|flags| flags & 1 != 0),
                4 if content.is_empty() => break,
                4 => params.extend_from_slice(&content),
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        asked.params = read_params(&params);
        let keep = asked.keep;
        let play = (shared.script)(&asked);
        let place = {
            let mut all = shared.asked.lock().unwrap();
            all.push(asked);
            all.len() - 1
        };
        for act in play.0 {
            match act {
                Act::Send(bytes) => socket.write_all(&bytes)?,
                Act::Flood(bytes) => loop {
                    socket.write_all(&bytes)?;
                },
                Act::Wait(gate) => {
                    gate.pass(Duration::from_secs(30));
                }
                Act::Close => return Ok(()),
                Act::ReadBody => read_body(socket, |length, is_pattern| {
                    let mut all = shared.asked.lock().unwrap();
                    (all[place].body, all[place].body_is_pattern) = (length, is_pattern);
                })?,
            }
        }
        if !keep {
            return Ok(());
        }
    }
}

/// Tells the length so far, and whether it is the pattern, after every record.
fn read_body(socket: &TcpStream, mut told: impl FnMut(u64, bool)) -> io::Result<()> {
    let (mut pattern, mut is_pattern) = (Pattern::new(), true);
    loop {
        match read_record(socket)? {
            (5, content) if content.is_empty() => return Ok(()),
            (5, content) => is_pattern &= pattern.matches(&content),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        told(pattern.position(), is_pattern);
    }
}

fn read_record(mut socket: &TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut header = [0; 8];
    socket.read_exact(&mut header)?;
    let mut content = vec![0; usize::from(u16::from_be_bytes([header[4], header[5]])) + usize::from(header[6])];
    socket.read_exact(&mut content)?;
    content.truncate(content.len() - usize::from(header[6]));
    Ok((header[1], content))
}

fn read_params(mut rest: &[u8]) -> BTreeMap<String, String> {
    let mut params = BTreeMap::new();
    while !rest.is_empty() {
        let lengths = [(); 2].map(|()| {
            let bytes = if rest[0] < 128 { 1 } else { 4 };
            let length = rest[..bytes].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            rest = &rest[bytes..];
            length & 0x7fff_ffff
        });
        let [name, value] = lengths.map(|length| {
            let (text, after) = rest.split_at(length);
            rest = after;
            String::from_utf8_lossy(text).into_owned()
        });
        params.insert(name, value);
    }
    params
}
