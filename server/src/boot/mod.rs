//! Builds what a config declares, binds, runs it, reloads it by swapping a snapshot, drains it, and lets a new
//! binary take over.
//!
//! **Invariant:** no port is bound before the config is known to be right.
//! **Invariant:** a reload that fails changes nothing, and an upgrade that fails changes nothing.

mod broker;
mod channel;
mod control;
mod ending;
mod identity;
mod load;
mod memory;
mod reload;
mod signals;
mod status;
mod succession;
mod supervisor;
mod upgrade;
mod watch;
mod worker;

use std::{io::Write, process::ExitCode};

pub use load::{Origin, quoted};

use self::{
    control::{Control, StartError},
    load::{Loaded, Refused},
    succession::Succession,
    upgrade::Startup,
    watch::Watch,
};

/// Ended well.
pub const ENDED: u8 = 0;
/// The config is wrong.
pub const BAD_CONFIG: u8 = 2;
/// An address can't be listened on.
pub const CANNOT_LISTEN: u8 = 3;

/// Runs a config until it is told to end, or until a successor has taken over; `watch` its files, and reload.
pub fn run(origin: Origin, watch: bool) -> ExitCode {
    let startup = Startup::new();
    let mut succession = match Succession::find() {
        Ok(succession) => succession,
        Err(e) => return complain(&e, CANNOT_LISTEN),
    };
    match start(origin, startup, &mut succession, watch) {
        Ok(control) => ExitCode::from(control.run()),
        Err(e) => {
            let diagnostic = format!("{e}\n");
            match succession.refuse(&diagnostic) {
                // The predecessor tells whoever asked.
                true => ExitCode::from(e.exit_code()),
                false => complain(&diagnostic, e.exit_code()),
            }
        }
    }
}

fn start(origin: Origin, startup: Startup, succession: &mut Succession, watch: bool) -> Result<Control, StartError> {
    let mut watch = match &origin {
        Origin::File(path) if watch => Some(Watch::new(path).map_err(StartError::Config)?),
        _ => None,
    };
    let loaded = load::load(&origin).map_err(|Refused { diagnostic, .. }| StartError::Config(diagnostic))?;
    if let Some(watch) = &mut watch {
        watch.follow(&loaded.files, Some(loaded.sources.patterns()));
    }
    raise_descriptor_limit();
    warn(&loaded);
    if loaded.identity.is_none() && rustix::process::geteuid().is_root() && loaded.config.runs_programs_as_itself() {
        // Said once, and not by `check`, which somebody else may run.
        tracing::warn!("programs that clients talk with run as root; `user` makes them somebody else");
    }
    Control::start(origin, startup, loaded, succession, watch)
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
        Err(Refused { diagnostic, .. }) => complain(&diagnostic, BAD_CONFIG),
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
