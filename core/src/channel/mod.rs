//! A channel: a stream of messages with positions, its history, its idempotency keys and who is present.
//!
//! Pure: `now` is an argument, an epoch is given by whoever has randomness.
//!
//! **Invariant:** within an epoch offsets have no gap; who follows from a position sees every message after it once and in
//! order, or is told that some are lost.

mod follow;
mod keys;
mod name;
mod position;
mod presence;
mod stream;
#[cfg(test)]
mod tests;

pub use follow::{Follower, Next};
pub use keys::{KEY_MAX, KEYS_MAX};
pub use name::{BadName, BadTemplate, NAME_MAX, Template, check_name};
pub use position::{Epoch, NotAPosition, Position};
pub use presence::{Member, Presence};
pub use stream::{Channel, Item, Message, Published, Resumed, Rules, Who};
