//! The spawner as rsp sees it: a process of this same binary that is small, so that it forks fast, and that outlives a
//! killed rsp for as long as the ladder takes.

use std::{
    collections::HashMap,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rsp_core::config;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::{Identity, Places, line, serve::Inherited};

/// One that lived so long may be started again at once.
const LONG: Duration = Duration::from_secs(10);
/// Before the second start after a death; it doubles with each one.
const PAUSE: Duration = Duration::from_millis(100);
/// At most.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// All that the spawner gets of our environment, beside what it is told.
const LIBRARIES: &str = "LD_LIBRARY_PATH";

/// Names of which processes are counted; functions make them, too.
const NAMES_MAX: usize = 10_000;

/// Users and groups that are known by their numbers, and how long that holds.
const IDENTITIES_MAX: usize = 1000;
const IDENTITY_AGE: Duration = Duration::from_secs(60);

/// The running spawner.
pub struct Spawner {
    inherited: Inherited,
    places: Mutex<HashMap<Box<str>, Arc<Places>>>,
    identities: Mutex<Identities>,
    state: Mutex<State>,
}

type Identities = HashMap<(String, Option<String>), (Instant, Result<Option<Identity>, String>)>;

#[derive(Default)]
struct State {
    live: Option<Live>,
    /// Until when none is started, as the last ones died too soon.
    not_before: Option<Instant>,
    pause: Duration,
    /// There will be no other.
    is_over: bool,
}

struct Live {
    /// Over which it gets lines; closed, it ends all processes and then itself.
    main: OwnedFd,
    child: Child,
    since: Instant,
}

impl Spawner {
    /// One that doesn't run yet; what programs inherit is what `inherited` says, whatever rsp changes for itself.
    pub fn new(inherited: Inherited) -> Arc<Self> {
        Arc::new(Self { inherited, places: Mutex::default(), identities: Mutex::default(), state: Mutex::default() })
    }

    /// Lets it run, unless it does; called where a fork may be waited for: on the control thread, before workers need it.
    pub fn start(&self) -> io::Result<()> {
        self.live(&mut lock(&self.state)).map(|_| ())
    }

    /// The processes of one `exec` or `cgi`.
    pub fn places(&self, name: &str) -> Arc<Places> {
        let mut places = lock(&self.places);
        if let Some(places) = places.get(name) {
            return Arc::clone(places);
        }
        if places.len() >= NAMES_MAX {
            // Who has one counts on with it.
            places.retain(|_, places| Arc::strong_count(places) > 1);
        }
        Arc::clone(places.entry(name.into()).or_default())
    }

    /// A line for one thread, and since when the spawner runs that has its other end; starts it where it doesn't run,
    /// which may take a while.
    pub fn line(&self) -> io::Result<(OwnedFd, Instant)> {
        let (ours, theirs) = line::pair()?;
        let mut state = lock(&self.state);
        for _ in 0..2 {
            let Live { main, since, .. } = self.live(&mut state)?;
            match line::send(main.as_fd(), b"line", &[theirs.as_fd()]) {
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => state.note_death(),
                sent => return sent.map(|()| (ours, *since)),
            }
        }
        Err(io::ErrorKind::BrokenPipe.into())
    }

    /// The numbers of a user and its groups; None: it is us.
    ///
    /// # Errors
    /// A sentence.
    pub async fn identity(&self, user: &config::User) -> Result<Option<Identity>, String> {
        let key = (user.name.clone(), user.group.clone());
        let known = lock(&self.identities).get(&key).filter(|(since, _)| since.elapsed() < IDENTITY_AGE).cloned();
        if let Some((_, found)) = known {
            return found;
        }
        let user = user.clone();
        let found = tokio::task::spawn_blocking(move || Identity::find(&user)).await;
        let found = found.map_err(|e| e.to_string())?;
        let mut identities = lock(&self.identities);
        if identities.len() >= IDENTITIES_MAX {
            identities.clear();
        }
        identities.insert(key, (Instant::now(), found.clone()));
        found
    }

    /// Lets all processes end, and waits for that, so long at most; who needs longer is seen to by the spawner alone.
    pub async fn end(&self, at_most: Duration) {
        let live = {
            let mut state = lock(&self.state);
            state.is_over = true;
            state.live.take()
        };
        let Some(Live { main, mut child, .. }) = live else { return };
        drop(main);
        let wait = move || {
            let pid = Pid::from_raw(child.id().cast_signed());
            let Some(ended) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return };
            // Too late or not, this is all there is to wait for.
            let _ = poll(&mut [PollFd::new(&ended, PollFlags::IN)], Timespec::try_from(at_most).ok().as_ref());
            let _ = child.try_wait();
        };
        // A thread that can't be had leaves the rest to the spawner.
        let _ = tokio::task::spawn_blocking(wait).await;
    }

    /// Takes note that a line broke to the spawner that ran since then: the next order starts another one. It may take a
    /// moment until that is gone.
    pub(super) fn lost(&self, since: Instant) {
        let mut state = lock(&self.state);
        if state.live.as_ref().is_some_and(|live| live.since == since) {
            state.note_death();
        }
    }

    fn live<'a>(&self, state: &'a mut State) -> io::Result<&'a Live> {
        state.look();
        if state.live.is_none() {
            if state.is_over || state.not_before.is_some_and(|time| Instant::now() < time) {
                return Err(io::Error::other("the process that starts programs is not there"));
            }
            state.live = Some(self.run()?);
        }
        state.live.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn run(&self) -> io::Result<Live> {
        let (main, theirs) = line::pair()?;
        let mut command = Command::new("/proc/self/exe");
        // Its environment can be read by programs, even where ours can't since we became another user. How libraries are
        // found is no secret.
        let libraries = std::env::var_os(LIBRARIES).map(|folders| (LIBRARIES, folders));
        command.arg0("rsp").args(ARGUMENTS).env_clear().envs(libraries);
        command.env(Inherited::VARIABLE, self.inherited.written());
        let child = command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).spawn()?;
        Ok(Live { main, child, since: Instant::now() })
    }
}

#[cfg(not(test))]
const ARGUMENTS: [&str; 1] = [super::serve::ARGUMENT];

/// The binary of the unit tests is none of rsp, but it has a test that does the same.
#[cfg(test)]
const ARGUMENTS: [&str; 4] = ["--ignored", "--exact", super::tests::SPAWNER, "--nocapture"];

impl State {
    fn look(&mut self) {
        let Some(live) = &mut self.live else { return };
        if !matches!(live.child.try_wait(), Ok(None)) {
            self.note_death();
        }
    }

    fn note_death(&mut self) {
        let Some(mut live) = self.live.take() else { return };
        // It has closed its end: what is left of it is not worth a wait.
        let _ = live.child.kill();
        let status = live.child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
        tracing::error!("the process that starts programs has died ({status}); the next program starts another one");
        let lived = live.since.elapsed();
        self.pause = if lived >= LONG { Duration::ZERO } else { (self.pause * 2).clamp(PAUSE, PAUSE_MAX) };
        self.not_before = Some(live.since + self.pause);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
