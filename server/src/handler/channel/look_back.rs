//! A subscriber over a connection looks back until it is live.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use rsp_core::channel::{Item, Member, Next};

use super::{
    encode::{Event, Format},
    hub::{AWAY, LOOK_MAX, Seat},
    subscriber::Ending,
};
use crate::{
    broker::{Look, Past},
    stream::{Outbox, Watched},
};

/// Bytes of the past that wait for a client; the rest waits where it is.
const WAITING_MAX: usize = 64 << 10;

/// What a subscriber begins with.
pub struct Start {
    /// What it missed.
    pub past: Past,
    /// As whom it is present; None: nobody wants to know.
    pub member: Option<Member>,
}

/// Tells a subscriber where it is, and the others that it is here; then it looks back.
pub async fn begin(seat: &mut Seat, start: Start, timeout: Duration) -> Result<(), Ending> {
    let position = seat.subscriber().follower().position();
    send(seat, Event::Subscribed(position));
    seat.subscriber().begin();
    if let Some(member) = start.member {
        // A broker that is away learns of it when it is back, or never: nobody is sent away for that.
        let _ = seat.enter(member).await;
    }
    catch_up(seat, Some(start.past), timeout).await
}

/// Sends what there was, and then what came meanwhile; `past` is what was looked up already.
///
/// # Errors
/// Why the subscription ends: it can't be told that something is lost, or the connection broke.
pub async fn catch_up(seat: &Seat, mut past: Option<Past>, timeout: Duration) -> Result<(), Ending> {
    let Some((format, outbox)) = seat.subscriber().connection() else { return Ok(()) };
    loop {
        let past = match past.take() {
            Some(past) => past,
            None => look(seat, outbox, timeout).await?,
        };
        if past.is_lost {
            if matches!(format, Format::Plain(_)) {
                return Err(Ending::Restart);
            }
            seat.subscriber().follower().reset(past.end);
            send(seat, Event::Reset(past.end));
        }
        for item in &past.items {
            let next = seat.subscriber().follower().next(item.position);
            if next == Next::Deliver {
                send(seat, Event::Item(item));
                if outbox.waiting() > WAITING_MAX {
                    flushed(seat, outbox, timeout).await?;
                }
            }
        }
        if past.items.len() == LOOK_MAX {
            continue;
        }
        let live = seat.subscriber().follower().catch_up(|item: &Item| send(seat, Event::Item(item)));
        if live {
            return Ok(());
        }
    }
}

/// Waits until everything is out, unless the subscription ends before.
async fn flushed(seat: &Seat, outbox: &Outbox, timeout: Duration) -> Result<(), Ending> {
    poll_fn(|cx| match outbox.poll_flush(cx, timeout) {
        Poll::Ready(flushed) => Poll::Ready(flushed.map_err(|_| Ending::Silent)),
        Poll::Pending => poll_ended(seat, outbox, cx).map(Err),
    })
    .await
}

/// Waits until the subscription ends; sends what waits meanwhile.
async fn ended(seat: &Seat, outbox: &Outbox, timeout: Duration) -> Ending {
    poll_fn(|cx| match outbox.poll_flush(cx, timeout) {
        Poll::Ready(Err(_)) => Poll::Ready(Ending::Silent),
        _ => poll_ended(seat, outbox, cx),
    })
    .await
}

/// Ready when the subscription is to end, or its client went away.
fn poll_ended(seat: &Seat, outbox: &Outbox, cx: &mut Context<'_>) -> Poll<Ending> {
    outbox.register(cx);
    match seat.subscriber().ending() {
        Some(ending) => Poll::Ready(ending),
        None if outbox.wire().watch(cx) == Watched::Ended => Poll::Ready(Ending::Silent),
        None => Poll::Pending,
    }
}

/// What is since the subscriber's place, as soon as the broker says, unless the subscription ends before.
async fn look(seat: &Seat, outbox: &Outbox, timeout: Duration) -> Result<Past, Ending> {
    loop {
        let from = seat.subscriber().follower().position();
        let hub = seat.hub();
        match hub.broker.read(seat.name(), &seat.spec().rules, Look::Since(from, LOOK_MAX)).await {
            Ok(past) => return Ok(past),
            // Sooner, if it ends: what comes meanwhile waits.
            Err(_) => {
                if let Ok(ending) = tokio::time::timeout(AWAY, ended(seat, outbox, timeout)).await {
                    return Err(ending);
                }
            }
        }
    }
}

fn send(seat: &Seat, event: Event<'_>) {
    let Some((format, outbox)): Option<(Format, &Outbox)> = seat.subscriber().connection() else { return };
    if let Some(frame) = seat.hub().encoder.encode(event, format) {
        // It was asked for, and is bounded by how much is looked up at once.
        let _ = outbox.send(&frame, usize::MAX);
        if let Event::Item(_) = event {
            seat.hub().metrics.channels.told(1, 0, 0);
        }
    }
}
