//! Reads what a client says of itself in `Authorization: Basic` (RFC 7617).

use std::fmt;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, header::AUTHORIZATION};

/// Bytes of name and password; what people and programs use is far below.
const LENGTH_MAX: usize = 1024;

/// Some clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A name and a password, neither of which holds a control character.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    text: String,
    colon: usize,
}

impl Credentials {
    /// The user's name; may be empty, holds no colon.
    pub fn user(&self) -> &str {
        &self.text[..self.colon]
    }

    /// The password; may be empty, may hold colons.
    pub fn password(&self) -> &str {
        &self.text[self.colon + 1..]
    }

    /// Both, with the colon between them, as the client wrote them.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user()).finish_non_exhaustive()
    }
}

/// The credentials of a request. None: there are none, or they can't be understood, or there is more than one
/// `Authorization` field, of which an upstream might believe another.
pub fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (field, None) = (fields.next()?, fields.next()) else { return None };
    let (scheme, rest) = field.as_bytes().split_at_checked(5)?;
    let encoded = rest.strip_prefix(b" ").filter(|_| scheme.eq_ignore_ascii_case(b"basic"))?.trim_ascii();
    if encoded.len() > LENGTH_MAX.div_ceil(3) * 4 {
        return None;
    }
    let text = String::from_utf8(BASE64.decode(encoded).ok()?).ok()?;
    // RFC 7617 §2: neither holds control characters, and the first colon ends the name.
    let colon = text.find(':').filter(|_| text.len() <= LENGTH_MAX && !text.contains(char::is_control))?;
    Some(Credentials { text, colon })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(value: &str) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        credentials(&headers).map(|read| (read.user().to_owned(), read.password().to_owned()))
    }

    fn basic(text: impl AsRef<[u8]>) -> String {
        format!("Basic {}", BASE64.encode(text))
    }

    #[test]
    fn the_first_colon_ends_the_name_and_the_rest_is_the_password() {
        let both = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), both("Aladdin", "open sesame"));
        assert_eq!(read("bAsIc   dGVzdDoxMjPCow=="), both("test", "123£"));
        assert_eq!(read(&basic("a:b:c:")), both("a", "b:c:"));
        assert_eq!(read(&basic(":")), both("", ""));
        assert_eq!(read("Basic dGVzdDoxMjPCow"), both("test", "123£"), "without its padding");
    }

    #[test]
    fn what_is_no_credentials_is_none() {
        let long = "x".repeat(LENGTH_MAX);
        for wrong in [
            String::new(),
            "Basic".to_owned(),
            "Basic ".to_owned(),
            "Basic !!!!".to_owned(),
            "Basic dGVzdDox MjPCow==".to_owned(),
            "Bearer dGVzdDoxMjPCow==".to_owned(),
            "Basicx dGVzdDoxMjPCow==".to_owned(),
            basic("no colon"),
            basic("a:b\0"),
            basic("a\n:b"),
            basic(b"a:\xff"),
            basic(format!("a:{long}")),
        ] {
            assert_eq!(read(&wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn two_fields_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, HeaderValue::from_static("Basic OjE="));
        headers.append(AUTHORIZATION, HeaderValue::from_static("Basic OjE="));
        assert_eq!(credentials(&headers), None);
    }
}
