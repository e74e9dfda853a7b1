//! The thread that orders and renews: one thing at a time, the one that is due first.

use std::{io, sync::Arc, time::Duration};

use instant_acme::Error;
use rsp_core::{
    config,
    renewal::{Window, look_after, wait_after},
};

use super::{
    Shared, State,
    authority::{Authority, Trouble},
    certificate::Certificate,
    now, order, read, seed,
    storage::{Failed, Folder, Lock, Notes},
};
use crate::observe::push_rfc3339;

/// The clock may be set: it is looked at again after this.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// How often a folder is tried that another process holds.
const LOCKED: Duration = Duration::from_secs(1);

/// Between attempts that fail in a row, whosever they are: one, two, four seconds …
const REST_MAX: Duration = Duration::from_secs(60);

/// When to ask for the window again, of an authority that did not say.
const LOOK_AGAIN: Duration = Duration::from_secs(6 * 3600);

/// What is due.
struct Errand {
    id: String,
    names: Arc<[Box<str>]>,
    acme: Arc<config::Acme>,
    folder: Folder,
}

pub(super) fn start(shared: Arc<Shared>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = move || runtime.block_on(keep(&shared));
    std::thread::Builder::new().name("acme".to_owned()).spawn(run).map(drop)
}

async fn keep(shared: &Shared) {
    let mut rest = Rest::default();
    loop {
        let changed = shared.changed.notified();
        let next = shared.lock().next();
        let Some((at, errand)) = next else {
            changed.await;
            continue;
        };
        let wait = at.max(rest.until).saturating_sub(now());
        if !wait.is_zero() {
            let _ = tokio::time::timeout(wait.min(SLEEP_MAX), changed).await;
            continue;
        }
        tokio::select! {
            is_well = attempt(shared, &errand) => rest.after(is_well),
            () = unwanted(shared, &errand) => {}
        }
        if let Some(order) = shared.lock().orders.get_mut(&errand.id) {
            order.is_running = false;
        }
    }
}

/// The rest after failures.
#[derive(Default)]
struct Rest {
    failures: u32,
    until: Duration,
}

impl Rest {
    fn after(&mut self, is_well: bool) {
        self.failures = if is_well { 0 } else { self.failures.saturating_add(1) };
        let rest = match self.failures {
            0 => Duration::ZERO,
            times => Duration::from_secs(1 << (times - 1).min(6)).min(REST_MAX),
        };
        self.until = now() + rest;
    }
}

impl State {
    /// What is due first, and when.
    fn next(&self) -> Option<(Duration, Errand)> {
        let (acme, folder) = self.source.as_ref().filter(|_| self.is_reachable)?;
        let (id, order) = self.orders.iter().min_by_key(|(_, order)| order.due())?;
        let errand =
            Errand { id: id.clone(), names: Arc::clone(&order.names), acme: Arc::clone(acme), folder: folder.clone() };
        Some((order.due(), errand))
    }
}

/// Ready when a reload took the order away, or gave it to another authority, or when it is time to end.
async fn unwanted(shared: &Shared, errand: &Errand) {
    loop {
        let changed = shared.changed.notified();
        {
            let state = shared.lock();
            let is_same = state.source.as_ref().is_some_and(|(acme, _)| *acme == errand.acme);
            if !is_same || !state.is_reachable || !state.orders.contains_key(&errand.id) {
                return;
            }
        }
        changed.await;
    }
}

/// Whether it went well; what it found is in the state and in the folder.
async fn attempt(shared: &Shared, errand: &Errand) -> bool {
    let Ok(_lock) = locked(errand).await else { return false };
    shared.adopt(errand);
    let (certificate, notes) = {
        let mut state = shared.lock();
        let Some(order) = state.orders.get_mut(&errand.id).filter(|order| order.due() <= now()) else { return true };
        order.is_running = true;
        (order.certificate.clone(), order.notes.clone())
    };
    match certificate {
        Some(certificate) if notes.trouble.is_none() && now() < notes.renew_at => {
            look(shared, errand, &certificate, notes).await;
            true
        }
        certificate => renew(shared, errand, certificate.as_deref(), notes).await,
    }
}

/// Waits for other processes that ask for certificates of the same folder.
async fn locked(errand: &Errand) -> Result<Lock, ()> {
    let mut is_said = false;
    loop {
        match errand.folder.lock() {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) if !is_said => {
                is_said = true;
                tracing::info!("{}: another process orders certificates", errand.folder.path().display());
            }
            Ok(None) => {}
            Err(e) => {
                tracing::error!("{} can't be locked: {e}", errand.folder.path().display());
                // Nothing can be asked without it, nor can it be written down that it failed.
                tokio::time::sleep(REST_MAX).await;
                return Err(());
            }
        }
        tokio::time::sleep(LOCKED).await;
    }
}

impl Shared {
    /// Takes over what another process has got, or has failed to get, since.
    fn adopt(&self, errand: &Errand) {
        let (certificate, notes) = read(&errand.folder, &errand.id, &errand.names);
        let mut state = self.lock();
        let Some(order) = state.orders.get_mut(&errand.id) else { return };
        let at = |notes: &Notes| notes.trouble.as_ref().map(|failed| failed.at);
        let until = |certificate: &Option<Arc<Certificate>>| certificate.as_ref().map(|one| one.validity.until);
        if until(&certificate) > until(&order.certificate) {
            tracing::info!("a certificate for {} was found in the cache", listed(&errand.names));
            (order.certificate, order.notes) = (certificate, notes);
            self.show(&state);
        } else if at(&notes) > at(&order.notes) {
            order.notes = notes;
        }
    }

    /// Keeps what came of an errand.
    fn keep(&self, errand: &Errand, certificate: Option<Certificate>, notes: Notes) {
        if let Err(e) = errand.folder.save_notes(&errand.id, &notes) {
            tracing::error!("{}: {e}", errand.folder.path().display());
        }
        let mut state = self.lock();
        let Some(order) = state.orders.get_mut(&errand.id) else { return };
        order.notes = notes;
        if let Some(certificate) = certificate {
            order.certificate = Some(Arc::new(certificate));
            self.show(&state);
        }
    }
}

/// Orders a certificate; whatever goes wrong, the one that is there goes on being shown.
async fn renew(shared: &Shared, errand: &Errand, before: Option<&Certificate>, notes: Notes) -> bool {
    tracing::info!("a certificate for {} is ordered from {}", listed(&errand.names), errand.acme.directory);
    let asked = async {
        let authority = Authority::open(&errand.acme, &errand.folder).await?;
        let wanted = order::Wanted {
            names: &errand.names,
            challenge: errand.acme.challenge,
            // Once: an authority that does not know the old one may refuse the new one for it.
            replaces: before.filter(|_| notes.trouble.is_none()).and_then(|one| one.identifier.clone()),
        };
        let (pem, certificate) = order::order(&authority, wanted, &shared.challenges).await?;
        Ok((pem, certificate, authority))
    };
    match asked.await {
        Ok((pem, certificate, authority)) => {
            if let Err(e) = errand.folder.save_certificate(&errand.id, pem.as_bytes()) {
                tracing::error!("{}: the new certificate can't be kept: {e}", errand.folder.path().display());
            }
            let notes = Notes::new(certificate.validity, now(), seed());
            tracing::info!("a certificate for {} until {}", listed(&errand.names), date(certificate.validity.until));
            shared.keep(errand, Some(certificate), notes.clone());
            let newest = shared.lock().orders.get(&errand.id).and_then(|order| order.certificate.clone());
            if let Some(newest) = newest {
                let notes = looked(&authority, &newest, notes).await;
                shared.keep(errand, None, notes);
            }
            true
        }
        Err(Trouble { failure, why, told }) => {
            let times = notes.trouble.as_ref().map_or(0, |failed| failed.times).saturating_add(1);
            let (at, is_told) = (now(), told.is_some());
            let next = at + wait_after(times, failure, told, seed());
            let names = listed(&errand.names);
            let state = if before.is_some() { "the old one stays" } else { "handshakes for it end with an alert" };
            tracing::warn!("no certificate for {names}: {why}; {state}; the next attempt is at {}", date(next));
            let trouble = Some(Failed { times, at, next, is_told, why, failure });
            shared.keep(errand, None, Notes { trouble, ..notes });
            false
        }
    }
}

/// Asks when a certificate is to be renewed (RFC 9773), and nothing else.
async fn look(shared: &Shared, errand: &Errand, certificate: &Certificate, notes: Notes) {
    let notes = match Authority::open(&errand.acme, &errand.folder).await {
        Ok(authority) => looked(&authority, certificate, notes).await,
        Err(Trouble { why, told, .. }) => {
            tracing::debug!("no word about the renewal of {}: {why}", listed(&errand.names));
            let again = look_after(told.unwrap_or(LOOK_AGAIN), certificate.validity);
            Notes { look_at: Some(now() + again), ..notes }
        }
    };
    shared.keep(errand, None, notes);
}

async fn looked(authority: &Authority, certificate: &Certificate, notes: Notes) -> Notes {
    let Some(identifier) = &certificate.identifier else { return Notes { look_at: None, ..notes } };
    let (validity, seconds) =
        (certificate.validity, |time: i64| Duration::from_secs(time.try_into().unwrap_or_default()));
    let again = |after| Some(now() + look_after(after, validity));
    match authority.account.renewal_info(identifier).await {
        Ok((info, after)) => {
            let suggested = &info.suggested_window;
            let window = Window {
                start: seconds(suggested.start.unix_timestamp()),
                end: seconds(suggested.end.unix_timestamp()),
            };
            let is_inside = (window.start..=window.end).contains(&notes.renew_at);
            let renew_at = if is_inside { notes.renew_at } else { validity.renew_within(window, seed()) };
            let renew_at = renew_at.max(validity.stays_until(notes.got));
            Notes { renew_at, look_at: again(after), ..notes }
        }
        Err(Error::Unsupported(_)) => Notes { look_at: None, ..notes },
        Err(e) => {
            let Trouble { why, told, .. } = authority.trouble(e);
            tracing::debug!("no word about the renewal: {why}");
            Notes { look_at: again(told.unwrap_or(LOOK_AGAIN)), ..notes }
        }
    }
}

/// The first names of an order.
fn listed(names: &[Box<str>]) -> String {
    match names {
        [] => String::new(),
        [one] => one.to_string(),
        [one, two] => format!("{one} and {two}"),
        [one, others @ ..] => format!("{one} and {} others", others.len()),
    }
}

fn date(time: Duration) -> String {
    let mut text = Vec::new();
    push_rfc3339(&mut text, std::time::UNIX_EPOCH + time);
    String::from_utf8_lossy(&text).into_owned()
}
