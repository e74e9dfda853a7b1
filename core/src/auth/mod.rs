//! Who may pass: what a client says of itself, what the operator knows of it, and how long an auth server's yes holds.
//!
//! **Invariant:** what is not understood lets nobody pass.
//! **Invariant:** no password, no hash of one, no secret and no token is in a message, a log line or a `Debug` output.

mod credentials;
mod holds;
mod password;
pub mod token;
mod users;

pub use credentials::{Credentials, credentials};
pub use holds::holds_for;
pub use password::{HashError, PasswordHash};
pub use token::Tokens;
pub use users::{Line, USERS_MAX, Users};
