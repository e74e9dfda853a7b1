//! One step of a TLS connection: what rustls asks for, done with pooled buffers.

use std::io;

use rustls::{
    CommonState, Error, ServerConfig,
    client::UnbufferedClientConnection,
    server::UnbufferedServerConnection,
    unbuffered::{
        ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, ReadTraffic,
        UnbufferedStatus, WriteTraffic,
    },
};

use super::super::Buffer;

/// The longest record that rustls takes: 2^14 + 2048 bytes and a header; TLS 1.3 has 2^14 + 256 at most.
pub const RECORD: usize = 5 + (16 << 10) + 2048;

/// Either end of a connection.
pub enum End {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What a step is for. Plaintext that it comes upon beside this is spilled, and so never lost.
pub enum Task<'a> {
    /// Fills `into` with plaintext, as far as whole records fit; a first one that does not fit is spilled.
    Read { into: &'a mut [u8], filled: &'a mut usize },
    /// Finds out whether there is plaintext, which stays where it is.
    Peek,
    /// Makes records of these bytes.
    Write(&'a [u8]),
    /// Says that no more will be written.
    Close,
}

/// How a step ended.
pub enum Step {
    /// There is more to do.
    Again,
    /// Plaintext is there for whoever asks for it.
    Plaintext,
    /// The peer said that it writes no more.
    PeerClosed,
    /// More input is needed before anything can be read or written.
    Handshaking,
    /// All input was processed, and the task is done as far as it can be.
    Done,
    /// The connection failed; an alert may wait to be sent.
    Failed(Error),
}

/// Bytes on their way between rustls and the socket; None is empty.
#[derive(Default)]
pub struct Buffers {
    /// Records of which the last one is incomplete, or that rustls still refers to.
    pub incoming: Option<Buffer>,
    /// Records for the kernel.
    pub outgoing: Option<Buffer>,
    /// Plaintext that found no room: at most that of one `incoming`.
    pub spilled: Option<Buffer>,
}

impl End {
    /// The server's end.
    pub fn server(config: std::sync::Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self::Server(UnbufferedServerConnection::new(config)?))
    }

    /// What both ends know.
    pub fn state(&self) -> &CommonState {
        match self {
            Self::Server(end) => end,
            Self::Client(end) => end,
        }
    }

    /// Lets rustls go on by one step.
    pub fn step(&mut self, buffers: &mut Buffers, task: &mut Task<'_>) -> Step {
        let Buffers { incoming, outgoing, spilled } = buffers;
        let bytes = incoming.as_mut().map_or(&mut [][..], Buffer::filled_mut);
        let (discard, step) = match self {
            Self::Server(end) => take(end.process_tls_records(bytes), task, outgoing, spilled),
            Self::Client(end) => take(end.process_tls_records(bytes), task, outgoing, spilled),
        };
        if let Some(buffer) = incoming {
            buffer.consume(discard);
            if buffer.is_empty() {
                *incoming = None;
            }
        }
        step
    }
}

fn take<D>(
    status: UnbufferedStatus<'_, '_, D>,
    task: &mut Task<'_>,
    outgoing: &mut Option<Buffer>,
    spilled: &mut Option<Buffer>,
) -> (usize, Step) {
    let step = match status.state {
        Ok(ConnectionState::ReadTraffic(traffic)) => read(traffic, task, spilled),
        Ok(ConnectionState::EncodeTlsData(data)) => encode(data, outgoing),
        Ok(ConnectionState::TransmitTlsData(data)) => {
            // It waits in `outgoing` and goes in order, so that rustls need not know when.
            data.done();
            Step::Again
        }
        Ok(ConnectionState::BlockedHandshake) => Step::Handshaking,
        Ok(ConnectionState::WriteTraffic(traffic)) => write(traffic, task, outgoing),
        Ok(ConnectionState::PeerClosed) => Step::PeerClosed,
        Ok(ConnectionState::Closed) => Step::Done,
        Ok(_) => Step::Failed(Error::General("early data, which was not offered".to_owned())),
        Err(e) => Step::Failed(e),
    };
    (status.discard, step)
}

fn read<D>(mut traffic: ReadTraffic<'_, '_, D>, task: &mut Task<'_>, spilled: &mut Option<Buffer>) -> Step {
    let length = traffic.peek_len().map_or(0, usize::from);
    match task {
        Task::Peek => return Step::Plaintext,
        Task::Read { into, filled } if **filled > 0 && length > into.len() - **filled => return Step::Plaintext,
        Task::Read { .. } | Task::Write(_) | Task::Close => {}
    }
    let Some(Ok(record)) = traffic.next_record() else { return Step::Again };
    let mut rest = record.payload;
    if let Task::Read { into, filled } = task {
        let n = rest.len().min(into.len() - **filled);
        into[**filled..**filled + n].copy_from_slice(&rest[..n]);
        **filled += n;
        rest = &rest[n..];
    }
    if !rest.is_empty() {
        room(spilled, rest.len()).extend(rest);
    }
    Step::Again
}

fn encode<D>(mut data: EncodeTlsData<'_, D>, outgoing: &mut Option<Buffer>) -> Step {
    let mut needed = 0;
    loop {
        match data.encode(room(outgoing, needed).spare()) {
            Ok(n) => {
                room(outgoing, 0).commit(n);
                return Step::Again;
            }
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => needed = required_size,
            Err(EncodeError::AlreadyEncoded) => return Step::Again,
        }
    }
}

fn write<D>(mut traffic: WriteTraffic<'_, D>, task: &mut Task<'_>, outgoing: &mut Option<Buffer>) -> Step {
    let mut needed = match task {
        Task::Write(bytes) => bytes.len() + RECORD_ROOM,
        Task::Close => RECORD_ROOM,
        Task::Read { .. } | Task::Peek => return Step::Done,
    };
    loop {
        let spare = room(outgoing, needed).spare();
        let written = match task {
            Task::Write(bytes) => traffic.encrypt(bytes, spare),
            _ => traffic.queue_close_notify(spare),
        };
        match written {
            Ok(n) => {
                room(outgoing, 0).commit(n);
                return Step::Done;
            }
            Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => needed = required_size,
            Err(EncryptError::EncryptExhausted) => return Step::Failed(Error::EncryptError),
        }
    }
}

/// What one record costs beside its bytes, at most: header, explicit nonce and tag, or type and tag.
const RECORD_ROOM: usize = 32;

/// A buffer with at least `needed` bytes of room behind what is in it.
pub fn room(buffer: &mut Option<Buffer>, needed: usize) -> &mut Buffer {
    let filled = buffer.as_ref().map_or(0, |buffer| buffer.filled().len());
    let buffer = buffer.get_or_insert_with(|| Buffer::take(needed.max(RECORD)));
    if !buffer.make_room(needed) {
        let mut larger = Buffer::take(filled + needed);
        larger.extend(buffer.filled());
        *buffer = larger;
    }
    buffer
}

/// As the operations on a socket report it.
pub fn failure(e: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, e)
}
