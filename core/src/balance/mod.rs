//! Which endpoint gets the next request: policies, in-flight counts and passive ejection.
//!
//! **Invariant:** picking and reporting take no lock; what is shared by all workers is an atomic.
//! **Invariant:** an endpoint's state outlives the group that uses it: a reload makes a new [`Group`] of old states.
//! **Invariant:** ejection never takes the last endpoint, and a pick fails only when every endpoint was tried.

mod endpoint;
mod group;
mod retry;
mod sequence;
#[cfg(test)]
mod tests;

pub use endpoint::{Ejection, EndpointState, InFlight};
pub use group::{Group, Outcome, Tried};
pub use retry::RetryBudget;
