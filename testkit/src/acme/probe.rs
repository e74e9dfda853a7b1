//! The authority looks whether a challenge is met: by plain HTTP (RFC 8555 §8.3), or by a handshake (RFC 8737).

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs::default_provider, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    version::TLS13,
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

const PATIENCE: Duration = Duration::from_secs(10);
const ALPN: &[u8] = b"acme-tls/1";
/// RFC 8737 §6.1.
const ACME_IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

pub fn http(port: u16, name: &str, token: &str, authorization: &str) -> Result<(), String> {
    let mut stream = connect(port)?;
    let request =
        format!("GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|e| e.to_string())?;
    let mut answer = String::new();
    stream.take(16 << 10).read_to_string(&mut answer).map_err(|e| e.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    match (status, body == authorization) {
        ("200", true) => Ok(()),
        ("200", false) => Err(format!("another key authorization: {body:?}")),
        _ => Err(format!("status {status}")),
    }
}

pub fn handshake(port: u16, name: &str, authorization: &str) -> Result<(), String> {
    let provider = Arc::new(default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    let server_name = ServerName::try_from(name.to_owned()).map_err(|e| e.to_string())?;
    let mut connection = ClientConnection::new(Arc::new(config), server_name).map_err(|e| e.to_string())?;
    let mut stream = connect(port)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|e| format!("the handshake failed: {e}"))?;
    }
    if connection.alpn_protocol() != Some(ALPN) {
        return Err("acme-tls/1 was not negotiated".to_owned());
    }
    let shown = connection.peer_certificates().and_then(<[_]>::first).ok_or("no certificate")?;
    let (_, shown) = X509Certificate::from_der(shown).map_err(|e| e.to_string())?;
    let names = shown.subject_alternative_name().map_err(|e| e.to_string())?.ok_or("no name")?;
    match names.value.general_names.as_slice() {
        [GeneralName::DNSName(only)] if *only == name => {}
        other => return Err(format!("the certificate is for {other:?}")),
    }
    let extension = shown.extensions().iter().find(|one| one.oid.to_id_string() == ACME_IDENTIFIER);
    let extension = extension.ok_or("no acmeIdentifier")?;
    let wanted = digest(&SHA256, authorization.as_bytes());
    match extension.critical && extension.value == [&[4, 32], wanted.as_ref()].concat() {
        true => Ok(()),
        false => Err("another acmeIdentifier".to_owned()),
    }
}

fn connect(port: u16) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|e| format!("port {port}: {e}"))?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    Ok(stream)
}

/// The certificate of a challenge is signed by nobody.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let _ = (message, cert, signed);
        Err(Error::General("only TLS 1.3 is offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // With the bare key: the library reads no certificate with this critical extension.
        let (_, cert) = X509Certificate::from_der(cert).map_err(|e| Error::General(e.to_string()))?;
        let key = SubjectPublicKeyInfoDer::from(cert.public_key().raw);
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
