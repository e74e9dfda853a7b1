//! Error pages: a file of the config with the request's id filled in, or what a function answers.

use std::{collections::HashMap, os::unix::ffi::OsStrExt, rc::Rc};

use http::{HeaderValue, StatusCode, header};
use rsp_core::{
    auth::token,
    config::{ErrorPage, FunctionId, PageFile},
    route::{Params, Pattern},
};

use crate::{
    handler,
    message::{Body, Request, RequestId, Response},
    observe::Metrics,
    route::{Route, SiteInfo},
    script::{Engine, Visit},
};

/// What the function of an error page will need; kept while the request goes its way.
pub(super) struct Asking {
    request: Request,
    params: Params,
    engine: Rc<Engine>,
}

impl Asking {
    /// None where the worker has no functions.
    pub(super) fn new(
        request: &Request,
        params: &Params,
        site: &SiteInfo,
        engine: Option<&Rc<Engine>>,
    ) -> Option<Box<Self>> {
        let engine = Rc::clone(engine?);
        let mut request = request.without_body();
        // A page may show or log what was asked for.
        if let Some(names) = &site.secrets {
            token::remove(&mut request.head, names);
        }
        Some(Box::new(Self { request, params: params.clone(), engine }))
    }

    /// Asks the function; None, also where it fails, is the built-in page.
    pub(super) async fn ask(
        self,
        id: FunctionId,
        status: StatusCode,
        (site, route): (&SiteInfo, Option<&Route>),
        metrics: &Metrics,
    ) -> Option<Response> {
        let Self { request, params, engine } = self;
        let anywhere = Pattern::parse("/*").ok()?;
        let route = route.map_or(&anywhere, |route| &route.pattern);
        let (request, page) =
            engine.page(id, request, status, Visit { site: &site.name, route, params: &params }).await;
        match page {
            Ok(handler) => handler::answer(&handler?, &request, &params),
            Err(fault) => {
                metrics.script_errors.inc();
                fault.log(request.id);
                None
            }
        }
    }
}

/// The page of a status for a client that may prefer JSON; None: the built-in one.
pub(super) fn from_file(site: &SiteInfo, status: StatusCode, id: RequestId, prefers_json: bool) -> Option<Response> {
    let Some(ErrorPage::File(file)) = site.errors.as_ref()?.find(status.as_u16()) else { return None };
    let kind = handler::content_type(&HashMap::new(), file.path.as_os_str().as_bytes());
    // Programs that ask for JSON can't read what was written for people.
    if prefers_json && !kind.as_bytes().windows(4).any(|part| part == b"json") {
        return None;
    }
    let body = if file.has_placeholders { filled(file, status, id).into() } else { Body::Full(file.body.clone()) };
    Some(Response::new(status, body).with(header::CONTENT_TYPE, kind))
}

/// None of what is filled in has a character that HTML or JSON would need to escape.
fn filled(file: &PageFile, status: StatusCode, id: RequestId) -> String {
    let text = String::from_utf8_lossy(&file.body);
    let text = text.replace("{id}", &id.to_string()).replace("{status}", status.as_str());
    text.replace("{reason}", reason(status))
}

/// What the status is called.
pub(super) fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

/// The built-in page: short text, or JSON where that is preferred; `says` is what a filter has to say besides.
pub(super) fn built_in(status: StatusCode, says: Option<&'static str>, id: RequestId, prefers_json: bool) -> Response {
    let (code, reason) = (status.as_u16(), reason(status));
    if prefers_json {
        let says = says.map(|says| format!(",\"reason\":\"{says}\"")).unwrap_or_default();
        let body = format!("{{\"status\":{code},\"error\":\"{reason}\"{says},\"request\":\"{id}\"}}\n");
        let json = HeaderValue::from_static("application/json");
        return Response::new(status, body.into()).with(header::CONTENT_TYPE, json);
    }
    let says = says.map(|says| format!(": {says}")).unwrap_or_default();
    Response::text(status, format!("{code} {reason}{says}\nrequest {id}\n"))
}
