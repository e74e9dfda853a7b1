//! Files from a folder: index, listing, variants, validators, ranges, and no way out of the root.
//!
//! **Invariant:** a whole answer costs one open and one stat, or the stat alone; the body does the rest.
//! **Invariant:** only regular files are read, and opening never waits: FIFOs, devices and sockets are not found.
//! **Invariant:** no folder is read on a worker.

mod answer;
mod conditions;
mod find;
mod kept;
mod listing;
mod mime;
mod ranges;
mod variants;

use std::{borrow::Cow, pin::Pin, sync::Arc};

use http::{HeaderValue, Method, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use rsp_core::{config::Files, route::Path};

pub use self::{kept::sweep_for_ever, mime::content_type};

use self::find::{Found, find, not_found};
use crate::{
    error::{Fault, Kind},
    message::{Request, Response},
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

/// What a request for a file comes to.
pub enum Served {
    /// An answer.
    Now(Response),
    /// An answer that another thread has to gather.
    Listing(Pin<Box<dyn Future<Output = Result<Response, Fault>>>>),
}

/// Answers a request with the file that its path names below the root.
///
/// # Errors
/// `NotFound` for what is not there or not served, `Forbidden` for what may not be read and for a folder without its
/// index, `Full` when descriptors ran out, `File` for a disk that fails, `Malformed` for a path that is none.
pub fn run(files: &Arc<Files>, request: &Request) -> Result<Served, Fault> {
    let path = Path::new(request.head.target.path()).map_err(|e| Fault::new(Kind::Malformed, e.to_string()))?;
    serve(files, request, path.decoded())
}

/// `path` is decoded and normalised.
fn serve(files: &Arc<Files>, request: &Request, path: &[u8]) -> Result<Served, Fault> {
    if !matches!(request.head.method, Method::GET | Method::HEAD) {
        return Ok(Served::Now(not_allowed()));
    }
    let prefix = files.prefix.as_bytes();
    // A filter may have changed the path since the route was found.
    let Some(below) = path.strip_prefix(prefix) else {
        let is_folder = prefix.strip_suffix(b"/") == Some(path);
        return if is_folder { redirect_to_folder(path, request) } else { Err(not_found()) };
    };
    match find(files, below)? {
        Found::File(kept, name) => Ok(Served::Now(answer::answer(files, request, &kept, &name))),
        Found::FolderWithoutSlash => redirect_to_folder(path, request),
        Found::FolderWithoutIndex(folder) if files.listing => {
            let place =
                listing::Place { files: Arc::clone(files), path: path.to_vec(), folder: Cow::into_owned(folder) };
            Ok(Served::Listing(Box::pin(listing::list(place, listing::Wish::of(request)))))
        }
        // As nginx answers.
        Found::FolderWithoutIndex(_) => Err(Fault::new(Kind::Forbidden, "a folder without an index")),
    }
}

/// A relative link on an index only works when the folder's path ends with a slash.
fn redirect_to_folder(path: &[u8], request: &Request) -> Result<Served, Fault> {
    // One slash in front: two would name another host.
    let mut to = Vec::with_capacity(path.len() + 16);
    to.push(b'/');
    let begin = path.iter().position(|&byte| byte != b'/').unwrap_or(path.len());
    percent_encode(&path[begin..], PATH).for_each(|part| to.extend_from_slice(part.as_bytes()));
    to.push(b'/');
    if let Some(query) = request.head.target.query() {
        to.push(b'?');
        to.extend_from_slice(query);
    }
    let to = HeaderValue::from_bytes(&to).map_err(|_| Fault::new(Kind::Malformed, "a query that fits no field"))?;
    let moved = Response::text(StatusCode::MOVED_PERMANENTLY, "301 Moved Permanently\n");
    Ok(Served::Now(moved.with(header::LOCATION, to)))
}

fn not_allowed() -> Response {
    Response::text(StatusCode::METHOD_NOT_ALLOWED, "405 Method Not Allowed\n")
        .with(header::ALLOW, HeaderValue::from_static("GET, HEAD"))
}

#[cfg(test)]
mod tests;
