//! Certificates, keys and authorities as they are in files, and in words what is wrong with them.

use std::{
    fs::OpenOptions,
    io::Read,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rsp_core::config::CertificateFiles;
use rustix::fs::OFlags;
use rustls::{
    RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};
use x509_parser::{parse_x509_certificate, time::ASN1Time};

/// Bytes of a file: a bundle with every authority of the world has a quarter of a megabyte.
const FILE_MAX: u64 = 4 << 20;

/// Certificates in a chain; a client that is sent more gives up.
const CHAIN_MAX: usize = 16;

/// Whether this is a certificate with its key.
///
/// # Errors
/// A sentence that names the file and the reason.
pub fn check_files(files: &CertificateFiles) -> Result<(), String> {
    certified(files, &aws_lc_rs::default_provider()).map(drop)
}

/// Whether there are certificates of authorities in this file.
///
/// # Errors
/// A sentence that names the file and the reason.
pub fn check_authorities(path: &Path) -> Result<(), String> {
    authorities(path).map(drop)
}

/// The certificate with its chain, its key and what is stapled to it.
///
/// # Errors
/// As [`check_files`].
pub fn certified(files: &CertificateFiles, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let chain = certificates(&files.cert)?;
    if chain.len() > CHAIN_MAX {
        return Err(format!(
            "{} holds {} certificates, and a chain has {CHAIN_MAX} at most",
            shown(&files.cert),
            chain.len()
        ));
    }
    let key = private_key(&files.key)?;
    let ocsp = files.ocsp.as_deref().map(stapled).transpose()?;
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(|e| match e {
        rustls::Error::InconsistentKeys(_) => {
            format!("the key in {} is not the one of the certificate in {}", shown(&files.key), shown(&files.cert))
        }
        rustls::Error::InvalidCertificate(_) => {
            format!("the first certificate in {} can't be read: {e}", shown(&files.cert))
        }
        e => format!("the key in {} can't be used: {e}", shown(&files.key)),
    })?;
    Ok(CertifiedKey { ocsp, ..certified })
}

/// What whoever runs rsp should know of a certificate that is shown all the same.
pub fn doubts(files: &CertificateFiles, certified: &CertifiedKey, now: SystemTime) -> Option<String> {
    let first = certified.cert.first()?;
    let (_, parsed) = parse_x509_certificate(first).ok()?;
    let now = i64::try_from(now.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
    let now = ASN1Time::from_timestamp(now).ok()?;
    let validity = parsed.validity();
    let cert = shown(&files.cert);
    if validity.not_after < now {
        return Some(format!("the certificate in {cert} has expired: {}", validity.not_after));
    }
    (validity.not_before > now)
        .then(|| format!("the certificate in {cert} is not valid before {}", validity.not_before))
}

/// The authorities in a file.
///
/// # Errors
/// As [`check_authorities`].
pub fn authorities(path: &Path) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|e| format!("an authority in {} can't be used: {e}", shown(path)))?;
    }
    Ok(Arc::new(roots))
}

/// At least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|e| broken(path, &e))?;
    match found.is_empty() {
        true => Err(format!("there is no certificate in {}{}", shown(path), instead(&text))),
        false => Ok(found),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = read(path)?;
    if memchr::memmem::find(&text, b"ENCRYPTED").is_some() {
        let path = shown(path);
        return Err(format!(
            "the key in {path} is encrypted; `openssl pkey -in FILE -out FILE` takes the password off"
        ));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|e| match e {
        pem::Error::NoItemsFound => format!("there is no key in {}{}", shown(path), instead(&text)),
        e => broken(path, &e),
    })
}

/// An OCSP response (RFC 6960 §4.2.1): one DER sequence, and nothing behind it. Whether it is still good is the client's to say.
fn stapled(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = read(path)?;
    match x509_parser::der_parser::parse_der(&bytes) {
        Ok((rest, found)) if rest.is_empty() && found.as_sequence().is_ok() => Ok(bytes),
        _ => Err(format!("{} is no OCSP response in DER", shown(path))),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |e| format!("can't read {}: {e}", shown(path));
    // A pipe would be waited for, whoever writes into it.
    let open = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path);
    let file = open.map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(format!("{} is no regular file", shown(path)));
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > FILE_MAX {
        true => Err(format!("{} is larger than {} MiB", shown(path), FILE_MAX >> 20)),
        false => Ok(bytes),
    }
}

fn broken(path: &Path, e: &pem::Error) -> String {
    let why = match e {
        pem::Error::Base64Decode(_) => "what stands between its lines is not base64".to_owned(),
        pem::Error::MissingSectionEnd { .. } => "it ends before its last END line".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line of it is malformed".to_owned(),
        e => e.to_string(),
    };
    format!("{} is no PEM: {why}", shown(path))
}

/// What is there in place of what was looked for.
fn instead(text: &[u8]) -> &'static str {
    let has = |what: &[u8]| memchr::memmem::find(text, what).is_some();
    match () {
        () if text.first() == Some(&0x30) => ": it is DER, and must be PEM",
        () if !has(b"-----BEGIN ") => ": it is no PEM",
        () if has(b"PRIVATE KEY-----") => ", but a key",
        () if has(b"CERTIFICATE REQUEST-----") => ", but a request for one",
        () if has(b"CERTIFICATE-----") => ", but a certificate",
        () => "",
    }
}

fn shown(path: &Path) -> std::path::Display<'_> {
    path.display()
}

#[cfg(test)]
mod tests;
