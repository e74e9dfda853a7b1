//! Which endpoint gets the next request: policies, in-flight counts and passive ejection.
//!
//! **Invariant:** picking and reporting take no lock; what is shared by all workers is an atomic. Only who has to wait
//! takes one, and who lets them go.
//! **Invariant:** an endpoint's state outlives the group that uses it: a reload makes a new [`Group`] of old states.
//! **Invariant:** ejection never takes the last endpoint, and a pick fails only when every endpoint was tried.
//! **Invariant:** an endpoint with a `max_connections` never has more requests in flight, whoever begins them at once.

mod endpoint;
mod group;
mod retry;
mod ring;
mod room;
mod rules;
mod sequence;
#[cfg(test)]
mod tests;

pub use endpoint::{Ejection, EndpointState, InFlight};
pub use group::{Group, Outcome, Tried};
pub use retry::RetryBudget;
pub use ring::key_hash;
pub use room::{Lasting, Place, Room, TRIAL_EVERY};
pub use rules::{Lack, Wish};
