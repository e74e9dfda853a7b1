//! Memory that a load of the config used and that nobody needs any more.

/// Gives what this thread has freed back to the system.
///
/// Evaluating and checking a large config takes several times what serving it does, and the allocator would keep that
/// for as long as nothing is allocated.
#[allow(unsafe_code, reason = "the allocator's own entry point; it takes no pointer and may be called at any time")]
pub fn give_back() {
    // SAFETY: there are no requirements.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
