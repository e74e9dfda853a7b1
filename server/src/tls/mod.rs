//! What TLS connections are opened with: certificates, their reload, session tickets, and who a client's certificate is of.
//!
//! **Invariant:** a certificate is never shown with a key that is not its own; files that are broken leave what was there.
//! **Invariant:** a session of one site is resumed at no other that asks for a client's certificate, nor past a change of
//! its authorities. Nothing of a key is in any message.

pub mod acme;
mod files;
mod identities;
mod identity;
mod stamps;
mod subject;
mod upstream;

pub use acme::Acme;
pub use files::{check_authorities, check_files};
pub use identities::Identities;
pub use identity::Identity;
pub use subject::{has_expired, subject};
pub use upstream::{Trust, Trusts, untrusted};
