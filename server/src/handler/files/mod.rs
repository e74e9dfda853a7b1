//! Files from a folder: index, validators, ranges, and no way out of the root.
//!
//! **Invariant:** a whole answer costs one open and one stat, or the stat alone; the body does the rest.
//! **Invariant:** only regular files are read, and opening never waits: FIFOs, devices and sockets are not found.

mod beneath;
mod conditions;
mod kept;
mod mime;

use std::{fs::File, os::unix::ffi::OsStrExt, rc::Rc};

use http::{HeaderValue, Method, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rsp_core::{config::Files, route::Path};
use rustix::{
    fs::{FileType, Stat},
    io::Errno,
};

use self::conditions::{Answer, Validators};
pub use self::mime::content_type;
use crate::{
    error::{Fault, Kind},
    message::{Body, FileBody, Request, Response},
    observe::now_seconds,
};

/// What a path may not hold as it is; a backslash is a slash to browsers.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Answers a request with the file that its path names below the root.
///
/// # Errors
/// `NotFound` for what is not there or not served, `Forbidden` for what may not be read and for a folder without its
/// index, `Full` when descriptors ran out, `File` for a disk that fails, `Malformed` for a path that is none.
pub fn run(files: &Files, request: &Request) -> Result<Response, Fault> {
    let path = Path::new(request.head.target.path()).map_err(|e| Fault::new(Kind::Malformed, e.to_string()))?;
    serve(files, request, str::from_utf8(path.decoded()).map_err(|_| not_found())?)
}

/// `path` is decoded and normalised.
fn serve(files: &Files, request: &Request, path: &str) -> Result<Response, Fault> {
    if !matches!(request.head.method, Method::GET | Method::HEAD) {
        return Ok(not_allowed());
    }
    let Some(below) = path.get(files.prefix..) else { return redirect_to_folder(path, request) };
    if !is_served(below) {
        return Err(not_found());
    }
    if below.is_empty() || below.ends_with('/') {
        return index(files, request, below);
    }
    let (file, stat) = open(files, below)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(answer(request, file, &stat, below)),
        FileType::Directory => redirect_to_folder(path, request),
        _ => Err(not_found()),
    }
}

/// Whether every name on the path may be seen. Names that begin with a dot may not, but for the one that stands for
/// what everybody may see (RFC 8615).
fn is_served(below: &str) -> bool {
    let names = below.strip_suffix('/').unwrap_or(below);
    below.is_empty()
        || names.split('/').enumerate().all(|(depth, name)| {
            let hidden = name.starts_with('.') && !(depth == 0 && name == ".well-known");
            !name.is_empty() && !hidden && !name.contains('\0')
        })
}

fn index(files: &Files, request: &Request, folder: &str) -> Result<Response, Fault> {
    let mut name = String::with_capacity(folder.len() + files.index.len());
    name.push_str(folder);
    name.push_str(&files.index);
    let opened = open(files, &name).and_then(|(file, stat)| match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok((file, stat)),
        _ => Err(not_found()),
    });
    match opened {
        Ok((file, stat)) => Ok(answer(request, file, &stat, &name)),
        Err(fault) if fault.kind == Kind::NotFound => Err(without_index(files, folder)),
        Err(fault) => Err(fault),
    }
}

/// 403 for a folder that is there, as nginx answers.
fn without_index(files: &Files, folder: &str) -> Fault {
    let folder = if folder.is_empty() { "." } else { folder };
    match beneath::open(&files.root, folder, beneath::FOLDER) {
        Ok(_) => Fault::new(Kind::Forbidden, "a folder without an index"),
        Err(e) => fault(e),
    }
}

fn open(files: &Files, below: &str) -> Result<(Rc<File>, Stat), Fault> {
    if is_hidden(files, below) {
        return Err(not_found());
    }
    kept::open(&files.root, below).map_err(fault)
}

fn is_hidden(files: &Files, below: &str) -> bool {
    let root = files.root.as_os_str().as_bytes();
    files.hidden.iter().any(|hidden| {
        let above = hidden.as_os_str().as_bytes().strip_suffix(below.as_bytes());
        above.is_some_and(|above| above.strip_suffix(b"/").unwrap_or(above) == root.strip_suffix(b"/").unwrap_or(root))
    })
}

/// Fields of an answer, so that their table is made once.
const FIELDS: usize = 6;

fn answer(request: &Request, file: Rc<File>, stat: &Stat, name: &str) -> Response {
    let (head, size) = (request.head.method == Method::HEAD, stat.st_size.unsigned_abs());
    let validators = Validators::of(stat);
    let (status, offset, length) = match validators.decide(&request.head.headers, !head) {
        Answer::Whole => (StatusCode::OK, 0, size),
        Answer::Part { offset, length } => (StatusCode::PARTIAL_CONTENT, offset, length),
        Answer::NotModified => {
            let mut response = Response::new(StatusCode::NOT_MODIFIED, Body::Empty);
            validators.set(&mut response.headers, now_seconds());
            return response;
        }
        Answer::Failed => return Response::text(StatusCode::PRECONDITION_FAILED, "412 Precondition Failed\n"),
        Answer::Unsatisfiable => {
            let range = content_range(format_args!("bytes */{size}"));
            return Response::text(StatusCode::RANGE_NOT_SATISFIABLE, "416 Range Not Satisfiable\n")
                .with(header::CONTENT_RANGE, range);
        }
    };
    let body = match (head, length) {
        (true, _) => Body::Empty,
        (_, 0) => Body::Full(bytes::Bytes::new()),
        _ => Body::File(Box::new(FileBody::new(file, offset, length))),
    };
    let mut response = Response::new(status, body);
    response.headers.reserve(FIELDS);
    response.headers.insert(header::CONTENT_TYPE, content_type(name));
    response.headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    validators.set(&mut response.headers, now_seconds());
    if status == StatusCode::PARTIAL_CONTENT {
        let range = content_range(format_args!("bytes {offset}-{}/{size}", offset + length - 1));
        response.headers.insert(header::CONTENT_RANGE, range);
    }
    response.stated_length = head.then_some(size);
    response
}

fn content_range(text: std::fmt::Arguments<'_>) -> HeaderValue {
    HeaderValue::try_from(text.to_string()).unwrap_or_else(|_| HeaderValue::from_static("bytes */*"))
}

/// A relative link on an index only works when the folder's path ends with a slash.
fn redirect_to_folder(path: &str, request: &Request) -> Result<Response, Fault> {
    // One slash in front: two would name another host.
    let mut to = Vec::with_capacity(path.len() + 16);
    to.push(b'/');
    utf8_percent_encode(path.trim_start_matches('/'), PATH).for_each(|part| to.extend_from_slice(part.as_bytes()));
    to.push(b'/');
    if let Some(query) = request.head.target.query() {
        to.push(b'?');
        to.extend_from_slice(query);
    }
    let to = HeaderValue::from_bytes(&to).map_err(|_| Fault::new(Kind::Malformed, "a query that fits no field"))?;
    let moved = Response::text(StatusCode::MOVED_PERMANENTLY, "301 Moved Permanently\n");
    Ok(moved.with(header::LOCATION, to))
}

fn not_allowed() -> Response {
    Response::text(StatusCode::METHOD_NOT_ALLOWED, "405 Method Not Allowed\n")
        .with(header::ALLOW, HeaderValue::from_static("GET, HEAD"))
}

fn not_found() -> Fault {
    Fault::new(Kind::NotFound, "no such file")
}

fn fault(error: Errno) -> Fault {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::XDEV | Errno::NXIO | Errno::NODEV => {
            not_found()
        }
        Errno::ACCESS | Errno::PERM => Fault::new(Kind::Forbidden, "a file that may not be read"),
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => {
            Fault::new(Kind::Full, format!("no file can be opened now: {error}"))
        }
        _ => Fault::new(Kind::File, format!("a file can't be opened: {error}")),
    }
}

#[cfg(test)]
mod tests;
