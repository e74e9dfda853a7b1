//! Stories of those who wait for a place.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    task::{Wake, Waker},
};

use super::*;

struct Called(AtomicUsize, thread::Thread);

impl Wake for Called {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
        self.1.unpark();
    }
}

fn caller() -> (Arc<Called>, Waker) {
    let called = Arc::new(Called(AtomicUsize::new(0), thread::current()));
    (Arc::clone(&called), Waker::from(called))
}

fn waiting_room(most: u32) -> Group {
    let mut upstream = upstream(Balance::RoundRobin, &[(1, false)]);
    upstream.endpoints[0].max_connections = Some(most);
    upstream.queue.size = 100;
    group(&upstream)
}

fn now_or_never(group: &Group, now: Duration) -> Result<(usize, InFlight), Lack> {
    group.take(&Wish { now, seed: 0, tried: &Tried::default(), key: None, before: None })
}

#[test]
fn the_line_is_bounded_and_a_place_that_is_left_is_free() {
    let lasting = Arc::<Lasting>::default();
    let places: Vec<_> = (0..3).map(|_| Place::take(&lasting, 3).unwrap()).collect();
    assert!(Place::take(&lasting, 3).is_none());
    assert_eq!(lasting.room.waiting(), 3);
    drop(places);
    assert_eq!(lasting.room.waiting(), 0);
    assert!(Place::take(&lasting, 1).is_some());
    assert!(Place::take(&lasting, 0).is_none());
}

#[test]
fn only_the_first_is_called_and_whoever_leaves_calls_the_next() {
    let group = waiting_room(1);
    let open = now_or_never(&group, at(0)).unwrap();
    let [(one, wake_one), (two, wake_two), (three, wake_three)] = [(); 3].map(|()| caller());
    let places: Vec<_> = (0..3).map(|_| Place::take(group.lasting(), 3).unwrap()).collect();
    assert_eq!([0, 1, 2].map(|at| places[at].is_first([&wake_one, &wake_two, &wake_three][at])), [true, false, false]);
    drop(open);
    let calls = || [&one, &two, &three].map(|called| called.0.load(SeqCst));
    assert_eq!(calls(), [1, 0, 0]);
    let mut places = places.into_iter();
    let (first, second) = (places.next(), places.next());
    drop(second);
    assert_eq!(calls(), [1, 0, 0], "who leaves the middle calls nobody");
    drop(first);
    assert_eq!(calls(), [1, 0, 1]);
}

#[test]
fn while_nothing_can_be_reached_one_request_in_a_tenth_of_a_second_tries() {
    let group = waiting_room(10);
    let room = &group.lasting().room;
    let millis = Duration::from_millis;
    room.unreachable(millis(1000));
    assert_eq!(now_or_never(&group, millis(1050)).unwrap_err(), Lack::Down);
    assert_eq!(group.next_change(millis(1050)), Some(millis(1100)));
    assert!(now_or_never(&group, millis(1100)).is_ok());
    assert_eq!(now_or_never(&group, millis(1101)).unwrap_err(), Lack::Down);
    let place = Place::take(group.lasting(), 1).unwrap();
    let (called, waker) = caller();
    assert!(place.is_first(&waker));
    room.reached();
    assert_eq!(called.0.load(SeqCst), 1);
    assert!(now_or_never(&group, millis(1102)).is_ok());
}

/// Threads that each wait their turn, take the place, and give it back at once: if a call were lost, one would sleep
/// for ever.
#[test]
fn no_call_is_lost_between_threads() {
    let group = waiting_room(2);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let (_, waker) = caller();
                for round in 0..2_000 {
                    let place = Place::take(group.lasting(), 8).unwrap();
                    let begun = std::time::Instant::now();
                    let open = loop {
                        if place.is_first(&waker)
                            && let Ok(open) = now_or_never(&group, at(0))
                        {
                            break open;
                        }
                        // Some leave without a turn, as clients do.
                        if round % 7 == 3 {
                            break (0, InFlight::uncounted());
                        }
                        thread::park_timeout(at(10));
                        assert!(begun.elapsed() < at(9), "a call was lost");
                    };
                    drop(place);
                    drop(open);
                }
            });
        }
    });
    assert_eq!((group.lasting().room.waiting(), group.state(0).in_flight()), (0, 0));
}
