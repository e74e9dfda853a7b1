//! A folder without an index, listed: a page for a person, JSON for a program.
//!
//! **Invariant:** folders are read on threads beside the workers, few at once, and never further than the bounds here.

mod entries;
mod page;

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use rsp_core::config::Files;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{find::fault, variants::quality};
use crate::{
    error::{Fault, Kind},
    message::{Body, Request, Response},
};
use entries::{Entry, Folder};

/// Folders that are read at once, in the process: a disk does no more at a time.
const READING_MAX: usize = 4;

/// How long a request waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// KiB of pages that are on their way to clients, in the process.
const PAGES_MAX: usize = 64 << 10;

/// Bytes of a page.
const PAGE_MAX: usize = 4 << 20;

static READING: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(READING_MAX)));
static PAGES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(PAGES_MAX)));

/// The folder.
pub struct Place {
    /// Whose it is.
    pub files: Arc<Files>,
    /// The path of the request, decoded, with its slash.
    pub path: Vec<u8>,
    /// The folder below the root, with its slash; empty: the root.
    pub folder: Vec<u8>,
}

/// What the client wants to see.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    json: bool,
    head: bool,
    order: Order,
}

/// How entries are sorted; folders come first in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Order {
    by: By,
    descending: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum By {
    #[default]
    Name,
    Size,
    Time,
}

/// A rendered page that gives back its share of the memory when the last byte of it is out.
struct Page {
    text: Vec<u8>,
    _share: OwnedSemaphorePermit,
}

impl Wish {
    /// From the query and the `Accept` of a request; what it doesn't know in a query it leaves alone.
    pub fn of(request: &Request) -> Self {
        let wanted = |kind| quality(&request.head.headers, &header::ACCEPT, &[kind]).unwrap_or(0);
        let mut order = Order::default();
        for pair in request.head.target.query().unwrap_or_default().split(|&byte| byte == b'&') {
            match pair {
                b"sort=name" => order.by = By::Name,
                b"sort=size" => order.by = By::Size,
                b"sort=time" => order.by = By::Time,
                b"order=asc" => order.descending = false,
                b"order=desc" => order.descending = true,
                _ => {}
            }
        }
        let json = wanted("application/json") > wanted("text/html");
        Self { json, head: request.head.method == Method::HEAD, order }
    }
}

/// Reads and renders a folder.
///
/// # Errors
/// `Full` when too many are being read or sent, else what opening the folder says.
pub async fn list(place: Place, wish: Wish) -> Result<Response, Fault> {
    let full = |why: &str| Fault::new(Kind::Full, why.to_owned());
    let turn = tokio::time::timeout(TURN, Arc::clone(&READING).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else { return Err(full("too many folders are being listed")) };
    let rendered = tokio::task::spawn_blocking(move || {
        // Held to the end, also when the client has gone away.
        let _turn = turn;
        let mut folder = entries::read(&place)?;
        folder.sort(wish.order);
        Ok(if wish.json { json(&folder) } else { page::render(&place, folder, wish.order) })
    });
    let rendered = rendered.await.map_err(|e| Fault::new(Kind::File, format!("a folder was not listed: {e}")))?;
    let (text, is_cut) = rendered.map_err(fault)?;
    let size = text.len() as u64;
    let body = if wish.head {
        Body::Empty
    } else {
        let share = (text.len() >> 10) as u32 + 1;
        let share = Arc::clone(&PAGES).try_acquire_many_owned(share);
        let share = share.map_err(|_| full("too many lists of folders are being sent"))?;
        Body::Full(Bytes::from_owner(Page { text, _share: share }))
    };
    Ok(response(body, size, wish, is_cut))
}

fn response(body: Body, size: u64, wish: Wish, is_cut: bool) -> Response {
    let mut response = Response::new(StatusCode::OK, body);
    response.stated_length = wish.head.then_some(size);
    let kind = if wish.json { "application/json" } else { "text/html; charset=utf-8" };
    let headers = &mut response.headers;
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::POLICY));
    if is_cut {
        headers.insert("x-listing", HeaderValue::from_static("incomplete"));
    }
    response
}

/// `[{"name", "type", "size", "modified"}]`; bytes of a name that are no UTF-8 are replaced. And whether it is cut.
fn json(folder: &Folder) -> (Vec<u8>, bool) {
    let mut text = Vec::from(&b"["[..]);
    let mut is_cut = folder.is_cut;
    for entry in &folder.entries {
        if text.len() >= PAGE_MAX {
            is_cut = true;
            break;
        }
        text.extend_from_slice(if text.len() == 1 { b"\n" } else { b",\n" });
        text.extend_from_slice(object(entry).to_string().as_bytes());
    }
    text.extend_from_slice(b"\n]\n");
    (text, is_cut)
}

fn object(entry: &Entry) -> serde_json::Value {
    serde_json::json!({
        "name": String::from_utf8_lossy(&entry.name),
        "type": if entry.is_folder { "folder" } else { "file" },
        "size": (!entry.is_folder).then_some(entry.size),
        "modified": page::timestamp(entry.modified).map(|time| time.to_string()),
    })
}

impl AsRef<[u8]> for Page {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

#[cfg(test)]
mod tests;
