//! The functions of a channel: who may subscribe, publish and delete, and as whom.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
    sync::Arc,
};

use bytes::Bytes;
use rsp_core::{
    config::{FunctionId, Publish},
    route::{Params, Pattern},
};

use super::{
    Visitor,
    publish::{NotPublished, Publisher},
};
use crate::{
    error::{Fault, Kind},
    message::{Body, Request},
    observe::Metrics,
    script::{Admission, Engine, Verdict, Visit},
};

/// Loads of functions that conversations hold on to; each has a Lua state and a whole config.
const LOADS_MAX: usize = 8;

thread_local! {
    /// What is held on to on this worker, the oldest first.
    static LOADS: RefCell<Vec<Weak<Load>>> = const { RefCell::new(Vec::new()) };
}

/// The functions of one load of the config, for conversations that outlive it.
struct Load {
    /// None: there were too many later ones.
    engine: RefCell<Option<Rc<Engine>>>,
}

impl Load {
    fn of(engine: &Rc<Engine>) -> Rc<Self> {
        LOADS.with_borrow_mut(|loads| {
            loads.retain(|load| load.strong_count() > 0);
            let is_it = |load: &Rc<Self>| load.engine().is_some_and(|known| Rc::ptr_eq(&known, engine));
            if let Some(known) = loads.iter().filter_map(Weak::upgrade).find(is_it) {
                return known;
            }
            let load = Rc::new(Self { engine: RefCell::new(Some(Rc::clone(engine))) });
            loads.push(Rc::downgrade(&load));
            if loads.len() > LOADS_MAX
                && let Some(oldest) = loads.remove(0).upgrade()
            {
                oldest.engine.take();
            }
            load
        })
    }

    fn engine(&self) -> Option<Rc<Engine>> {
        self.engine.borrow().clone()
    }
}

/// What a client's `publish` function is asked with.
pub struct Gate {
    id: FunctionId,
    load: Rc<Load>,
    request: Request,
    site: Arc<str>,
    route: Pattern,
    params: Params,
    /// Whether it outlives its request, and nobody else hears what goes wrong.
    stays: bool,
}

impl Gate {
    /// Asks whether a message may be published; what it is then, if it is another one.
    pub async fn judge(&self, message: &[u8], metrics: &Metrics) -> Result<Option<Bytes>, NotPublished> {
        let visit = Visit { site: &self.site, route: &self.route, params: &self.params };
        let request = Request { body: self.body(), ..self.request.without_body() };
        let Some(engine) = self.load.engine() else { return Err(NotPublished::Outdated) };
        let verdict = engine.may_publish(self.id, request, visit, message).await;
        if self.stays {
            // A buffer may hold thousands of messages, and others have their turn between two of them.
            tokio::task::yield_now().await;
        }
        match verdict {
            Ok(Verdict::AsItIs) => Ok(None),
            Ok(Verdict::Instead(other)) => Ok(Some(other)),
            Ok(Verdict::Refused) => Err(NotPublished::Denied),
            Err(fault) => {
                if self.stays {
                    metrics.script_errors.inc();
                    fault.log(self.request.id);
                }
                Err(NotPublished::Function(fault))
            }
        }
    }

    fn body(&self) -> Body {
        match &self.request.body {
            Body::Full(bytes) => Body::Full(bytes.clone()),
            _ => Body::Empty,
        }
    }
}

impl Visitor<'_> {
    /// Asks whether this client may subscribe, and see the history and who is there; knows then who it is.
    ///
    /// Faults: `Forbidden`, `Script`.
    pub(super) async fn admit(&mut self) -> Result<(), Fault> {
        let Some(id) = self.spec.subscribe else { return Ok(()) };
        let asked = self.engine()?.may_subscribe(id, self.request.without_body(), self.context.visit()).await?;
        match asked {
            Admission::Admitted => Ok(()),
            Admission::As(who) => {
                self.who = Some(who);
                Ok(())
            }
            Admission::Refused => Err(Fault::new(Kind::Forbidden, "the channel's `subscribe` refused")),
        }
    }

    /// Asks whether this client may drop the history; without a function nobody may.
    ///
    /// Faults: `Script`.
    pub(super) async fn may_delete(&self) -> Result<bool, Fault> {
        let Some(id) = self.spec.delete else { return Ok(false) };
        self.engine()?.may_delete(id, self.request.without_body(), self.context.visit()).await
    }

    /// This client as a publisher of one message, the whole body of its request.
    ///
    /// Faults: `Script`.
    pub(super) fn publisher_of(&self, body: &Bytes) -> Result<Publisher, Fault> {
        let request = || Request { body: Body::Full(body.clone()), ..self.request.without_body() };
        Ok(Publisher::new(self.who.clone(), self.gate(request, false)?))
    }

    /// This client as a publisher for as long as its conversation lasts.
    ///
    /// Faults: `Script`.
    pub(super) fn publisher(&self) -> Result<Publisher, Fault> {
        Ok(Publisher::new(self.who.clone(), self.gate(|| self.request.to_keep(), true)?))
    }

    fn gate(&self, request: impl FnOnce() -> Request, stays: bool) -> Result<Option<Gate>, Fault> {
        let Publish::Function(id) = self.spec.publish else { return Ok(None) };
        let Visit { site, route, params } = self.context.visit();
        Ok(Some(Gate {
            id,
            load: Load::of(self.engine()?),
            request: request(),
            site: Arc::clone(site),
            route: route.clone(),
            params: params.clone(),
            stays,
        }))
    }

    fn engine(&self) -> Result<&Rc<Engine>, Fault> {
        self.context.engine.as_ref().ok_or(Fault::new(Kind::Script, "this worker has no functions"))
    }
}
