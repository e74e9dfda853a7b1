//! What is said of files that are no certificates.

use std::path::PathBuf;

use testkit::{Authority, KeyKind};

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// What is said of a certificate and a key, without the folder.
    fn check(&self, cert: impl AsRef<[u8]>, key: impl AsRef<[u8]>, ocsp: Option<&[u8]>) -> Result<(), String> {
        let (cert, key) = (self.put("a.pem", cert), self.put("a.key", key));
        let ocsp = ocsp.map(|ocsp| self.put("a.ocsp", ocsp));
        let folder = format!("{}/", self.0.path().display());
        check_files(&CertificateFiles { cert, key, ocsp }).map_err(|said| said.replace(&folder, ""))
    }
}

#[test]
fn a_certificate_with_its_key_is_one_of_either_kind_in_one_file_or_two() {
    let (authority, folder) = (Authority::new(), Folder::new());
    for kind in [KeyKind::Ecdsa, KeyKind::Rsa] {
        let signed = authority.sign_with(&["a.example"], kind, |_| {});
        assert_eq!(folder.check(&signed.cert, &signed.key, Some(&[0x30, 0])), Ok(()));
        let both = format!("{}{}{}", signed.cert, authority.pem(), signed.key);
        assert_eq!(folder.check(&both, &both, None), Ok(()));
    }
}

#[test]
fn what_is_wrong_is_said_with_the_name_of_the_file() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let (one, other) = (authority.sign(&["a.example"]), authority.sign(&["b.example"]));
    let cut = &one.cert[..one.cert.len() / 2];
    let chain = one.cert.repeat(17);
    for (cert, key, said) in [
        (&*one.cert, &*other.key, "the key in a.key is not the one of the certificate in a.pem"),
        ("", &one.key, "there is no certificate in a.pem: it is no PEM"),
        (&one.key, &one.key, "there is no certificate in a.pem, but a key"),
        (&one.cert, &one.cert, "there is no key in a.key, but a certificate"),
        ("\x30\x01\x00", &one.key, "there is no certificate in a.pem: it is DER, and must be PEM"),
        (cut, &one.key, "a.pem is no PEM: it ends before its last END line"),
        (&chain, &one.key, "a.pem holds 17 certificates, and a chain has 16 at most"),
        (
            &one.cert,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMII=\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "the key in a.key is encrypted; `openssl pkey -in FILE -out FILE` takes the password off",
        ),
    ] {
        assert_eq!(folder.check(cert, key, None), Err(said.to_owned()));
    }
    let said = folder.check(&one.cert, &one.key, Some(b"no DER"));
    assert_eq!(said, Err("a.ocsp is no OCSP response in DER".to_owned()));
    let gone = folder.0.path().join("gone.pem");
    assert!(check_authorities(&gone).unwrap_err().starts_with(&format!("can't read {}: No such file", gone.display())));
}

#[test]
fn an_expired_certificate_is_doubted_and_used_all_the_same() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let old = authority.sign_with(&["a.example"], KeyKind::Ecdsa, |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    assert_eq!(folder.check(&old.cert, &old.key, None), Ok(()));
    let files = CertificateFiles { cert: folder.put("a.pem", old.cert), key: folder.put("a.key", old.key), ocsp: None };
    let certified = certified(&files, &aws_lc_rs::default_provider()).unwrap();
    assert!(doubts(&files, &certified, SystemTime::now()).unwrap().contains("has expired"));
    let back_then = UNIX_EPOCH + std::time::Duration::from_secs(31 * 365 * 86_400 + 20 * 86_400);
    assert_eq!(doubts(&files, &certified, back_then), None);
}

#[test]
fn nobody_waits_for_what_is_no_file() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let (cert, key) = authority.sign(&["a.example"]).write(folder.0.path(), "a");
    let pipe = folder.0.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let said = Err(format!("{} is no regular file", pipe.display()));
    let files = |cert: &PathBuf, key: &PathBuf, ocsp| CertificateFiles { cert: cert.clone(), key: key.clone(), ocsp };
    assert_eq!(check_files(&files(&pipe, &key, None)), said);
    assert_eq!(check_files(&files(&cert, &pipe, None)), said);
    assert_eq!(check_files(&files(&cert, &key, Some(pipe.clone()))), said);
    assert_eq!(check_authorities(&pipe), said);
}
