//! TLS for the demo: a certificate that nobody signed, made at the start and gone at the end, and a port for it.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    net::{IpAddr, SocketAddr, TcpListener},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
};

use rcgen::CertifiedKey;

/// Where it is tried first; beside a demo on its usual port only, as others may run at the same time.
const PORT: u16 = 8443;

/// Where the demo listens unless it is told otherwise.
const USUAL: u16 = 8080;

/// A listener's address, and the files of its certificate, which are removed with this.
pub struct Secured {
    /// As `listen` takes it.
    pub listen: String,
    folder: PathBuf,
}

impl Secured {
    /// A certificate for whoever opens a demo that listens there, and a port on the same address. None for a unix socket.
    ///
    /// # Errors
    /// There is no port, or the temporary folder takes no files.
    pub fn new(listen: &str) -> io::Result<Option<Self>> {
        let Some((host, port)) = listen.rsplit_once(':').filter(|_| !listen.starts_with("unix:")) else {
            return Ok(None);
        };
        // What is no address gets its diagnostic from the config.
        let Some(ip) = address(host) else { return Ok(None) };
        let port = free_port(ip, port.parse() == Ok(USUAL))?;
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        names.extend(Some(ip.to_string()).filter(|name| !ip.is_unspecified() && !names.contains(name)));
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
        let secured = Self { listen: format!("{host}:{port}"), folder: folder()? };
        secured.write("demo.pem", &cert.pem())?;
        secured.write("demo.key", &signing_key.serialize_pem())?;
        Ok(Some(secured))
    }

    /// The file of the certificate, or of its key.
    pub fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Where a browser finds it.
    pub fn url(&self) -> String {
        super::url("https", &self.listen)
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let mut options = File::options();
        let mut file = options.write(true).create_new(true).mode(0o600).open(self.folder.join(name))?;
        file.write_all(text.as_bytes())
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        // What is left of it is found in the temporary folder, readable by its owner only.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn address(host: &str) -> Option<IpAddr> {
    match host {
        "" => Some(IpAddr::from([0; 16])),
        _ => host.trim_start_matches('[').trim_end_matches(']').parse().ok(),
    }
}

/// A port that nobody listens on now.
fn free_port(ip: IpAddr, is_usual: bool) -> io::Result<u16> {
    let bound = |port| TcpListener::bind(SocketAddr::new(ip, port)).and_then(|listener| listener.local_addr());
    let usual = if is_usual { bound(PORT).ok() } else { None };
    usual.map_or_else(|| bound(0), Ok).map(|address| address.port())
}

/// A new one that nobody else can look into.
fn folder() -> io::Result<PathBuf> {
    let ours = format!("rsp-demo-{}-", std::process::id());
    let made = (0..100).find_map(|number: u32| {
        let path = std::env::temp_dir().join(format!("{ours}{number}"));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
            made => Some(made.map(|()| path)),
        }
    });
    made.unwrap_or_else(|| Err(io::ErrorKind::AlreadyExists.into()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_certificate_is_for_its_owner_only_and_gone_at_the_end() {
        let secured = Secured::new("127.0.0.1:0").unwrap().unwrap();
        let key = PathBuf::from(secured.file("demo.key"));
        assert!(fs::read_to_string(&key).unwrap().contains("PRIVATE KEY"));
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        let folder = key.parent().unwrap().to_owned();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        drop(secured);
        assert!(!folder.exists());
    }

    #[test]
    fn it_listens_where_the_demo_does_and_not_beside_a_unix_socket() {
        for (listen, host) in [("127.0.0.1:1", "127.0.0.1:"), (":1", ":"), ("[::1]:1", "[::1]:")] {
            let secured = Secured::new(listen).unwrap().unwrap();
            assert!(secured.listen.starts_with(host) && !secured.listen.ends_with(":1"), "{}", secured.listen);
        }
        assert!(Secured::new("unix:/tmp/x").unwrap().is_none());
        assert!(Secured::new("nowhere:80").unwrap().is_none());
    }
}
