//! What `files` serves, checked.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
};

use http::HeaderValue;

/// `files { DIR }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The root, absolute.
    pub root: PathBuf,
    /// The file that stands for a folder.
    pub index: String,
    /// The route's literal prefix, decoded, up to and with its last slash: `/static/` for `/static/*`.
    pub prefix: String,
    /// What is never served whatever the URL.
    pub hidden: Arc<Hidden>,
    /// Whether a folder without an index is listed.
    pub listing: bool,
    /// Whether names that begin with a dot are served.
    pub dotfiles: bool,
    /// Whether `x.br`, `x.zst` and `x.gz` stand in for `x`.
    pub precompressed: bool,
    /// Of every file sent, whole, in parts or not again.
    pub cache_control: Option<HeaderValue>,
    /// Asked for in turn instead of the path itself; empty: the path.
    pub candidates: Box<[Candidate]>,
    /// Media types by ending, lower case and without its dot; they win over the built-in ones.
    pub mime: HashMap<Box<str>, HeaderValue>,
}

/// Paths that `files` never serves, with what is below those that are folders: the admin socket, the config file and what it
/// includes, certificates with their keys, and the folder of those that an authority gave.
pub type Hidden = HashSet<PathBuf>;

/// One entry of `try`: the name of a file below the root, the parts between which the path below the root stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate(pub Box<[Box<str>]>);
