//! The new rsp's side of an upgrade: takes the accept queues of the running one, and tells it when it may go.

use std::{
    env, io,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use rsp_core::config::Address;
use serde_json::{Value, json};

use super::channel::{self, Channel, Packet};
use crate::listen::{Heirloom, Inherited};

/// The environment variable by which a running rsp tells its child who it is; the channel is its standard input.
pub const PREDECESSOR: &str = "RSP_PREDECESSOR";

/// How long the running one may take for a word: longer than it waits for us.
const PATIENCE: Duration = Duration::from_secs(60);

/// What this process was started with.
#[derive(Default)]
pub struct Succession {
    /// Sockets that listen already.
    pub inherited: Inherited,
    /// Whom we take over from.
    pub predecessor: Option<Predecessor>,
}

/// The running rsp that waits for us.
pub struct Predecessor {
    channel: Channel,
    /// Of the predecessor; the first process is 1.
    pub generation: u64,
}

impl Succession {
    /// Takes what a predecessor or the service manager has passed. Call it once, and before descriptors are opened.
    ///
    /// # Errors
    /// A sentence: what was promised is not there.
    pub fn find() -> Result<Self, String> {
        if is_successor() {
            return Predecessor::meet().map_err(|e| format!("can't take over from the running rsp: {e}\n"));
        }
        let passed = Inherited::from_service_manager();
        let (inherited, warnings) = passed.map_err(|e| format!("the sockets of the service manager: {e}\n"))?;
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        Ok(Self { inherited, predecessor: None })
    }

    /// Tells a predecessor why it has to go on; false if there is none.
    pub fn refuse(&self, diagnostic: &str) -> bool {
        let Some(predecessor) = &self.predecessor else { return false };
        // One that is gone needs no reason.
        let _ = predecessor.channel.send(&json!({ "refused": channel::fitting(diagnostic) }), &[]);
        true
    }
}

/// Whether a running rsp started this process as its successor: a program that the predecessor started for another purpose has its variable, but not its parent.
pub fn is_successor() -> bool {
    let parent = rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get().to_string());
    parent.is_some() && env::var(PREDECESSOR).ok() == parent
}

impl Predecessor {
    fn meet() -> io::Result<Succession> {
        let channel = Channel::over(io::stdin().as_fd().try_clone_to_owned()?)?;
        channel.wait_until(Instant::now() + PATIENCE)?;
        let Packet { said, descriptors } = channel.receive()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if said.get("rsp").and_then(Value::as_u64) != Some(channel::VERSION) {
            return Err(io::Error::other("it speaks another version"));
        }
        if let Some(stdin) = descriptors.first() {
            rustix::stdio::dup2_stdin(stdin)?;
        }
        let generation = said.get("generation").and_then(Value::as_u64).unwrap_or(1);
        let mut heirlooms: Vec<Heirloom> = Vec::new();
        loop {
            let Packet { said, descriptors } = channel.receive()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let Some(address) = said.get("listen") else { break };
            let address = channel::read(address).ok_or(io::ErrorKind::InvalidData)?;
            let is = |key: &str| said.get(key).and_then(Value::as_bool).unwrap_or_default();
            match heirlooms.last_mut().filter(|_| is("more")) {
                Some(last) => last.sockets.extend(descriptors),
                None => heirlooms.push(Heirloom { address, sockets: descriptors, ours: is("ours") }),
            }
        }
        let mut inherited = Inherited::default();
        heirlooms.into_iter().for_each(|one| inherited.keep(one));
        Ok(Succession { inherited, predecessor: Some(Self { channel, generation }) })
    }

    /// Says what is taken over, and waits for the word to accept; false: the predecessor goes on instead.
    pub fn prepared<'a>(&self, taken: impl Iterator<Item = &'a Address>) -> bool {
        let taken: Vec<_> = taken.filter_map(channel::written).collect();
        let said = self.channel.send(&json!({ "prepared": taken }), &[]);
        said.is_ok() && matches!(self.channel.receive(), Ok(Some(packet)) if packet.said.get("go").is_some())
    }

    /// Says that every worker accepts; false: the predecessor was told to end meanwhile, and with it this process.
    pub fn ready(self) -> bool {
        let said = self.channel.send(&json!({ "ready": true }), &[]);
        // One that is gone without a word has stopped accepting.
        said.is_ok() || !matches!(self.channel.receive(), Ok(Some(packet)) if packet.said.get("end").is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_predecessor_that_is_told_to_end_before_we_are_ready_takes_us_along() {
        for (told, goes_on) in [(true, false), (false, true)] {
            let (ours, theirs) = Channel::pair().unwrap();
            if told {
                ours.send(&json!({ "end": true }), &[]).unwrap();
            }
            ours.hang_up();
            let predecessor = Predecessor { channel: Channel::over(theirs).unwrap(), generation: 1 };
            assert_eq!(predecessor.ready(), goes_on);
        }
    }
}
