//! The ways out: a drain, a stop, and a successor that takes over.

use std::future::pending;

use rsp_core::config::Address;
use tokio::sync::oneshot;

use super::{
    control::Control,
    signals::{Signals, Wish},
    supervisor,
    upgrade::{Attempt, Offered, Successor},
    worker::{Handle, Message},
};
use crate::{
    handler::admin::Command,
    listen::{Heirloom, remove_socket},
};

/// Who asks for an upgrade; None: a signal, which gets no answer.
type Asker = Option<oneshot::Sender<Result<String, String>>>;

/// An upgrade that is under way, and who waits for it.
pub struct Upgrading {
    attempt: Attempt,
    asker: Asker,
}

impl Upgrading {
    /// What becomes of it; never, if there is none.
    pub async fn outcome(current: &mut Option<Self>) -> Result<Successor, String> {
        match current {
            None => pending().await,
            Some(upgrading) => (&mut upgrading.attempt.outcome)
                .await
                .unwrap_or_else(|_| Err("the upgrade panicked; please report it\n".to_owned())),
        }
    }
}

impl Control {
    /// Starts the new binary; at most one at a time.
    pub(super) fn begin_upgrade(&mut self, asker: Asker) {
        if self.upgrade.is_some() {
            return refuse(asker, "an upgrade is under way\n".to_owned());
        }
        tracing::info!("upgrading");
        match self.offered().and_then(|offered| Attempt::start(&self.startup, offered, self.generation)) {
            Ok(attempt) => self.upgrade = Some(Upgrading { attempt, asker }),
            Err(e) => refuse(asker, format!("{e}\n")),
        }
    }

    /// Everything that listens.
    fn offered(&self) -> Result<Vec<Offered>, String> {
        let all = self.listening.iter().chain(&self.admin_listening).chain(self.inherited.waiting());
        all.map(|Heirloom { address, sockets, ours }| {
            let sockets = sockets.iter().map(|socket| socket.try_clone()).collect::<std::io::Result<_>>();
            let sockets = sockets.map_err(|e| format!("{address}: {e}"))?;
            Ok(Offered { address: address.clone(), sockets, ours: *ours })
        })
        .collect()
    }

    /// True: the successor accepts, and nothing comes to us any more.
    pub(super) async fn end_upgrade(&mut self, outcome: Result<Successor, String>) -> bool {
        let asker = self.upgrade.take().and_then(|upgrading| upgrading.asker);
        let Successor { pid, mut taken } = match outcome {
            Ok(successor) => successor,
            Err(diagnostic) => {
                refuse(asker, diagnostic);
                return false;
            }
        };
        tracing::info!("upgraded: process {pid} serves; this one finishes what it has");
        let mut is_taken = |address: &Address| {
            let index = taken.iter().position(|one| one == address);
            index.map(|index| taken.swap_remove(index)).is_some()
        };
        for Heirloom { address, ours, .. } in self.listening.drain(..) {
            if is_taken(&address) {
                self.workers.iter().for_each(|worker| worker.tell(Message::HandOver(address.clone())));
            } else if ours {
                // The drain empties it. A later config of the successor may want the path, which is why it goes now.
                remove_socket(&address);
            }
        }
        if let Some(Heirloom { address, ours, .. }) = self.admin_listening.take()
            && !is_taken(&address)
            && ours
        {
            remove_socket(&address);
        }
        if let Some(admin) = &mut self.serving_admin {
            admin.hand_over().await;
        }
        if let Some(asker) = asker {
            // Whoever asked may have left.
            let _ = asker.send(Ok(format!("upgraded: process {pid}\n")));
        }
        if let Some(watchdog) = self.watchdog.take() {
            // From now on it is the successor whose life counts.
            watchdog.abort();
        }
        self.succeeded = true;
        true
    }

    /// Ends without waiting for anything.
    pub(super) fn stop(&self) {
        self.give_upgrade_up();
        supervisor::stopping();
    }

    /// A new binary must not start to serve when this one was told to end.
    fn give_upgrade_up(&self) {
        if let Some(upgrading) = &self.upgrade {
            upgrading.attempt.cancel();
        }
    }

    /// Ends what is idle, waits for what is busy, and gives up after `drain`, at a second signal or at `rsp stop`.
    pub(super) async fn drain(&mut self, signals: &mut Signals) {
        self.give_upgrade_up();
        self.shared.serving.acme.set_reachable(false);
        if !self.succeeded {
            supervisor::stopping();
        }
        if self.succeeded {
            self.shared.serving.residents.hand_over();
        }
        tracing::info!("draining for {:?} at most", self.config.drain);
        // The workers' sockets are the last ones then, and close when they are empty.
        self.listening.iter_mut().for_each(|one| one.sockets.clear());
        let emptied: Vec<_> = self.workers.iter().map(Handle::drain).collect();
        let all = async {
            for worker in emptied {
                // A worker that is gone is empty.
                let _ = worker.await;
            }
        };
        let mut all = std::pin::pin!(all);
        let mut too_long = std::pin::pin!(tokio::time::sleep(self.config.drain));
        // A service manager ends both, which is the first time that this process is told.
        let mut told = !self.succeeded;
        loop {
            tokio::select! {
                () = &mut all => return tracing::info!("drained"),
                () = &mut too_long => return tracing::warn!("the drain took too long; closing what is left"),
                wish = signals.next() => match wish {
                    Wish::Drain if told => return tracing::warn!("told twice; closing what is left"),
                    Wish::Drain => told = true,
                    Wish::Reopen => self.logs.reopen(),
                    Wish::Reload => tracing::warn!("draining: there will be no reload"),
                    Wish::Upgrade => tracing::warn!("draining: there will be no upgrade"),
                },
                Some(command) = self.commands.recv() => match command {
                    Command::Stop => return tracing::warn!("told to stop; closing what is left"),
                    Command::Drain => {}
                    Command::Status(answer) => drop(answer.send(self.status())),
                    Command::Reload(answer) => drop(answer.send(Err("draining: there will be no reload\n".to_owned()))),
                    Command::Upgrade(answer) => {
                        drop(answer.send(Err("draining: there will be no upgrade\n".to_owned())));
                    }
                },
            }
        }
    }
}

fn refuse(asker: Asker, diagnostic: String) {
    tracing::error!("no upgrade, nothing has changed\n{diagnostic}");
    if let Some(asker) = asker {
        // Whoever asked may have left.
        let _ = asker.send(Err(diagnostic));
    }
}
