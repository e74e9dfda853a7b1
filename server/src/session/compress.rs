//! The compressors of a worker, one for each size of window: each message stands for itself (RFC 7692 §7.1.1).

use std::{cell::RefCell, collections::HashMap};

use rsp_core::frame::websocket::Deflater;

/// Messages that are shorter are not worth compressing.
const DEFLATE_MIN: usize = 64;

/// The compressors of a worker; 7 at most.
#[derive(Default)]
pub struct Deflaters(RefCell<HashMap<u8, Deflater>>);

impl Deflaters {
    /// A message in fewer bytes; None: it is not worth it. `window`: bits of the window that was agreed on.
    pub fn deflate(&self, window: u8, payload: &[u8]) -> Option<Vec<u8>> {
        if payload.len() < DEFLATE_MIN {
            return None;
        }
        self.0.borrow_mut().entry(window).or_insert_with(|| Deflater::new(window)).deflate(payload)
    }
}
