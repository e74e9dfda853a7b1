//! Which server has which slot: one server has all of them, those of a cluster are asked.

use std::{collections::HashMap, sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, Client, ConnectionInfo, Value};
use tokio::{task::JoinHandle, time::timeout};

use super::{
    address::{Target, elsewhere},
    link,
    names::SLOTS,
    node::Node,
    script,
    shared::Shared,
};

/// Servers of a cluster that are used; the specification says that more than a thousand are too many.
const NODES_MAX: usize = 1000;

/// The shortest time between two questions.
const PAUSE: Duration = Duration::from_millis(200);

/// After which a cluster is asked without a reason.
const ROUND: Duration = Duration::from_secs(30);

/// Slots and the servers that have them.
#[derive(Default)]
pub struct Routes {
    /// The last slot of each range, in order; None: nobody has it.
    ranges: Vec<(u16, Option<Arc<Node>>)>,
    /// Each server once.
    pub nodes: Vec<Arc<Node>>,
}

impl Routes {
    /// One server has every slot.
    pub fn one(node: Arc<Node>) -> Self {
        Self { ranges: vec![(SLOTS - 1, Some(Arc::clone(&node)))], nodes: vec![node] }
    }

    /// Who has a slot.
    pub fn node(&self, slot: u16) -> Option<&Arc<Node>> {
        let index = self.ranges.partition_point(|(last, _)| *last < slot);
        self.ranges.get(index)?.1.as_ref()
    }

    /// From ranges that a cluster told.
    fn new(mut told: Vec<(u16, u16, Arc<Node>)>, nodes: Vec<Arc<Node>>) -> Self {
        told.sort_by_key(|(first, ..)| *first);
        let mut ranges: Vec<(u16, Option<Arc<Node>>)> = Vec::with_capacity(told.len());
        let mut next = 0;
        for (first, last, node) in told {
            if first < next || last < first {
                continue;
            }
            if first > next {
                ranges.push((first - 1, None));
            }
            ranges.push((last, Some(node)));
            next = last + 1;
        }
        Self { ranges, nodes }
    }
}

/// Keeps links to all servers, for ever.
pub async fn keep(shared: Arc<Shared>) {
    let seeds = match &shared.target {
        Target::Cluster(seeds) => seeds,
        target => {
            let nodes = shared.routes.load_full();
            if let Some(node) = nodes.nodes.first() {
                link::keep(Arc::clone(&shared), Arc::clone(node), target.clone()).await;
            }
            return;
        }
    };
    let mut links: HashMap<(String, u16), (Arc<Node>, Link)> = HashMap::new();
    let mut is_known = false;
    loop {
        match ask(&shared, seeds, &links).await {
            Ok(told) => {
                is_known = true;
                settle(&shared, seeds, told, &mut links);
            }
            Err(why) if is_known => tracing::debug!("the cluster of Redis does not say who has what: {why}"),
            Err(why) => {
                is_known = true;
                tracing::warn!("redis {}: no cluster: {why}; trying again every second", shared.target.describe());
            }
        }
        tokio::time::sleep(PAUSE).await;
        let pause = if links.is_empty() { Duration::from_secs(1) } else { ROUND };
        // Over the time is a reason to ask, too.
        let _ = timeout(pause, shared.routes_wanted.notified()).await;
    }
}

/// A task that ends with its owner.
struct Link(JoinHandle<()>);

impl Drop for Link {
    fn drop(&mut self) {
        self.0.abort();
    }
}

type Told = Vec<(u16, u16, String, u16)>;

/// Asks the servers that are known, one after the other, then those of the URL.
async fn ask(
    shared: &Shared,
    seeds: &[ConnectionInfo],
    links: &HashMap<(String, u16), (Arc<Node>, Link)>,
) -> Result<Told, String> {
    let first = seeds.first().ok_or("no address")?;
    let known = links.iter().filter(|(_, (node, _))| node.session().is_some());
    let known = known.map(|((host, port), _)| elsewhere(first, host, *port));
    let mut why = String::new();
    for info in known.chain(seeds.iter().cloned()) {
        match timeout(shared.timeout, ask_one(info)).await {
            Ok(Ok(told)) => return Ok(told),
            Ok(Err(e)) => why = e,
            Err(_) => why = format!("no answer within {:?}", shared.timeout),
        }
    }
    Err(why)
}

async fn ask_one(info: ConnectionInfo) -> Result<Told, String> {
    let host = match info.addr() {
        redis::ConnectionAddr::Tcp(host, _) | redis::ConnectionAddr::TcpTls { host, .. } => host.clone(),
        _ => String::new(),
    };
    let client = Client::open(info).map_err(|e| e.to_string())?;
    let settings = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let connected = client.get_multiplexed_async_connection_with_config(&settings).await;
    let mut connection = connected.map_err(|e| e.to_string())?;
    let mut command = redis::cmd("CLUSTER");
    command.arg("SLOTS");
    let answer = connection.send_packed_command(&command).await.and_then(Value::extract_error);
    let Value::Array(ranges) = answer.map_err(|e| e.to_string())? else {
        return Err("an answer that is no list of slots".to_owned());
    };
    let told: Told = ranges.into_iter().filter_map(|range| one_range(range, &host)).collect();
    if told.is_empty() { Err("no slot belongs to any server".to_owned()) } else { Ok(told) }
}

/// First slot, last slot, the master's address, its replicas.
fn one_range(range: Value, asked: &str) -> Option<(u16, u16, String, u16)> {
    let Value::Array(parts) = range else { return None };
    let mut parts = parts.into_iter();
    let (Value::Int(first), Value::Int(last), Value::Array(master)) = (parts.next()?, parts.next()?, parts.next()?)
    else {
        return None;
    };
    let mut master = master.into_iter();
    let (host, port) = (master.next()?, master.next()?);
    // Without a name it is the one that was asked.
    let host = script::bytes(host).and_then(|host| String::from_utf8(host).ok()).filter(|host| !host.is_empty());
    let Value::Int(port) = port else { return None };
    let slot = |slot: i64| u16::try_from(slot).ok().filter(|slot| *slot < SLOTS);
    Some((slot(first)?, slot(last)?, host.unwrap_or_else(|| asked.to_owned()), u16::try_from(port).ok()?))
}

/// Links to new servers, no more links to those that went, and every channel at the server that has its slot.
fn settle(
    shared: &Arc<Shared>,
    seeds: &[ConnectionInfo],
    told: Told,
    links: &mut HashMap<(String, u16), (Arc<Node>, Link)>,
) {
    let Some(first) = seeds.first() else { return };
    let mut ranges = Vec::with_capacity(told.len());
    let mut kept: HashMap<(String, u16), (Arc<Node>, Link)> = HashMap::new();
    for (first_slot, last_slot, host, port) in told {
        let key = (host, port);
        if !kept.contains_key(&key) {
            if kept.len() == NODES_MAX {
                continue;
            }
            let entry = links.remove(&key).unwrap_or_else(|| {
                let node = Node::new(&format!("{}:{}", key.0, key.1));
                let target = Target::Server(Box::new(elsewhere(first, &key.0, key.1)));
                let link = link::keep(Arc::clone(shared), Arc::clone(&node), target);
                (node, Link(tokio::task::spawn_local(link)))
            });
            kept.insert(key.clone(), entry);
        }
        if let Some((node, _)) = kept.get(&key) {
            ranges.push((first_slot, last_slot, Arc::clone(node)));
        }
    }
    let gone = std::mem::replace(links, kept);
    let nodes = links.values().map(|(node, _)| Arc::clone(node)).collect();
    shared.routes.store(Arc::new(Routes::new(ranges, nodes)));
    shared.interests.move_to(|channel| shared.node(channel));
    for (_, (node, link)) in gone {
        drop(link);
        node.lost("no longer in the cluster", shared.counts());
        shared.interests.deafen(&node);
    }
}
