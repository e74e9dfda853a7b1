//! Offers of compression and what is agreed on (RFC 6455 §9.1, RFC 7692 §5, §7.1).

use rsp_core::frame::websocket::{Deflate, negotiate};

const NONE: Option<&str> = None;
const PLAIN: Option<&str> = Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover");

/// An offer and its answer; one that begins with a semicolon is what follows the plain one.
const OFFERS: &[(&str, Option<&str>)] = &[
    // §5: the first of the offers that will do; other extensions are not ours.
    ("permessage-deflate", PLAIN),
    ("PerMessage-Deflate", PLAIN),
    ("x-webkit-deflate-frame, permessage-deflate", PLAIN),
    ("permessage-bzip2; level=9,\tpermessage-deflate", PLAIN),
    ("permessage-deflate; mystery, permessage-deflate", PLAIN),
    (" , permessage-deflate ,", PLAIN),
    ("permessage-deflate, permessage-deflate; server_max_window_bits=9", PLAIN),
    ("", NONE),
    (",", NONE),
    ("x-webkit-deflate-frame", NONE),
    ("permessage-deflated", NONE),
    ("permessage-deflate=1", NONE),
    // §7.1: unknown parameters, and the same one twice.
    ("permessage-deflate; mystery", NONE),
    ("permessage-deflate; mystery=1", NONE),
    ("permessage-deflate;", NONE),
    ("permessage-deflate; client_max_window_bits; client_max_window_bits", NONE),
    ("permessage-deflate; server_max_window_bits=10; server_max_window_bits=10", NONE),
    ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", NONE),
    // §7.1.1: takeover. We never do, and say that the client shall not either.
    ("permessage-deflate; server_no_context_takeover", PLAIN),
    ("permessage-deflate; client_no_context_takeover", PLAIN),
    ("permessage-deflate;client_no_context_takeover ; server_no_context_takeover", PLAIN),
    ("permessage-deflate; SERVER_NO_CONTEXT_TAKEOVER", PLAIN),
    ("permessage-deflate; server_no_context_takeover=1", NONE),
    ("permessage-deflate; server_no_context_takeover=", NONE),
    ("permessage-deflate; client_no_context_takeover=true", NONE),
    // §7.1.2.1: a bound of our window needs a value, and must come back in the answer.
    ("permessage-deflate; server_max_window_bits=9", Some("; server_max_window_bits=9")),
    ("permessage-deflate; server_max_window_bits=10", Some("; server_max_window_bits=10")),
    ("permessage-deflate; server_max_window_bits=11", Some("; server_max_window_bits=11")),
    ("permessage-deflate; server_max_window_bits=12", Some("; server_max_window_bits=12")),
    ("permessage-deflate; server_max_window_bits=13", Some("; server_max_window_bits=13")),
    ("permessage-deflate; server_max_window_bits=14", Some("; server_max_window_bits=14")),
    ("permessage-deflate; server_max_window_bits=15", Some("; server_max_window_bits=15")),
    ("permessage-deflate; server_max_window_bits=\"10\"", Some("; server_max_window_bits=10")),
    ("permessage-deflate; server_max_window_bits = 10", Some("; server_max_window_bits=10")),
    ("permessage-deflate; server_max_window_bits=8", NONE),
    ("permessage-deflate; server_max_window_bits=8, permessage-deflate", PLAIN),
    ("permessage-deflate; server_max_window_bits", NONE),
    ("permessage-deflate; server_max_window_bits=", NONE),
    ("permessage-deflate; server_max_window_bits=7", NONE),
    ("permessage-deflate; server_max_window_bits=16", NONE),
    ("permessage-deflate; server_max_window_bits=09", NONE),
    ("permessage-deflate; server_max_window_bits=+9", NONE),
    ("permessage-deflate; server_max_window_bits=-9", NONE),
    ("permessage-deflate; server_max_window_bits=0x9", NONE),
    ("permessage-deflate; server_max_window_bits=256", NONE),
    ("permessage-deflate; server_max_window_bits=9.0", NONE),
    ("permessage-deflate; server_max_window_bits=10 11", NONE),
    // §7.1.2.2: a bound of the client's window is a hint; we take any.
    ("permessage-deflate; client_max_window_bits", PLAIN),
    ("permessage-deflate; client_max_window_bits=8", PLAIN),
    ("permessage-deflate; client_max_window_bits=15", PLAIN),
    ("permessage-deflate; client_max_window_bits=\"15\"", PLAIN),
    ("permessage-deflate; client_max_window_bits=7", NONE),
    ("permessage-deflate; client_max_window_bits=16", NONE),
    ("permessage-deflate; client_max_window_bits=", NONE),
    ("permessage-deflate; client_max_window_bits=015", NONE),
    // What browsers send, and all at once.
    ("permessage-deflate; client_max_window_bits", PLAIN),
    (
        "permessage-deflate; client_no_context_takeover; server_no_context_takeover; server_max_window_bits=12; client_max_window_bits=10",
        Some("; server_max_window_bits=12"),
    ),
    // RFC 6455 §9.1: quotes, well used and not.
    ("permessage-deflate; server_max_window_bits=\"10", NONE),
    ("permessage-deflate; server_max_window_bits=10\"", NONE),
    ("permessage-deflate; server_max_window_bits=\"\"10\"\"", NONE),
    ("permessage-deflate; server_max_window_bits=\"\"", NONE),
    ("other; value=\", permessage-deflate ,\"", NONE),
    ("other; value=\"a\\\", permessage-deflate ,\"", NONE),
    ("other; value=\"; ,\", permessage-deflate", PLAIN),
    ("permessage-deflate\u{a0}", NONE),
];

#[test]
fn offers_are_taken_or_declined() {
    for (offer, answer) in OFFERS {
        let expected = answer.map(|answer| match answer.starts_with(';') {
            true => format!("{}{answer}", PLAIN.unwrap()),
            false => answer.to_owned(),
        });
        assert_eq!(negotiate([*offer]).map(|agreed| agreed.answer()), expected, "{offer}");
    }
}

#[test]
fn offers_in_several_fields_are_one_list() {
    let window = |fields: &[&str]| negotiate(fields.iter().copied()).map(|agreed| agreed.window);
    assert_eq!(window(&["other", "permessage-deflate; server_max_window_bits=9", "permessage-deflate"]), Some(9));
    assert_eq!(window(&["permessage-deflate; mystery", "permessage-deflate"]), Some(15));
    assert_eq!(window(&["other", "another"]), None);
    assert_eq!(window(&[]), None);
}

#[test]
fn takeover_of_the_client_is_in_the_answer_unless_it_is_allowed() {
    let takeover = Deflate { window: 15, window_asked: false, client_takeover: true };
    assert_eq!(takeover.answer(), "permessage-deflate; server_no_context_takeover");
}
