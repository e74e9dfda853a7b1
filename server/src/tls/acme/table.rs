//! The certificates that handshakes are shown, by name: the same ones for every site and worker.

use std::{collections::HashMap, fmt, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// Swapped as a whole when one changes, so that the next handshake sees it, and connections stay.
#[derive(Default)]
pub struct Table(ArcSwap<Shown>);

/// What is shown.
#[derive(Default)]
pub(super) struct Shown {
    /// Names are lower-cased.
    pub by_name: HashMap<Box<str>, Arc<CertifiedKey>>,
    /// To who asks for no name.
    pub first: Option<Arc<CertifiedKey>>,
}

impl Table {
    pub(super) fn show(&self, shown: Shown) {
        self.0.store(Arc::new(shown));
    }

    /// What is shown for a name at this moment.
    pub(super) fn of(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.0.load().by_name.get(name).cloned()
    }
}

impl ResolvesServerCert for Table {
    // None is an alert, as of Caddy and nginx: a certificate of our own would teach people to click on, and who takes any
    // would send cookies to whoever sits between.
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

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("names", &self.0.load().by_name.len()).finish()
    }
}
