//! A deadline that costs a timer operation only when it must fire earlier than the last one.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// One reusable timer; each wait brings its own deadline.
///
/// Deadlines of a busy connection move forward all the time. The wheel stays armed for an old one, and when
/// that fires the timer goes on to the current one: one timer operation a time-out instead of one a wait.
#[derive(Default)]
pub struct Timer {
    armed: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Timer {
    /// Ready when `deadline` has passed.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let (at, sleep) = self.armed.get_or_insert_with(|| (deadline, Box::pin(sleep_until(deadline))));
        if deadline < *at {
            *at = deadline;
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if *at >= deadline || Instant::now() >= deadline {
                self.armed = None;
                return Poll::Ready(());
            }
            *at = deadline;
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    #[test]
    fn a_timer_armed_for_an_earlier_wait_goes_on_to_the_later_deadline() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let start = Instant::now();
            let mut timer = Timer::default();
            poll_fn(|cx| {
                assert!(timer.poll(cx, start + Duration::from_millis(10)).is_pending());
                Poll::Ready(())
            })
            .await;
            poll_fn(|cx| timer.poll(cx, start + Duration::from_millis(50))).await;
            assert!(start.elapsed() >= Duration::from_millis(50));
            poll_fn(|cx| timer.poll(cx, start + Duration::from_millis(60))).await;
            assert!(start.elapsed() >= Duration::from_millis(60));
        });
    }
}
