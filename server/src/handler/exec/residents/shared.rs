//! `shared = true`: one process and all clients, of all workers.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    convert::Infallible,
    future::poll_fn,
    sync::Arc,
};

use rsp_core::{config::Framing, frame::messages};
use tokio::{io::AsyncWriteExt, net::unix::pipe};

use super::{
    complaint::Complaint,
    hall::{Hall, Passed},
    objects::{Id, Said},
    output::Output,
    seat::Seat,
};
use crate::session::End;

/// Bytes that are gathered for one write: as much as a pipe holds.
const PIECE: usize = 64 << 10;

/// Turns before the thread does something else.
const TURNS: usize = 256;

/// The clients of one program, as its task sees them.
pub struct Clients {
    name: Arc<str>,
    hall: Arc<Hall>,
    seats: RefCell<BTreeMap<Id, Arc<Seat>>>,
    /// How many processes there were.
    process: Cell<u64>,
    garbage: RefCell<Complaint>,
    slow: RefCell<Complaint>,
}

impl Clients {
    /// Those that come to a hall.
    pub fn new(name: &Arc<str>, hall: &Arc<Hall>) -> Self {
        Self {
            name: Arc::clone(name),
            hall: Arc::clone(hall),
            seats: RefCell::default(),
            process: Cell::new(0),
            garbage: RefCell::default(),
            slow: RefCell::default(),
        }
    }

    /// Another process begins, which is told of each.
    pub fn begin_anew(&self) {
        self.process.set(self.process.get() + 1);
        self.take_in(self.hall.passed());
        self.seats.borrow().values().for_each(Seat::begin_anew);
    }

    /// Sees who comes and who leaves.
    pub async fn attend(&self) -> Infallible {
        loop {
            let passed = poll_fn(|cx| self.hall.poll_passed(cx)).await;
            self.take_in(passed);
        }
    }

    /// Says to the process what clients say, in turn. What a process that reads no more should have read is dropped.
    pub async fn speak(&self, mut input: Option<pipe::Sender>, framing: Framing) -> Infallible {
        let mut out = Vec::new();
        loop {
            let mut seat = Some(poll_fn(|cx| self.hall.poll_next(cx)).await);
            for _ in 0..TURNS {
                let Some(said) = seat.take().map(|seat| seat.say(self.process.get())) else { break };
                if let (Some(said), Some(_)) = (said, &input) {
                    messages::write(framing, &said, &mut out);
                }
                if out.len() >= PIECE {
                    break;
                }
                seat = self.hall.next();
            }
            // One that was taken and not asked keeps its turn.
            if let Some(seat) = seat {
                self.hall.queue(&seat);
            }
            if let Some(pipe) = &mut input
                && pipe.write_all(&out).await.is_err()
            {
                input = None;
            }
            out.clear();
            out.shrink_to(PIECE);
            tokio::task::yield_now().await;
        }
    }

    /// Tells clients what the process says, to its end; returns what was wrong with that, for a person.
    pub async fn listen(&self, mut output: Output) -> Option<String> {
        loop {
            match output.more().await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(e) => return Some(format!("can't be read: {e}")),
            }
            // Whom it answers has come before it was told.
            self.take_in(self.hall.passed());
            loop {
                match output.next() {
                    Ok(Some(text)) => self.hear(&text),
                    Ok(None) => break,
                    Err(why) => return Some(why),
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// There is no such program any more.
    pub fn send_away(&self) {
        self.take_in(self.hall.passed());
        self.seats.borrow().values().for_each(|seat| seat.send_away(End::Away));
    }

    fn take_in(&self, Passed { came, left }: Passed) {
        let mut seats = self.seats.borrow_mut();
        seats.extend(came.into_iter().map(|seat| (seat.id, seat)));
        left.iter().for_each(|seat| drop(seats.remove(&seat.id)));
    }

    fn hear(&self, text: &[u8]) {
        let Some(said) = Said::read(text) else {
            if let Some(times) = self.garbage.borrow_mut().has_reason() {
                let line = String::from_utf8_lossy(&text[..text.len().min(100)]).into_owned();
                tracing::warn!("{}: no object for a client, {times} times: {line:?}", self.name);
            }
            return;
        };
        let seats = self.seats.borrow();
        match said.to {
            None => seats.values().for_each(|seat| self.tell(seat, &said)),
            // One that has just left.
            Some(id) => {
                if let Some(seat) = id.and_then(|id| seats.get(&id)) {
                    self.tell(seat, &said);
                }
            }
        }
    }

    fn tell(&self, seat: &Seat, said: &Said) {
        if let Some(message) = &said.message
            && !seat.tell(message)
            && let Some(times) = self.slow.borrow_mut().has_reason()
        {
            tracing::info!("{}: a client is too slow and was disconnected, {times} times", self.name);
        }
        if said.closes {
            seat.send_away(End::Done);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{task::Context, time::Duration};

    use serde_json::Value;
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::{
        handler::exec::residents::{objects, seat::Member},
        message::Request,
        session::Far,
    };

    fn come(id: Id, hall: &Arc<Hall>) -> Member {
        Seat::take(id, objects::open(id, &Request::example(http::Method::GET, "/")), hall)
    }

    /// What a process is told until there is nothing to tell: ids and events, or what was said.
    async fn told(clients: &Clients) -> Vec<String> {
        let (input, mut output) = pipe::pipe().unwrap();
        let mut text = Vec::new();
        let read = async {
            // As long as there is more at once.
            while let Ok(Ok(n)) = tokio::time::timeout(Duration::from_millis(50), output.read_buf(&mut text)).await {
                assert!(n > 0);
            }
        };
        tokio::select! {
            () = read => {}
            never = clients.speak(Some(input), Framing::Lines) => match never {},
        }
        let lines = str::from_utf8(&text).unwrap().lines();
        let objects = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        objects.map(|one| word(&one["id"]) + " " + &word(one.get("data").unwrap_or(&one["event"]))).collect()
    }

    fn clients() -> (Clients, Arc<Hall>) {
        let hall = Arc::default();
        (Clients::new(&"test".into(), &hall), hall)
    }

    #[tokio::test]
    async fn each_in_turn_says_one_thing_in_its_own_order() {
        let (clients, hall) = clients();
        let (mut loud, mut quiet) = (come(1, &hall), come(2, &hall));
        ["a", "b", "c", "d"].iter().for_each(|text| loud.give(text.as_bytes(), true));
        quiet.give(b"x", true);
        clients.begin_anew();
        assert_eq!(told(&clients).await, ["1 open", "2 open", "1 a", "2 x", "1 b", "1 c", "1 d"]);
        drop(loud);
        drop(come(3, &hall));
        assert_eq!(told(&clients).await, ["1 close"], "of one that came and went in silence nothing is told");
    }

    #[tokio::test]
    async fn another_process_is_told_of_who_is_there_and_then_what_waited() {
        let (clients, hall) = clients();
        let (mut first, gone) = (come(1, &hall), come(2, &hall));
        clients.begin_anew();
        assert_eq!(told(&clients).await, ["1 open", "2 open"]);
        first.give(b"waited", true);
        drop(gone);
        let mut last = come(3, &hall);
        last.give(b"last words", true);
        drop(last);
        clients.begin_anew();
        let mut all = told(&clients).await;
        let of = |id: &str, all: &[String]| all.iter().filter(|one| one.starts_with(id)).cloned().collect::<Vec<_>>();
        assert_eq!(of("1", &all), ["1 open", "1 waited"]);
        assert_eq!(of("3", &all), ["3 open", "3 last words", "3 close"]);
        all.retain(|one| one.starts_with('2'));
        assert!(all.is_empty(), "{all:?}");
    }

    #[tokio::test]
    async fn a_client_is_read_again_when_the_process_reads() {
        let (clients, hall) = clients();
        let mut client = come(1, &hall);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut given = 0;
        while client.poll_room(&mut cx).is_ready() {
            client.give(&[b'x'; 1000], true);
            given += 1;
        }
        assert!((60..70).contains(&given), "{given} messages of 1 kB");
        clients.begin_anew();
        assert_eq!(told(&clients).await.len(), given + 1);
        assert!(client.poll_room(&mut cx).is_ready());
    }

    #[tokio::test]
    async fn who_comes_and_goes_while_the_process_does_not_read_fills_no_memory() {
        let (clients, hall) = clients();
        for id in 0..2000 {
            let mut client = come(id, &hall);
            client.give(&[b'x'; 60_000], true);
            client.give(b"y", true);
        }
        assert!(hall.waiting() < 300, "{} wait", hall.waiting());
        clients.begin_anew();
        let all = told(&clients).await;
        assert_eq!(all.iter().filter(|one| one.ends_with(" y")).count(), all.len() / 4);
        // All that they held is free.
        assert!(hall.keep(16 << 20));
    }

    #[test]
    fn what_is_for_all_and_for_one_gets_there_and_the_rest_is_dropped() {
        let (clients, hall) = clients();
        let _members = [come(1, &hall), come(2, &hall)];
        clients.begin_anew();
        for text in ["{\"id\":\"3\",\"data\":\"x\"}", "garbage", "{\"data\":\"x\"}"] {
            clients.hear(text.as_bytes());
        }
        assert_eq!(clients.seats.borrow().values().map(|seat| seat.waits()).collect::<Vec<_>>(), [1, 1]);
    }
}
