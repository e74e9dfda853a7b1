//! Stories of tokens: examples of the RFCs, tokens that are wrong in one thing, and keys that are none.

use http::{HeaderMap, HeaderName, HeaderValue};
use jsonwebtoken::{EncodingKey, Header, encode};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::frame::http1::{HeadLimits, RequestHead, parse_request};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// `{"sub":"alice","exp":2000000000}` under it, made with Python's `hmac`.
const ALICE: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImV4cCI6MjAwMDAwMDAwMH0.\
                     IzVzylqNHvGtv7YkvSJbwlnOdKDgab7UF9OS-D4Cqe0";

/// The keys and tokens of RFC 7515 A.2 and A.3, as one set; they expired in 2011.
pub(crate) const RFC_KEYS: &str = r#"{"keys":[
  {"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
   "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
  {"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
   "e":"AQAB"}]}"#;
const RFC_PAYLOAD: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const RFC_RS256: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5\
    jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN\
    9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVm\
    tVrBp0igcN_IoypGlUPQGe77Rw";
const RFC_ES256: &str = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
const RFC_EXP: u64 = 1_300_819_380;

pub(crate) const RSA: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAoNnoySbK42xBSTtRSPYa
pOXdiSKB9IkGQx9YnjuaQQSxfdDmOjqDJwVulmK2Uk46RaejmO/L9iQz6I18qm5v
q0wBmvScz87+dP7qVKSC+B5dM6jV/FqZfJ9SBQiF3Oeg8DSERSukLBwAkFjlx97q
YnKP5j4hGNz3JM4uM0cfWv4UpBgzV7CmvzgeIqCanWt/nei1vFYSG2XWxkVUYtgW
byoTYyHqiAn3zSLdV8i041hy7+XO4FhjOsMtC5rXcToF2KdEAI8qa6P5XuXSe7Wp
vz1OwcAKZwtb9EGJ1W81S68lAi6gbkmtuDIx8NAGTN8Pa78+QxN+vlw8od0Dp1C2
fQIDAQAB
-----END PUBLIC KEY-----
";
const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC8ieQmIEpHwWrHsG6ED6OkuNP5
oJQ2Vz13U5D7DCCfavY2+AOiDpxjYnsffcOS4mvm/fcbIEUXWbMNMV6xJmlNRnU0
/ViuMDnxGKCHAPNugwu4uuV4pLgU5k57j/TmKwmeGU/47+7s0ayQ2ZSTCB8piTG+
P1LfAp70UU4iGpH0VQIDAQAB
-----END PUBLIC KEY-----
";
const P256: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeDi2SJHBHuSJ9V4iT2yTryhjO4im
FMko0q9hMpu/XoUGqTPcQKk/9TfSInoilLZZ5Pe6Q1K1RusOomOAhM28Ww==
-----END PUBLIC KEY-----
";
const P384: &str = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEvrNj842bL1yLHoW20OrSbtnIpKh+/pQl
Q2/5BYoMUXYJu3eH5DFTqzAocUXzXklkGI2rKxgalBCobX4rvfvqlbWTBzXvjawv
wh0uKMnE8KcxzMAAzlUMm3I2rTdWxdzH
-----END PUBLIC KEY-----
";
const KOBLITZ: &str = "-----BEGIN PUBLIC KEY-----
MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAElU5plTHhmANBy57dF6hMBZgU43HVPU4t
9q8lBexhHvAeX6zNguD+8cZqweyXm1Za6lZy0VDKjdFDXs2AhjG/hg==
-----END PUBLIC KEY-----
";
const ED25519: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAKT7lHDog707W3HZBpNow2XT6s41+cCMyBzYTV4tJoWQ=
-----END PUBLIC KEY-----
";

const NOW: u64 = 1_800_000_000;

fn tokens(keys: Keys) -> Tokens {
    let place = Place { cookie: "token".into(), query: "token".into() };
    Tokens { keys, issuer: None, audience: None, place }
}

fn by_secret() -> Tokens {
    tokens(Keys::secret(SECRET).unwrap())
}

fn sign(claims: &Value) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

/// What comes of these claims under the right signature.
fn read(tokens: &Tokens, claims: &Value) -> Result<Claims, Refused> {
    tokens.verify(sign(claims).as_bytes(), NOW)
}

fn encoded(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn named(sub: &str) -> Result<Claims, Refused> {
    Ok(Claims { sub: sub.to_owned(), info: None })
}

#[test]
fn tokens_of_others_are_read() {
    assert_eq!(by_secret().verify(ALICE.as_bytes(), NOW), named("alice"));
    let rfc = tokens(Keys::jwks(RFC_KEYS.as_bytes()).unwrap());
    for (algorithm, signature) in [("RS256", RFC_RS256), ("ES256", RFC_ES256)] {
        let token = format!("{}.{RFC_PAYLOAD}.{signature}", encoded(&format!("{{\"alg\":\"{algorithm}\"}}")));
        assert_eq!(rfc.verify(token.as_bytes(), RFC_EXP - 1), named(""), "{algorithm}");
        assert_eq!(rfc.verify(token.as_bytes(), RFC_EXP + 5), Err(Refused::Expired), "{algorithm}");
        let last = token.replacen(&signature[..4], "AAAA", 1);
        assert_eq!(rfc.verify(last.as_bytes(), RFC_EXP - 1), Err(Refused::Signature), "{algorithm}");
    }
}

#[test]
fn a_token_holds_from_its_beginning_to_its_end_give_or_take_five_seconds() {
    let tokens = by_secret();
    let expiring = |exp: Value| read(&tokens, &json!({ "sub": "a", "exp": exp }));
    assert_eq!(expiring(json!(NOW + 1)), named("a"));
    assert_eq!(expiring(json!(NOW - 4)), named("a"));
    assert_eq!(expiring(json!(NOW as f64 - 4.5)), named("a"), "a fraction is a date, too");
    assert_eq!(expiring(json!(1e300)), named("a"));
    for past in [json!(NOW - 5), json!(NOW - 4000), json!(0), json!(-1), json!(-1e300)] {
        assert_eq!(expiring(past.clone()), Err(Refused::Expired), "{past}");
    }
    for wrong in [json!("2000000000"), json!([NOW + 1]), json!(true)] {
        assert_eq!(expiring(wrong.clone()), Err(Refused::Claim), "{wrong}");
    }
    assert_eq!(expiring(json!(null)), Err(Refused::Endless));
    assert_eq!(read(&tokens, &json!({ "sub": "a" })), Err(Refused::Endless));
    let beginning = |nbf: Value| read(&tokens, &json!({ "sub": "a", "exp": NOW + 9, "nbf": nbf }));
    assert_eq!(beginning(json!(NOW + 5)), named("a"));
    assert_eq!(beginning(json!(NOW + 6)), Err(Refused::Early));
    assert_eq!(beginning(json!("x")), Err(Refused::Claim));
    // A wrong clock lets nobody pass.
    assert_eq!(tokens.verify(ALICE.as_bytes(), u64::MAX), Err(Refused::Expired));
}

#[test]
fn issuer_and_audience_count_where_they_are_asked_for() {
    let asking = Tokens { issuer: Some("us".to_owned()), audience: Some("app".to_owned()), ..by_secret() };
    let of = |iss: Value, aud: Value| json!({ "exp": NOW + 9, "iss": iss, "aud": aud });
    assert_eq!(read(&asking, &of(json!("us"), json!("app"))), named(""));
    assert_eq!(read(&asking, &of(json!("us"), json!(["other", "app"]))), named(""));
    for wrong in [json!("US"), json!(["us"]), json!(null), json!(1)] {
        assert_eq!(read(&asking, &of(wrong.clone(), json!("app"))), Err(Refused::Issuer), "{wrong}");
    }
    for wrong in [json!("ap"), json!(["other"]), json!([["app"]]), json!([]), json!(null), json!({ "app": 1 })] {
        assert_eq!(read(&asking, &of(json!("us"), wrong.clone())), Err(Refused::Audience), "{wrong}");
    }
    assert_eq!(read(&by_secret(), &of(json!("whoever"), json!("whatever"))), named(""));
}

#[test]
fn whom_it_names_and_what_it_says_besides_go_on() {
    let tokens = by_secret();
    let with = |sub: Value, info: Value| read(&tokens, &json!({ "exp": NOW + 9, "sub": sub, "info": info }));
    let said = |info: &str| Ok(Claims { sub: "a".to_owned(), info: Some(info.to_owned()) });
    assert_eq!(with(json!("a"), json!({ "name": "Älice", "n": [1, 2.5] })), said("{\"n\":[1,2.5],\"name\":\"Älice\"}"));
    assert_eq!(with(json!("a"), json!("text")), said("\"text\""));
    assert_eq!(with(json!("a"), json!(null)), named("a"));
    assert_eq!(with(json!(null), json!(null)), named(""));
    assert_eq!(with(json!(7), json!(null)), Err(Refused::Claim));
    assert_eq!(with(json!("a".repeat(1024)), json!(null)), named(&"a".repeat(1024)));
    assert_eq!(with(json!("a".repeat(1025)), json!(null)), Err(Refused::Claim));
    assert!(with(json!("a"), json!("i".repeat(4094))).is_ok());
    assert_eq!(with(json!("a"), json!("i".repeat(4095))), Err(Refused::Info));
}

#[test]
fn a_token_that_is_none_says_so() {
    let tokens = by_secret();
    let check = |token: &str| tokens.verify(token.as_bytes(), NOW).unwrap_err();
    let [header, claims, signature] = ALICE.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    for wrong in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}.{signature}.{signature}"),
        format!("{header}=.{claims}.{signature}"),
        format!(" {ALICE}"),
        format!("{}.{claims}.{signature}", encoded("[]")),
        format!("{}.{claims}.{signature}", encoded("{}")),
        format!("{}.{claims}.{signature}", encoded("{\"alg\":7}")),
        format!("{}.{claims}.{signature}", encoded("{\"alg\":\"HS256\",\"kid\":7}")),
        format!("{}.{claims}.{signature}", encoded(&"[".repeat(4000))),
    ] {
        assert_eq!(check(&wrong), Refused::Malformed, "{wrong}");
    }
    assert_eq!(tokens.verify(b"\xff.\xff.\xff", NOW), Err(Refused::Malformed));
    assert_eq!(check(&"a".repeat(TOKEN_MAX + 1)), Refused::TooLong);
    let critical = encoded("{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}");
    assert_eq!(check(&format!("{critical}.{claims}.{signature}")), Refused::Critical);
    for wrong in ["", "AAAA", "!", &signature[1..], &format!("{signature}=")] {
        assert_eq!(check(&format!("{header}.{claims}.{wrong}")), Refused::Signature, "{wrong}");
    }
    let another = encoded("{\"sub\":\"mallory\",\"exp\":2000000000}");
    assert_eq!(check(&format!("{header}.{another}.{signature}")), Refused::Signature);
    // Rightly signed, but no claims.
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let list = encode(&Header::default(), &json!(["exp"]), &key).unwrap();
    assert_eq!(check(&list), Refused::Malformed);
}

#[test]
fn a_public_key_is_never_taken_for_a_secret() {
    let claims = json!({ "sub": "mallory", "exp": NOW + 9 });
    for pem in [RSA, P256] {
        let ours = tokens(Keys::pem(pem.as_bytes()).unwrap());
        // What everybody knows, in the forms in which a program might have it at hand.
        for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), &pem.as_bytes()[27..]] {
            let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(secret)).unwrap();
            assert_eq!(ours.verify(token.as_bytes(), NOW), Err(Refused::Algorithm));
        }
    }
}

#[test]
fn a_token_without_a_signature_is_refused_whatever_it_says() {
    let rfc = tokens(Keys::jwks(RFC_KEYS.as_bytes()).unwrap());
    for none in ["none", "None", "NONE", "nOnE", "", "hs256"] {
        let header = encoded(&json!({ "alg": none }).to_string());
        let claims = encoded(&json!({ "exp": NOW + 9 }).to_string());
        for tokens in [&rfc, &by_secret()] {
            let verdict = tokens.verify(format!("{header}.{claims}.").as_bytes(), NOW);
            assert_eq!(verdict, Err(Refused::Algorithm), "{none}");
        }
    }
}

/// An HS256 key stands for any: what chooses is the same.
#[test]
fn a_kid_chooses_and_without_one_every_key_that_fits_is_tried() {
    let mut set: Value = serde_json::from_str(RFC_KEYS).unwrap();
    let rsa = set["keys"][1].clone();
    let other = json!({ "kty": "RSA", "n": rsa["n"].as_str().unwrap().replacen("of", "og", 1), "e": "AQAB" });
    let with = |key: &Value, kid: &str| {
        let mut key = key.clone();
        key["kid"] = json!(kid);
        key
    };
    let verify = |keys: Vec<Value>, header: Value| {
        let set = json!({ "keys": keys }).to_string();
        let token = format!("{}.{RFC_PAYLOAD}.{RFC_RS256}", encoded(&header.to_string()));
        tokens(Keys::jwks(set.as_bytes()).unwrap()).verify(token.as_bytes(), RFC_EXP - 1)
    };
    // The example's header is part of what is signed, so only a header without `kid` can be right.
    let plain = json!({ "alg": "RS256" });
    assert_eq!(verify(vec![with(&other, "1"), with(&rsa, "2")], plain.clone()), named(""));
    assert_eq!(verify(vec![other.clone(), rsa.clone()], plain.clone()), named(""));
    assert_eq!(verify(vec![other.clone()], plain), Err(Refused::Signature));
    let keyed = |kid: &str| json!({ "alg": "RS256", "kid": kid });
    assert_eq!(verify(vec![with(&other, "1"), with(&rsa, "2")], keyed("3")), Err(Refused::Key));
    assert_eq!(verify(vec![with(&other, "1"), with(&rsa, "2")], keyed("2")), Err(Refused::Signature));
    assert_eq!(verify(vec![set["keys"][0].take(), with(&rsa, "2")], keyed("3")), Err(Refused::Key), "of another kind");
}

#[test]
fn keys_that_are_none_say_why() {
    let wrong = |keys: Result<Keys, WrongKey>| keys.unwrap_err().message;
    assert_eq!(wrong(Keys::secret(&SECRET[1..])), "31 of 32 bytes that a secret must have");
    let pem = |text: &str| wrong(Keys::pem(text.as_bytes()));
    assert_eq!(pem(""), "no key is in it");
    assert_eq!(wrong(Keys::pem(b"\xff")), "this is no PEM file");
    assert_eq!(pem(&format!("{RSA}{P256}")), "more than one key is in it");
    assert_eq!(pem(&RSA.replace("PUBLIC", "EC PRIVATE")), "a private key is in it");
    assert_eq!(pem(&RSA.replace("PUBLIC KEY", "CERTIFICATE")), "a certificate is in it");
    assert_eq!(pem(&RSA.replace("PUBLIC KEY", "DH PARAMETERS")), "no public key is in it");
    assert_eq!(pem(&RSA.replace("MIIBI", "MIIBJ")), "no key that can be used is in it");
    assert_eq!(pem(RSA_1024), "an RSA key of 1024 bits; 2048 to 8192");
    assert_eq!(pem(P384), "a key of another kind is in it");
    assert_eq!(pem(KOBLITZ), "this is no point of the curve P-256");
    assert_eq!(pem(ED25519), "no key that can be used is in it");
}

#[test]
fn a_set_keeps_the_keys_that_are_for_signatures() {
    let set: Value = serde_json::from_str(RFC_KEYS).unwrap();
    let (ec, rsa) = (&set["keys"][0], &set["keys"][1]);
    let with = |key: &Value, name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        key
    };
    let jwks = |keys: Value| Keys::jwks(json!({ "keys": keys }).to_string().as_bytes());
    let left_out = [
        with(rsa, "use", json!("enc")),
        with(rsa, "alg", json!("RS512")),
        with(rsa, "alg", json!("RSA-OAEP")),
        with(ec, "key_ops", json!(["deriveKey"])),
        with(ec, "crv", json!("P-384")),
        with(ec, "crv", json!("secp256k1")),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }),
        json!({ "kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ" }),
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "" }),
    ];
    for key in &left_out {
        let message = jwks(json!([key])).unwrap_err().message;
        assert_eq!(message, "no key that can be used is in it", "{key}");
    }
    let all: Vec<_> = left_out.iter().chain([ec, rsa]).collect();
    let keys = jwks(json!(all)).unwrap();
    assert_eq!((keys.count(), keys.have("RS256"), keys.have("ES256"), keys.have("HS256")), (2, true, true, false));
    assert_eq!(keys.clone().only(&["ES256"]).unwrap().count(), 1);
    assert!(keys.only(&["HS256"]).is_none());
    let stated = with(&with(rsa, "use", json!("sig")), "key_ops", json!(["verify"]));
    assert_eq!(jwks(json!([with(&stated, "alg", json!("RS256"))])).unwrap().count(), 1);
}

#[test]
fn a_set_that_is_none_says_which_key_is_wrong() {
    let set: Value = serde_json::from_str(RFC_KEYS).unwrap();
    let jwks = |text: &str| Keys::jwks(text.as_bytes()).unwrap_err().message;
    assert!(jwks("{").starts_with("this is no JSON: EOF"));
    for none in ["[]", "{}", "{\"keys\":{}}", "7"] {
        assert_eq!(jwks(none), "this is no set of keys", "{none}");
    }
    let many: Vec<_> = (0..=KEYS_MAX).map(|_| &set["keys"][0]).collect();
    assert_eq!(jwks(&json!({ "keys": many }).to_string()), "65 keys; 64 at most");
    let second = |key: Value| jwks(&json!({ "keys": [set["keys"][0], key] }).to_string());
    assert_eq!(second(json!({ "kty": "RSA", "n": "!", "e": "AQAB" })), "key 2: a part of the key is no base64url");
    assert_eq!(second(json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" })), "key 2: an RSA key of 17 bits; 2048 to 8192");
    assert_eq!(second(json!({ "kty": "RSA", "n": set["keys"][1]["n"], "e": "" })), "key 2: this is no RSA key");
    let off = json!({ "kty": "EC", "crv": "P-256", "x": set["keys"][0]["x"], "y": set["keys"][0]["x"] });
    assert_eq!(second(off), "key 2: this is no point of the curve P-256");
    assert_eq!(second(json!({ "kty": "RSA" })), "key 2: parts of the key are missing");
    assert_eq!(second(json!({ "kty": "EC", "crv": "P-256" })), "key 2: parts of the key are missing");
    assert!(second(json!(7)).starts_with("key 2: "));
}

#[test]
fn no_secret_is_in_what_is_printed() {
    let shown = format!("{:?}", by_secret());
    let bytes = format!("{:?}", SECRET.as_bytes());
    assert!(!shown.contains(SECRET) && !shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
}

fn request(target: &str, fields: &[(&str, &str)]) -> RequestHead {
    let mut text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n");
    fields.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    let limits = HeadLimits { head: 64 << 10, headers: 100, uri: 8 << 10 };
    parse_request(format!("{text}\r\n").as_bytes(), &limits).unwrap().unwrap().0
}

fn found(target: &str, fields: &[(&str, &str)]) -> Result<String, Refused> {
    let place = Place { cookie: "token".into(), query: "token".into() };
    place.find(&request(target, fields)).map(|token| String::from_utf8(token.into_owned()).unwrap())
}

#[test]
fn the_first_place_that_has_a_token_counts() {
    let everywhere =
        [("Authorization", "Bearer 1"), ("Cookie", "a=b; token=2"), ("Sec-WebSocket-Protocol", "rsp.json, bearer, 3")];
    for first in 0..=3 {
        assert_eq!(found("/?token=4", &everywhere[first..]), Ok((first + 1).to_string()));
    }
    assert_eq!(found("/", &[]), Err(Refused::Missing));
    let one = |name, value| found("/", &[(name, value)]);
    assert_eq!(one("Authorization", "bEaReR   x  "), Ok("x".to_owned()));
    for none in ["Bearer", "Bearer ", "Basic x", "Bearerx y", "x"] {
        assert_eq!(one("Authorization", none), Err(Refused::Missing), "{none}");
        assert_eq!(found("/?token=4", &[("Authorization", none)]), Ok("4".to_owned()), "{none}");
    }
    let twice = [("Authorization", "Bearer 1"), ("Authorization", "Bearer 1")];
    assert_eq!(found("/?token=4", &twice), Err(Refused::Twice));
    assert_eq!(found("/?token=4", &[("Cookie", "token=; xtoken=1")]), Ok("4".to_owned()));
    assert_eq!(one("Sec-WebSocket-Protocol", "bearer"), Err(Refused::Missing));
    assert_eq!(
        found("/", &[("Sec-WebSocket-Protocol", "bearer"), ("Sec-WebSocket-Protocol", "3")]),
        Ok("3".to_owned())
    );
    assert_eq!(found("/?a=token&token&token=&%74oken=%34&token=5", &[]), Ok("4".to_owned()), "as forms decode it");
}

#[test]
fn nobody_else_sees_the_token_of_a_query_or_of_a_subprotocol() {
    let place = Place { cookie: "token".into(), query: "token".into() };
    let left = |target: &str| {
        let mut head = request(target, &[("Referer", &format!("http://a{target}"))]);
        place.remove(&mut head);
        assert_eq!(head.headers["referer"], format!("http://a{}", head.target.as_str()));
        head.target.as_str().to_owned()
    };
    for (target, expected) in [
        ("/a?token=1", "/a"),
        ("/a?token=1&b=2", "/a?b=2"),
        ("/a?b=2&%74%6Fken=1&token=2&c=%26&token", "/a?b=2&c=%26"),
        ("/a?b=token", "/a?b=token"),
        ("/a?tokens=1&Token=2&", "/a?tokens=1&Token=2&"),
        ("/token=1?", "/token=1?"),
    ] {
        assert_eq!(left(target), expected);
    }
    let offering = |fields: &[&str]| {
        let fields: Vec<_> = fields.iter().map(|field| ("Sec-WebSocket-Protocol", *field)).collect();
        let mut head = request("/", &fields);
        place.remove(&mut head);
        let all = head.headers.get_all("sec-websocket-protocol").iter();
        all.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(offering(&["rsp.json, bearer, T"]), ["rsp.json"]);
    assert_eq!(offering(&["bearer", "T , a", "bearer,U,b"]), ["a, b"]);
    assert_eq!(offering(&["bearer, T"]), Vec::<String>::new());
    assert_eq!(offering(&["a, Bearer, T", "bearer"]), ["a, Bearer, T", "bearer"], "nothing is taken for one");
}

#[test]
fn a_log_shows_a_dash_in_place_of_a_token() {
    let shown = |target: &str| {
        let mut head = request(target, &[("Referer", &format!("http://a{target}"))]);
        mask(&mut head, &["key".into(), "token".into()]);
        assert_eq!(head.headers["referer"], format!("http://a{}", head.target.as_str()));
        head.target.as_str().to_owned()
    };
    for (target, expected) in [
        ("/a?token=1.2.3&b=2&token=x&key=y", "/a?token=-&b=2&token=-&key=-"),
        ("/a?%74oken=1=2", "/a?%74oken=-"),
        ("/a?token&tokens=1", "/a?token&tokens=1"),
        ("/a?token=", "/a?token=-"),
        ("/a", "/a"),
    ] {
        assert_eq!(shown(target), expected);
    }
}

#[test]
fn what_a_refusal_says_fits_into_a_quoted_string() {
    use Refused::*;
    let all = [
        Missing, Twice, TooLong, Malformed, Critical, Algorithm, Key, Signature, Endless, Expired, Early, Issuer,
        Audience, Claim, Info,
    ];
    for refused in all {
        let says = refused.says();
        assert!(says.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"\"\\<>&".contains(&byte)), "{says}");
    }
}

proptest! {
    #[test]
    fn whatever_is_no_token_lets_nobody_pass(token in "[A-Za-z0-9_=.-]{0,80}", raw in any::<Vec<u8>>()) {
        for tokens in [by_secret(), tokens(Keys::jwks(RFC_KEYS.as_bytes()).unwrap())] {
            prop_assert!(tokens.verify(token.as_bytes(), NOW).is_err());
            prop_assert!(tokens.verify(&raw, NOW).is_err());
        }
    }

    #[test]
    fn a_token_is_never_left_in_what_is_shown_or_passed_on(query in "(&?(token|%74oken|t|a%20)(=[a&%=.]{0,3})?){0,6}") {
        let secret = "SECRET";
        let target = format!("/?{query}&token={secret}");
        let mut head = request(&target, &[]);
        let names: [Box<str>; 1] = ["token".into()];
        mask(&mut head, &names);
        prop_assert!(!head.target.as_str().contains(secret));
        let mut head = request(&target, &[]);
        remove(&mut head, &names);
        prop_assert!(!head.target.as_str().contains(secret));
    }
}

#[test]
fn heads_without_a_token_stay_as_they_are() {
    let place = Place { cookie: "token".into(), query: "token".into() };
    let mut head = request("/?a=1", &[("Cookie", "token=2"), ("Authorization", "Bearer 1"), ("Referer", "/b?c")]);
    let before: HeaderMap = head.headers.clone();
    place.remove(&mut head);
    assert_eq!((head.target.as_str(), &head.headers), ("/?a=1", &before));
    let name = HeaderName::from_static("referer");
    assert_eq!(head.headers.get(name), Some(&HeaderValue::from_static("/b?c")));
}
