//! A channel beside a naive model, and subscribers that lose, resume and are told.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;

use super::*;

fn message(number: u64, time: Duration) -> Arc<Message> {
    let data = number.to_string().into_bytes().into();
    Arc::new(Message { data, is_text: true, time, by: None })
}

fn rules(history: usize) -> Rules {
    Rules { history, ttl: Duration::from_secs(60), repeat: Duration::from_secs(300) }
}

const NOW: Duration = Duration::from_secs(1000);

#[test]
fn a_repeated_publication_is_the_first_one() {
    let mut channel = Channel::new(Epoch::new(1));
    let rules = rules(10);
    let first = channel.publish(&rules, message(1, NOW), Some("key"));
    let again = channel.publish(&rules, message(2, NOW + rules.repeat / 2), Some("key"));
    assert_eq!(again, Published { is_repeat: true, ..first });
    let late = channel.publish(&rules, message(3, NOW + rules.repeat), Some("key"));
    assert!(!late.is_repeat);
    assert_eq!(late.position.offset, 2);
}

#[test]
fn keys_are_bounded_and_the_oldest_goes() {
    let mut channel = Channel::new(Epoch::new(1));
    for number in 0..=KEYS_MAX {
        assert!(!channel.publish(&rules(0), message(0, NOW), Some(&number.to_string())).is_repeat);
    }
    assert!(channel.publish(&rules(0), message(0, NOW), Some("1")).is_repeat);
    assert!(!channel.publish(&rules(0), message(0, NOW), Some("0")).is_repeat);
}

#[test]
fn without_history_only_the_end_can_be_resumed() {
    let mut channel = Channel::new(Epoch::new(1));
    let before = channel.position();
    let after = channel.publish(&rules(0), message(1, NOW), None).position;
    assert_eq!(channel.since(&rules(0), NOW, after, usize::MAX), Resumed::Kept(Vec::new()));
    assert_eq!(channel.since(&rules(0), NOW, before, usize::MAX), Resumed::Lost(after));
    let ahead = Position { offset: 9, ..after };
    assert_eq!(channel.since(&rules(0), NOW, ahead, usize::MAX), Resumed::Lost(after));
    assert!(channel.is_forgettable(&rules(0), NOW));
}

#[test]
fn a_reset_is_told_to_everybody() {
    let mut channel = Channel::new(Epoch::new(1));
    let before = channel.publish(&rules(5), message(1, NOW), None).position;
    channel.reset(Epoch::new(2));
    assert_eq!(channel.since(&rules(5), NOW, before, usize::MAX), Resumed::Lost(channel.position()));
    let mut follower = Follower::new(before);
    let next = channel.publish(&rules(5), message(2, NOW), None).position;
    assert_eq!(follower.next(next), Next::Gap);
}

#[test]
fn a_client_joins_and_leaves_once() {
    let mut presence = Presence::default();
    let member = |id: &str, since| Member { id: id.into(), who: None, since: Duration::from_secs(since) };
    assert!(presence.join(member("b", 1)));
    assert!(presence.join(member("a", 2)));
    assert!(!presence.join(member("a", 3)));
    let ids: Vec<_> = presence.members().iter().map(|member| member.id.to_string()).collect();
    assert_eq!((ids, presence.count()), (vec!["b".to_owned(), "a".to_owned()], 2));
    assert_eq!(presence.leave("a").map(|member| member.since.as_secs()), Some(3));
    assert_eq!(presence.leave("a"), None);
}

/// What happens to a channel and to one who follows it.
#[derive(Debug, Clone)]
enum Step {
    /// A message is published, and its delivery to the follower may be lost.
    Publish { is_delivered: bool },
    /// Time goes by, in seconds.
    Wait(u64),
    /// The history is dropped.
    Reset,
    /// The follower is about to ask for what it missed; what comes meanwhile waits.
    FallBehind,
    /// The follower asks for what it missed.
    Resume,
    /// The follower gets the last item a second time.
    Repeat,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => any::<bool>().prop_map(|is_delivered| Step::Publish { is_delivered }),
        2 => (0..50u64).prop_map(Step::Wait),
        1 => Just(Step::Reset),
        1 => Just(Step::FallBehind),
        3 => Just(Step::Resume),
        1 => Just(Step::Repeat),
    ];
    prop::collection::vec(step, 0..80)
}

/// Everything that was ever published, in each epoch, and when: what the channel may forget.
#[derive(Default)]
struct Model {
    epochs: Vec<Vec<(Duration, u64)>>,
}

/// What one who follows has seen: runs of one epoch without a gap, each begun by being told.
struct Reader {
    follower: Follower,
    /// The index of the epoch and the offset that the run began after, then the numbers.
    runs: Vec<(usize, u64, Vec<u64>)>,
}

impl Reader {
    fn take(&mut self, item: &Item, channel: &mut Channel, rules: &Rules, now: Duration, epoch: usize) {
        match self.follower.arrive(item) {
            Next::Deliver => self.see(item),
            Next::Old => {}
            Next::Gap => self.resume(channel, rules, now, epoch),
        }
    }

    fn see(&mut self, item: &Item) {
        self.runs.last_mut().unwrap().2.push(number(&item.message));
    }

    fn resume(&mut self, channel: &mut Channel, rules: &Rules, now: Duration, epoch: usize) {
        loop {
            match channel.since(rules, now, self.follower.position(), 3) {
                Resumed::Kept(items) => {
                    for item in &items {
                        assert_eq!(self.follower.next(item.position), Next::Deliver, "nothing else was asked for");
                        self.see(item);
                    }
                    if items.len() == 3 {
                        continue;
                    }
                }
                Resumed::Lost(position) => {
                    self.follower.reset(position);
                    self.runs.push((epoch, position.offset, Vec::new()));
                }
            }
            let mut waited = Vec::new();
            let is_live = self.follower.catch_up(|item| waited.push(item.clone()));
            waited.iter().for_each(|item| self.see(item));
            if is_live {
                return;
            }
        }
    }
}

fn number(message: &Message) -> u64 {
    str::from_utf8(&message.data).unwrap().parse().unwrap()
}

proptest! {
    #[test]
    fn a_follower_sees_each_message_once_and_in_order_or_is_told(steps in steps(), history in 0..6usize) {
        let rules = rules(history);
        let (mut now, mut count) = (NOW, 0);
        let mut channel = Channel::new(Epoch::new(0));
        let mut model = Model { epochs: vec![Vec::new()] };
        let mut reader = Reader { follower: Follower::new(channel.position()), runs: vec![(0, 0, Vec::new())] };
        let mut last: Option<Item> = None;
        for step in steps {
            let epoch = model.epochs.len() - 1;
            match step {
                Step::Publish { is_delivered } => {
                    count += 1;
                    model.epochs[epoch].push((now, count));
                    let published = channel.publish(&rules, message(count, now), None);
                    prop_assert_eq!(published.position.offset, model.epochs[epoch].len() as u64);
                    let item = Item { position: published.position, message: message(count, now) };
                    if is_delivered {
                        reader.take(&item, &mut channel, &rules, now, epoch);
                    }
                    last = Some(item);
                }
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
                Step::Reset => {
                    model.epochs.push(Vec::new());
                    channel.reset(Epoch::new(model.epochs.len() as u64));
                }
                Step::FallBehind => reader.follower.fall_behind(),
                Step::Resume => {
                    let before = reader.runs.len();
                    let (position, seen) = (reader.follower.position(), reader.runs.last().unwrap().clone());
                    reader.resume(&mut channel, &rules, now, epoch);
                    // It is only told of a loss when something is lost.
                    let missed = model.epochs[epoch].get(position.offset as usize..);
                    let is_kept = |(at, _): &(Duration, u64)| *at + rules.ttl > now;
                    let all_kept = missed.is_some_and(|missed| missed.len() <= history && missed.iter().all(is_kept));
                    prop_assert_eq!(reader.runs.len() == before, seen.0 == epoch && all_kept);
                }
                Step::Repeat => {
                    if let Some(item) = &last {
                        reader.take(item, &mut channel, &rules, now, epoch);
                    }
                }
            }
        }
        for (epoch, after, seen) in &reader.runs {
            let published = model.epochs[*epoch].iter().map(|(_, number)| *number).skip(*after as usize);
            prop_assert_eq!(seen, &published.take(seen.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_history_is_the_latest_that_are_not_too_old(
        waits in prop::collection::vec(0..30u64, 0..30),
        history in 0..6usize,
        count in 0..8usize,
    ) {
        let rules = rules(history);
        let mut channel = Channel::new(Epoch::new(0));
        let mut published: Vec<(Duration, u64)> = Vec::new();
        let mut now = NOW;
        for (index, wait) in waits.into_iter().enumerate() {
            now += Duration::from_secs(wait);
            published.push((now, index as u64));
            channel.publish(&rules, message(index as u64, now), None);
        }
        let young: Vec<_> = published.iter().filter(|(at, _)| *at + rules.ttl > now).map(|(_, number)| *number).collect();
        let wanted = &young[young.len().saturating_sub(history.min(count))..];
        let found: Vec<_> = channel.latest(&rules, now, count).iter().map(|item| number(&item.message)).collect();
        prop_assert_eq!(found, wanted);
        channel.latest(&rules, now + rules.ttl, count);
        prop_assert!(channel.is_forgettable(&rules, now + rules.ttl));
    }
}
