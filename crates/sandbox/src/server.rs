//! A thin shell of sockets around an exchange.
//!
//! It reads requests, tells the exchange the time, and delivers the replies as their disposition
//! says: also by closing a connection without a byte, or in the middle of an answer.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request as HttpRequest, State, connect_info::Connected};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use bursar_model::Clock;
use bytes::Bytes;
use futures_util::stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::exchange::Exchange;
use crate::handle::{Disposition, Reply, Request};

/// The longest body that is read.
const LARGEST_BODY: usize = 1024 * 1024;
/// How long a connection is kept without an answer.
const SILENCE: Duration = Duration::from_secs(120);
/// How often an exchange that nobody calls lets time pass.
const TICK: Duration = Duration::from_millis(500);

/// A running exchange behind a socket. Dropping it leaves the exchange running until its shutdown.
pub struct SandboxServer {
    address: SocketAddr,
    exchange: Arc<Mutex<Exchange>>,
    clock: Arc<dyn Clock>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    exchange: Arc<Mutex<Exchange>>,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
}

impl SandboxServer {
    /// Serves `exchange` on `listener` until `shutdown`. The market begins now.
    ///
    /// # Errors
    ///
    /// When the listener does not know its address.
    pub fn start(
        listener: TcpListener,
        exchange: Exchange,
        clock: Arc<dyn Clock>,
        shutdown: CancellationToken,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let exchange = Arc::new(Mutex::new(exchange));
        let shared = Shared {
            exchange: Arc::clone(&exchange),
            clock: Arc::clone(&clock),
            shutdown,
        };
        advance(&shared);
        let task = tokio::spawn(serve(listener, shared));
        Ok(Self {
            address,
            exchange,
            clock,
            task,
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients use as the address of the exchange.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets `act` see or change the exchange between two requests, with time passed up to now.
    pub fn with<T>(&self, act: impl FnOnce(&mut Exchange) -> T) -> T {
        let mut exchange = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        exchange.advance(self.clock.now());
        act(&mut exchange)
    }

    /// What time it is for the exchange.
    pub fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// Waits until the server has stopped, after its shutdown was asked for.
    pub async fn stopped(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the sandbox's server failed");
        }
    }
}

impl std::fmt::Debug for SandboxServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SandboxServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

fn advance(shared: &Shared) {
    let now = shared.clock.now();
    let mut exchange = shared.exchange.lock().unwrap_or_else(PoisonError::into_inner);
    exchange.advance(now);
    for pair in exchange.newly_ended() {
        tracing::warn!(pair, "the data is used up: the last price stands");
    }
}

async fn serve(listener: TcpListener, shared: Shared) {
    let shutdown = shared.shutdown.clone();
    let app = Router::new()
        .fallback(answer)
        .with_state(shared.clone())
        .into_make_service_with_connect_info::<Peer>();
    let server =
        axum::serve(FaultyListener(listener), app).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let ticking = async {
        let mut interval = tokio::time::interval(TICK);
        loop {
            interval.tick().await;
            advance(&shared);
        }
    };
    tokio::select! {
        served = server => {
            if let Err(error) = served {
                tracing::error!(%error, "the sandbox stopped serving");
            }
        }
        () = ticking => {}
    }
}

async fn answer(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: HttpRequest,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, LARGEST_BODY).await else {
        return plain(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is larger than a mebibyte",
        );
    };
    let headers = parts
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    let request = Request {
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers,
        body: body.to_vec(),
        peer: Some(peer.address.ip()),
    };
    let now = shared.clock.now();
    let reply = shared
        .exchange
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .handle(now, &request);
    tokio::time::sleep(reply.delay).await;
    deliver(reply, &peer, &shared.shutdown).await
}

async fn deliver(reply: Reply, peer: &Peer, shutdown: &CancellationToken) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match reply.disposition {
        Disposition::Answer => {}
        Disposition::Drop => peer.fuse.store(true, Ordering::Release),
        Disposition::Silence => {
            tokio::select! {
                () = tokio::time::sleep(SILENCE) => {}
                () = shutdown.cancelled() => {}
            }
            peer.fuse.store(true, Ordering::Release);
        }
        Disposition::CutAfter(length) => return cut(&reply, status, length),
    }
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = status;
    set_type(&mut response, reply.content_type);
    response
}

/// Announces the whole body, sends its beginning, and lets the connection break.
fn cut(reply: &Reply, status: StatusCode, length: usize) -> Response {
    let beginning = Bytes::copy_from_slice(reply.body.get(..length).unwrap_or_default());
    let chunks = stream::unfold(Some(beginning), |beginning| async move {
        match beginning {
            Some(beginning) => Some((Ok(beginning), None)),
            None => {
                // Time for the beginning to leave before the connection does.
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some((Err(io::Error::from(io::ErrorKind::ConnectionReset)), None))
            }
        }
    });
    let mut response = Response::new(Body::from_stream(chunks));
    *response.status_mut() = status;
    set_type(&mut response, reply.content_type);
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(reply.body.len()));
    response
}

fn set_type(response: &mut Response, content_type: &'static str) {
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

/// Who is at the other end, and the fuse of the connection: once set, it can be written to no more.
#[derive(Clone)]
struct Peer {
    address: SocketAddr,
    fuse: Arc<AtomicBool>,
}

impl Connected<IncomingStream<'_, FaultyListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, FaultyListener>) -> Self {
        Self {
            address: *stream.remote_addr(),
            fuse: Arc::clone(&stream.io().fuse),
        }
    }
}

struct FaultyListener(TcpListener);

impl Listener for FaultyListener {
    type Io = FaultyStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (FaultyStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps collecting small packets");
        }
        let fuse = Arc::new(AtomicBool::new(false));
        (FaultyStream { stream, fuse }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

struct FaultyStream {
    stream: TcpStream,
    fuse: Arc<AtomicBool>,
}

impl FaultyStream {
    fn check(&self) -> io::Result<()> {
        if self.fuse.load(Ordering::Acquire) {
            Err(io::ErrorKind::ConnectionReset.into())
        } else {
            Ok(())
        }
    }
}

impl AsyncRead for FaultyStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for FaultyStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
