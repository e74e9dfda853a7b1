//! What the service manager is told, sd_notify(3); without one these do nothing.

use std::time::Duration;

use sd_notify::NotifyState;

use super::worker::Handle;

/// It serves, from this process if it took over from another one.
pub fn ready(status: &str, is_successor: bool) {
    let mut states = vec![NotifyState::Ready, NotifyState::Status(status)];
    if is_successor {
        states.push(NotifyState::MainPid(std::process::id()));
    }
    notify(&states);
}

/// It reads its config again; [`ready`] follows.
pub fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    states.extend(NotifyState::monotonic_usec_now());
    notify(&states);
}

/// It is about to end.
pub fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Feeds the watchdog twice in its time, for as long as this thread and every worker answer.
pub async fn keep_alive(workers: Vec<Handle>) {
    let Some(within) = sd_notify::watchdog_enabled() else { return };
    let half = within / 2;
    let mut turn = tokio::time::interval(half.max(Duration::from_millis(1)));
    turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turn.tick().await;
        let alive = tokio::time::timeout(half, all_alive(&workers)).await;
        match alive {
            Ok(true) => notify(&[NotifyState::Watchdog]),
            _ => tracing::error!("a worker does not answer within {half:?}; the watchdog is not fed"),
        }
    }
}

async fn all_alive(workers: &[Handle]) -> bool {
    for worker in workers {
        if !worker.is_alive().await {
            return false;
        }
    }
    true
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        tracing::warn!("the service manager can't be told: {e}");
    }
}
