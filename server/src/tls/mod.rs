//! Certificates and trust: what is shown to whom, and who is believed.
//!
//! **Invariant:** no key is in any output, and a file that is wrong is named with the reason before anything uses it.

mod upstream;

pub use upstream::{Trust, Trusts, untrusted};
