//! Checks an evaluated file: statements first, then sites, so that a name may be used above its declaration.

mod auth;
mod authority;
mod balance;
mod broker;
mod channel;
mod cors;
mod errors;
mod fastcgi;
mod fields;
mod files;
mod handler;
mod legacy;
mod limit;
mod program;
mod rewrite;
mod route;
mod secured;
mod site;
mod statement;
#[cfg(test)]
mod tests;
mod tls;
mod tokens;
mod upstream;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use http::StatusCode;

use super::{
    checked::{
        Address, Auth, CertificateFiles, Config, Handler, Hidden, PageFile, Proxy, Reply, Upstream, secret_path,
    },
    diagnostic::{Diagnostic, Severity},
    raw::{File, Made, Source},
    reader::Reader,
};
use crate::route::Pattern;
use channel::Channels;
use limit::LimitNames;
use program::Programs;
use secured::Asked;
use site::Around;
use statement::Statements;
use upstream::Upstreams;

/// What the check must know of the world.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The absolute folder against which the paths of sources are resolved, if they are relative.
    pub folder: &'a Path,
    /// The admin socket that is used when the file names no other; `files` never serves it.
    pub admin_socket: &'a Path,
    /// What is at a path.
    pub probe: &'a dyn Fn(&Path) -> PathKind,
    /// Where a path leads once all links are followed; None: nowhere yet.
    pub real: &'a dyn Fn(&Path) -> Option<PathBuf>,
    /// The bytes of a file, so many at most; the error is a sentence that names the file.
    pub read: &'a ReadFile<'a>,
    /// Whether there is such a user, and such a group if one is named; the error is a sentence.
    pub account: &'a Account<'a>,
    /// The program that a path names, or that is found under a name without a slash; the error is a sentence.
    pub program: &'a FindProgram<'a>,
    /// Whether a certificate and its key can be shown; the error is a sentence that names the file and the reason.
    pub certificate: &'a CheckCertificate<'a>,
    /// Whether a file has certificates of authorities; the error is a sentence that names the file and the reason.
    pub authorities: &'a CheckAuthorities<'a>,
}

/// Looks into the files of a certificate.
pub type CheckCertificate<'a> = dyn Fn(&CertificateFiles) -> Result<(), String> + 'a;

/// Looks into a file of authorities.
pub type CheckAuthorities<'a> = dyn Fn(&Path) -> Result<(), String> + 'a;

/// Reads a file.
pub type ReadFile<'a> = dyn Fn(&Path, u64) -> Result<Vec<u8>, String> + 'a;

/// Finds a program.
pub type FindProgram<'a> = dyn Fn(&Path) -> Result<PathBuf, String> + 'a;

/// Looks a user and perhaps a group up.
pub type Account<'a> = dyn Fn(&str, Option<&str>) -> Result<(), String> + 'a;

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// A folder that can be read.
    Folder,
    /// Anything else that is there.
    File,
    /// Nothing.
    Missing,
    /// It may be there, but we may not look.
    Denied,
}

/// What the check of a handler built on a request must know.
#[derive(Clone, Copy)]
pub struct RequestContext<'a> {
    /// The same as for the file.
    pub context: Context<'a>,
    /// The texts that spans point into.
    pub sources: &'a [Source],
    /// A declared upstream of the running config, by name.
    pub upstream: &'a dyn Fn(&str) -> Option<Arc<Upstream>>,
    /// The route's pattern: its parameters and its literal prefix.
    pub pattern: &'a Pattern,
    /// What `files` never serves.
    pub hidden: &'a Arc<Hidden>,
}

/// Checks a whole file: the config and its warnings, or every error that can be found, in source order.
///
/// Takes time in proportion to the file: 1,000,000 routes in about a second.
pub fn check(file: &File, context: &Context<'_>) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut checker = Checker::new(*context, &file.sources, None);
    let config = match &file.legacy {
        Some(globals) => checker.legacy(globals),
        None => checker.file(file),
    };
    let findings = checker.reader.findings();
    match config {
        Some(config) if findings.iter().all(|finding| finding.severity == Severity::Warning) => Ok((config, findings)),
        _ => Err(findings),
    }
}

/// Checks a handler that a function built while a request waits, with the same rules.
///
/// A string target is a declared upstream of the running config or an address. Errors: the first one found.
pub fn check_handler(made: &Made, request: &RequestContext<'_>) -> Result<Handler, Diagnostic> {
    let mut checker = Checker::new(request.context, request.sources, Some(request.upstream));
    checker.hidden = Arc::clone(request.hidden);
    let handler = checker.handler(made, request.pattern);
    let first = checker.reader.findings().into_iter().find(|finding| finding.severity == Severity::Error);
    match (first, handler) {
        (None, Some(handler)) => Ok(handler),
        (Some(error), _) => Err(error),
        (None, None) => {
            let error = Diagnostic::error(made.span, format!("`{}` is no handler", made.what), "");
            Err(error.located(request.sources))
        }
    }
}

/// The admin socket where it is one, and the secret beside it.
fn own_files(admin: &Path, is_socket: bool) -> Vec<PathBuf> {
    let socket = is_socket.then(|| admin.to_owned());
    socket.into_iter().chain([secret_path(admin)]).collect()
}

/// A declared upstream of the running config, by name.
type Running<'a> = &'a dyn Fn(&str) -> Option<Arc<Upstream>>;

/// Replies without fields, by status, type and body.
type PlainReplies = HashMap<(StatusCode, Option<&'static str>, Bytes), Arc<Reply>>;

/// The state of one check; its methods are spread over this room, a file for each kind of thing.
struct Checker<'a> {
    reader: Reader<'a>,
    context: Context<'a>,
    upstreams: Upstreams,
    running: Option<Running<'a>>,
    /// Proxies without options, by the address of their upstream, which lives as long as they do.
    plain_proxies: HashMap<usize, Arc<Proxy>>,
    /// Replies without fields, by status, type and body.
    plain_replies: PlainReplies,
    /// Files of error pages, each read once however many sites name it.
    pages: HashMap<PathBuf, Arc<PageFile>>,
    /// Paths that `files` never serves.
    hidden: Arc<Hidden>,
    /// By the address of what the constructor returned, which lives as long as the file.
    auths: HashMap<usize, Option<Arc<Auth>>>,
    /// Those that were named, and where the next one stands.
    limits: LimitNames,
    channels: Channels,
    programs: Programs,
    /// What was found in the files of each certificate, read once however many sites show it.
    certificates: HashMap<CertificateFiles, Result<(), String>>,
    /// The same of files of authorities.
    authorities: HashMap<PathBuf, Result<(), String>>,
    /// Keys, certificates and the folder of the authority's.
    private: Vec<PathBuf>,
    asked: Asked,
}

impl<'a> Checker<'a> {
    fn new(context: Context<'a>, sources: &'a [Source], running: Option<Running<'a>>) -> Self {
        let reader = Reader::new(sources, context.folder);
        Self {
            reader,
            context,
            upstreams: Upstreams::default(),
            running,
            plain_proxies: HashMap::new(),
            plain_replies: HashMap::new(),
            pages: HashMap::new(),
            hidden: Arc::default(),
            auths: HashMap::new(),
            limits: LimitNames::default(),
            channels: Channels::default(),
            programs: Programs::default(),
            certificates: HashMap::new(),
            authorities: HashMap::new(),
            private: Vec::new(),
            asked: Asked::default(),
        }
    }

    fn file(&mut self, file: &File) -> Option<Config> {
        for made in file.statements.iter().filter(|made| made.what == "upstream") {
            self.declare(made);
        }
        let Statements {
            listeners,
            admin,
            access_log,
            workers,
            trust,
            limits,
            errors,
            resolver,
            drain,
            user,
            broker,
            acme,
        } = self.statements(file);
        let mut own = match &admin.address {
            None => own_files(self.context.admin_socket, true),
            Some(Address::Unix(path)) => own_files(path, true),
            Some(Address::Tcp(_)) => own_files(self.context.admin_socket, false),
        };
        self.private_of_sites(file);
        own.extend(std::mem::take(&mut self.private));
        self.hidden = files::hidden(&self.context, own, &file.sources);
        let limits = Arc::new(limits);
        let has_acme = file.statements.iter().any(|made| made.what == "acme");
        let around =
            Around { listeners: &listeners, limits: &limits, access_log: &access_log, errors: &errors, has_acme };
        let sites = self.sites(file, &around);
        self.secured_listeners(file, &around, acme.as_ref().map(|(acme, span)| (acme.challenge, *span)));
        Some(Config {
            listeners: listeners.into_iter().map(|(listener, _)| listener).collect(),
            admin,
            access_log,
            workers,
            trust,
            limits,
            errors,
            resolver,
            drain,
            user,
            upstreams: self.upstreams.declared(),
            sites,
            broker,
            channels: std::mem::take(&mut self.channels).in_order(),
            programs: std::mem::take(&mut self.programs).for_everybody(),
            functions: file.functions,
            hidden: Arc::clone(&self.hidden),
            acme: acme.map(|(acme, _)| acme),
        })
    }
}
