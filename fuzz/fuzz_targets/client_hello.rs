//! A ClientHello reads the same however much follows it, is waited for no longer than it is, and has a name that is a host's.
#![no_main]

use rsp_core::frame::client_hello::{WIRE_MAX, missing, read};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    // Looks only when what is missing has come, as the server does.
    let (mut have, mut looks) = (0, 0);
    let whole = loop {
        match missing(&input[..have]) {
            Ok(0) => break Some(have),
            Ok(more) if have + more <= input.len() => have += more,
            _ => break None,
        }
        looks += 1;
        assert!(have <= WIRE_MAX && looks <= 100);
    };
    let Some(length) = whole else { return };
    let hello = read(&input[..length]);
    assert_eq!(read(input), hello);
    let Ok(hello) = hello else { return };
    if let Some(name) = hello.expect("nothing is missing").server_name {
        assert!(!name.is_empty() && name.len() <= 253 && name.is_ascii() && *name == name.to_ascii_lowercase());
    }
});
