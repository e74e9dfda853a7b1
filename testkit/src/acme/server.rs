//! Its requests and answers: HTTP/1.1 over TLS, a thread a connection.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};

use super::{
    AcmeFault, Shared,
    book::Account,
    jws::{self, Signed},
    probe,
};
use crate::wait::pause;

/// Silence after which a connection is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Accepts until it is dropped.
pub struct Listening {
    port: u16,
    is_over: Arc<AtomicBool>,
}

struct Request {
    method: String,
    path: String,
    is_jose: bool,
    body: Vec<u8>,
}

struct Answer {
    status: u16,
    fields: Vec<(&'static str, String)>,
    kind: &'static str,
    body: Vec<u8>,
}

impl Listening {
    pub fn start(port: u16, shared: &Arc<Shared>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let own = shared.authority.sign(&["127.0.0.1"]);
        let chain = vec![CertificateDer::from_pem_slice(own.cert.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let (config, shared, is_over) = (Arc::new(config), Arc::clone(shared), Arc::new(AtomicBool::new(false)));
        let listening = Self { port, is_over: Arc::clone(&is_over) };
        thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let (Ok(stream), config, shared) = (stream, Arc::clone(&config), Arc::clone(&shared)) else { continue };
                // Whoever goes away in the middle is no concern of the test.
                thread::spawn(move || drop(serve(stream, config, &shared)));
            }
        });
        listening
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // It waits in accept.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, shared: &Arc<Shared>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    while let Some(request) = read(&mut stream)? {
        let is_head = request.method == "HEAD";
        let answer = answer(&request, shared);
        let mut head = format!(
            "HTTP/1.1 {} -\r\ncontent-type: {}\r\ncontent-length: {}\r\n",
            answer.status,
            answer.kind,
            answer.body.len()
        );
        answer.fields.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        let body: &[u8] = if is_head { &[] } else { &answer.body };
        stream.get_mut().write_all(&[head.as_bytes(), b"\r\n", body].concat())?;
        stream.get_mut().flush()?;
    }
    Ok(())
}

fn read(stream: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut length, mut is_jose) = (0, false);
    loop {
        let mut field = String::new();
        stream.read_line(&mut field)?;
        let field = field.trim_end().to_ascii_lowercase();
        match field.split_once(':').map(|(name, value)| (name, value.trim())) {
            None => break,
            Some(("content-length", value)) => length = value.parse().map_err(io::Error::other)?,
            Some(("content-type", value)) => is_jose = value == "application/jose+json",
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some(Request { method, path, is_jose, body }))
}

fn answer(request: &Request, shared: &Arc<Shared>) -> Answer {
    let fault = {
        let mut book = shared.book();
        book.requests.push(format!("{} {}", request.method, request.path));
        book.fault(&request.path)
    };
    let mut answer = match fault {
        Some(AcmeFault::BadNonce) => refusal("badNonce", "used already", 400),
        Some(AcmeFault::RateLimited(seconds)) => {
            let mut answer = refusal("rateLimited", "too many orders", 429);
            answer.fields.push(("retry-after", seconds.to_string()));
            answer
        }
        Some(AcmeFault::Broken) => Answer {
            status: 500,
            fields: Vec::new(),
            kind: "text/html",
            body: b"<html>Internal Server Error</html>".to_vec(),
        },
        Some(AcmeFault::Garbage) => Answer { body: b"\x00garbage\xff".to_vec(), ..json(200, &Value::Null) },
        Some(AcmeFault::Slow(time)) => {
            pause(time);
            dispatch(request, shared)
        }
        None => dispatch(request, shared),
    };
    answer.fields.push(("replay-nonce", shared.book().nonce()));
    answer
}

fn dispatch(request: &Request, shared: &Arc<Shared>) -> Answer {
    let path: Vec<_> = request.path.split('/').skip(1).collect();
    match (request.method.as_str(), path.as_slice()) {
        ("GET", ["directory"]) => json(200, &shared.directory()),
        ("HEAD", ["new-nonce"]) => json(200, &Value::Null),
        ("GET", ["renewal-info", id]) => {
            let book = shared.book();
            if !book.identifiers.iter().any(|known| known == id) {
                return refusal("malformed", "no such certificate", 404);
            }
            let mut answer = json(200, &book.window());
            answer.fields.push(("retry-after", "1".to_owned()));
            answer
        }
        ("POST", path) => signed(request, path, shared).unwrap_or_else(|why| {
            shared.book().complaints.push(format!("{}: {why}", request.path));
            refusal("malformed", &why, 400)
        }),
        _ => refusal("malformed", "no such resource", 404),
    }
}

/// What only the owner of an account may ask for.
fn signed(request: &Request, path: &[&str], shared: &Arc<Shared>) -> Result<Answer, String> {
    if !request.is_jose {
        return Err("no application/jose+json".to_owned());
    }
    let url = format!("{}{}", shared.base, request.path);
    let index = |kid: &str| kid.strip_prefix(&format!("{}/account/", shared.base))?.parse::<usize>().ok();
    let key = |kid: &str| shared.book().accounts.get(index(kid)?).map(|account| account.key.clone());
    let Signed { key, account, nonce, payload } = jws::open(&request.body, &url, key)?;
    if !shared.book().nonces.remove(&nonce) {
        return Ok(refusal("badNonce", "none of mine, or used", 400));
    }
    if path == ["new-account"] {
        return match (account, payload) {
            (None, Some(payload)) => Ok(new_account(key, &payload, shared)),
            _ => Err("a new account needs a jwk and a payload".to_owned()),
        };
    }
    let account = account.as_deref().and_then(index).ok_or("no kid")?;
    match (path, payload) {
        (["account", own], Some(payload)) if own.parse() == Ok(account) => {
            shared.book().accounts[account].contact = contact(&payload);
            Ok(json(200, &json!({ "status": "valid" })))
        }
        (["new-order"], Some(payload)) => {
            let mut book = shared.book();
            let order = book.new_order(account, &payload)?;
            let mut answer = json(201, &book.orders[order].json(order, shared));
            answer.fields.push(("location", format!("{}/order/{order}", shared.base)));
            Ok(answer)
        }
        (["order", order], None) => {
            let (book, order) = (shared.book(), number(order)?);
            let own = book.orders.get(order).filter(|own| own.account == account).ok_or("no such order")?;
            Ok(json(200, &own.json(order, shared)))
        }
        (["order", order, "finalize"], Some(payload)) => {
            let (mut book, order) = (shared.book(), number(order)?);
            book.orders.get(order).filter(|own| own.account == account).ok_or("no such order")?;
            book.finalize(order, &payload, &shared.authority)?;
            Ok(json(200, &book.orders[order].json(order, shared)))
        }
        (["authz", one], None) => {
            let (book, one) = (shared.book(), number(one)?);
            Ok(json(200, &book.authorizations.get(one).ok_or("no such authorization")?.json(one, shared)))
        }
        (["challenge", one, kind @ ("http-01" | "tls-alpn-01")], Some(payload)) if payload == json!({}) => {
            look(number(one)?, kind, &key.thumbprint(), shared)
        }
        (["cert", one], None) => {
            let book = shared.book();
            let chain = book.certificates.get(number(one)?).ok_or("no such certificate")?;
            Ok(Answer {
                kind: "application/pem-certificate-chain",
                body: chain.clone().into(),
                ..json(200, &Value::Null)
            })
        }
        _ => Err("no such resource, or not in this way".to_owned()),
    }
}

fn new_account(key: jws::Key, payload: &Value, shared: &Arc<Shared>) -> Answer {
    if payload["termsOfServiceAgreed"] != true {
        return refusal("userActionRequired", "the terms of service", 403);
    }
    let mut book = shared.book();
    let known = book.accounts.iter().position(|account| account.key == key);
    let status = if known.is_some() { 200 } else { 201 };
    let index = known.unwrap_or(book.accounts.len());
    if known.is_none() {
        book.accounts.push(Account { key, contact: contact(payload) });
    }
    let mut answer = json(status, &json!({ "status": "valid" }));
    answer.fields.push(("location", format!("{}/account/{index}", shared.base)));
    answer
}

fn contact(payload: &Value) -> Option<String> {
    payload["contact"][0].as_str().map(str::to_owned)
}

/// Looks at a challenge on a thread, as authorities do: the answer does not wait for it.
fn look(one: usize, kind: &str, thumbprint: &str, shared: &Arc<Shared>) -> Result<Answer, String> {
    let mut book = shared.book();
    let own = book.authorizations.get_mut(one).ok_or("no such challenge")?;
    if own.status != "pending" || own.tried.is_some() {
        return Err(format!("the authorization is {}", own.status));
    }
    own.tried = Some((kind.to_owned(), None));
    let (name, token, order) = (own.name.clone(), own.token.clone(), own.order);
    let answer = json(200, &own.challenge(one, kind, shared));
    drop(book);
    let (kind, authorization, shared) = (kind.to_owned(), format!("{token}.{thumbprint}"), Arc::clone(shared));
    thread::spawn(move || {
        let (http, tls) = ports(&shared);
        let found = match (kind.as_str(), shared.book().is_strict) {
            (_, true) => Err("nothing is good enough".to_owned()),
            ("http-01", _) => Ok(Some(http)),
            _ => Ok(None),
        };
        let found = found.and_then(|port| match port {
            Some(port) => probe::http(port, &name, &token, &authorization),
            None => probe::handshake(tls, &name, &authorization),
        });
        let mut book = shared.book();
        let own = &mut book.authorizations[one];
        own.status = if found.is_ok() { "valid" } else { "invalid" };
        own.tried = Some((kind, found.err()));
        book.settle(order);
    });
    Ok(answer)
}

/// The test knows them only once its server runs.
fn ports(shared: &Shared) -> (u16, u16) {
    for _ in 0..1000 {
        if let Some(ports) = shared.book().ports {
            return ports;
        }
        pause(Duration::from_millis(20));
    }
    panic!("the test does not say where challenges are");
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "no number".to_owned())
}

fn json(status: u16, body: &Value) -> Answer {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    Answer { status, fields: Vec::new(), kind: "application/json", body }
}

fn refusal(kind: &str, detail: &str, status: u16) -> Answer {
    Answer { kind: "application/problem+json", ..json(status, &problem(kind, detail, status)) }
}

/// RFC 7807.
pub fn problem(kind: &str, detail: &str, status: u16) -> Value {
    json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail, "status": status })
}
