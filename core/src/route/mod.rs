//! Which route answers: an immutable table of hosts and path patterns.
//!
//! **Invariant:** the most specific route wins, whatever the order in the file.
//! **Invariant:** a path that an upstream may read another way matches only if every reading chooses the same route.
//! **Invariant:** a search visits each node of one site's tree at most once, whatever the path.

mod hosts;
mod path;
mod pattern;
mod rewrite;
mod table;
#[cfg(test)]
mod tests;

pub use hosts::{DuplicateHost, HostError, Hosts, normalise_host};
pub use path::{PLAIN, Path, PathError};
pub use pattern::{Pattern, PatternError, parse_key};
pub use rewrite::{BadRewrite, Rewrite, RewriteError};
pub use table::{Conflict, Lookup, Match, Params, Table};
