//! Groups of endpoints: which one, a connection to it, one exchange on it, and what its failures mean.
//!
//! **Invariant:** states of endpoints are shared by all workers and live by name across reloads; idle connections
//! belong to one worker.
//! **Invariant:** a request that waits for an endpoint has a place in a bounded line, and none of its body is read.
//! **Invariant:** a request goes to another endpoint only while no byte of its body is out.

pub mod affinity;
mod choice;
mod connect;
mod dial;
mod exchange;
mod failed;
mod follow;
mod group;
mod http2;
mod interim;
mod pools;
mod probe;
mod resolve;
mod secured;
mod sticky;

pub use choice::Affinity;
pub use dial::{Caller, Dialled, dial};
pub use exchange::{Fastcgi, Outgoing, since_start};
pub use follow::follow_for_ever;
pub use group::{Endpoint, Group, Registry};
pub use pools::Pools;
pub use probe::Probes;
pub use resolve::{Desk, Resolver};
pub use sticky::Secret;
