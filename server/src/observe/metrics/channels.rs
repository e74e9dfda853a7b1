//! What is counted of channels.

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

/// How a subscriber hears of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Frames of a WebSocket.
    WebSocket,
    /// Events of an event stream.
    EventStream,
    /// Lines that are objects.
    Lines,
    /// One message, waited for.
    Poll,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::WebSocket, Self::EventStream, Self::Lines, Self::Poll];

    /// Its label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::EventStream => "event_stream",
            Self::Lines => "ndjson",
            Self::Poll => "poll",
        }
    }
}

/// What happens on all channels of the process.
#[derive(Debug, Default)]
pub struct ChannelCounts {
    subscribers: [Gauge; 4],
    /// Messages that somebody wanted to publish.
    pub published: Counter,
    /// Messages to subscribers.
    pub delivered: Counter,
    /// Messages that were dropped for slow subscribers.
    pub dropped: Counter,
    /// Slow subscribers that were disconnected.
    pub slow: Counter,
    /// Resumed with nothing lost.
    pub resumed: Counter,
    /// Resumed with something lost.
    pub lost: Counter,
}

impl ChannelCounts {
    /// Subscribers over one transport.
    pub fn subscribers(&self, transport: Transport) -> &Gauge {
        &self.subscribers[transport as usize]
    }

    /// Some subscribers were told of a message, messages were dropped for some, and some ended because of it.
    pub fn told(&self, delivered: u64, dropped: usize, ended: u64) {
        for (counter, count) in [(&self.delivered, delivered), (&self.dropped, dropped as u64), (&self.slow, ended)] {
            if count > 0 {
                counter.inc_by(count);
            }
        }
    }

    /// A subscriber came back with a position.
    pub fn resumed(&self, is_lost: bool) {
        if is_lost { &self.lost } else { &self.resumed }.inc();
    }
}
