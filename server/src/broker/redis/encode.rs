//! Messages and members as bytes at Redis.
//!
//! A byte for the version, one for flags, the time in nanoseconds, user and info by length if there are, then the data.

use std::{sync::Arc, time::Duration};

use rsp_core::channel::{Item, Member, Message, Position, Who};

/// Another version is not read: it is as if the message were lost.
const VERSION: u8 = 1;

const IS_TEXT: u8 = 1;
const HAS_WHO: u8 = 2;
const HAS_USER: u8 = 4;
const HAS_INFO: u8 = 8;

/// What is heard of a channel.
#[derive(Debug, PartialEq)]
pub enum Heard {
    /// A message.
    Item(Item),
    /// A new epoch.
    Reset(Position),
    /// Somebody came.
    Join(Member),
    /// Somebody left.
    Leave(Member),
}

/// A message as it is kept.
pub fn message(message: &Message) -> Vec<u8> {
    record(u8::from(message.is_text), message.time, message.by.as_deref(), &message.data)
}

/// A kept message; None: it is none.
pub fn read_message(bytes: &[u8]) -> Option<Message> {
    let (flags, time, by, data) = read_record(bytes)?;
    let is_text = flags & IS_TEXT != 0;
    if is_text && str::from_utf8(data).is_err() {
        return None;
    }
    Some(Message { data: data.into(), is_text, time, by })
}

/// A member, and whether the others are told of it.
pub fn member(member: &Member, announce: bool) -> Vec<u8> {
    let mut bytes = record(0, member.since, member.who.as_deref(), member.id.as_bytes());
    bytes.insert(0, if announce { b'a' } else { b'q' });
    bytes
}

/// A member without what says whether others are told.
pub fn read_member(bytes: &[u8]) -> Option<Member> {
    let (_, since, who, id) = read_record(bytes)?;
    Some(Member { id: str::from_utf8(id).ok()?.into(), who, since })
}

/// What subscribers of a channel are told; None: nobody of us said this.
pub fn heard(bytes: &[u8]) -> Option<Heard> {
    let (kind, rest) = bytes.split_first()?;
    match kind {
        b'm' => {
            let end = memchr::memchr(b'\n', rest)?;
            let message = Arc::new(read_message(&rest[end + 1..])?);
            Some(Heard::Item(Item { position: position(&rest[..end])?, message }))
        }
        b'r' => position(rest).map(Heard::Reset),
        b'j' => read_member(rest).map(Heard::Join),
        b'l' => read_member(rest).map(Heard::Leave),
        _ => None,
    }
}

/// A position as the scripts write it.
pub fn position(bytes: &[u8]) -> Option<Position> {
    str::from_utf8(bytes).ok()?.parse().ok()
}

fn record(flags: u8, time: Duration, who: Option<&Who>, data: &[u8]) -> Vec<u8> {
    let user = who.and_then(|who| who.user.as_deref());
    let info = who.and_then(|who| who.info.as_deref());
    let flag = |is_there: bool, flag| if is_there { flag } else { 0 };
    let flags = flags | flag(who.is_some(), HAS_WHO) | flag(user.is_some(), HAS_USER) | flag(info.is_some(), HAS_INFO);
    let mut bytes = Vec::with_capacity(data.len() + 32);
    bytes.extend_from_slice(&[VERSION, flags]);
    bytes.extend_from_slice(&u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).to_be_bytes());
    for text in [user, info].into_iter().flatten() {
        // Longer ones than 4 GiB don't get here: user and info are part of a request.
        bytes.extend_from_slice(&(text.len() as u32).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.extend_from_slice(data);
    bytes
}

type Record<'a> = (u8, Duration, Option<Arc<Who>>, &'a [u8]);

fn read_record(bytes: &[u8]) -> Option<Record<'_>> {
    let ([VERSION, flags], rest) = bytes.split_first_chunk()? else { return None };
    let (nanos, mut rest) = rest.split_first_chunk()?;
    let time = Duration::from_nanos(u64::from_be_bytes(*nanos));
    let mut text = |flag| -> Option<Option<Arc<str>>> {
        if flags & flag == 0 {
            return Some(None);
        }
        let (length, after) = rest.split_first_chunk()?;
        let (text, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        rest = after;
        Some(Some(str::from_utf8(text).ok()?.into()))
    };
    let (user, info) = (text(HAS_USER)?, text(HAS_INFO)?);
    let who = (flags & HAS_WHO != 0).then(|| Arc::new(Who { user, info }));
    Some((*flags, time, who, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rsp_core::channel::Epoch;

    use super::*;

    fn who() -> impl Strategy<Value = Option<Arc<Who>>> {
        let text = || prop::option::of(".*".prop_map(|text: String| Arc::from(text)));
        prop::option::of((text(), text()).prop_map(|(user, info)| Arc::new(Who { user, info })))
    }

    proptest! {
        #[test]
        fn messages_and_members_are_read_as_they_are_written(
            nanos: u64, text: String, data: Vec<u8>, who in who(), epoch: u64, offset: u64
        ) {
            let time = Duration::from_nanos(nanos);
            for (data, is_text) in [(text.as_bytes(), true), (&data, false)] {
                let one = Message { data: data.into(), is_text, time, by: who.clone() };
                let position = Position { epoch: Epoch::new(epoch), offset };
                let mut bytes = format!("m{position}\n").into_bytes();
                bytes.extend_from_slice(&message(&one));
                prop_assert_eq!(heard(&bytes), Some(Heard::Item(Item { position, message: Arc::new(one) })));
            }
            let one = Member { id: text.into(), who, since: time };
            prop_assert_eq!(read_member(&member(&one, true)[1..]), Some(one));
        }

        #[test]
        fn garbage_is_no_panic(kind in prop::sample::select(b"mrjlx".to_vec()), mut bytes: Vec<u8>, cut: u8) {
            let whole = message(&Message { data: Box::from(&b"x"[..]), is_text: true, time: Duration::ZERO, by: None });
            read_message(&whole[..whole.len().min(cut.into())]);
            bytes.splice(0..0, [kind, VERSION, 14]);
            heard(&bytes);
            read_message(&bytes[1..]);
        }
    }
}
