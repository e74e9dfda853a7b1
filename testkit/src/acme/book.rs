//! What the authority knows: accounts, orders and their authorizations, certificates, and what is to go wrong.

use std::{
    collections::{BTreeSet, HashSet},
    time::{Duration, SystemTime},
};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use rcgen::{CertificateParams, CertificateSigningRequestParams, SanType};
use serde_json::{Value, json};
use x509_parser::{extensions::ParsedExtension, prelude::FromDer};

use super::{AcmeFault, Shared, jws, jws::Key};
use crate::Authority;

pub struct Book {
    pub ports: Option<(u16, u16)>,
    pub faults: Vec<(String, AcmeFault)>,
    pub is_strict: bool,
    pub lifetime: Duration,
    pub window: Option<(SystemTime, SystemTime)>,
    pub requests: Vec<String>,
    pub complaints: Vec<String>,
    pub nonces: HashSet<String>,
    pub accounts: Vec<Account>,
    pub orders: Vec<Order>,
    pub authorizations: Vec<Authorization>,
    pub certificates: Vec<String>,
    /// As RFC 9773 §4.1 calls them, in the same order.
    pub identifiers: Vec<String>,
}

pub struct Account {
    pub key: Key,
    pub contact: Option<String>,
}

pub struct Order {
    pub account: usize,
    pub names: BTreeSet<String>,
    pub authorizations: Vec<usize>,
    pub status: &'static str,
    pub certificate: Option<usize>,
    pub replaces: Option<String>,
}

pub struct Authorization {
    pub order: usize,
    pub name: String,
    pub status: &'static str,
    /// Of both challenges.
    pub token: String,
    /// The kind that was asked to be looked at, and what was wrong with it.
    pub tried: Option<(String, Option<String>)>,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            ports: None,
            faults: Vec::new(),
            is_strict: false,
            lifetime: Duration::from_secs(90 * 86_400),
            window: None,
            requests: Vec::new(),
            complaints: Vec::new(),
            nonces: HashSet::new(),
            accounts: Vec::new(),
            orders: Vec::new(),
            authorizations: Vec::new(),
            certificates: Vec::new(),
            identifiers: Vec::new(),
        }
    }
}

impl Book {
    pub fn nonce(&mut self) -> String {
        let nonce = random();
        self.nonces.insert(nonce.clone());
        nonce
    }

    /// The fault that this path meets, once.
    pub fn fault(&mut self, path: &str) -> Option<AcmeFault> {
        let index = self.faults.iter().position(|(wanted, _)| path.starts_with(wanted))?;
        Some(self.faults.remove(index).1)
    }

    pub fn new_order(&mut self, account: usize, payload: &Value) -> Result<usize, String> {
        let identifiers = payload["identifiers"].as_array().ok_or("no identifiers")?;
        let name = |one: &Value| match one["type"] == "dns" {
            true => one["value"].as_str().map(str::to_owned).ok_or("no value"),
            false => Err("no DNS name"),
        };
        let names = identifiers.iter().map(name).collect::<Result<BTreeSet<_>, _>>()?;
        if names.is_empty() || names.len() > 100 || names.len() != identifiers.len() {
            return Err("from one to a hundred names, each once".to_owned());
        }
        let replaces = payload["replaces"].as_str().map(str::to_owned);
        if let Some(replaced) = &replaces
            && !self.identifiers.contains(replaced)
        {
            return Err(format!("{replaced} is no certificate of mine"));
        }
        let order = self.orders.len();
        let first = self.authorizations.len();
        self.authorizations.extend(names.iter().map(|name| Authorization {
            order,
            name: name.clone(),
            status: "pending",
            token: random(),
            tried: None,
        }));
        let authorizations = (first..self.authorizations.len()).collect();
        self.orders.push(Order { account, names, authorizations, status: "pending", certificate: None, replaces });
        Ok(order)
    }

    /// After one of its authorizations was settled.
    pub fn settle(&mut self, order: usize) {
        let of = |index: &usize| self.authorizations[*index].status;
        let all: Vec<_> = self.orders[order].authorizations.iter().map(of).collect();
        self.orders[order].status = match all.as_slice() {
            all if all.contains(&"invalid") => "invalid",
            all if all.iter().all(|status| *status == "valid") => "ready",
            _ => "pending",
        };
    }

    /// Signs what an order asks for, if it is for its names.
    pub fn finalize(&mut self, order: usize, payload: &Value, authority: &Authority) -> Result<(), String> {
        if self.orders[order].status != "ready" {
            return Err(format!("the order is {}", self.orders[order].status));
        }
        let request = jws::bytes(payload["csr"].as_str().ok_or("no csr")?)?;
        let mut request = CertificateSigningRequestParams::from_der(&request.into()).map_err(|e| e.to_string())?;
        let names = request.params.subject_alt_names.iter().map(|name| match name {
            SanType::DnsName(name) => Ok(name.to_string()),
            other => Err(format!("{other:?} in the request")),
        });
        if names.collect::<Result<BTreeSet<_>, _>>()? != self.orders[order].names {
            return Err("the request is for other names".to_owned());
        }
        let now = SystemTime::now();
        request.params.not_before = now.into();
        request.params.not_after = (now + self.lifetime).into();
        request.params.use_authority_key_identifier_extension = true;
        let certificate = authority.sign_request(&request);
        self.identifiers.push(identifier(certificate.der()));
        self.certificates.push(certificate.pem() + &authority.pem());
        self.orders[order].certificate = Some(self.certificates.len() - 1);
        self.orders[order].status = "valid";
        Ok(())
    }

    pub fn window(&self) -> Value {
        let now = SystemTime::now();
        let (start, end) = self.window.unwrap_or((now + self.lifetime * 2 / 3, now + self.lifetime * 3 / 4));
        json!({ "suggestedWindow": { "start": rfc3339(start), "end": rfc3339(end) } })
    }
}

impl Order {
    pub fn json(&self, index: usize, shared: &Shared) -> Value {
        let url = |path: String| format!("{}{path}", shared.base);
        let authorizations = self.authorizations.iter().map(|one| url(format!("/authz/{one}"))).collect::<Vec<_>>();
        json!({
            "status": self.status,
            "identifiers": self.names.iter().map(|name| json!({ "type": "dns", "value": name })).collect::<Vec<_>>(),
            "authorizations": authorizations,
            "finalize": url(format!("/order/{index}/finalize")),
            "certificate": self.certificate.map(|certificate| url(format!("/cert/{certificate}"))),
            "replaces": self.replaces,
        })
    }
}

impl Authorization {
    pub fn json(&self, index: usize, shared: &Shared) -> Value {
        let challenges = ["http-01", "tls-alpn-01"].map(|kind| self.challenge(index, kind, shared));
        json!({
            "status": self.status,
            "identifier": { "type": "dns", "value": self.name },
            "challenges": challenges,
        })
    }

    pub fn challenge(&self, index: usize, kind: &str, shared: &Shared) -> Value {
        let (status, error) = match self.tried.as_ref().filter(|(tried, _)| tried == kind) {
            None => ("pending", None),
            Some((_, Some(why))) => ("invalid", Some(super::server::problem("unauthorized", why, 403))),
            Some(_) if self.status == "valid" => ("valid", None),
            Some(_) => ("processing", None),
        };
        let url = format!("{}/challenge/{index}/{kind}", shared.base);
        json!({ "type": kind, "url": url, "token": self.token, "status": status, "error": error })
    }
}

/// RFC 9773 §4.1.
fn identifier(der: &[u8]) -> String {
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(der).unwrap();
    let key = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(authority) => authority.key_identifier.as_ref().map(|key| key.0),
        _ => None,
    });
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    format!("{}.{}", encode(key.unwrap()), encode(certificate.tbs_certificate.raw_serial()))
}

fn rfc3339(time: SystemTime) -> String {
    let mut params = CertificateParams::default();
    params.not_after = time.into();
    let t = params.not_after;
    let (year, month, day) = (t.year(), u8::from(t.month()), t.day());
    format!("{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", t.hour(), t.minute(), t.second())
}

/// 128 bits of base64url.
fn random() -> String {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
