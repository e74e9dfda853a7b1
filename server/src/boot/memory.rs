//! Memory that nobody needs any more, and the size of the pages it comes in.

use std::{sync::Arc, time::Duration};

use crate::broker::Broker;

/// A process that is smaller than this gets no huge pages.
const LARGE: u64 = 256 << 20;

/// Fewer channels that are gone are not worth a look at the whole heap.
const MANY: usize = 10_000;

/// Between two looks at how many channels there are.
const LOOK: Duration = Duration::from_secs(30);

/// Gives what this thread has freed back to the system.
///
/// Evaluating and checking a large config takes several times what serving it does, and the allocator would keep that
/// for as long as nothing is allocated.
#[allow(unsafe_code, reason = "the allocator's own entry point; it takes no pointer and may be called at any time")]
pub fn give_back() {
    // SAFETY: there are no requirements.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// Gives back what channels took of this thread's heap, each time that half of them are gone.
pub async fn give_back_for_ever(broker: Arc<Broker>) {
    let mut most = 0;
    loop {
        tokio::time::sleep(LOOK).await;
        let now = broker.count();
        if most > MANY && now < most / 2 {
            give_back();
            most = now;
        }
        most = most.max(now);
    }
}

/// Asks for small pages, unless the config that was loaded is a large one: its tables are read all over, which huge pages
/// make faster, but of few connections each would cost half as much again. Whatever is started from here inherits that.
pub fn choose_pages() {
    let is_small = resident().is_some_and(|bytes| bytes < LARGE);
    // A kernel without huge pages has small ones.
    let _ = rustix::thread::disable_transparent_huge_pages(is_small);
}

/// Bytes of this process that are in memory.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kilobytes.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_how_large_it_is() {
        let resident = resident().unwrap();
        assert!((1 << 20..64 << 30).contains(&resident), "{resident}");
    }
}
