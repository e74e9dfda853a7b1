//! One request to the admin API and its answer, over a blocking socket.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use http::Method;
use rsp_core::frame::http1::{ChunkedDecoder, Framing, HeadLimits, parse_response};

/// Silence after which nobody is expected to answer; a reload evaluates the whole config, and an upgrade may take 30 s.
const PATIENCE: Duration = Duration::from_secs(40);

/// Bytes of an answer: a diagnostic or a status of 100,000 sites fits well.
const ANSWER_MAX: u64 = 64 << 20;

/// As generous as the admin API itself.
const LIMITS: HeadLimits = HeadLimits { head: 16 << 10, headers: 100, uri: 8 << 10 };

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

/// Sends one request without a body and reads the whole answer.
pub fn call(address: &Address, method: &str, path: &str, token: Option<&str>) -> Result<Answer, CallError> {
    match address {
        Address::Unix(socket) => {
            let stream = UnixStream::connect(socket).map_err(CallError::Refused)?;
            stream.set_read_timeout(Some(PATIENCE)).map_err(CallError::Broken)?;
            stream.set_write_timeout(Some(PATIENCE)).map_err(CallError::Broken)?;
            // The socket's permissions let in whoever may; a token has no business in strange hands.
            exchange(stream, &request(method, path, "localhost", None))
        }
        Address::Tcp(host) => {
            let stream = connect(host).map_err(CallError::Refused)?;
            stream.set_read_timeout(Some(PATIENCE)).map_err(CallError::Broken)?;
            stream.set_write_timeout(Some(PATIENCE)).map_err(CallError::Broken)?;
            exchange(stream, &request(method, path, host, token))
        }
    }
}

fn connect(host: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(e) => last = e,
        }
    }
    Err(last)
}

fn request(method: &str, path: &str, host: &str, token: Option<&str>) -> String {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}{length}Connection: close\r\n\r\n")
}

fn exchange(mut stream: impl Read + Write, request: &str) -> Result<Answer, CallError> {
    // One that refuses early may have answered before it closed.
    let sent = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let read = stream.take(ANSWER_MAX).read_to_end(&mut bytes);
    match (sent, read) {
        (_, Ok(_)) | (Err(_), _) if bytes.is_empty() => Err(CallError::Ended),
        (_, Err(e)) if bytes.is_empty() && e.kind() == io::ErrorKind::ConnectionReset => Err(CallError::Ended),
        (_, Err(e)) if is_silence(&e) => Err(CallError::Broken(io::Error::new(e.kind(), "it took too long"))),
        // Whatever ended the connection, an answer that is whole counts.
        _ => parse(bytes).map_err(|why| CallError::Broken(io::Error::new(io::ErrorKind::InvalidData, why))),
    }
}

fn is_silence(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn parse(mut bytes: Vec<u8>) -> Result<Answer, String> {
    const CUT: &str = "the answer is cut short";
    let parsed = parse_response(&bytes, &Method::POST, &LIMITS).map_err(|e| format!("not HTTP: {e:?}"))?;
    let (head, length) = parsed.ok_or(CUT)?;
    bytes.drain(..length);
    match head.framing {
        Framing::Empty => bytes.clear(),
        Framing::UntilClose => {}
        Framing::Length(length) => {
            let length = usize::try_from(length).map_err(|e| e.to_string())?;
            if bytes.len() < length {
                return Err(CUT.into());
            }
            bytes.truncate(length);
        }
        Framing::Chunked => {
            let decoded = ChunkedDecoder::new(&LIMITS).decode(&mut bytes).map_err(|e| e.to_string())?;
            if !decoded.done {
                return Err(CUT.into());
            }
            bytes.truncate(decoded.data);
        }
    }
    Ok(Answer { status: head.status.as_u16(), text: String::from_utf8_lossy(&bytes).into_owned() })
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::net::UnixListener, thread};

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
        let answer = call(&Address::Unix(path), "POST", "/reload", Some("secret"));
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
        let answer = call(&Address::parse(&address), "GET", "/status", Some("secret")).unwrap();
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
