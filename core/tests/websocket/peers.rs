//! Messages that another implementation compressed.

use super::rows::*;

#[test]
fn what_python_compresses_at_any_window_is_what_it_meant() {
    let lines = include_str!("websockets.txt").lines();
    let messages: Vec<_> = lines.clone().filter_map(|line| line.strip_prefix("message ")).collect();
    let (last, others) = messages.split_last().unwrap();
    let mut events: Vec<_> = others.iter().map(|message| text(*message)).collect();
    events.extend([ping("?"), ping("?"), text(*last), ping("?")]);
    let streams: Vec<_> = lines.filter_map(|line| line.strip_prefix("stream ")).collect();
    assert_eq!(streams.len(), 14);
    for stream in streams {
        let [window, takeover, hex] = stream.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let bytes: Vec<_> =
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        let agreed = if takeover == "takeover" { TAKEOVER } else { EACH };
        let row = Row::new("7692 7.2", format!("window {window}, {takeover}"), &bytes);
        check([row.with(agreed).gives(events.clone())]);
        if takeover == "takeover" {
            // Without it the fifth or sixth refers to what is gone.
            assert!(Row::new("7692 7.1.1", "", &bytes).with(EACH).fails());
        }
    }
}
