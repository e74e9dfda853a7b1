//! The spawner: a process of this same binary that is small, so that it forks fast, and that outlives a killed rsp for as
//! long as the ladder takes.

use std::{
    collections::HashMap,
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::Places;

/// The running spawner, as rsp sees it.
#[derive(Default)]
pub struct Spawner {
    places: Mutex<HashMap<Box<str>, Arc<Places>>>,
}

impl Spawner {
    /// One that doesn't run yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Lets it run, unless it does; called on the control thread, before workers need it.
    pub fn start(&self) -> io::Result<()> {
        Ok(())
    }

    /// The processes of one `exec` or `cgi`.
    pub fn places(&self, name: &str) -> Arc<Places> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(places.entry(name.into()).or_default())
    }

    /// A line for one thread.
    pub fn line(&self) -> io::Result<OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Lets all processes end, and waits for that, so long at most.
    pub async fn end(&self, at_most: Duration) {
        let _ = at_most;
    }
}

/// The life of the spawner, in a process of its own; the exit code.
pub fn serve() -> u8 {
    1
}
