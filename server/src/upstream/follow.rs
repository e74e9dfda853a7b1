//! Groups with names: endpoints come and go as DNS says.
//!
//! A declared group stays what the file says; behind it stands the group of the addresses that its names stand for
//! now, with the states of those that were there before.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use rsp_core::config::{self, EndpointAddress};

use super::{
    Group, Registry,
    resolve::{Answer, Target},
    secured::Trusted,
};

/// How often is looked which answers are too old. No answer is valid for less.
const SWEEP: Duration = Duration::from_secs(1);

/// After a look-up that failed, what was known stands so long.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// A look-up ends before this.
const UNDER_WAY: Duration = Duration::from_secs(3600);

/// The largest weight that a file may give.
const WEIGHT_MAX: u32 = 65_535;

/// What the names of a group stand for.
pub struct Live {
    /// None: nothing is known yet.
    group: ArcSwapOption<Group>,
    /// One for each endpoint of the declaration.
    known: Mutex<Box<[Known]>>,
}

/// What is known of one endpoint's name.
#[derive(Clone, Default)]
struct Known {
    /// Empty: nothing yet.
    targets: Vec<Target>,
    /// None: never asked.
    until: Option<Instant>,
}

impl Live {
    /// For a group with names that comes in the place of `old`: what was known stands until DNS has been asked again.
    pub(super) fn of(
        registry: &Registry,
        old: Option<&Arc<Group>>,
        spec: &config::Upstream,
        trust: Option<&Trusted>,
    ) -> Option<Self> {
        if !spec.endpoints.iter().any(|endpoint| endpoint.address.is_name()) {
            return None;
        }
        let known_before = |endpoint: &config::Endpoint| {
            let (old, live) = old.and_then(|old| old.names().map(|live| (old, live)))?;
            let index = old.spec.endpoints.iter().position(|other| other.address == endpoint.address)?;
            Some(Known { targets: live.known().get(index)?.targets.clone(), until: None })
        };
        let known: Box<[_]> = spec.endpoints.iter().map(|one| known_before(one).unwrap_or_default()).collect();
        let before = old.and_then(|old| old.live());
        let group = before.map(|before| registry.renew(Some(&before), &Arc::new(found(spec, &known)), trust.cloned()));
        Some(Self { group: ArcSwapOption::new(group), known: Mutex::new(known) })
    }

    /// The group of the addresses.
    pub(super) fn group(&self) -> Option<Arc<Group>> {
        self.group.load_full()
    }

    fn known(&self) -> MutexGuard<'_, Box<[Known]>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The endpoints whose names have to be looked up now; they are not due again while that is done.
    fn take_due(&self, spec: &config::Upstream, now: Instant) -> Vec<usize> {
        let mut known = self.known();
        let named = spec.endpoints.iter().zip(known.iter_mut()).enumerate();
        let due = named.filter(|(_, (endpoint, known))| {
            endpoint.address.is_name() && known.until.is_none_or(|until| until <= now)
        });
        due.map(|(index, (_, known))| {
            known.until = Some(now + UNDER_WAY);
            index
        })
        .collect()
    }

    /// Keeps an answer; true when it is another one than before.
    fn learn(&self, index: usize, answer: Option<Answer>) -> bool {
        let mut known = self.known();
        let Some(known) = known.get_mut(index) else { return false };
        let Some(Answer { targets, valid }) = answer else {
            known.until = Some(Instant::now() + AFTER_FAILURE);
            return false;
        };
        known.until = Some(Instant::now() + valid);
        let is_new = known.targets != targets;
        known.targets = targets;
        is_new
    }
}

/// Looks the names of declared groups up again, each when its answer is too old.
pub async fn follow_for_ever(registry: Arc<Registry>) {
    loop {
        for group in registry.declared() {
            let Some(live) = group.names() else { continue };
            let due = live.take_due(&group.spec, Instant::now());
            if !due.is_empty() {
                tokio::task::spawn_local(look_up(Arc::clone(&registry), Arc::clone(&group), due));
            }
        }
        tokio::time::sleep(SWEEP).await;
    }
}

async fn look_up(registry: Arc<Registry>, group: Arc<Group>, due: Vec<usize>) {
    let Some(live) = group.names() else { return };
    let mut is_new = false;
    for index in due {
        let address = &group.spec.endpoints[index].address;
        let answer = registry.resolver().look_up(address).await;
        let answer = answer.inspect_err(|e| tracing::warn!("{address} of {}: {e}", group.name)).ok();
        is_new |= live.learn(index, answer);
    }
    if is_new {
        let spec = found(&group.spec, &live.known());
        let addresses: Vec<_> = spec.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
        tracing::info!("{} is now {}", group.name, addresses.join(" "));
        let old = live.group().unwrap_or_else(|| Arc::clone(&group));
        let new = registry.renew(Some(&old), &Arc::new(spec), group.trust().cloned());
        live.group.store(Some(Arc::clone(&new)));
        old.give_way(&new);
    }
}

/// The declaration with addresses in place of the names that are known. A target of an SRV record has the record's
/// weight, and is a backup if there are better ones.
fn found(spec: &config::Upstream, known: &[Known]) -> config::Upstream {
    let mut endpoints: Vec<config::Endpoint> = Vec::new();
    for (endpoint, known) in spec.endpoints.iter().zip(known) {
        if known.targets.is_empty() {
            endpoints.push(endpoint.clone());
        }
        endpoints.extend(known.targets.iter().map(|target| config::Endpoint {
            address: EndpointAddress::Found(Box::new(endpoint.address.clone()), target.address),
            weight: endpoint.weight.saturating_mul(target.weight).min(WEIGHT_MAX),
            backup: endpoint.backup || target.backup,
            max_connections: endpoint.max_connections,
            tls: endpoint.tls,
            name: target.address.to_string(),
        }));
    }
    config::Upstream { endpoints, ..spec.clone() }
}
