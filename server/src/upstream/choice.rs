//! Which endpoint a request gets, at once or after its turn in the line.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

pub(super) use rsp_core::balance::Lack;
use rsp_core::balance::{InFlight, Place, Tried, Wish};
use tokio::time::Instant;

use super::{
    Group, Outgoing,
    exchange::{since_start, start},
};
use crate::{
    error::{Fault, Kind},
    observe::UpstreamCounts,
    stream::{Timer, Watched, Wire},
};

/// How often a waiting client whose unread bytes hide its end is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What binds a request to an endpoint.
#[derive(Debug, Clone, Copy, Default)]
pub struct Affinity {
    /// The hash of its key; None: it has none.
    pub key: Option<u64>,
    /// The endpoint that its cookie names.
    pub before: Option<usize>,
    /// Until when it waits for an endpoint; None until it first has to.
    pub until: Option<Instant>,
}

/// An endpoint with the request counted on it, without waiting.
pub(super) fn now(group: &Group, outgoing: &Outgoing<'_>, tried: &Tried) -> Result<(usize, InFlight), Lack> {
    if !group.balance.has_rules() {
        let index = group.balance.pick(since_start(outgoing.now), outgoing.seed, tried).ok_or(Lack::Down)?;
        return Ok((index, group.balance.begin(index)));
    }
    // Who came later does not go first.
    if group.queues() && tried.is_empty() && group.balance.lasting().room.waiting() > 0 {
        return Err(Lack::Full);
    }
    group.balance.take(&wish(outgoing, outgoing.now, tried))
}

/// Why a request that may not wait gets no endpoint.
pub(super) fn full(group: &Group) -> Fault {
    Fault::new(Kind::Full, format!("every endpoint of {} has as many requests as it may", group.name))
}

/// After a failed connect: whether nothing else is left, so that the request had better wait.
pub(super) fn is_unreachable(group: &Group, outgoing: &Outgoing<'_>, tried: &Tried) -> bool {
    let now = since_start(outgoing.now);
    let unreachable = group.queues() && !group.balance.has_other(now, tried);
    if unreachable {
        group.balance.lasting().room.unreachable(now);
    }
    unreachable
}

/// Waits in line for an endpoint, `queue.timeout` at most from the first wait on. Nothing of the request is read or
/// sent meanwhile. The endpoint may be one of another group: of what a reload or DNS made of this one meanwhile.
pub(super) async fn wait(
    group: &Arc<Group>,
    outgoing: &mut Outgoing<'_>,
    lack: Lack,
) -> Result<(Option<Arc<Group>>, usize, InFlight), Fault> {
    let queue = group.spec.queue;
    let Some(place) = Place::take(group.balance.lasting(), queue.size) else {
        group.counts.queue_refused.inc();
        let cause = format!("{}; as many wait for {} as may", why(lack), group.name);
        return Err(Fault::new(Kind::Full, cause));
    };
    let _counted = Counted::new(&group.counts);
    let affinity = outgoing.affinity.get_or_insert_default();
    let deadline = *affinity.until.get_or_insert_with(|| Instant::now() + queue.timeout);
    let (client, seed) = (outgoing.interim.client(), outgoing.seed);
    let tried = Tried::default();
    let mut timer = Timer::default();
    let mut current = None;
    let waited = poll_fn(|cx| {
        let now = Instant::now();
        let mut until = deadline;
        if place.is_first(cx.waker()) {
            current = group.current();
            let asked = current.as_ref().unwrap_or(group);
            let before = affinity.before.and_then(|before| same_endpoint(group, before, asked));
            let wish = Wish { now: since_start(now), seed, tried: &tried, key: affinity.key, before };
            if let Ok((index, held)) = asked.balance.take(&wish) {
                affinity.before = before;
                return Poll::Ready(Ok((current.take(), index, held)));
            }
            let change = asked.balance.next_change(since_start(now));
            until = change.map_or(until, |change| until.min(start() + change));
        }
        match client.map_or(Watched::Quiet, |client: &Wire| client.watch(cx)) {
            Watched::Ended => return Poll::Ready(Err(Fault::new(Kind::ClientGone, "the client left the line"))),
            Watched::Unread => until = until.min(now + LOOK_EVERY),
            Watched::Quiet => {}
        }
        if timer.poll(cx, until).is_ready() {
            if Instant::now() >= deadline {
                group.counts.queue_timeouts.inc();
                let cause = format!("{}; no endpoint of {} in {:?}", why(lack), group.name, queue.timeout);
                return Poll::Ready(Err(Fault::new(Kind::Full, cause)));
            }
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
    outgoing.now = Instant::now();
    waited
}

/// The place of an endpoint in another group.
fn same_endpoint(group: &Group, index: usize, other: &Group) -> Option<usize> {
    let names = &group.endpoints.get(index)?.names;
    other.endpoints.iter().position(|endpoint| endpoint.names == *names)
}

fn why(lack: Lack) -> &'static str {
    match lack {
        Lack::Full => "every endpoint is full",
        Lack::Down => "no endpoint can be reached",
    }
}

fn wish<'a>(outgoing: &Outgoing<'_>, now: Instant, tried: &'a Tried) -> Wish<'a> {
    let Affinity { key, before, .. } = outgoing.affinity.as_deref().copied().unwrap_or_default();
    Wish { now: since_start(now), seed: outgoing.seed, tried, key, before }
}

/// One more that waits, while it lives.
struct Counted<'a>(&'a UpstreamCounts);

impl<'a> Counted<'a> {
    fn new(counts: &'a UpstreamCounts) -> Self {
        counts.queued.inc();
        Self(counts)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.queued.dec();
    }
}
