//! A warning for which there may be a reason with every message, and that is said once in a while.

use std::time::Duration;

use tokio::time::Instant;

/// Between two warnings of one kind.
const EVERY: Duration = Duration::from_secs(10);

/// One kind of warning.
#[derive(Debug, Default)]
pub struct Complaint {
    said: Option<Instant>,
    reasons: u64,
}

impl Complaint {
    /// There is a reason. How many there were since it was last said, if it is to be said now.
    pub fn has_reason(&mut self) -> Option<u64> {
        self.reasons += 1;
        if self.said.is_some_and(|said| said.elapsed() < EVERY) {
            return None;
        }
        self.said = Some(Instant::now());
        Some(std::mem::take(&mut self.reasons))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_warning_is_said_at_once_and_then_once_in_a_while_with_its_reasons_counted() {
        let mut complaint = Complaint::default();
        assert_eq!(complaint.has_reason(), Some(1));
        for _ in 0..5 {
            assert_eq!(complaint.has_reason(), None);
        }
        tokio::time::advance(EVERY).await;
        assert_eq!(complaint.has_reason(), Some(6));
    }
}
