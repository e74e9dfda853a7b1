//! The broker that the config names, and the thread that keeps its connections.

use std::sync::Arc;

use rsp_core::config;

use crate::{broker::Broker, observe::Metrics};

/// Errors: what is wrong with its URL, for the operator.
pub fn broker(config: &config::Config, metrics: &Arc<Metrics>) -> Result<Broker, String> {
    let broker = match &config.broker {
        config::Broker::Memory => Broker::memory(),
        config::Broker::Redis { url, prefix, timeout } => {
            Broker::redis(url, prefix, *timeout, Arc::clone(metrics)).map_err(|why| format!("broker: {why}\n"))?
        }
    };
    broker.bound(config.limits.channels);
    Ok(broker)
}

/// Keeps connections on a thread of their own: the control thread evaluates configs, and no message waits for that.
pub fn keep(broker: &Arc<Broker>) {
    if let Broker::Memory(_) = **broker {
        return;
    }
    let broker = Arc::clone(broker);
    let started =
        std::thread::Builder::new().name("rsp-broker".to_owned()).spawn(
            move || match tokio::runtime::LocalRuntime::new() {
                Ok(runtime) => runtime.block_on(broker.run_for_ever()),
                Err(e) => tracing::error!("no runtime for the broker: {e}"),
            },
        );
    if let Err(e) = started {
        tracing::error!("no thread for the broker: {e}");
    }
}
