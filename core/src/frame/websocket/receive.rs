//! Bytes from a peer become messages and control frames, whatever the pieces they come in.

use bytes::Bytes;

use super::{CONTROL_MAX, Close, CloseCode, Fault, Header, Inflater, Opcode, Role, unmask};

/// Room that is kept for the rest of a message at least, so that small pieces don't move it each time.
const STEP: usize = 4096;

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

/// Reads one direction of a connection. It lives as long as the connection: what is rare is in boxes.
#[derive(Debug)]
pub struct Receiver {
    rules: Rules,
    inflater: Option<Inflater>,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// The message that has begun and did not come in one piece.
    message: Option<Box<Message>>,
    /// The control frame that did not come in one piece.
    control: Option<Box<Control>>,
    /// A close or a fault came.
    is_over: bool,
}

/// What is left of a frame.
#[derive(Debug, Clone, Copy)]
struct Frame {
    /// Bytes of payload.
    left: u64,
    /// As it applies to the next byte.
    mask: [u8; 4],
    opcode: Opcode,
    is_final: bool,
    is_compressed: bool,
}

#[derive(Debug)]
struct Control {
    payload: [u8; CONTROL_MAX],
    length: usize,
}

#[derive(Debug)]
struct Message {
    is_text: bool,
    is_compressed: bool,
    /// Bytes that came in, compressed or not.
    received: usize,
    /// What they stand for.
    payload: Vec<u8>,
    /// How much of it is known to be UTF-8.
    checked: usize,
}

impl Receiver {
    /// `inflater`: that of the compression that was agreed on.
    pub fn new(rules: Rules, inflater: Option<Inflater>) -> Self {
        Self { rules, inflater, frame: None, message: None, control: None, is_over: false }
    }

    /// Takes bytes from the front of `input`, unmasking them in place, up to the end of the next event. Returns how many
    /// it is done with. Without an event more input is needed; then what is left over, 13 bytes of a frame's head at
    /// most, must be given again with it. After a close or a fault, everything is taken and nothing comes of it.
    pub fn receive(&mut self, input: &mut [u8]) -> Result<(usize, Option<Event>), Fault> {
        if self.is_over {
            return Ok((input.len(), None));
        }
        let read = self.read(input);
        if matches!(read, Err(_) | Ok((_, Some(Event::Close(_))))) {
            *self = Self { is_over: true, ..Self::new(self.rules, None) };
        }
        read
    }

    /// Whether nothing has begun: no message, no frame.
    pub fn is_between_messages(&self) -> bool {
        self.frame.is_none() && self.message.is_none()
    }

    /// Whether it holds nothing but itself.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        let holds_stream = self.inflater.as_ref().is_some_and(Inflater::holds_stream);
        self.is_between_messages() && self.control.is_none() && !holds_stream
    }

    /// Bytes that the message that has begun has room for.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.payload.capacity())
    }

    fn read(&mut self, input: &mut [u8]) -> Result<(usize, Option<Event>), Fault> {
        let mut taken = 0;
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match Header::parse(&input[taken..], self.rules.role, self.inflater.is_some())? {
                    None => return Ok((taken, None)),
                    Some((header, length)) => {
                        self.begin(&header)?;
                        taken += length;
                        Frame::new(&header)
                    }
                },
            };
            let rest = &mut input[taken..];
            let length = usize::try_from(frame.left).unwrap_or(usize::MAX).min(rest.len());
            let piece = &mut rest[..length];
            frame.advance(piece);
            taken += length;
            let event = match frame.opcode.is_control() {
                true => self.control(&frame, piece)?,
                false => self.data(&frame, piece)?,
            };
            if frame.left > 0 {
                self.frame = Some(frame);
                return Ok((taken, None));
            }
            if event.is_some() {
                return Ok((taken, event));
            }
        }
    }

    /// A frame begins: it must fit what came before it and its bound.
    fn begin(&self, header: &Header) -> Result<(), Fault> {
        let (is_compressed, received) = match (header.opcode, &self.message) {
            (opcode, _) if opcode.is_control() => return Ok(()),
            (Opcode::Continuation, None) => return Err(Fault::protocol("a continuation of nothing")),
            (Opcode::Continuation, Some(message)) => (message.is_compressed, message.received),
            (_, Some(_)) => return Err(Fault::protocol("a new message inside of another")),
            (_, None) => (header.is_compressed, 0),
        };
        let max = self.rules.message_max;
        // Noise takes a seventh more where a peer knows codes of fixed lengths only (zlib's own bound is the same).
        let most = if is_compressed { max.saturating_add(max / 7 + 64) } else { max };
        match usize::try_from(header.length).ok().and_then(|length| length.checked_add(received)) {
            Some(length) if length <= most => Ok(()),
            _ => Err(too_big()),
        }
    }

    /// Takes a piece of a control frame.
    fn control(&mut self, frame: &Frame, piece: &[u8]) -> Result<Option<Event>, Fault> {
        if frame.left == 0 && self.control.is_none() {
            return control_event(frame.opcode, piece).map(Some);
        }
        let nothing = || Box::new(Control { payload: [0; CONTROL_MAX], length: 0 });
        let control = self.control.get_or_insert_with(nothing);
        // There is room: a longer frame was refused with its head.
        if let Some(room) = control.payload.get_mut(control.length..control.length + piece.len()) {
            room.copy_from_slice(piece);
            control.length += piece.len();
        }
        if frame.left > 0 {
            return Ok(None);
        }
        match self.control.take() {
            None => Ok(None),
            Some(control) => control_event(frame.opcode, &control.payload[..control.length]).map(Some),
        }
    }

    /// Takes a piece of a message. Memory grows with what came, not with what was announced.
    fn data(&mut self, frame: &Frame, piece: &[u8]) -> Result<Option<Event>, Fault> {
        let (inflater, max) = (self.inflater.as_mut(), self.rules.message_max);
        let is_last = frame.is_final && frame.left == 0;
        if !is_last {
            let message = self.message.get_or_insert_with(|| Box::new(Message::new(frame)));
            message.take(frame, piece, inflater, max)?;
            return Ok(None);
        }
        let mut message = self.message.take().map_or_else(|| Message::new(frame), |message| *message);
        message.take(frame, piece, inflater, max)?;
        Ok(Some(message.into()))
    }
}

impl Frame {
    fn new(header: &Header) -> Self {
        let Header { is_final, is_compressed, opcode, length, mask } = *header;
        Self { left: length, mask: mask.unwrap_or_default(), opcode, is_final, is_compressed }
    }

    /// Unmasks the next piece, which is not longer than what is left.
    fn advance(&mut self, piece: &mut [u8]) {
        if self.mask != [0; 4] {
            unmask(piece, self.mask, 0);
            self.mask.rotate_left(piece.len() % 4);
        }
        self.left -= piece.len() as u64;
    }
}

impl Message {
    fn new(frame: &Frame) -> Self {
        let is_text = frame.opcode == Opcode::Text;
        Self { is_text, is_compressed: frame.is_compressed, received: 0, payload: Vec::new(), checked: 0 }
    }

    /// The next piece, of this frame. `max`: bytes that the message may have, as the frame's head promised, or once
    /// they are decompressed.
    fn take(&mut self, frame: &Frame, piece: &[u8], inflater: Option<&mut Inflater>, max: usize) -> Result<(), Fault> {
        let is_last = frame.is_final && frame.left == 0;
        self.received = self.received.saturating_add(piece.len());
        match inflater.filter(|_| self.is_compressed) {
            Some(inflater) => inflater.inflate(piece, is_last, &mut self.payload, max)?,
            None => {
                self.make_room(frame, piece.len(), max);
                self.payload.extend_from_slice(piece);
            }
        }
        if self.is_text { self.check(is_last) } else { Ok(()) }
    }

    /// Doubles what there is, but makes no more room than the message will need where that is known: it may be kept long.
    fn make_room(&mut self, frame: &Frame, length: usize, max: usize) {
        if self.payload.capacity() - self.payload.len() < length {
            let known = if frame.is_final { usize::try_from(frame.left).unwrap_or(usize::MAX) } else { max };
            let whole = self.payload.len() + length;
            let more = known.min(whole.max(STEP)).min(max.saturating_sub(whole));
            self.payload.reserve_exact(length + more);
        }
    }

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

impl From<Message> for Event {
    fn from(mut message: Message) -> Self {
        // A short message that is kept would keep all the room that it was made in.
        message.payload.shrink_to_fit();
        let payload = Bytes::from(message.payload);
        if message.is_text { Self::Text(payload) } else { Self::Binary(payload) }
    }
}

fn control_event(opcode: Opcode, payload: &[u8]) -> Result<Event, Fault> {
    Ok(match opcode {
        Opcode::Ping => Event::Ping(Bytes::copy_from_slice(payload)),
        Opcode::Pong => Event::Pong(Bytes::copy_from_slice(payload)),
        _ => Event::Close(Close::parse(payload)?),
    })
}

pub(super) fn too_big() -> Fault {
    Fault { code: CloseCode::TOO_BIG, reason: "a message larger than allowed" }
}
