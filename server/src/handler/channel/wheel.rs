//! One timer for all pings of a worker: each subscriber's turn comes once in its interval, spread evenly.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
    time::Duration,
};

/// How exact a turn is.
const TICK: Duration = Duration::from_millis(250);

/// Turns ahead that have a slot of their own: 128 s. Longer waits go round.
const SLOTS: usize = 512;

/// Turns of `T`.
pub struct Wheel<T> {
    slots: RefCell<Vec<Vec<Turn<T>>>>,
    now: Cell<usize>,
}

struct Turn<T> {
    whose: Weak<T>,
    /// Rounds to wait.
    rounds: u32,
    interval: Duration,
}

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Self { slots: RefCell::new((0..SLOTS).map(|_| Vec::new()).collect()), now: Cell::new(0) }
    }
}

impl<T> Wheel<T> {
    /// Gives `whose` a turn each `interval`, the first one after a part of it: 0 to 255 of 256.
    pub fn add(&self, whose: &Rc<T>, interval: Duration, part: u8) {
        let first = interval / 2 + interval / 512 * u32::from(part);
        self.insert(Turn { whose: Rc::downgrade(whose), rounds: 0, interval }, first);
    }

    fn insert(&self, mut turn: Turn<T>, after: Duration) {
        let ticks = usize::try_from(after.as_millis() / TICK.as_millis()).unwrap_or(usize::MAX).max(1);
        turn.rounds = u32::try_from((ticks - 1) / SLOTS).unwrap_or(u32::MAX);
        let slot = (self.now.get() + ticks) % SLOTS;
        self.slots.borrow_mut()[slot].push(turn);
    }

    /// Runs for ever; `turn` is called for each whose turn it is, and says whether there is another one.
    pub async fn run_for_ever(&self, mut turn: impl FnMut(&Rc<T>) -> bool) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.tick(&mut turn);
        }
    }

    fn tick(&self, turn: &mut impl FnMut(&Rc<T>) -> bool) {
        let slot = (self.now.get() + 1) % SLOTS;
        self.now.set(slot);
        let due = std::mem::take(&mut self.slots.borrow_mut()[slot]);
        for mut entry in due {
            let Some(whose) = entry.whose.upgrade() else { continue };
            if entry.rounds > 0 {
                entry.rounds -= 1;
                self.slots.borrow_mut()[slot].push(entry);
            } else if turn(&whose) {
                let interval = entry.interval;
                self.insert(entry, interval);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(interval: Duration, part: u8, ticks: usize) -> Vec<usize> {
        let wheel = Wheel::default();
        let whose = Rc::new(());
        wheel.add(&whose, interval, part);
        let mut turns = Vec::new();
        for tick in 1..=ticks {
            wheel.tick(&mut |_| {
                turns.push(tick);
                true
            });
        }
        turns
    }

    #[test]
    fn a_turn_comes_once_an_interval_and_the_first_one_within_it() {
        assert_eq!(turns(Duration::from_secs(25), 0, 260), [50, 150, 250]);
        assert_eq!(turns(Duration::from_secs(25), 255, 260)[0], 99);
    }

    #[test]
    fn an_interval_longer_than_the_wheel_goes_round() {
        assert_eq!(turns(Duration::from_secs(600), 0, 6000), [1200, 3600, 6000]);
    }

    #[test]
    fn whoever_is_gone_or_wants_no_more_has_no_turn() {
        let wheel = Wheel::default();
        let (gone, tired) = (Rc::new(1), Rc::new(2));
        wheel.add(&gone, Duration::from_secs(1), 0);
        wheel.add(&tired, Duration::from_secs(1), 0);
        drop(gone);
        let mut turns = Vec::new();
        for _ in 0..20 {
            wheel.tick(&mut |whose| {
                turns.push(**whose);
                false
            });
        }
        assert_eq!(turns, [2]);
        assert!(wheel.slots.borrow().iter().all(Vec::is_empty));
    }
}
