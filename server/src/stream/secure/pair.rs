//! Two ends of TLS over a pair of unix sockets, for tests.

use std::{future::poll_fn, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::net::UnixStream;

use super::{super::Socket, Secure};

/// Both ends of a connection.
pub struct Pair {
    pub server: Secure,
    pub client: Secure,
}

pub fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let authority = testkit::Authority::new();
    let signed = authority.sign(&["a.test"]);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let cert = CertificateDer::from_pem_slice(signed.cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let mut server = server.unwrap().with_no_client_auth().with_single_cert(vec![cert], key).unwrap();
    server.alpn_protocols = vec![b"h2".to_vec()];
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut client = client.unwrap().with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec()];
    (Arc::new(server), Arc::new(client))
}

pub fn name() -> ServerName<'static> {
    ServerName::try_from("a.test").unwrap()
}

/// The two before they shook hands.
pub fn raw(ours: UnixStream, theirs: UnixStream) -> Pair {
    let (server, client) = configs();
    Pair {
        server: Secure::accept(Socket::Unix(ours), server).unwrap(),
        client: Secure::connect(Socket::Unix(theirs), client, name()).unwrap(),
    }
}

/// The two when they are up.
pub async fn connected() -> Pair {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut pair = raw(ours, theirs);
    pair.shake().await;
    pair
}

impl Pair {
    pub async fn shake(&mut self) {
        let (server, client) = (&mut self.server, &mut self.client);
        let (a, b) = tokio::join!(
            poll_fn(|cx| server.poll_handshake(cx)),
            poll_fn(|cx| {
                let done = client.poll_handshake(cx);
                // The last word of a client waits for its request, or for a flush.
                if done.is_ready() { client.poll_flush(cx) } else { done }
            })
        );
        a.unwrap();
        b.unwrap();
    }
}
