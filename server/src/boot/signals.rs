//! Signals as a person at a terminal and a service manager send them.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// HUP
    Reload,
    /// TERM or INT; the second one means at once.
    Drain,
    /// USR1
    Reopen,
    /// USR2
    Upgrade,
}

/// The signals rsp answers to.
pub struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    reopen: Signal,
    upgrade: Signal,
}

impl Signals {
    /// Takes the signals over from their default actions.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reopen: signal(SignalKind::user_defined1())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.hangup.recv() => Wish::Reload,
            _ = self.terminate.recv() => Wish::Drain,
            _ = self.interrupt.recv() => Wish::Drain,
            _ = self.reopen.recv() => Wish::Reopen,
            _ = self.upgrade.recv() => Wish::Upgrade,
        }
    }
}
