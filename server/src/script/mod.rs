//! Lua: a config file becomes raw values, and its functions run on requests.
//!
//! **Invariant:** every evaluation of the same [`Sources`] numbers the functions alike, whatever happened to the files.
//! **Invariant:** no file, however wrong, and no function, however greedy, takes a worker down: time and memory of
//! both are bounded, and what goes over becomes a diagnostic or a fault.

mod ask;
mod call;
mod channels;
mod construct;
mod convert;
mod engine;
mod environment;
mod evaluate;
mod files;
mod headers;
mod json;
mod meter;
mod recorder;
mod request;
mod sources;
#[cfg(test)]
mod tests;
mod trouble;

pub use ask::{Admission, Verdict};
pub use channels::Services;
pub use engine::{Engine, Outcome, Visit};
pub use evaluate::{Loaded, load, load_text};
pub use files::{find_program, probe, read_file, real};
pub use sources::Sources;
