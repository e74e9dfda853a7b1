//! What an evaluation read of the world, so that every worker can repeat it without looking again.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use rsp_core::config::raw::Source;

/// The texts of a config and everything else its evaluation asked for.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The config file first.
    pub(super) texts: Vec<Source>,
    /// What `require` and `include` found, by the file that says so and what it says.
    pub(super) found: HashMap<(u32, String), Vec<u32>>,
    /// What `include` looked for, with the folder before it.
    pub(super) patterns: Vec<PathBuf>,
    /// What `env` gave; None is unset.
    pub(super) variables: HashMap<String, Option<String>>,
    /// Where each function begins: file and line.
    pub(super) functions: Vec<(u32, u32)>,
    /// The folder relative paths of the texts are relative to.
    pub(super) folder: PathBuf,
}

impl Sources {
    /// The files that were read, the config file first; a text without a file is not among them.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.texts.iter().map(|source| source.path.as_path()).filter(|path| !path.as_os_str().is_empty())
    }

    /// The patterns of every `include`: a new file that one of them matches belongs to the config.
    pub fn patterns(&self) -> &[PathBuf] {
        &self.patterns
    }

    /// The texts, as spans index them.
    pub fn texts(&self) -> &[Source] {
        &self.texts
    }
}

/// The name under which Lua knows a file; it stands in Lua's own messages.
pub(super) fn chunk_name(path: &Path) -> String {
    let path = path.display().to_string();
    // Lua cuts longer ones, which would then name no file.
    match path.char_indices().rev().nth(CHUNK_NAME_MAX) {
        Some((start, _)) => path[start..].to_owned(),
        None if path.is_empty() => "command".to_owned(),
        None => path,
    }
}

const CHUNK_NAME_MAX: usize = 60;
