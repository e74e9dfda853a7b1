//! Byte buffers borrowed from a pool of the worker's own.

use std::cell::RefCell;

/// Capacities that are pooled; a larger buffer is made for its one use. The smallest holds the longest record of TLS.
const CLASSES: [usize; 3] = [19 << 10, 64 << 10, 256 << 10];

/// Free buffers kept of each class: 5 MiB, 4 MiB and 2 MiB a worker at most.
const KEPT: [usize; 3] = [256, 64, 8];

thread_local! {
    static POOL: RefCell<[Vec<Box<[u8]>>; 3]> = const { RefCell::new([Vec::new(), Vec::new(), Vec::new()]) };
}

/// A window of unread bytes in a fixed allocation; goes back to the worker's pool on drop.
#[derive(Default)]
pub struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// A buffer for at least `capacity` bytes.
    pub fn take(capacity: usize) -> Self {
        let pooled = class_for(capacity).map(|class| {
            let free = POOL.try_with(|pool| pool.borrow_mut()[class].pop()).ok().flatten();
            free.unwrap_or_else(|| vec![0; CLASSES[class]].into_boxed_slice())
        });
        let bytes = pooled.unwrap_or_else(|| vec![0; capacity].into_boxed_slice());
        Self { bytes, start: 0, end: 0 }
    }

    /// The unread bytes.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The unread bytes, for decoding in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Room behind the unread bytes; moves them to the front first when there is none.
    pub fn spare(&mut self) -> &mut [u8] {
        if self.end == self.bytes.len() && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.bytes[self.end..]
    }

    /// Makes room for `n` bytes behind the unread ones; false when they do not fit in.
    pub fn make_room(&mut self, n: usize) -> bool {
        if self.bytes.len() - self.end < n && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.bytes.len() - self.end >= n
    }

    /// Appends as much of `bytes` as there is room behind the unread ones.
    pub fn extend(&mut self, bytes: &[u8]) {
        let spare = self.spare();
        let n = bytes.len().min(spare.len());
        spare[..n].copy_from_slice(&bytes[..n]);
        self.commit(n);
    }

    /// Counts `n` bytes of [`spare`](Self::spare) as read from the socket.
    pub fn commit(&mut self, n: usize) {
        self.end = (self.end + n).min(self.bytes.len());
    }

    /// Forgets the first `n` unread bytes.
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Keeps the first `n` unread bytes only.
    pub fn truncate(&mut self, n: usize) {
        self.end = self.end.min(self.start + n);
    }

    /// Whether nothing is unread.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether no byte more fits.
    pub fn is_full(&self) -> bool {
        self.end - self.start == self.bytes.len()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(class) = CLASSES.iter().position(|&size| size == self.bytes.len()) else { return };
        let bytes = std::mem::take(&mut self.bytes);
        // A worker that is ending has no pool any more; then the buffer is freed.
        let _ = POOL.try_with(|pool| {
            let free = &mut pool.borrow_mut()[class];
            if free.len() < KEPT[class] {
                free.push(bytes);
            }
        });
    }
}

fn class_for(capacity: usize) -> Option<usize> {
    CLASSES.iter().position(|&size| size >= capacity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_lent_again() {
        let first = Buffer::take(1000).bytes.as_ptr() as usize;
        assert_eq!(Buffer::take(1000).bytes.as_ptr() as usize, first);
    }

    #[test]
    fn spare_room_is_made_by_moving_what_is_unread() {
        let mut buffer = Buffer::take(16 << 10);
        let room = buffer.spare().len();
        buffer.spare()[room - 2..].copy_from_slice(b"ab");
        buffer.commit(room);
        assert!(buffer.is_full());
        buffer.consume(room - 2);
        assert_eq!(buffer.spare().len(), room - 2);
        assert_eq!(buffer.filled(), b"ab");
    }
}
