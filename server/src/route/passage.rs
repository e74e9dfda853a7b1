//! Where connections go that are not read here.

use std::{collections::HashMap, sync::Arc};

use rsp_core::config::{self, Address, Config, Limits};

use super::{Groups, Shared, Snapshot};
use crate::upstream::Group;

/// Where connections go that are not opened here.
pub struct Passage {
    /// The checked options.
    pub spec: Arc<config::Tunnel>,
    /// Its running upstream.
    pub group: Arc<Group>,
    /// The first host, for log and metrics; empty where a whole listener is a tunnel.
    pub site: Arc<str>,
    /// Its bounds.
    pub limits: Arc<Limits>,
}

impl Snapshot {
    /// Where the connections of a listener go that is a tunnel. Asynchronous, for tables that are looked up elsewhere.
    pub async fn tunnel(&self, listener: &Address) -> Option<Arc<Passage>> {
        self.tunnels.get(listener).map(Arc::clone)
    }
}

/// Of the listeners that are tunnels.
pub(super) fn of_listeners(
    config: &Config,
    groups: &mut Groups,
    shared: &Shared<'_>,
) -> HashMap<Address, Arc<Passage>> {
    let tunnels = config.listeners.iter().filter_map(|listener| Some((&listener.address, listener.tcp.as_ref()?)));
    let passage = |spec: &Arc<config::Tunnel>| {
        let group = groups.of(&spec.upstream, shared.registry);
        Arc::new(Passage { spec: Arc::clone(spec), group, site: "".into(), limits: Arc::clone(&config.limits) })
    };
    let mut passage = passage;
    tunnels.map(|(address, spec)| (address.clone(), passage(spec))).collect()
}
