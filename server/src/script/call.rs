//! A request while a function has it: what Lua sees of it ends with the call.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use bytes::Bytes;
use rsp_core::{
    config::Handler,
    frame::http1::Framing,
    route::{Params, Pattern},
};

use super::{
    engine::{Outcome, Visit},
    trouble::RaisedFault,
};
use crate::{
    error::{Fault, Kind},
    message::{Body, Request},
};

/// A request and where it got to.
pub(super) struct State {
    pub(super) request: Request,
    pub(super) site: Arc<str>,
    pub(super) route: Pattern,
    pub(super) params: Params,
    /// Why the body can't be forwarded any more: part of it was read and is gone.
    spoiled: Option<Fault>,
    /// Whether somebody reads the body just now.
    reading: bool,
}

/// What Lua holds of a request; empty once the call is over.
#[derive(Clone)]
pub(super) struct Shared(Rc<RefCell<Option<State>>>);

/// The call's own end of it: when it goes, however it goes, so does what Lua sees.
pub(super) struct Live(Shared);

impl Live {
    pub(super) fn new(request: Request, visit: Visit<'_>) -> Self {
        let state = State {
            request,
            site: Arc::clone(visit.site),
            route: visit.route.clone(),
            params: visit.params.clone(),
            spoiled: None,
            reading: false,
        };
        Self(Shared(Rc::new(RefCell::new(Some(state)))))
    }

    pub(super) fn shared(&self) -> Shared {
        self.0.clone()
    }

    /// Takes the request back.
    pub(super) fn finish(self, outcome: Result<Outcome, Fault>) -> (Request, Result<Outcome, Fault>) {
        let state = self.0.0.borrow_mut().take();
        // Nobody but this function takes it.
        let Some(state) = state else { unreachable!("a call ends once") };
        let abandoned = || Fault::new(Kind::Script, "the function returned while a coroutine of it read the body");
        let spoiled = state.spoiled.or_else(|| state.reading.then(abandoned));
        let needs_body = !matches!(outcome, Err(_) | Ok(Outcome::Handler(Handler::Reply(_) | Handler::Redirect(_))));
        match spoiled.filter(|_| needs_body) {
            Some(fault) => (state.request, Err(fault)),
            None => (state.request, outcome),
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.0.borrow_mut().take();
    }
}

impl Shared {
    /// Looks at the request, or changes it; must not call into Lua's own functions.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut State) -> mlua::Result<T>) -> mlua::Result<T> {
        match self.0.try_borrow_mut() {
            Ok(mut state) => match state.as_mut() {
                Some(state) => look(state),
                None => Err(mlua::Error::runtime("this request is over")),
            },
            Err(_) => Err(mlua::Error::runtime("this request is in use")),
        }
    }

    /// Reads the whole body, and leaves it there for whoever comes next.
    pub(super) async fn body(&self, limit: usize) -> mlua::Result<Bytes> {
        let mut body = self.with(|state| take_body(state, limit))?;
        let was_empty = matches!(body, Body::Empty);
        let gathered = body.gather(limit).await;
        self.with(|state| {
            state.reading = false;
            match gathered {
                Ok(bytes) => {
                    state.request.body = if was_empty { Body::Empty } else { Body::Full(bytes.clone()) };
                    // Whoever read the body had the client told to send it.
                    state.request.head.expect_continue = false;
                    Ok(bytes)
                }
                Err(fault) => {
                    state.request.body = body;
                    state.spoiled = Some(fault.clone());
                    Err(mlua::Error::external(RaisedFault(fault)))
                }
            }
        })
    }
}

/// Takes the body out, if it may be read and is not known to be too large.
fn take_body(state: &mut State, limit: usize) -> mlua::Result<Body> {
    if state.reading {
        return Err(mlua::Error::runtime("the body is being read already"));
    }
    if let Some(fault) = &state.spoiled {
        return Err(mlua::Error::external(RaisedFault(fault.clone())));
    }
    if let Framing::Length(length) = state.request.body.framing()
        && length > limit as u64
    {
        let cause = format!("a body of {length} bytes, and the function wants {limit} at most");
        return Err(mlua::Error::external(RaisedFault(Fault::new(Kind::BodyTooLarge, cause))));
    }
    state.reading = true;
    Ok(std::mem::replace(&mut state.request.body, Body::Empty))
}
