//! No bytes are read past the header of a PROXY protocol, and what is read as one says the same however much follows.
#![no_main]

use rsp_core::frame::proxy_protocol::read;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Ok(Some((stated, length))) = read(input) else { return };
    assert!(length <= input.len());
    assert_eq!(read(&input[..length]), Ok(Some((stated, length))));
});
