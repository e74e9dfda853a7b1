//! Where an admin API listens, and one request to it over a blocking socket.

use std::{
    fmt, io,
    net::{TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use http::{HeaderName, HeaderValue, Method};

use super::reply::{Reply, Socket};

/// Silence after which nobody is expected to answer; a reload evaluates the whole config, and an upgrade may take 30 s.
const PATIENCE: Duration = Duration::from_secs(40);

/// Bytes of an answer: a diagnostic or a status of 100,000 sites fits well.
const ANSWER_MAX: usize = 64 << 20;

/// Where an admin API listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// `host:port`
    Tcp(String),
}

/// What the admin API said.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200 to 599.
    pub status: u16,
    /// The body.
    pub text: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum CallError {
    /// Nobody listens.
    Refused(io::Error),
    /// The connection ended before the first byte of an answer.
    Ended,
    /// Silence, or what is no answer.
    Broken(io::Error),
}

impl Address {
    /// `unix:/path`, a path with a slash in it, `host:port`, or `:port` on this machine.
    pub fn parse(text: &str) -> Self {
        match text.strip_prefix("unix:") {
            Some(path) => Self::Unix(path.into()),
            None if text.contains('/') => Self::Unix(text.into()),
            None if text.starts_with(':') => Self::Tcp(format!("localhost{text}")),
            None => Self::Tcp(text.into()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => f.write_str(address),
        }
    }
}

/// Whether somebody accepts connections on a unix socket; a socket that was left behind refuses them.
pub fn is_listening(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// GET, POST or DELETE.
    pub method: Method,
    /// With its query; encoded.
    pub path: &'a str,
    /// Beside those of every request.
    pub fields: &'a [(HeaderName, HeaderValue)],
    /// Of a POST.
    pub body: &'a [u8],
}

impl<'a> Ask<'a> {
    /// Without fields and body.
    pub fn plain(method: Method, path: &'a str) -> Self {
        Self { method, path, fields: &[], body: b"" }
    }
}

/// Sends one request and reads the whole answer.
pub fn call(address: &Address, ask: &Ask<'_>, token: Option<&str>) -> Result<Answer, CallError> {
    let reply = open(address, ask, token)?;
    Ok(Answer { status: reply.status, text: reply.text(ANSWER_MAX)? })
}

/// Sends one request and awaits the head of the answer.
pub fn open(address: &Address, ask: &Ask<'_>, token: Option<&str>) -> Result<Reply, CallError> {
    let (socket, head) = match address {
        Address::Unix(path) => {
            let socket = UnixStream::connect(path).map_err(CallError::Refused)?;
            // The socket's permissions let in whoever may; a token has no business in strange hands.
            (Socket::Unix(socket), head(ask, "localhost", None))
        }
        Address::Tcp(host) => {
            let socket = connect(host).map_err(CallError::Refused)?;
            (Socket::Tcp(socket), head(ask, host, token))
        }
    };
    socket.set_patience(Some(PATIENCE)).map_err(CallError::Broken)?;
    socket.ask(&ask.method, &head, ask.body)
}

fn connect(host: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                probe_peer(&stream);
                return Ok(stream);
            }
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// Who listens for hours finds out within two minutes that the other machine has vanished.
fn probe_peer(stream: &TcpStream) {
    use rustix::net::sockopt;
    // A kernel that can't is no reason not to ask.
    let _ = sockopt::set_socket_keepalive(stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(stream, Duration::from_secs(60)))
        .and_then(|()| sockopt::set_tcp_keepintvl(stream, Duration::from_secs(15)))
        .and_then(|()| sockopt::set_tcp_keepcnt(stream, 4));
}

fn head(ask: &Ask<'_>, host: &str, token: Option<&str>) -> Vec<u8> {
    let Ask { method, path, fields, body } = ask;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
    if let Some(token) = token {
        head.extend_from_slice(format!("Authorization: Bearer {token}\r\n").as_bytes());
    }
    for (name, value) in *fields {
        head.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    if *method == Method::POST {
        head.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    head.extend_from_slice(b"Connection: close\r\n\r\n");
    head
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        os::unix::net::UnixListener,
        thread,
    };

    use super::*;

    /// Reads one request head, answers with `answer` and closes.
    fn serve(mut stream: impl Read + Write, answer: &str) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(head).unwrap()
    }

    fn over_unix(answer: &'static str) -> (Result<Answer, CallError>, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || serve(listener.accept().unwrap().0, answer));
        let answer = call(&Address::Unix(path), &Ask::plain(Method::POST, "/reload"), Some("secret"));
        (answer, server.join().unwrap())
    }

    #[test]
    fn a_unix_socket_is_asked_without_the_token() {
        let (answer, asked) = over_unix("HTTP/1.1 422 Unprocessable Entity\r\nContent-Length: 3\r\n\r\nno\n");
        assert_eq!(answer.unwrap(), Answer { status: 422, text: "no\n".into() });
        let wanted = "POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert_eq!(asked, wanted);
    }

    #[test]
    fn a_tcp_address_is_asked_with_the_token() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || serve(listener.accept().unwrap().0, "HTTP/1.1 200 OK\r\n\r\nall\n"));
        let answer = call(&Address::parse(&address), &Ask::plain(Method::GET, "/status"), Some("secret")).unwrap();
        assert_eq!(answer, Answer { status: 200, text: "all\n".into() });
        let asked = server.join().unwrap();
        assert!(asked.contains("\r\nAuthorization: Bearer secret\r\n"), "{asked}");
        assert!(asked.contains(&format!("\r\nHost: {address}\r\n")), "{asked}");
    }

    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        let (answer, _) = over_unix("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        assert_eq!(answer.unwrap().text, "abc");
        for cut in [
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "HTTP/1.1 200 OK\r\nContent-",
            "SSH-2.0-OpenSSH\r\n\r\n",
        ] {
            assert!(matches!(over_unix(cut).0, Err(CallError::Broken(_))), "{cut}");
        }
        assert!(matches!(over_unix("").0, Err(CallError::Ended)));
    }

    #[test]
    fn addresses_are_told_apart() {
        for (text, wanted) in [
            ("unix:/run/a.sock", Address::Unix("/run/a.sock".into())),
            ("unix:a.sock", Address::Unix("a.sock".into())),
            ("./a.sock", Address::Unix("./a.sock".into())),
            (":9600", Address::Tcp("localhost:9600".into())),
            ("[::1]:9600", Address::Tcp("[::1]:9600".into())),
            ("host:9600", Address::Tcp("host:9600".into())),
        ] {
            assert_eq!(Address::parse(text), wanted);
        }
    }
}
