//! What comes over the connection that listens.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use redis::{PushInfo, PushKind, Value};

use super::{encode, node::End, shared::Shared};

/// Hands what is heard to the workers.
pub fn listener(
    shared: &Arc<Shared>,
    run: &Arc<str>,
    end: &Arc<End>,
    unsubscribed: &Arc<AtomicUsize>,
) -> impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static {
    let (shared, run) = (Arc::downgrade(shared), Arc::clone(run));
    let (end, unsubscribed) = (Arc::clone(end), Arc::clone(unsubscribed));
    move |push| {
        match push.kind {
            PushKind::Message | PushKind::SMessage => {
                let mut data = push.data.into_iter();
                let (Some(Value::BulkString(name)), Some(Value::BulkString(bytes))) = (data.next(), data.next()) else {
                    return Ok(());
                };
                let Some(shared) = shared.upgrade() else { return Ok(()) };
                let Some(channel) = shared.names.channel(&name) else { return Ok(()) };
                let heard = encode::heard(&bytes);
                if heard.is_none() {
                    shared.not_understood(&channel);
                }
                shared.interests.tell(&channel, heard, &run);
            }
            PushKind::Unsubscribe | PushKind::SUnsubscribe => {
                let was_due = unsubscribed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| due.checked_sub(1));
                if was_due.is_err() {
                    // A slot went to another node.
                    end.because("unsubscribed by the server");
                }
            }
            PushKind::Disconnection => end.because("closed by the server"),
            _ => {}
        }
        Ok(())
    }
}
