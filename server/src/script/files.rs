//! Reads the files of a config, and none above its folder.

use std::{
    collections::HashMap,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use rsp_core::config::{PathKind, raw::Source, units};

use super::sources::Sources;

/// Bytes of one file; a config of a million routes has 40 MiB.
const FILE_MAX: u64 = 256 << 20;
/// Files of one config.
const FILES_MAX: usize = 100_000;

/// Looks for files while a config is evaluated for the first time.
pub(super) struct Finder {
    /// Canonical; nothing above it is read.
    root: PathBuf,
    /// Canonical paths of the texts that were read.
    read: HashMap<PathBuf, u32>,
}

/// What is at a path, for the checks that need to know.
pub fn probe(path: &Path) -> PathKind {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => match std::fs::read_dir(path) {
            Ok(_) => PathKind::Folder,
            Err(_) => PathKind::Denied,
        },
        Ok(_) => PathKind::File,
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => PathKind::Denied,
        Err(_) => PathKind::Missing,
    }
}

/// Where a path leads once all links are followed.
pub fn real(path: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(path).ok()
}

/// The program that a path names, or that is found in `PATH` under a name without a slash.
pub fn find_program(path: &Path) -> Result<PathBuf, String> {
    use std::os::unix::fs::PermissionsExt;
    let shown = path.display();
    let is_program = |path: &Path| {
        let found = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file);
        found.is_some_and(|found| found.permissions().mode() & 0o111 != 0)
    };
    if path.is_absolute() {
        return match std::fs::metadata(path) {
            Err(e) => Err(format!("can't run {shown}: {e}")),
            Ok(_) if is_program(path) => Ok(path.to_owned()),
            Ok(found) if found.is_dir() => Err(format!("can't run {shown}: it is a folder")),
            Ok(_) => Err(format!("can't run {shown}: it is not executable (`chmod +x` makes it so)")),
        };
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let here = std::env::current_dir().unwrap_or_default();
    let mut found = std::env::split_paths(&folders).map(|folder| here.join(folder).join(path));
    found.find(|path| is_program(path)).ok_or_else(|| format!("there is no program {shown} in PATH"))
}

impl Finder {
    /// For a config in `folder`; `main` is its file, if it has one.
    pub(super) fn new(folder: &Path, main: Option<&Path>) -> Self {
        let root = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let main = main.and_then(|path| path.canonicalize().ok());
        Self { root, read: main.into_iter().map(|path| (path, 0)).collect() }
    }

    /// The file that `require` names, read now or before.
    pub(super) fn require(&mut self, sources: &mut Sources, from: u32, said: &str) -> Result<u32, String> {
        let named = folder_of(sources, from).join(said);
        let endings = ["", ".lua", ".luau"].map(|ending| PathBuf::from(format!("{}{ending}", named.display())));
        match endings.iter().find(|path| path.is_file()) {
            Some(path) => self.take(sources, path),
            None => Err(format!("there is no file {} or {}", endings[0].display(), endings[1].display())),
        }
    }

    /// The files that `include` names, in the order of their names.
    pub(super) fn include(&mut self, sources: &mut Sources, from: u32, said: &str) -> Result<Vec<u32>, String> {
        let folder = folder_of(sources, from);
        let escaped = glob::Pattern::escape(&folder.display().to_string());
        let pattern = Path::new(&escaped).join(said).display().to_string();
        let matches = glob::glob(&pattern).map_err(|e| format!("\"{said}\" is no pattern: {}", e.msg))?;
        sources.patterns.push(PathBuf::from(&pattern));
        let mut paths = Vec::new();
        for found in matches {
            let path = found.map_err(|e| format!("{}: {}", e.path().display(), reason(e.error())))?;
            if path.is_file() {
                paths.push(path);
            }
        }
        paths.sort();
        if paths.is_empty() && !said.contains(['*', '?', '[']) {
            return Err(format!("there is no file {}", folder.join(said).display()));
        }
        paths.iter().map(|path| self.take(sources, path)).collect()
    }

    fn take(&mut self, sources: &mut Sources, path: &Path) -> Result<u32, String> {
        let path = clean(path);
        let real = path.canonicalize().map_err(|e| format!("{}: {}", path.display(), reason(&e)))?;
        if !real.starts_with(&self.root) {
            return Err(format!("{} is outside of the config's folder", path.display()));
        }
        if let Some(&known) = self.read.get(&real) {
            return Ok(known);
        }
        if sources.texts.len() >= FILES_MAX {
            return Err(format!("more than {FILES_MAX} files"));
        }
        let text = read(&path)?;
        let index = sources.texts.len() as u32;
        sources.texts.push(Source { path, text });
        self.read.insert(real, index);
        Ok(index)
    }
}

/// The bytes of a plain file, so many at most, for the checks that need them.
pub fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let unreadable = |e: io::Error| format!("cannot open {}: {}", path.display(), reason(&e));
    // Opening a pipe would wait for whoever writes to it.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(format!("{} is no plain file", path.display()));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    match bytes.len() as u64 > most {
        true => Err(format!("{} is larger than {}", path.display(), units::write_size(most))),
        false => Ok(bytes),
    }
}

/// The text of a file; the error is a sentence without the word error.
pub(super) fn read(path: &Path) -> Result<Arc<str>, String> {
    let text = String::from_utf8(read_file(path, FILE_MAX)?).map_err(|e| {
        let line = 1 + memchr::memchr_iter(b'\n', &e.as_bytes()[..e.utf8_error().valid_up_to()]).count();
        format!("{}:{line}: the file is not UTF-8", path.display())
    })?;
    Ok(without_shebang(text).into())
}

/// What the operating system says, without its number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// A first line for the shell becomes a comment of the same length; Lua 5.1 skips it too.
fn without_shebang(text: String) -> String {
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    };
    match text.strip_prefix("#!") {
        Some(rest) => format!("--{rest}"),
        None => text,
    }
}

fn folder_of(sources: &Sources, file: u32) -> PathBuf {
    match sources.texts.get(file as usize).filter(|source| !source.path.as_os_str().is_empty()) {
        Some(source) => source.path.parent().unwrap_or(Path::new("")).to_owned(),
        None => sources.folder.clone(),
    }
}

/// Without the `./` in the middle that a person would not write.
fn clean(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != std::path::Component::CurDir).collect()
}
