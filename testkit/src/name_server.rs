//! A name server inside the test: answers over UDP what it was told, and counts who asked.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// RFC 1035 §3.2.2, RFC 3596 §2.1, RFC 2782.
const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// A record, all of them of class IN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A or AAAA.
    Address(IpAddr),
    /// SRV: priority, weight, port, target.
    Service(u16, u16, u16, String),
    /// PTR.
    Pointer(String),
}

/// A listening name server. Names it was not told of do not exist (NXDOMAIN).
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Time to live in seconds, and the records.
    names: Mutex<HashMap<String, (u32, Vec<Record>)>>,
    asked: Mutex<Vec<String>>,
    silent: AtomicBool,
    ended: AtomicBool,
}

impl NameServer {
    /// Starts one on a free port.
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port for the name server");
        let address = socket.local_addr().expect("the name server's address");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        let thread = Some(thread::spawn(move || serving.serve(&socket)));
        Self { address, shared, thread }
    }

    /// `ip:port`
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on `name` has these records, for `ttl` seconds.
    pub fn tell(&self, name: &str, ttl: u32, records: impl IntoIterator<Item = Record>) {
        let records = records.into_iter().collect();
        self.shared.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), (ttl, records));
    }

    /// Answers nothing, or answers again.
    pub fn be_silent(&self, silent: bool) {
        self.shared.silent.store(silent, Ordering::SeqCst);
    }

    /// How often a name was asked for, whatever the type.
    pub fn asked(&self, name: &str) -> usize {
        let asked = self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|asked| *asked == name).count()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A panic of it has been printed.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serve(&self, socket: &UdpSocket) {
        let mut packet = [0; 1500];
        while !self.ended.load(Ordering::SeqCst) {
            let Ok((length, client)) = socket.recv_from(&mut packet) else { continue };
            if let Some(answer) = self.answer(&packet[..length])
                && !self.silent.load(Ordering::SeqCst)
            {
                // A client that is gone asks no more.
                let _ = socket.send_to(&answer, client);
            }
        }
    }

    /// RFC 1035 §4.1: the header, the question as it came, the records that fit it.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let (name, end) = name(query, 12)?;
        let kind = u16::from_be_bytes([*query.get(end)?, *query.get(end + 1)?]);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let known = names.get(&name);
        let (ttl, records) = known.cloned().unwrap_or_default();
        let fitting: Vec<_> = records.iter().filter(|record| record.kind() == kind).collect();
        let mut answer = query[..2].to_vec();
        // A response, recursion desired and available; 3: the name does not exist.
        answer.extend([0x81, if known.is_some() { 0x80 } else { 0x83 }]);
        answer.extend([0, 1, 0, u8::try_from(fitting.len()).ok()?, 0, 0, 0, 0]);
        answer.extend(query.get(12..end + 4)?);
        for record in fitting {
            let data = record.data();
            // The name is that of the question, at offset 12.
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend([0, 1]);
            answer.extend(ttl.to_be_bytes());
            answer.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
            answer.extend(data);
        }
        Some(answer)
    }
}

impl Record {
    fn kind(&self) -> u16 {
        match self {
            Record::Address(IpAddr::V4(_)) => A,
            Record::Address(IpAddr::V6(_)) => AAAA,
            Record::Service(..) => SRV,
            Record::Pointer(_) => PTR,
        }
    }

    fn data(&self) -> Vec<u8> {
        match self {
            Record::Address(IpAddr::V4(ip)) => ip.octets().to_vec(),
            Record::Address(IpAddr::V6(ip)) => ip.octets().to_vec(),
            Record::Service(priority, weight, port, target) => {
                let mut data: Vec<u8> = [*priority, *weight, *port].iter().flat_map(|n| n.to_be_bytes()).collect();
                data.extend(labels(target));
                data
            }
            Record::Pointer(name) => labels(name),
        }
    }
}

/// A name as labels without compression.
fn labels(name: &str) -> Vec<u8> {
    let mut all = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        all.push(u8::try_from(label.len()).expect("a label of at most 63 bytes"));
        all.extend(label.as_bytes());
    }
    all.push(0);
    all
}

/// A name of labels without compression, lower-cased, and where it ends.
fn name(packet: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).to_lowercase());
        at += length;
    }
}
