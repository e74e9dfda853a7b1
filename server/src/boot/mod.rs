//! Builds what a config declares, binds, runs it, reloads it by swapping a snapshot, and drains it.
//!
//! **Invariant:** no port is bound before the config is known to be right.
//! **Invariant:** a reload that fails changes nothing.

mod control;
mod load;
mod memory;
mod signals;
mod status;
mod worker;

use std::{io::Write, process::ExitCode};

pub use load::{Origin, quoted};

use self::{control::Control, load::Loaded};

/// Ended well.
pub const ENDED: u8 = 0;
/// The config is wrong.
pub const BAD_CONFIG: u8 = 2;
/// An address can't be listened on.
pub const CANNOT_LISTEN: u8 = 3;

/// Runs a config until it is told to end.
pub fn run(origin: Origin) -> ExitCode {
    let loaded = match load::load(&origin) {
        Ok(loaded) => loaded,
        Err(diagnostic) => return complain(&diagnostic, BAD_CONFIG),
    };
    raise_descriptor_limit();
    warn(&loaded);
    match Control::start(origin, loaded) {
        Ok(control) => ExitCode::from(control.run()),
        Err(e) => complain(&format!("{e}\n"), e.exit_code()),
    }
}

/// Checks a config and prints its routing table.
pub fn check(origin: &Origin) -> ExitCode {
    match load::load(origin) {
        Ok(loaded) => {
            warn(&loaded);
            // A reader that has seen enough, such as `head`, is no failure.
            let _ = std::io::stdout().write_all(load::routing_table(&loaded.config).as_bytes());
            ExitCode::from(ENDED)
        }
        Err(diagnostic) => complain(&diagnostic, BAD_CONFIG),
    }
}

fn warn(loaded: &Loaded) {
    // Standard error that is closed leaves nobody to tell.
    let _ = std::io::stderr().write_all(loaded.warnings.as_bytes());
}

fn complain(diagnostic: &str, code: u8) -> ExitCode {
    // As above.
    let _ = std::io::stderr().write_all(diagnostic.as_bytes());
    ExitCode::from(code)
}

/// As many descriptors as the kernel lets us have.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(e) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("the limit of open files stays at {:?}: {e}", limit.current);
    }
}
