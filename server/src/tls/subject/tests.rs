//! Subjects, beside what RFC 4514 says of them.

use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

use super::*;

fn of(parts: &[(DnType, DnValue)]) -> Option<Box<str>> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    parts.iter().for_each(|(kind, value)| params.distinguished_name.push(kind.clone(), value.clone()));
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    subject(certificate.der())
}

fn named(name: &str) -> Box<str> {
    of(&[(DnType::CommonName, DnValue::from(name))]).unwrap()
}

#[test]
fn a_subject_is_written_from_its_most_specific_part() {
    let parts = [
        (DnType::CountryName, DnValue::PrintableString("GB".try_into().unwrap())),
        (DnType::OrganizationName, DnValue::from("An Org")),
        (DnType::CommonName, DnValue::from("someone")),
    ];
    assert_eq!(of(&parts).as_deref(), Some("CN=someone,O=An Org,C=GB"));
    assert_eq!(of(&[]).as_deref(), Some(""));
}

#[test]
fn what_has_a_meaning_or_is_not_visible_is_escaped() {
    for (name, written) in [
        ("a,CN=root", "CN=a\\,CN=root"),
        ("a+b\\c\"d;e<f>g", "CN=a\\+b\\\\c\\\"d\\;e\\<f\\>g"),
        (" #a ", "CN=\\ #a\\ "),
        ("#a", "CN=\\#a"),
        ("a\r\nx: y\0", "CN=a\\0D\\0Ax: y\\00"),
        ("Bücher", "CN=B\\C3\\BCcher"),
    ] {
        assert_eq!(&*named(name), written);
    }
}

#[test]
fn a_type_without_a_name_and_a_subject_without_an_end() {
    let unknown = (DnType::CustomDnType(vec![1, 2, 3, 4]), DnValue::Utf8String("x".into()));
    assert_eq!(of(&[unknown]).as_deref(), Some("1.2.3.4=#0C0178"));
    assert_eq!(of(&[(DnType::CommonName, DnValue::from("a".repeat(1100).as_str()))]), None);
    assert_eq!(subject(b"no certificate"), None);
}
