//! An HTTP/2 server inside the test, whose streams the test answers.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, server::SendResponse};
use http::{Request, Response};
use tokio::{net::TcpListener, sync::Notify, task::LocalSet};

/// A listening server; it ends with the test's process.
pub struct Server {
    address: String,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

thread_local! {
    /// Ends the connection whose request is answered on this thread at last.
    static HANG_UP: RefCell<Option<Rc<Notify>>> = const { RefCell::new(None) };
}

/// Breaks the newest connection, whatever goes on there.
pub fn hang_up() {
    HANG_UP.with_borrow(|now| now.as_ref().unwrap().notify_one());
}

impl Server {
    /// `answer` gets how many requests came before, the request and the way back.
    pub fn start<F, Answer>(answer: F) -> Self
    where
        F: Fn(usize, Request<RecvStream>, SendResponse<Bytes>) -> Answer + Send + 'static,
        Answer: Future<Output = ()> + 'static,
    {
        Self::with(&h2::server::Builder::new(), answer)
    }

    /// The same with settings.
    pub fn with<F, Answer>(settings: &h2::server::Builder, answer: F) -> Self
    where
        F: Fn(usize, Request<RecvStream>, SendResponse<Bytes>) -> Answer + Send + 'static,
        Answer: Future<Output = ()> + 'static,
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counts = (Arc::clone(&connections), Arc::clone(&requests));
        let settings = settings.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(LocalSet::new().run_until(serve(listener, settings, Rc::new(answer), counts)));
        });
        Self { address, connections, requests }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many there were.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many came.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn serve<F, Answer>(
    listener: std::net::TcpListener,
    settings: h2::server::Builder,
    answer: Rc<F>,
    (connections, requests): (Arc<AtomicUsize>, Arc<AtomicUsize>),
) where
    F: Fn(usize, Request<RecvStream>, SendResponse<Bytes>) -> Answer + 'static,
    Answer: Future<Output = ()> + 'static,
{
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((socket, _)) = listener.accept().await {
        connections.fetch_add(1, Ordering::SeqCst);
        let (settings, answer, requests) = (settings.clone(), Rc::clone(&answer), Arc::clone(&requests));
        tokio::task::spawn_local(async move {
            let hang_up = Rc::new(Notify::new());
            HANG_UP.set(Some(Rc::clone(&hang_up)));
            let talk = async {
                let Ok(mut connection) = settings.handshake::<_, Bytes>(socket).await else { return };
                while let Some(Ok((request, way_back))) = connection.accept().await {
                    let count = requests.fetch_add(1, Ordering::SeqCst);
                    tokio::task::spawn_local(answer(count, request, way_back));
                }
            };
            tokio::select! {
                () = talk => {}
                () = hang_up.notified() => {}
            }
        });
    }
}

/// All of a body, its trailers not.
pub async fn body_of(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        all.extend_from_slice(&data);
    }
    Ok(all)
}

/// A whole answer.
pub async fn send_all(answer: &mut SendResponse<Bytes>, head: Response<()>, body: impl Into<String>) {
    // A client that has gone reads no answer.
    if let Ok(mut stream) = answer.send_response(head, false) {
        let _ = stream.send_data(body.into().into(), true);
    }
}

/// How much of `wanted` may be sent; None: nobody wants it any more.
pub async fn room(stream: &mut SendStream<Bytes>, wanted: usize) -> Option<usize> {
    stream.reserve_capacity(wanted);
    while stream.capacity() == 0 {
        poll_fn(|cx| stream.poll_capacity(cx)).await?.ok()?;
    }
    Some(stream.capacity().min(wanted))
}
