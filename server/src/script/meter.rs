//! Measures what a call takes of the processor and of memory, and stops one that takes too much.
//!
//! **Invariant:** outside of [`Meter::run`] no bound is set, so that what the engine itself does can't be stopped halfway.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use mlua::{Lua, VmState};
use rustix::time::{ClockId, clock_gettime};

use super::{recorder::Recorder, trouble::Raised};

/// Lua's steps (calls, rounds of a loop) between two looks at the clock, which cost more than a step.
const STEPS: u32 = 16;

/// Bounds of one call.
pub(super) struct Meter {
    cpu: Duration,
    memory: usize,
    steps: Cell<u32>,
    /// What runs now.
    running: Cell<Option<Running>>,
}

/// What one call has taken so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    cpu: Duration,
    memory: usize,
}

#[derive(Clone, Copy)]
struct Running {
    /// Processor time of this thread at which the call is over its bound.
    cpu_end: Duration,
    /// Before this it can't be.
    look_again: Instant,
}

impl Meter {
    /// Bounds every call on this state from now on.
    pub(super) fn install(lua: &Lua, recorder: &Rc<Recorder>, cpu: Duration, memory: usize) -> Rc<Self> {
        let meter = Rc::new(Self { cpu, memory, steps: Cell::new(0), running: Cell::new(None) });
        let (this, recorder) = (Rc::clone(&meter), Rc::clone(recorder));
        lua.set_interrupt(move |lua| this.step(lua, &recorder));
        meter
    }

    /// Runs one stretch of a call: from where it is resumed to where it waits or ends.
    pub(super) fn run<T>(&self, lua: &Lua, taken: &mut Taken, stretch: impl FnOnce() -> T) -> T {
        let cpu = processor_time();
        let memory = lua.used_memory();
        let left = self.cpu.saturating_sub(taken.cpu);
        self.running.set(Some(Running { cpu_end: cpu + left, look_again: Instant::now() + left }));
        let room = self.memory.saturating_sub(taken.memory).max(1);
        // A state without its own allocator can't be bounded; ours always has one.
        let _ = lua.set_memory_limit(memory.saturating_add(room));
        let result = stretch();
        let _ = lua.set_memory_limit(0);
        self.running.set(None);
        taken.cpu += processor_time().saturating_sub(cpu);
        taken.memory = (taken.memory + lua.used_memory()).saturating_sub(memory);
        result
    }

    /// The words for a call that wanted more memory than it may have.
    pub(super) fn memory_refused(&self) -> String {
        format!("it took more than {} of memory", rsp_core::config::units::write_size(self.memory as u64))
    }

    fn step(&self, lua: &Lua, recorder: &Recorder) -> mlua::Result<VmState> {
        self.steps.set(self.steps.get().wrapping_add(1));
        if !self.steps.get().is_multiple_of(STEPS) {
            return Ok(VmState::Continue);
        }
        let Some(mut running) = self.running.get() else { return Ok(VmState::Continue) };
        let now = Instant::now();
        if now < running.look_again {
            return Ok(VmState::Continue);
        }
        let left = running.cpu_end.saturating_sub(processor_time());
        if !left.is_zero() {
            running.look_again = now + left;
            self.running.set(Some(running));
            return Ok(VmState::Continue);
        }
        // What catches this error is stopped at its next step.
        self.steps.set(u32::MAX - u32::MAX % STEPS - 1);
        let message = format!("it ran for more than {} ms", self.cpu.as_millis());
        Err(Raised::error(recorder.nearest_line(lua, 0), message, "limits { script_cpu = … }"))
    }
}

/// Of this thread, so that a busy machine does not end calls that only waited for their turn.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
