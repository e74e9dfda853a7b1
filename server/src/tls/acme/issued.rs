//! The certificates that handshakes are shown, by name: the same ones for every site and worker.

use std::{collections::HashMap, fmt, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// Swapped as a whole when one changes, so that the next handshake sees it, and connections stay.
///
/// Where there is none, the handshake ends with an alert, as of Caddy and nginx: a certificate of our own would teach people
/// to click on, and who takes any would send cookies to whoever sits between.
#[derive(Default)]
pub struct Issued(ArcSwap<Shown>);

/// What is shown.
#[derive(Default)]
pub(super) struct Shown {
    /// Names are lower-cased.
    pub by_name: HashMap<Box<str>, Arc<CertifiedKey>>,
    /// To who asks for no name.
    pub first: Option<Arc<CertifiedKey>>,
}

impl Issued {
    pub(super) fn show(&self, shown: Shown) {
        self.0.store(Arc::new(shown));
    }

    /// Whether there is something to show to who asks for this name, lower-cased, or for none.
    pub fn has(&self, name: Option<&str>) -> bool {
        let shown = self.0.load();
        name.map_or(shown.first.is_some(), |name| shown.by_name.contains_key(name))
    }

    /// What is shown for a name at this moment.
    pub(super) fn of(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.0.load().by_name.get(name).cloned()
    }
}

impl ResolvesServerCert for Issued {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.load();
        match hello.server_name() {
            Some(name) if name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                shown.by_name.get(name.to_ascii_lowercase().as_str()).cloned()
            }
            Some(name) => shown.by_name.get(name).cloned(),
            None => shown.first.clone(),
        }
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("names", &self.0.load().by_name.len()).finish()
    }
}
