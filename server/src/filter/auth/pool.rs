//! Checks passwords beside the workers: each takes 50 to 1000 ms of CPU, on purpose.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rsp_core::auth::PasswordHash;

use super::kept::Asking;

/// Passwords that wait to be checked: with one thread and 150 ms each, as many as are done within [`WAIT_MAX`].
const WAITING_MAX: usize = 64;
/// Of these, how many one client may have: the others find room too.
const WAITING_OF_A_CLIENT_MAX: usize = WAITING_MAX / 2;
/// How long a request waits for its turn; then 503.
pub const WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a password that was right is known after its last use.
pub const KNOWN: Duration = Duration::from_secs(300);
/// Threads that check; less than cores, so that the workers stay ahead.
const THREADS_MAX: usize = 2;
/// Their priority: whatever a worker has to do comes first.
const NICE: i32 = 10;

/// The queue; a thread lives only while there is something in it.
pub struct Pool {
    state: Mutex<State>,
    threads_max: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
}

/// One password to check.
pub struct Job {
    /// Who is told.
    pub asking: Asking<()>,
    /// What the client said.
    pub password: String,
    /// What it must match.
    pub hash: PasswordHash,
    /// False: the hash is somebody else's, and whatever comes of it is a no.
    pub is_users: bool,
    /// Who wants to know; None: a unix socket.
    pub client: Option<IpAddr>,
}

/// As many passwords wait as may, of all clients or of this one.
#[derive(Debug)]
pub struct Full;

impl Pool {
    /// No thread yet.
    pub fn new() -> Arc<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Self { state: Mutex::default(), threads_max: (cores / 2).clamp(1, THREADS_MAX) })
    }

    /// Queues a password. Dropped, a job is given up, and whoever waits hears so.
    pub fn check(self: &Arc<Self>, job: Job) -> Result<(), Full> {
        let mut state = self.lock();
        let from = job.client.map(network);
        let of_client = || state.jobs.iter().filter(|other| other.client.map(network) == from).count();
        let many = state.jobs.len() >= WAITING_MAX || (from.is_some() && of_client() >= WAITING_OF_A_CLIENT_MAX);
        if many {
            // Its drop takes a lock of its own.
            drop(state);
            return Err(Full);
        }
        state.jobs.push_back(job);
        if state.threads < self.threads_max {
            state.threads += 1;
            drop(state);
            let running = Running { pool: Arc::clone(self), is_counted: true };
            let spawned = thread::Builder::new().name("passwords".to_owned()).spawn(move || running.work());
            if let Err(e) = spawned {
                // The threads there are get to it; without any, those who wait are told at their time-out.
                tracing::warn!("no thread to check passwords: {e}");
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread of the pool; counted until it is gone, however it goes.
struct Running {
    pool: Arc<Pool>,
    is_counted: bool,
}

impl Running {
    fn work(mut self) {
        // Without it, it still works: the kernel shares the cores evenly.
        let _ = rustix::process::nice(NICE);
        loop {
            let mut state = self.pool.lock();
            let Some(job) = state.jobs.pop_front() else {
                // Counted out under the same lock, so that no job is queued for a thread that is about to end.
                state.threads -= 1;
                drop(state);
                self.is_counted = false;
                return;
            };
            drop(state);
            if job.asking.is_awaited() {
                let is_right = job.hash.verify(&job.password) && job.is_users;
                job.asking.settle(is_right.then(|| ((), Instant::now() + KNOWN)));
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_counted {
            self.pool.lock().threads -= 1;
        }
    }
}

/// An IPv6 client has a whole /64.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address => address,
    }
}
