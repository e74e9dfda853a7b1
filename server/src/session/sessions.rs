//! What the sessions of a worker have in common: their end, and where messages are posted to them.

use std::{rc::Rc, sync::Arc, time::Duration};

use super::posts::Posts;

/// The sessions of one worker.
pub struct Sessions {
    posts: Arc<Posts>,
}

/// What the sessions of all workers share.
#[derive(Clone, Default)]
pub struct Shared(Arc<Posts>);

impl Sessions {
    /// Those of a worker; `shared` is that of the process.
    pub fn new(shared: &Shared) -> Rc<Self> {
        Rc::new(Self { posts: Arc::clone(&shared.0) })
    }

    /// Ends those that are still there after a time, with 1001.
    pub fn end_after(&self, time: Duration) {
        let _ = (time, &self.posts);
    }
}
