//! Who was let pass, by a key that nobody can make up: bounded, aged, and found out once however many ask at a time.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use blake2::{
    Blake2bMac,
    digest::{
        FixedOutput, KeyInit, Update,
        array::Array,
        consts::{U32, U64},
    },
};
use tokio::sync::oneshot;

/// Requests that wait for one key; one client would need as many connections.
const WAITERS_MAX: usize = 1000;

/// Stands for what was asked, passwords and all.
pub type Key = [u8; 32];

/// Makes keys: without it nobody can tell from a key what it stands for, nor find another text with the same one. Each
/// process has its own.
pub struct Secret(Array<u8, U64>);

impl Default for Secret {
    fn default() -> Self {
        // 128 bits from the kernel; the parts of this key are keyed hashes of their numbers.
        let state = RandomState::new();
        let mut key = Array::default();
        for (part, bytes) in key.chunks_mut(8).enumerate() {
            bytes.copy_from_slice(&state.hash_one(part).to_ne_bytes());
        }
        Self(key)
    }
}

impl Secret {
    /// The key of these parts, in this order.
    pub fn key<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> Key {
        let mut mac = Blake2bMac::<U32>::new(&self.0);
        for part in parts {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac.finalize_fixed().into()
    }

    /// A number that is the same for one text as long as the process runs.
    pub fn number(&self, text: &str) -> u64 {
        let key = self.key([text.as_bytes()]);
        u64::from_le_bytes(std::array::from_fn(|index| key[index]))
    }
}

/// Values by key. Workers share it; its lock is held for a look-up, never across a wait.
pub struct Kept<V> {
    slots: Mutex<HashMap<Key, Slot<V>>>,
    most: usize,
}

enum Slot<V> {
    Known {
        value: V,
        until: Instant,
    },
    /// Somebody finds out; the others are told.
    Asked(Vec<oneshot::Sender<Option<V>>>),
}

/// What is known of a key.
pub enum Look<V: Clone> {
    /// This.
    Known(V),
    /// Somebody is finding out. The receiver gets the value; None: not this time; an error: it was given up.
    Wait(oneshot::Receiver<Option<V>>),
    /// Nothing: whoever asks has to find out, and is told like those who wait.
    Ask(Asking<V>, oneshot::Receiver<Option<V>>),
    /// Nothing, and there is no room to note that somebody finds out.
    Full,
}

impl<V: Clone> Kept<V> {
    /// Room for so many.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { slots: Mutex::default(), most })
    }

    /// Looks up a key. A value that is found lives for `renew` from now on, or as long as before.
    pub fn look(self: &Arc<Self>, key: Key, now: Instant, renew: Option<Duration>) -> Look<V> {
        let mut slots = self.lock();
        match slots.get_mut(&key) {
            Some(Slot::Known { value, until }) if *until > now => {
                *until = renew.map_or(*until, |time| now + time);
                return Look::Known(value.clone());
            }
            Some(Slot::Asked(waiters)) if waiters.len() >= WAITERS_MAX => return Look::Full,
            Some(Slot::Asked(waiters)) => {
                let (sender, receiver) = oneshot::channel();
                waiters.push(sender);
                return Look::Wait(receiver);
            }
            _ => {}
        }
        if slots.len() >= self.most {
            make_room(&mut slots, now, self.most);
        }
        if slots.len() >= self.most {
            return Look::Full;
        }
        let (sender, receiver) = oneshot::channel();
        slots.insert(key, Slot::Asked(vec![sender]));
        Look::Ask(Asking { kept: Arc::clone(self), key, settled: false }, receiver)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Slot<V>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets what is too old, and of the rest the eighth that would be first: so that a full map is not looked through
/// for every new key.
fn make_room<V>(slots: &mut HashMap<Key, Slot<V>>, now: Instant, most: usize) {
    slots.retain(|_, slot| !matches!(slot, Slot::Known { until, .. } if *until <= now));
    let enough = most - most.div_ceil(8);
    let mut ages: Vec<_> = slots.values().filter_map(Slot::until).collect();
    let Some(excess) = slots.len().checked_sub(enough).filter(|excess| *excess > 0 && !ages.is_empty()) else { return };
    let last = excess.min(ages.len()) - 1;
    let (_, &mut last, _) = ages.select_nth_unstable(last);
    slots.retain(|_, slot| slot.until().is_none_or(|until| until > last));
}

impl<V> Slot<V> {
    fn until(&self) -> Option<Instant> {
        match self {
            Self::Known { until, .. } => Some(*until),
            Self::Asked(_) => None,
        }
    }
}

/// The duty to find out; dropped, it is given up, and whoever waits hears so.
pub struct Asking<V: Clone> {
    kept: Arc<Kept<V>>,
    key: Key,
    settled: bool,
}

impl<V: Clone> Asking<V> {
    /// Tells all who wait. A value is kept until its time, None is not.
    pub fn settle(mut self, found: Option<(V, Instant)>) {
        self.settled = true;
        let mut slots = self.kept.lock();
        let value = found.as_ref().map(|(value, _)| value.clone());
        let old = match found {
            Some((value, until)) => slots.insert(self.key, Slot::Known { value, until }),
            None => slots.remove(&self.key),
        };
        drop(slots);
        if let Some(Slot::Asked(waiters)) = old {
            // Who went away needs no answer.
            waiters.into_iter().for_each(|waiter| drop(waiter.send(value.clone())));
        }
    }

    /// Whether anybody still waits.
    pub fn is_awaited(&self) -> bool {
        match self.kept.lock().get(&self.key) {
            Some(Slot::Asked(waiters)) => waiters.iter().any(|waiter| !waiter.is_closed()),
            _ => false,
        }
    }
}

impl<V: Clone> Drop for Asking<V> {
    fn drop(&mut self) {
        if !self.settled {
            self.kept.lock().remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn key(number: usize) -> Key {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        key
    }

    fn ask(kept: &Arc<Kept<u32>>, number: usize, now: Instant) -> (Asking<u32>, oneshot::Receiver<Option<u32>>) {
        match kept.look(key(number), now, None) {
            Look::Ask(asking, receiver) => (asking, receiver),
            _ => panic!("{number} is known, or there is no room"),
        }
    }

    fn known(kept: &Arc<Kept<u32>>, number: usize, now: Instant) -> Option<u32> {
        match kept.look(key(number), now, None) {
            Look::Known(value) => Some(value),
            _ => None,
        }
    }

    #[test]
    fn one_finds_out_and_all_who_wait_are_told() {
        let (kept, now) = (Kept::new(8), Instant::now());
        let (asking, mut first) = ask(&kept, 1, now);
        let Look::Wait(mut second) = kept.look(key(1), now, None) else { panic!("nobody is finding out") };
        assert!(asking.is_awaited());
        asking.settle(Some((7, now + MINUTE)));
        assert_eq!((first.try_recv(), second.try_recv()), (Ok(Some(7)), Ok(Some(7))));
        assert_eq!(known(&kept, 1, now + MINUTE / 2), Some(7));
        assert_eq!(known(&kept, 1, now + MINUTE), None, "its time is over");
    }

    #[test]
    fn a_no_and_a_question_given_up_are_not_kept() {
        let (kept, now) = (Kept::new(8), Instant::now());
        let (asking, mut told) = ask(&kept, 1, now);
        asking.settle(None);
        assert_eq!(told.try_recv(), Ok(None));
        let (asking, mut told) = ask(&kept, 1, now);
        drop(asking);
        assert!(told.try_recv().is_err());
        drop(told);
        let (asking, waiting) = ask(&kept, 1, now);
        drop(waiting);
        assert!(!asking.is_awaited());
    }

    #[test]
    fn a_look_renews_what_is_renewed() {
        let (kept, now) = (Kept::new(8), Instant::now());
        ask(&kept, 1, now).0.settle(Some((7, now + MINUTE)));
        assert!(matches!(kept.look(key(1), now + MINUTE / 2, Some(MINUTE)), Look::Known(7)));
        assert_eq!(known(&kept, 1, now + MINUTE), Some(7));
        assert_eq!(known(&kept, 1, now + 2 * MINUTE), None);
    }

    #[test]
    fn the_room_is_bounded_and_the_oldest_go_first() {
        let (kept, now) = (Kept::new(16), Instant::now());
        for number in 0..16 {
            ask(&kept, number, now).0.settle(Some((0, now + MINUTE + Duration::from_secs(number as u64))));
        }
        ask(&kept, 16, now).0.settle(Some((0, now + MINUTE)));
        assert_eq!((0..17).filter(|&number| known(&kept, number, now).is_some()).count(), 15);
        assert!(known(&kept, 0, now).is_none() && known(&kept, 1, now).is_none() && known(&kept, 2, now).is_some());
    }

    #[test]
    fn questions_in_flight_are_never_forgotten_for_new_ones() {
        let (kept, now) = (Kept::new(4), Instant::now());
        let asked: Vec<_> = (0..4).map(|number| ask(&kept, number, now)).collect();
        assert!(matches!(kept.look(key(4), now, None), Look::Full));
        drop(asked);
        assert!(matches!(kept.look(key(4), now, None), Look::Ask(..)));
    }

    #[test]
    fn a_key_depends_on_where_one_part_ends_and_on_the_secret() {
        let secret = Secret::default();
        let of = |parts: &[&str]| secret.key(parts.iter().map(|part| part.as_bytes()));
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab", "c"]), Secret::default().key([&b"ab"[..], b"c"]));
    }
}
