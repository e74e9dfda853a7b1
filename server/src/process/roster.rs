//! The processes that were ordered over one line, and what the spawner says of them.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    process::ExitStatus,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{
    Place, Spawner,
    line::Line,
    packet::{Answer, Order, What},
};
use crate::{error::Kind, observe::Metrics};

/// No step of the ladder sends a signal earlier after the end of a talk.
const UNSIGNALLED: Duration = Duration::from_millis(100);

/// One line, and everybody that was ordered over it and is not gone.
pub struct Roster {
    line: Rc<Line>,
    seats: RefCell<HashMap<u32, Rc<Seat>>>,
    last: Cell<u32>,
    is_lost: Cell<bool>,
    metrics: Arc<Metrics>,
}

/// One process, from its order to the end of its group.
pub struct Seat {
    /// The number by which the spawner is told of it.
    pub id: u32,
    state: Cell<State>,
    pid: Cell<i32>,
    /// What messages call it.
    name: Box<str>,
    /// When nobody talked with it any more.
    left: Cell<Option<Instant>>,
    /// Who waits for its start, or for its exit.
    waker: Cell<Option<Waker>>,
    place: Cell<Option<Place>>,
    /// The read ends of its output and errors.
    kept: Cell<Option<[OwnedFd; 2]>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It may be that nobody was told.
    New,
    Ordered,
    Failed(i32, What),
    Runs,
    Exited(i32),
    /// With the spawner.
    Lost,
}

impl Roster {
    /// Over a new line to the spawner that runs `since` then; called inside of a `LocalRuntime`.
    pub fn over(
        (socket, since): (OwnedFd, Instant),
        spawner: &Arc<Spawner>,
        metrics: &Arc<Metrics>,
    ) -> io::Result<Rc<Self>> {
        let roster = Rc::new(Self {
            line: Line::over(socket)?,
            seats: RefCell::default(),
            last: Cell::default(),
            is_lost: Cell::default(),
            metrics: Arc::clone(metrics),
        });
        let (hearing, spawner) = (Rc::clone(&roster), Arc::clone(spawner));
        tokio::task::spawn_local(async move {
            hearing.hear().await;
            // It waits for what is left of it, which is no thing for a worker. Whoever ends needs no answer.
            let _ = tokio::task::spawn_blocking(move || spawner.lost(since)).await;
        });
        Ok(roster)
    }

    /// Whether the spawner is gone.
    pub fn is_lost(&self) -> bool {
        self.is_lost.get()
    }

    /// Room for one more.
    pub fn take_seat(&self, name: Box<str>, place: Place, kept: [OwnedFd; 2]) -> Rc<Seat> {
        let id = self.last.get().wrapping_add(1);
        self.last.set(id);
        let seat = Rc::new(Seat {
            id,
            state: Cell::new(State::New),
            pid: Cell::default(),
            name,
            left: Cell::default(),
            waker: Cell::default(),
            place: Cell::new(Some(place)),
            kept: Cell::new(Some(kept)),
        });
        self.seats.borrow_mut().insert(id, Rc::clone(&seat));
        seat
    }

    /// Orders it, with its standard input, output and error.
    pub async fn order(&self, seat: &Seat, packet: &[u8], pipes: &[OwnedFd; 3]) -> Result<(), (Kind, String)> {
        // A send is done at once when it is done, so that no order can be out without its seat saying so.
        self.line
            .send(packet, &pipes.each_ref().map(AsFd::as_fd))
            .await
            .map_err(|e| (Kind::UpstreamDead, e.to_string()))?;
        if seat.state.get() == State::New {
            seat.state.set(State::Ordered);
        }
        Ok(())
    }

    /// Nobody talks with it any more.
    pub fn leave(&self, seat: &Seat) {
        seat.left.set(Some(Instant::now()));
        match seat.state.get() {
            State::New => drop(self.seats.borrow_mut().remove(&seat.id)),
            State::Ordered | State::Runs | State::Exited(_) if self.seats.borrow().contains_key(&seat.id) => {
                self.line.post(Order::End(seat.id).written());
            }
            _ => {}
        }
    }

    /// Hears of everybody, until the spawner is gone.
    async fn hear(&self) {
        let mut buffer = [0; 32];
        while let Ok(Some((length, _))) = self.line.receive(&mut buffer).await {
            let Some(answer) = Answer::read(&buffer[..length]) else { break };
            self.note(answer);
        }
        self.is_lost.set(true);
        let lost = self.seats.take();
        for seat in lost.into_values() {
            if let Some(pid) = Pid::from_raw(seat.pid.get()) {
                // The ladder went with the spawner. The number is still theirs: nobody said that they are gone.
                let _ = kill_process_group(pid, Signal::KILL);
                self.metrics.processes.running.dec();
            }
            seat.turn(State::Lost);
            seat.leave();
        }
    }

    fn note(&self, answer: Answer) {
        let (Answer::Started { id, .. } | Answer::Failed { id, .. } | Answer::Exited { id, .. } | Answer::Gone { id }) =
            answer;
        let seat = self.seats.borrow().get(&id).cloned();
        let Some(seat) = seat else { return };
        match answer {
            Answer::Started { pid, .. } => {
                self.metrics.processes.running.inc();
                seat.pid.set(pid);
                seat.turn(State::Runs);
            }
            Answer::Failed { errno, what, .. } => {
                self.seats.borrow_mut().remove(&id);
                seat.turn(State::Failed(errno, what));
                seat.leave();
            }
            Answer::Exited { status, .. } => {
                seat.tell(ExitStatus::from_raw(status));
                seat.turn(State::Exited(status));
            }
            Answer::Gone { .. } => {
                self.seats.borrow_mut().remove(&id);
                self.metrics.processes.running.dec();
                seat.leave();
            }
        }
    }
}

impl Seat {
    /// The number of the process, once it was started.
    pub fn pid(&self) -> i32 {
        self.pid.get()
    }

    /// Resolves when its program runs.
    pub async fn started(&self) -> Result<(), (Kind, String)> {
        std::future::poll_fn(|cx| match self.state.get() {
            State::New | State::Ordered => {
                self.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
            State::Runs | State::Exited(_) => Poll::Ready(Ok(())),
            State::Failed(errno, what) => {
                let e = io::Error::from_raw_os_error(errno);
                let why = match what {
                    What::Program => e.to_string(),
                    What::Folder => format!("its working folder is no folder: {e}"),
                };
                Poll::Ready(Err((Kind::UpstreamDead, why)))
            }
            State::Lost => Poll::Ready(Err((Kind::UpstreamDead, died().to_string()))),
        })
        .await
    }

    /// Ready when it has exited.
    pub fn poll_exited(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.state.get() {
            State::Exited(_) => Poll::Ready(Ok(())),
            State::Lost => Poll::Ready(Err(died())),
            _ => {
                self.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }

    /// How it exited.
    pub fn status(&self) -> Option<ExitStatus> {
        match self.state.get() {
            State::Exited(status) => Some(ExitStatus::from_raw(status)),
            _ => None,
        }
    }

    /// Says how it ended; for all to hear if that was a signal that is none of ours.
    fn tell(&self, status: ExitStatus) {
        let (name, pid) = (&self.name, self.pid.get());
        let steps = [Signal::INT, Signal::TERM, Signal::KILL].map(Signal::as_raw);
        let is_ours =
            |signal| steps.contains(&signal) && self.left.get().is_some_and(|left| left.elapsed() >= UNSIGNALLED);
        match status.signal() {
            Some(signal) if !is_ours(signal) => tracing::warn!("{name} (process {pid}) died of {status}"),
            _ => tracing::debug!("{name} (process {pid}) ended with {status}"),
        }
    }

    fn turn(&self, state: State) {
        self.state.set(state);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Its group is gone.
    fn leave(&self) {
        drop((self.place.take(), self.kept.take()));
    }
}

fn died() -> io::Error {
    io::Error::other("the process that starts programs has died")
}
