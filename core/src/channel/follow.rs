//! One subscriber's place in a stream: what comes next, what came before, and where something is missing.

use super::{Item, Position};

/// Items that wait while a follower looks back; more are looked up again.
const WAITING_MAX: usize = 64;

/// What an item is to a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The one to deliver.
    Deliver,
    /// It has been delivered, or it waits, or it is of an earlier epoch.
    Old,
    /// Something before it is missing, or it is of a later epoch: look up what is since the position.
    Gap,
}

/// Follows a channel from a position.
///
/// Live items and those of the history may overlap and race; each is delivered once. While it looks back, live items wait.
#[derive(Debug, Clone)]
pub struct Follower {
    position: Position,
    /// None: live.
    behind: Option<Box<Behind>>,
}

#[derive(Debug, Clone, Default)]
struct Behind {
    /// What came meanwhile, in order.
    waiting: Vec<Item>,
    /// More came than may wait.
    overflowed: bool,
}

impl Follower {
    /// Sees everything after `position`.
    pub fn new(position: Position) -> Self {
        Self { position, behind: None }
    }

    /// Will see everything after `position`, but has to look back first.
    pub fn behind(position: Position) -> Self {
        Self { position, behind: Some(Box::default()) }
    }

    /// After the last item that was delivered.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether it looks back.
    pub fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// Has to look back; what comes meanwhile waits.
    pub fn fall_behind(&mut self) {
        self.behind.get_or_insert_default();
    }

    /// A live item has come. After a gap the follower is behind.
    pub fn arrive(&mut self, item: &Item) -> Next {
        match &mut self.behind {
            Some(behind) if behind.waiting.len() < WAITING_MAX => behind.waiting.push(item.clone()),
            Some(behind) => behind.overflowed = true,
            None => {
                let next = self.next(item.position);
                if next == Next::Gap {
                    self.behind = Some(Box::new(Behind { waiting: vec![item.clone()], overflowed: false }));
                }
                return next;
            }
        }
        Next::Old
    }

    /// What to do with the item at `position`, which was looked up.
    pub fn next(&mut self, position: Position) -> Next {
        if position.epoch != self.position.epoch {
            return if position.epoch > self.position.epoch { Next::Gap } else { Next::Old };
        }
        match position.offset.checked_sub(self.position.offset) {
            Some(1) => {
                self.position = position;
                Next::Deliver
            }
            Some(2..) => Next::Gap,
            _ => Next::Old,
        }
    }

    /// Everything that could be looked up was: delivers what waited. False: there is a gap still, look again.
    pub fn catch_up(&mut self, mut deliver: impl FnMut(&Item)) -> bool {
        let Some(behind) = self.behind.take() else { return true };
        for item in &behind.waiting {
            match self.next(item.position) {
                Next::Deliver => deliver(item),
                Next::Old => {}
                Next::Gap => {
                    self.behind = Some(Box::default());
                    return false;
                }
            }
        }
        if behind.overflowed {
            self.behind = Some(Box::default());
        }
        !behind.overflowed
    }

    /// Goes on from here, after its client was told that something is lost.
    pub fn reset(&mut self, position: Position) {
        self.position = position;
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::channel::{Epoch, Message};

    fn item(offset: u64) -> Item {
        let message = Message { data: Box::default(), is_text: true, time: Duration::ZERO, by: None };
        Item { position: at(offset), message: Arc::new(message) }
    }

    fn at(offset: u64) -> Position {
        Position { epoch: Epoch::new(1), offset }
    }

    fn caught_up(follower: &mut Follower) -> (bool, Vec<u64>) {
        let mut delivered = Vec::new();
        let done = follower.catch_up(|item| delivered.push(item.position.offset));
        (done, delivered)
    }

    #[test]
    fn what_comes_while_it_looks_back_waits_and_is_delivered_once() {
        let mut follower = Follower::behind(at(3));
        for offset in 5..8 {
            assert_eq!(follower.arrive(&item(offset)), Next::Old);
        }
        assert_eq!([4, 5].map(|offset| follower.next(at(offset))), [Next::Deliver; 2]);
        assert_eq!(caught_up(&mut follower), (true, vec![6, 7]));
        assert_eq!(follower.arrive(&item(8)), Next::Deliver);
    }

    #[test]
    fn more_than_may_wait_is_looked_up_again() {
        let mut follower = Follower::behind(at(0));
        let last = WAITING_MAX as u64 + 5;
        for offset in 1..=last {
            follower.arrive(&item(offset));
        }
        assert_eq!(caught_up(&mut follower), (false, (1..=WAITING_MAX as u64).collect()));
        assert!(follower.is_behind());
        for offset in follower.position().offset + 1..=last {
            assert_eq!(follower.next(at(offset)), Next::Deliver);
        }
        assert_eq!(caught_up(&mut follower), (true, vec![]));
    }

    #[test]
    fn a_gap_puts_it_behind_and_keeps_what_showed_it() {
        let mut follower = Follower::new(at(1));
        assert_eq!(follower.arrive(&item(3)), Next::Gap);
        assert!(follower.is_behind());
        assert_eq!(caught_up(&mut follower), (false, vec![]), "the gap is still there");
        assert_eq!([2, 3].map(|offset| follower.next(at(offset))), [Next::Deliver; 2]);
        assert_eq!(caught_up(&mut follower), (true, vec![]));
    }

    #[test]
    fn an_item_of_an_earlier_epoch_is_old_and_one_of_a_later_epoch_shows_a_gap() {
        let of = |epoch, offset| {
            let mut item = item(offset);
            item.position.epoch = Epoch::new(epoch);
            item
        };
        for offset in [0, 7] {
            let mut follower = Follower::new(of(5, offset).position);
            for old in [1, offset, offset + 1, offset + 2] {
                assert_eq!(follower.arrive(&of(4, old)), Next::Old);
            }
            assert_eq!((follower.position(), follower.is_behind()), (of(5, offset).position, false));
            assert_eq!(follower.arrive(&of(5, offset + 1)), Next::Deliver, "it goes on where it was");
            assert_eq!(follower.arrive(&of(6, 1)), Next::Gap);
            assert!(follower.is_behind());
        }
    }
}
