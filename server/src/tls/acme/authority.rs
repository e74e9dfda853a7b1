//! The authority: requests to it under our bounds, and our account there.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use instant_acme::{Account, AccountCredentials, BodyWrapper, BytesResponse, Error, HttpClient, NewAccount};
use rsp_core::{config::Acme, renewal::Failure};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde_json::{Value, json};

use super::storage::Folder;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(30);

/// Bytes of an answer at most; a chain has a few thousand.
const ANSWER_MAX: usize = 256 << 10;

/// Letters of what an authority says that are kept for the log and the status.
const WHY_MAX: usize = 500;

/// What the account is called that an authority does not know (RFC 8555 §6.7).
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Our account at an authority.
pub(super) struct Authority {
    pub account: Account,
    refused: Arc<Mutex<Option<Refusal>>>,
    folder: Folder,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) struct Trouble {
    pub failure: Failure,
    /// Type and detail as the authority says them, or what is wrong with what it sent.
    pub why: String,
    /// How long it wants to be left alone.
    pub told: Option<Duration>,
}

/// The last answer, if it was no good one.
struct Refusal {
    status: StatusCode,
    /// Its status in words, and whose it is.
    of: String,
    told: Option<Duration>,
}

/// One that does not answer with anything of HTTP.
#[derive(Debug)]
struct Unreachable(String);

impl Authority {
    /// Reaches it, with the account of the folder or a new one.
    pub async fn open(acme: &Acme, folder: &Folder) -> Result<Self, Trouble> {
        let refused = Arc::<Mutex<Option<Refusal>>>::default();
        let courier = Courier { client: client(acme).map_err(Trouble::ours)?, refused: Arc::clone(&refused) };
        let builder = Account::builder_with_http(Box::new(courier));
        let contact = acme.email.as_ref().map(|email| format!("mailto:{email}"));
        let contacts: Vec<_> = contact.iter().map(String::as_str).collect();
        let trouble = |e: Error| Trouble::of(e, &refused);
        let saved = folder.account().and_then(|saved| {
            let credentials: AccountCredentials = serde_json::from_value(saved["credentials"].clone()).ok()?;
            Some((credentials, saved))
        });
        let account = match saved {
            Some((credentials, mut saved)) => {
                let account = builder.from_credentials(credentials).await.map_err(trouble)?;
                if saved["email"].as_str() != acme.email.as_deref() {
                    account.update_contacts(&contacts).await.map_err(|e| forgotten(e, folder)).map_err(trouble)?;
                    saved["email"] = acme.email.clone().into();
                    folder.save_account(&saved).map_err(|e| Trouble::ours(e.to_string()))?;
                }
                account
            }
            None => {
                let new = NewAccount { contact: &contacts, terms_of_service_agreed: true, only_return_existing: false };
                let made = builder.create(&new, acme.directory.clone(), None).await;
                let (account, credentials) = made.map_err(trouble)?;
                let credentials = serde_json::to_value(credentials).unwrap_or(Value::Null);
                let saved = json!({ "email": acme.email, "credentials": credentials });
                folder.save_account(&saved).map_err(|e| Trouble::ours(e.to_string()))?;
                account
            }
        };
        Ok(Self { account, refused, folder: folder.clone() })
    }

    /// What a failure means; an account that is unknown there is made anew the next time.
    pub fn trouble(&self, error: Error) -> Trouble {
        Trouble::of(forgotten(error, &self.folder), &self.refused)
    }
}

impl Trouble {
    /// On our own side.
    pub fn ours(why: impl Into<String>) -> Self {
        Self { failure: Failure::Refused, why: why.into(), told: None }
    }

    fn of(error: Error, refused: &Mutex<Option<Refusal>>) -> Self {
        let refused = refused.lock().unwrap_or_else(PoisonError::into_inner).take();
        let is_away = matches!(&error, Error::Other(why) if why.is::<Unreachable>());
        let is_broken = refused.as_ref().is_some_and(|refused| refused.status.is_server_error());
        let failure = if is_away || is_broken { Failure::Unreachable } else { Failure::Refused };
        let why = match (&error, &refused) {
            (Error::Api(problem), Some(refused)) if problem.detail.is_none() && problem.r#type.is_none() => {
                refused.of.clone()
            }
            (Error::Api(problem), _) => problem.to_string(),
            (Error::Json(_), Some(refused)) => refused.of.clone(),
            (Error::Json(_), None) => "the authority's answer is no JSON of RFC 8555".to_owned(),
            (other, _) => other.to_string(),
        };
        Self { failure, why: shown(&why), told: refused.and_then(|refused| refused.told) }
    }
}

/// What a peer says, as it may stand in a log: no control characters, and not without end.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(WHY_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn forgotten(error: Error, folder: &Folder) -> Error {
    if matches!(&error, Error::Api(problem) if problem.r#type.as_deref() == Some(NO_ACCOUNT)) {
        folder.forget_account();
    }
    error
}

/// Sends requests one by one, each within its time and its bytes.
struct Courier {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    refused: Arc<Mutex<Option<Refusal>>>,
}

impl HttpClient for Courier {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let uri = request.uri().clone();
        let sent = self.client.request(request);
        let refused = Arc::clone(&self.refused);
        Box::pin(async move {
            let away = |why: String| Error::Other(Box::new(Unreachable(format!("{uri}: {why}"))));
            let answered = async {
                let (parts, body) = sent.await.map_err(|e| away(causes(&e)))?.into_parts();
                let body = Limited::new(body, ANSWER_MAX).collect().await.map_err(|e| away(e.to_string()))?.to_bytes();
                Ok::<_, Error>((parts, body))
            };
            let answered = tokio::time::timeout(REQUEST, answered).await;
            let (mut parts, mut body) = answered.map_err(|_| away(format!("no answer within {REQUEST:?}")))??;
            let is_good = !(parts.status.is_client_error() || parts.status.is_server_error());
            let of = format!("{uri}: {}", parts.status);
            if !is_good && !is_problem(&body) {
                // What stands before the authority may answer in HTML.
                body = json!({ "detail": of }).to_string().into();
                parts.headers.remove(header::CONTENT_LENGTH);
            }
            *refused.lock().unwrap_or_else(PoisonError::into_inner) =
                (!is_good).then(|| Refusal { status: parts.status, of, told: told(&parts.headers) });
            let body: Box<dyn instant_acme::BytesBody> = Box::new(body);
            Ok(BytesResponse { parts: Response::from_parts(parts, ()).into_parts().0, body })
        })
    }
}

fn is_problem(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|body| body.is_object())
}

/// `Retry-After`, RFC 9110 §10.2.3.
fn told(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        // More than fit.
        Err(_) if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => Some(Duration::MAX),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(SystemTime::now()).ok(),
    }
}

/// An error and what caused it: hyper's own says too little.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreachable {}

/// Believes `ca`, or whom the system believes; never speaks without TLS.
fn client(acme: &Acme) -> Result<Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>, String> {
    let mut roots = RootCertStore::empty();
    match &acme.ca {
        Some(path) => {
            let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let certificates = certificates.map_err(|e| format!("`ca` of `acme`, {}: {e}", path.display()))?;
            roots.add_parsable_certificates(certificates);
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        let place = acme.ca.as_ref().map_or("the system has".to_owned(), |path| format!("{} holds", path.display()));
        return Err(format!("{place} no certificate of an authority to believe"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_of_more_seconds_than_fit_is_one_without_end() {
        let wait = |value: &str| {
            let value = value.parse().unwrap_or_else(|e| panic!("{e}"));
            told(&HeaderMap::from_iter([(header::RETRY_AFTER, value)]))
        };
        assert_eq!(wait("99999999999999999999"), Some(Duration::MAX));
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!((wait("-7"), wait(""), wait("soon")), (None, None, None));
    }

    #[test]
    fn an_answer_that_says_nothing_is_told_by_its_status() {
        let refused = Refusal { status: StatusCode::SERVICE_UNAVAILABLE, of: "a: 503".to_owned(), told: None };
        let empty: instant_acme::Problem = serde_json::from_str("{}").unwrap_or_else(|e| panic!("{e}"));
        let trouble = Trouble::of(Error::Api(empty), &Mutex::new(Some(refused)));
        assert_eq!(trouble.why, "a: 503");
    }
}
