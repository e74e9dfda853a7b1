//! Processes that answer clients: a small process beside this one, the spawner, starts them and sees them end.
//!
//! **Invariant:** no thread of this process ever forks, or waits for one that does.
//! **Invariant:** whatever becomes of a client or of rsp itself, the whole process group of its program is gone when the
//! ladder has come to its end: its input is closed, then SIGINT, SIGTERM, SIGKILL. Who leaves the group, as daemons do, is
//! nobody's any more.

mod environment;
mod errors;
mod identity;
mod line;
mod packet;
mod places;
mod programs;
mod roster;
mod script;
mod serve;
mod spawner;
#[cfg(test)]
mod tests;

use identity::Identity;

pub use self::{
    environment::{Environment, Told, environment},
    errors::{Lines, Listener, log_errors},
    places::{Place, Places},
    programs::{Order, Process, Programs, Running},
    script::{Script, find},
    serve::{Inherited, serve},
    spawner::Spawner,
};
