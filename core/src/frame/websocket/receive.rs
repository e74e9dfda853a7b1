//! Bytes from a peer become messages and control frames, whatever the pieces they come in.

use bytes::Bytes;

use super::{Close, CloseCode, Fault, Header, Inflater, Opcode, Role, unmask};

/// What a [`Receiver`] goes by.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Which end we are.
    pub role: Role,
    /// Bytes of a message, after decompression.
    pub message_max: usize,
}

/// Something whole that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// UTF-8.
    Text(Bytes),
    /// Any bytes.
    Binary(Bytes),
    /// To be answered with a pong of the same payload.
    Ping(Bytes),
    /// A sign of life.
    Pong(Bytes),
    /// The peer sends no more; to be answered with a close, unless ours is out already.
    Close(Option<Close>),
}

/// Reads one direction of a connection.
#[derive(Debug)]
pub struct Receiver {
    rules: Rules,
    inflater: Option<Inflater>,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// The message that has begun.
    message: Option<Message>,
    /// Payload of the control frame that has begun.
    control: Vec<u8>,
    is_closed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    header: Header,
    /// Bytes of payload that were read.
    read: u64,
}

#[derive(Debug)]
struct Message {
    is_text: bool,
    is_compressed: bool,
    /// What came of it, as it was sent.
    payload: Vec<u8>,
    /// How much of it is known to be UTF-8.
    checked: usize,
}

impl Receiver {
    /// `inflater`: that of the compression that was agreed on.
    pub fn new(rules: Rules, inflater: Option<Inflater>) -> Self {
        Self { rules, inflater, frame: None, message: None, control: Vec::new(), is_closed: false }
    }

    /// Takes bytes from the front of `input`, unmasking them in place, up to the end of the next event. Returns how many
    /// it is done with. Without an event more input is needed; then what is left over, 13 bytes of a frame's head at
    /// most, must be given again with it. After a close, everything is taken and nothing comes of it.
    pub fn receive(&mut self, input: &mut [u8]) -> Result<(usize, Option<Event>), Fault> {
        if self.is_closed {
            return Ok((input.len(), None));
        }
        let mut taken = 0;
        loop {
            let rest = &mut input[taken..];
            let Some(mut frame) = self.frame.take() else {
                match Header::parse(rest, self.rules.role, self.inflater.is_some())? {
                    None => return Ok((taken, None)),
                    Some((header, length)) => {
                        self.begin(&header)?;
                        self.frame = Some(Frame { header, read: 0 });
                        taken += length;
                        continue;
                    }
                }
            };
            let left = frame.header.length - frame.read;
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
            let piece = &mut rest[..length];
            if let Some(mask) = frame.header.mask {
                unmask(piece, mask, frame.read);
            }
            self.take(&frame.header, piece)?;
            taken += length;
            frame.read += length as u64;
            if frame.read < frame.header.length {
                self.frame = Some(frame);
                return Ok((taken, None));
            }
            if let Some(event) = self.end(&frame.header)? {
                return Ok((taken, Some(event)));
            }
        }
    }

    /// Whether nothing has begun: no message, no frame.
    pub fn is_between_messages(&self) -> bool {
        self.frame.is_none() && self.message.is_none()
    }

    /// A frame begins: it must fit what came before it and its bound.
    fn begin(&mut self, header: &Header) -> Result<(), Fault> {
        let so_far = match (header.opcode, &self.message) {
            (opcode, _) if opcode.is_control() => return Ok(()),
            (Opcode::Continuation, None) => return Err(Fault::protocol("a continuation of nothing")),
            (Opcode::Continuation, Some(message)) => message.payload.len(),
            (_, Some(_)) => return Err(Fault::protocol("a new message inside of another")),
            (opcode, None) => {
                self.message = Some(Message {
                    is_text: opcode == Opcode::Text,
                    is_compressed: header.is_compressed,
                    payload: Vec::new(),
                    checked: 0,
                });
                0
            }
        };
        // Compressed data may be a few bytes longer than what it stands for.
        let is_compressed = self.message.as_ref().is_some_and(|message| message.is_compressed);
        let most =
            self.rules.message_max as u64 + if is_compressed { self.rules.message_max as u64 / 64 + 64 } else { 0 };
        match header.length.checked_add(so_far as u64) {
            Some(length) if length <= most => Ok(()),
            _ => Err(too_big()),
        }
    }

    /// Takes a piece of a payload. Memory grows with what came, not with what was announced.
    fn take(&mut self, header: &Header, piece: &[u8]) -> Result<(), Fault> {
        if header.opcode.is_control() {
            self.control.extend_from_slice(piece);
            return Ok(());
        }
        let Some(message) = &mut self.message else { return Ok(()) };
        message.payload.extend_from_slice(piece);
        match message.is_text && !message.is_compressed {
            true => message.check(false),
            false => Ok(()),
        }
    }

    /// A frame is whole.
    fn end(&mut self, header: &Header) -> Result<Option<Event>, Fault> {
        if header.opcode.is_control() {
            let payload = std::mem::take(&mut self.control);
            return Ok(Some(match header.opcode {
                Opcode::Ping => Event::Ping(payload.into()),
                Opcode::Pong => Event::Pong(payload.into()),
                _ => {
                    self.is_closed = true;
                    Event::Close(Close::parse(&payload)?)
                }
            }));
        }
        if !header.is_final {
            return Ok(None);
        }
        let Some(mut message) = self.message.take() else { return Ok(None) };
        if let Some(inflater) = self.inflater.as_mut().filter(|_| message.is_compressed) {
            message.payload = inflater.inflate(&message.payload, self.rules.message_max)?;
        }
        if message.is_text {
            message.check(true)?;
        }
        let payload = Bytes::from(message.payload);
        Ok(Some(if message.is_text { Event::Text(payload) } else { Event::Binary(payload) }))
    }
}

impl Message {
    /// Checks what is new; only at the end may nothing be missing of a character.
    fn check(&mut self, is_whole: bool) -> Result<(), Fault> {
        let invalid = Fault { code: CloseCode::INVALID_DATA, reason: "text that is not UTF-8" };
        match str::from_utf8(&self.payload[self.checked..]) {
            Ok(_) => self.checked = self.payload.len(),
            Err(e) if e.error_len().is_none() && !is_whole => self.checked += e.valid_up_to(),
            Err(_) => return Err(invalid),
        }
        Ok(())
    }
}

pub(super) fn too_big() -> Fault {
    Fault { code: CloseCode::TOO_BIG, reason: "a message larger than allowed" }
}
