//! What TLS is spoken with: certificates and where they come from.

pub mod acme;

pub use acme::Acme;
