//! One order from its first request to the certificate, RFC 8555 §7.1.

use std::{sync::Arc, time::Duration};

use instant_acme::{
    AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, NewOrder, Order, OrderStatus,
    RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rsp_core::config::Challenge;

use super::{
    authority::{Authority, Trouble, shown},
    certificate::Certificate,
    challenges::{Challenges, Held},
    now,
};

/// How long the authority may take to look at the challenges, or to sign.
const PATIENCE: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(100)).backoff(1.5).timeout(Duration::from_secs(180));

/// How long all of it may take.
const ORDER: Duration = Duration::from_secs(600);

/// What is ordered.
pub(super) struct Wanted<'a> {
    /// At most 100.
    pub names: &'a [Box<str>],
    pub challenge: Challenge,
    /// The one that it takes the place of, RFC 9773 §5.
    pub replaces: Option<CertificateIdentifier<'static>>,
}

/// The PEM text of a new key and its certificate, and the same read.
pub(super) async fn order(
    authority: &Authority,
    wanted: Wanted<'_>,
    challenges: &Arc<Challenges>,
) -> Result<(String, Certificate), Trouble> {
    let placed = tokio::time::timeout(ORDER, place(authority, &wanted, challenges)).await;
    let pem = placed.map_err(|_| Trouble::ours(format!("the order was not done within {ORDER:?}")))??;
    let certificate = Certificate::read(pem.as_bytes()).map_err(|why| Trouble::ours(shown(&why)))?;
    if !certificate.covers(wanted.names) {
        return Err(Trouble::ours("the authority's certificate is for other names"));
    }
    if !certificate.validity.holds(now()) {
        return Err(Trouble::ours("the authority's certificate is not valid now"));
    }
    Ok((pem, certificate))
}

async fn place(authority: &Authority, wanted: &Wanted<'_>, challenges: &Arc<Challenges>) -> Result<String, Trouble> {
    let identifiers: Vec<_> = wanted.names.iter().map(|name| Identifier::Dns(name.to_string())).collect();
    let new = match wanted.replaces.clone() {
        Some(replaced) => NewOrder::new(&identifiers).replaces(replaced),
        None => NewOrder::new(&identifiers),
    };
    let trouble = |e: Error| authority.trouble(e);
    let mut order = match authority.account.new_order(&new).await {
        // It does not know RFC 9773.
        Err(Error::Unsupported(_)) => authority.account.new_order(&NewOrder::new(&identifiers)).await,
        other => other,
    }
    .map_err(trouble)?;
    let held = Held(Arc::clone(challenges));
    prove(authority, &mut order, wanted, &held).await?;
    match order.poll_ready(&PATIENCE).await {
        Ok(OrderStatus::Ready) => {}
        outcome => {
            let why = refused(&mut order).await;
            return Err(match (outcome, why) {
                (_, Some(why)) => Trouble::ours(shown(&why)),
                (Err(e), None) => trouble(e),
                (Ok(_), None) => Trouble::ours("the authority refused the order and does not say why"),
            });
        }
    }
    let (key, request) = signing_request(wanted.names).map_err(|e| Trouble::ours(e.to_string()))?;
    order.finalize_csr(&request).await.map_err(trouble)?;
    let chain = order.poll_certificate(&PATIENCE).await.map_err(trouble)?;
    drop(held);
    Ok(format!("{}{chain}", key.serialize_pem()))
}

/// Puts the answers where the authority looks, and tells it to.
async fn prove(authority: &Authority, order: &mut Order, wanted: &Wanted<'_>, held: &Held) -> Result<(), Trouble> {
    let kind = || match wanted.challenge {
        Challenge::Http01 => ChallengeType::Http01,
        Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
    };
    let mut authorizations = order.authorizations();
    // It may list more than was asked for.
    for _ in 0..wanted.names.len() {
        let Some(authorization) = authorizations.next().await else { break };
        let mut authorization = authorization.map_err(|e| authority.trouble(e))?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            status => return Err(Trouble::ours(format!("the authority's authorization is {status:?}"))),
        }
        let name = authorization.identifier().to_string();
        if !wanted.names.iter().any(|wanted| **wanted == *name) {
            return Err(Trouble::ours("the authority asks about a name that was not ordered"));
        }
        let Some(mut challenge) = authorization.challenge(kind()) else {
            return Err(Trouble::ours(format!("the authority offers no such challenge for {name}")));
        };
        let answer = challenge.key_authorization();
        let put = match wanted.challenge {
            Challenge::Http01 => held.token(&challenge.token, answer.as_str()),
            Challenge::TlsAlpn01 => held.name(&name, answer.digest().as_ref()),
        };
        put.map_err(Trouble::ours)?;
        challenge.set_ready().await.map_err(|e| authority.trouble(e))?;
    }
    Ok(())
}

/// What the authority found at the challenges of an order that it refused.
async fn refused(order: &mut Order) -> Option<String> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { continue };
        let name = state.identifier().to_string();
        if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            return Some(format!("{name}: {problem}"));
        }
    }
    None
}

/// A new key of P-256, and the request to sign it.
fn signing_request(names: &[Box<str>]) -> Result<(KeyPair, Vec<u8>), rcgen::Error> {
    let names: Vec<_> = names.iter().map(|name| name.to_string()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    let key = KeyPair::generate()?;
    let request = params.serialize_request(&key)?;
    Ok((key, request.der().to_vec()))
}
