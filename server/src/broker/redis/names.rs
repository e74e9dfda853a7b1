//! What a channel is called at Redis: its keys, the name to listen to, and its slot.
//!
//! **Invariant:** all keys of a channel and the name to listen to have one hash tag, whatever the channel is called; two
//! channels never share a name.

/// Slots of a cluster.
pub const SLOTS: u16 = 16_384;

/// The ends of the keys of a channel, in the order that the scripts take them.
const KINDS: [&str; 6] = ["meta", "stream", "offsets", "ends", "members", "nodes"];

/// How this process names channels.
#[derive(Debug)]
pub struct Names {
    prefix: Box<str>,
    /// What pub/sub, which knows no databases, has before the tag.
    heard: Box<str>,
}

/// One channel's names.
#[derive(Debug)]
pub struct Place {
    /// What its keys begin with.
    tagged: String,
    /// What its subscribers listen to.
    pub heard: String,
    /// Its slot in a cluster.
    pub slot: u16,
}

impl Names {
    /// Braces in a prefix are written so that they are no hash tag.
    pub fn new(prefix: &str, database: i64) -> Self {
        let mut escaped = String::new();
        escape(prefix, &mut escaped);
        let heard = if database == 0 { escaped.clone() } else { format!("{escaped}{database}:") };
        Self { prefix: escaped.into(), heard: heard.into() }
    }

    /// Of a channel.
    pub fn place(&self, channel: &str) -> Place {
        let mut tag = String::with_capacity(channel.len() + 2);
        escape(channel, &mut tag);
        if tag.is_empty() {
            // `{}` is no hash tag, and no other channel is written with a lone percent sign.
            tag.push('%');
        }
        let slot = crc16(tag.as_bytes()) % SLOTS;
        Place { tagged: format!("{}{{{tag}}}:", self.prefix), heard: format!("{}{{{tag}}}", self.heard), slot }
    }

    /// The channel of a name that was listened to; None: it is not one of ours.
    pub fn channel(&self, heard: &[u8]) -> Option<String> {
        let tag = str::from_utf8(heard).ok()?.strip_prefix(&*self.heard)?.strip_prefix('{')?.strip_suffix('}')?;
        if tag == "%" {
            return Some(String::new());
        }
        let mut channel = String::with_capacity(tag.len());
        let mut rest = tag;
        while let Some((before, after)) = rest.split_once('%') {
            channel.push_str(before);
            channel.push(match after.get(..2)? {
                "25" => '%',
                "7B" => '{',
                "7D" => '}',
                _ => return None,
            });
            rest = &after[2..];
        }
        channel.push_str(rest);
        Some(channel)
    }
}

impl Place {
    /// The keys that the scripts take, in their order.
    pub fn keys(&self) -> impl Iterator<Item = String> + '_ {
        KINDS.iter().map(|kind| format!("{}{kind}", self.tagged))
    }
}

fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '%' => out.push_str("%25"),
            '{' => out.push_str("%7B"),
            '}' => out.push_str("%7D"),
            _ => out.push(character),
        }
    }
}

/// CRC-16/XMODEM, which the cluster specification names.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slot_is_that_of_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(Names::new("rsp:", 0).place("foo").slot, 12182);
    }

    #[test]
    fn databases_listen_to_names_of_their_own() {
        assert_eq!(Names::new("rsp:", 0).place("a{b}").heard, "rsp:{a%7Bb%7D}");
        assert_eq!(Names::new("rsp:", 3).place("a").heard, "rsp:3:{a}");
        assert_eq!(Names::new("rsp:", 3).place("a").keys().next().as_deref(), Some("rsp:{a}:meta"));
        assert_eq!(Names::new("{}", 0).place("").heard, "%7B%7D{%}");
    }

    proptest! {
        #[test]
        fn a_channel_is_read_as_it_is_written(prefix: String, channel in "[{}%a\u{e4}25BD7]*", other in "[{}%a\u{e4}25BD7]*") {
            let names = Names::new(&prefix, 0);
            let heard = names.place(&channel).heard;
            prop_assert_eq!(names.channel(heard.as_bytes()), Some(channel.clone()));
            prop_assert_eq!(heard == names.place(&other).heard, channel == other);
            prop_assert_eq!(heard.matches(['{', '}']).count(), 2);
        }

        #[test]
        fn no_name_is_a_panic(heard: Vec<u8>) {
            Names::new("", 0).channel(&heard);
        }
    }
}
