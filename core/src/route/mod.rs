//! Which route answers: an immutable table of hosts and path patterns.

/// A checked path pattern, without its method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern;
