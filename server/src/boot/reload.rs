//! A reload: the new config is built beside the running one, and swapped in when every worker is ready for it.

use std::sync::Arc;

use rsp_core::config::{Config, Listener};

use super::{
    control::{Control, admin_address, plan},
    load::{self, Loaded, Refused},
    memory, status, supervisor,
    worker::Message,
};
use crate::{
    listen::{Heirloom, bind_all, discard, remove_socket},
    observe::timestamp,
    route::Snapshot,
};

impl Control {
    /// Swaps the running config for what the file says now; the error is the diagnostic, and nothing has changed.
    pub(super) async fn reload(&mut self) -> Result<String, String> {
        if self.upgrade.is_some() {
            return Err("upgrading: there will be no reload\n".to_owned());
        }
        supervisor::reloading();
        let outcome = self.try_reload().await;
        memory::give_back();
        let counter = if outcome.is_ok() {
            &self.shared.serving.metrics.reloads_ok
        } else {
            &self.shared.serving.metrics.reloads_failed
        };
        counter.inc();
        let refused = outcome.as_ref().err().map(|why| why.lines().next().unwrap_or_default().to_owned());
        self.last_reload = Some(status::Reload { at: timestamp().trim_matches(['[', ']']).to_owned(), refused });
        match &outcome {
            Ok(warnings) if warnings.is_empty() => tracing::info!("reloaded"),
            Ok(warnings) => tracing::warn!("reloaded\n{warnings}"),
            Err(diagnostic) => tracing::error!("reload refused, nothing has changed\n{diagnostic}"),
        }
        supervisor::ready(&self.summary(), false);
        outcome
    }

    async fn try_reload(&mut self) -> Result<String, String> {
        if let Some(watch) = &mut self.watch {
            watch.look();
        }
        let loaded = load::load(&self.origin);
        if let Some(watch) = &mut self.watch {
            match &loaded {
                Ok(loaded) => watch.follow(&loaded.files, Some(loaded.sources.patterns())),
                Err(refused) => watch.follow(&refused.files, None),
            }
        }
        let mut loaded = loaded.map_err(|Refused { diagnostic, .. }| diagnostic)?;
        loaded.warnings.push_str(&self.unchangeable(&loaded.config));
        let is_new = |listener: &&Listener| !self.listening.iter().any(|one| one.address == listener.address);
        let new = loaded.config.listeners.iter().filter(is_new);
        let bound = bind_all(new, self.workers.len(), &mut self.inherited).map_err(|e| format!("{e}\n"))?;
        let old = match self.prepare(&loaded).await {
            Ok(snapshot) => std::mem::replace(&mut self.snapshot, snapshot),
            Err(e) => {
                discard(bound);
                // The refused config's upstreams took the places of those that go on running.
                self.shared.serving.registry.settle(&self.snapshot.groups);
                return Err(e);
            }
        };
        self.resolver.use_servers(&loaded.config.resolver);
        self.shared.serving.broker.bound(loaded.config.limits.channels);
        // Before workers serve it: what its handlers look for is there.
        if let Err(e) = self.shared.serving.settle(&loaded.config) {
            tracing::error!("{}", e.trim_end());
        }
        for worker in &self.workers {
            worker.commit().await;
        }
        // The last owner takes its time to free a large one, and a worker has none.
        drop(old);
        self.shared.serving.registry.settle(&self.snapshot.groups);
        self.probes.settle(&self.snapshot.groups);
        self.shared.limiters.settle();
        self.shared.identities.settle();
        bound.into_iter().for_each(|bound| self.listen(bound));
        self.listen_no_more(&loaded.config);
        self.operators_config.store(Arc::clone(&loaded.config));
        self.config = loaded.config;
        Ok(loaded.warnings)
    }

    /// Empties and closes what the new config does not name.
    fn listen_no_more(&mut self, new: &Config) {
        let wanted: Vec<_> = new.listeners.iter().map(|listener| &listener.address).collect();
        let gone: Vec<_> = self.listening.extract_if(.., |one| !wanted.contains(&&one.address)).collect();
        for Heirloom { address, sockets, ours } in gone {
            if ours {
                remove_socket(&address);
                // The workers' are the last ones then, and close when they are empty.
                drop(sockets);
            } else {
                // The service manager has it open for ever; a later reload may want it again.
                self.inherited.keep(Heirloom { address: address.clone(), sockets, ours });
            }
            self.workers.iter().for_each(|worker| worker.tell(Message::Unlisten(address.clone())));
        }
    }

    /// Warnings about what stays as it was, whatever the new config says.
    fn unchangeable(&self, new: &Config) -> String {
        let mut warnings = String::new();
        if new.workers != self.config.workers {
            warnings.push_str("warning: `workers` can't change on reload; it stays as it was\n");
        }
        let name = |config: &Config| config.user.as_ref().map(|user| (user.name.clone(), user.group.clone()));
        if name(new) != name(&self.config) {
            warnings.push_str("warning: `user` can't change on reload; it stays as it was\n");
        }
        if new.broker != self.config.broker {
            warnings.push_str("warning: `broker` can't change on reload; it stays as it was\n");
        }
        let new_token = new.admin.token != self.config.admin.token;
        if new_token || admin_address(new, &self.origin) != self.admin_address {
            warnings.push_str("warning: `admin` can't change on reload; its address and token stay as they were\n");
        }
        let stays = |old: &Listener, new: &Listener| (old.mode, old.backlog) == (new.mode, new.backlog);
        let changed =
            |new: &&Listener| self.config.listeners.iter().any(|old| old.address == new.address && !stays(old, new));
        for Listener { address, .. } in new.listeners.iter().filter(changed) {
            warnings += &format!(
                "warning: `mode` and `backlog` of `listen` {address} can't change on reload; they stay as they were\n"
            );
        }
        warnings
    }

    /// Builds what `loaded` declares, and lets every worker get ready for it.
    async fn prepare(&self, loaded: &Loaded) -> Result<Arc<Snapshot>, String> {
        let plan = plan(loaded, &self.shared, &self.logs)?;
        for worker in &self.workers {
            worker.prepare(plan.clone()).await?;
        }
        Ok(plan.snapshot)
    }
}
