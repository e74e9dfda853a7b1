//! What is said on a line between rsp and its spawner: one packet, one order or one answer.

use std::time::Duration;

use rsp_core::config::ProcessLimits;

use super::Identity;

/// Bytes of an order: what a socket takes by default, and as much as the kernel takes as one variable or argument.
pub const PACKET_MAX: usize = 128 << 10;

const START: u8 = 1;
const END: u8 = 2;
const STARTED: u8 = 3;
const FAILED: u8 = 4;
const EXITED: u8 = 5;
const GONE: u8 = 6;

/// For the spawner.
#[derive(Debug, PartialEq, Eq)]
pub enum Order<'a> {
    /// Start a process; its standard input, output and error stand beside it.
    Start(Start<'a>),
    /// Let it end.
    End(u32),
}

/// What to start, as whom.
#[derive(Debug, PartialEq, Eq)]
pub struct Start<'a> {
    /// The number that rsp gave it.
    pub id: u32,
    /// Added to each step of its end.
    pub close: Duration,
    /// What the kernel lets it use.
    pub limits: ProcessLimits,
    /// Whom it becomes; None: it stays who we are.
    pub identity: Option<Identity>,
    /// Absolute.
    pub program: &'a [u8],
    /// The working folder.
    pub folder: &'a [u8],
    /// Without the program's name.
    pub arguments: Vec<&'a [u8]>,
    /// `NAME=value`, each ended by a NUL.
    pub environment: &'a [u8],
}

/// From the spawner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Its program runs.
    Started {
        /// As ordered.
        id: u32,
        /// The process, which leads a group of its own.
        pid: i32,
    },
    /// It could not be started.
    Failed {
        /// As ordered.
        id: u32,
        /// Why.
        errno: i32,
        /// What failed.
        what: What,
    },
    /// The process itself has exited.
    Exited {
        /// As ordered.
        id: u32,
        /// As `wait` tells it.
        status: i32,
    },
    /// Nobody of its group is left.
    Gone {
        /// As ordered.
        id: u32,
    },
}

/// What could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The program.
    Program,
    /// The working folder.
    Folder,
}

impl Order<'_> {
    /// As a packet; it may be longer than one may be.
    pub fn written(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::End(id) => {
                out.push(END);
                add(&mut out, *id);
            }
            Self::Start(start) => {
                out.reserve(256 + start.environment.len());
                out.push(START);
                start.write(&mut out);
            }
        }
        out
    }
}

impl<'a> Order<'a> {
    /// From a packet; None: it is none.
    pub fn read(packet: &'a [u8]) -> Option<Self> {
        let mut left = Left(packet);
        let order = match left.byte()? {
            START => Self::Start(Start::read(&mut left)?),
            END => Self::End(left.number()?),
            _ => return None,
        };
        left.0.is_empty().then_some(order)
    }
}

impl<'a> Start<'a> {
    fn write(&self, out: &mut Vec<u8>) {
        add(out, self.id);
        add(out, u32::try_from(self.close.as_millis()).unwrap_or(u32::MAX));
        for limit in [self.limits.cpu, self.limits.memory, self.limits.files] {
            out.extend_from_slice(&limit.unwrap_or(u64::MAX).to_ne_bytes());
        }
        match &self.identity {
            None => out.push(0),
            Some(Identity { user, group, groups }) => {
                out.push(1);
                add(out, *user);
                add(out, *group);
                add(out, length(groups.len()));
                groups.iter().for_each(|group| add(out, *group));
            }
        }
        for bytes in [self.program, self.folder, self.environment] {
            add_bytes(out, bytes);
        }
        add(out, length(self.arguments.len()));
        self.arguments.iter().for_each(|argument| add_bytes(out, argument));
    }

    fn read(left: &mut Left<'a>) -> Option<Self> {
        let id = left.number()?;
        let close = Duration::from_millis(left.number()?.into());
        let [cpu, memory, files] = [left.long()?, left.long()?, left.long()?];
        let identity = match left.byte()? {
            0 => None,
            _ => {
                let (user, group, count) = (left.number()?, left.number()?, left.number()?);
                let groups = (0..count).map(|_| left.number()).collect::<Option<_>>()?;
                Some(Identity { user, group, groups })
            }
        };
        let [program, folder, environment] = [left.bytes()?, left.bytes()?, left.bytes()?];
        let count = left.number()?;
        let arguments = (0..count).map(|_| left.bytes()).collect::<Option<_>>()?;
        let limits = ProcessLimits { cpu: limit(cpu), memory: limit(memory), files: limit(files) };
        Some(Self { id, close, limits, identity, program, folder, arguments, environment })
    }
}

fn limit(value: u64) -> Option<u64> {
    (value != u64::MAX).then_some(value)
}

impl Answer {
    /// As a packet.
    pub fn written(self) -> Vec<u8> {
        let (kind, id, more) = match self {
            Self::Started { id, pid } => (STARTED, id, [pid, 0]),
            Self::Failed { id, errno, what } => (FAILED, id, [errno, i32::from(what == What::Folder)]),
            Self::Exited { id, status } => (EXITED, id, [status, 0]),
            Self::Gone { id } => (GONE, id, [0, 0]),
        };
        let mut out = Vec::with_capacity(13);
        out.push(kind);
        add(&mut out, id);
        more.iter().for_each(|number| out.extend_from_slice(&number.to_ne_bytes()));
        out
    }

    /// From a packet; None: it is none.
    pub fn read(packet: &[u8]) -> Option<Self> {
        let mut left = Left(packet);
        let kind = left.byte()?;
        let id = left.number()?;
        let [first, second] = [left.number()?.cast_signed(), left.number()?.cast_signed()];
        Some(match kind {
            STARTED => Self::Started { id, pid: first },
            FAILED => Self::Failed { id, errno: first, what: if second == 0 { What::Program } else { What::Folder } },
            EXITED => Self::Exited { id, status: first },
            GONE => Self::Gone { id },
            _ => return None,
        })
    }
}

fn add(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_ne_bytes());
}

fn add_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    add(out, length(bytes.len()));
    out.extend_from_slice(bytes);
}

/// What is longer makes a packet that is never sent.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// What is left of a packet.
struct Left<'a>(&'a [u8]);

impl<'a> Left<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, left) = self.0.split_first_chunk()?;
        self.0 = left;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    fn number(&mut self) -> Option<u32> {
        self.take().map(u32::from_ne_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.take().map(u64::from_ne_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (taken, left) = self.0.split_at_checked(length)?;
        self.0 = left;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Order<'static> {
        Order::Start(Start {
            id: 7,
            close: Duration::from_millis(1500),
            limits: ProcessLimits { cpu: Some(1), memory: None, files: Some(0) },
            identity: Some(Identity { user: 1, group: 2, groups: vec![3, 4] }),
            program: b"/bin/cat",
            folder: b"/",
            arguments: vec![b"-u", b"", b"\xff"],
            environment: b"A=1\0B=\0",
        })
    }

    #[test]
    fn an_order_reads_as_it_was_written_and_never_when_it_is_cut() {
        for order in [example(), Order::End(u32::MAX)] {
            let packet = order.written();
            assert_eq!(Order::read(&packet), Some(order));
            for end in 0..packet.len() {
                assert_eq!(Order::read(&packet[..end]), None);
            }
            assert_eq!(Order::read(&[&packet[..], b"x"].concat()), None);
        }
    }

    #[test]
    fn an_answer_reads_as_it_was_written() {
        for answer in [
            Answer::Started { id: 1, pid: i32::MAX },
            Answer::Failed { id: 2, errno: 2, what: What::Program },
            Answer::Failed { id: 2, errno: 2, what: What::Folder },
            Answer::Exited { id: 3, status: -1 },
            Answer::Gone { id: 4 },
        ] {
            let packet = answer.written();
            assert_eq!(Answer::read(&packet), Some(answer));
            assert_eq!(Answer::read(&packet[..packet.len() - 1]), None);
        }
    }
}
