//! One subscriber's place in a stream: what comes next, what came before, and where something is missing.

use super::Position;

/// What an item is to a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The one to deliver.
    Deliver,
    /// It has been delivered.
    Old,
    /// Something before it is missing, or it is of another epoch: ask the channel for what is since the position.
    Gap,
}

/// Follows a channel from a position.
///
/// Live items and those of the history may overlap and race; each is delivered once.
#[derive(Debug, Clone, Copy)]
pub struct Follower {
    position: Position,
}

impl Follower {
    /// Sees everything after `position`.
    pub fn new(position: Position) -> Self {
        Self { position }
    }

    /// After the last item that was delivered.
    pub fn position(&self) -> Position {
        self.position
    }

    /// What to do with the item at `position`.
    pub fn next(&mut self, position: Position) -> Next {
        if position.epoch != self.position.epoch {
            return Next::Gap;
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

    /// Goes on from here, after its client was told that something is lost.
    pub fn reset(&mut self, position: Position) {
        self.position = position;
    }
}
