//! The exchange Tidewater, so that there is something to adapt to: a book behind a socket, with words of
//! its own. The book is a paper account; whoever adapts to a real exchange runs against its test system.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bursar_broker::{Broker, CancelError, CancelOutcome, ErrorClass, PlaceError, ReadError};
use bursar_broker_paper::{PaperBroker, PaperMarket};
use bursar_keystore::{SecretEncoding, Signer};
use bursar_model::{ClientOrderId, Clock, OrderTerms};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) struct Exchange {
    pub(crate) address: SocketAddr,
    pub(crate) book: Arc<Book>,
    serving: JoinHandle<()>,
}

/// What the exchange has behind its socket.
pub(crate) struct Book {
    pub(crate) market: Arc<PaperMarket>,
    pub(crate) orders: PaperBroker,
    clock: Arc<dyn Clock>,
    /// The exchange has the key's secret too.
    key: Arc<dyn Signer>,
    rights: RwLock<Vec<&'static str>>,
    hangs_up: AtomicBool,
}

#[derive(Deserialize)]
struct Request {
    key: String,
    sign: String,
    call: String,
    body: String,
}

#[derive(Deserialize)]
struct Order {
    id: ClientOrderId,
    until: Timestamp,
    terms: OrderTerms,
}

#[derive(Deserialize)]
struct Which {
    id: ClientOrderId,
}

#[derive(Deserialize)]
struct Since {
    since: Timestamp,
}

impl Exchange {
    pub(crate) async fn open(
        market: Arc<PaperMarket>,
        orders: PaperBroker,
        clock: Arc<dyn Clock>,
        key: Arc<dyn Signer>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let book = Arc::new(Book {
            market,
            orders,
            clock,
            key,
            rights: RwLock::new(vec!["read", "trade"]),
            hangs_up: AtomicBool::new(false),
        });
        let served = Arc::clone(&book);
        let serving = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let served = Arc::clone(&served);
                tokio::spawn(async move { drop(served.serve(connection).await) });
            }
        });
        Ok(Self {
            address,
            book,
            serving,
        })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Book {
    /// Does what the next request asks for, and hangs up instead of answering.
    pub(crate) fn hang_up_next(&self) {
        self.hangs_up.store(true, Ordering::SeqCst);
    }

    /// What the key may do from now on.
    pub(crate) fn grant(&self, rights: Vec<&'static str>) {
        *self.rights.write().unwrap_or_else(PoisonError::into_inner) = rights;
    }

    async fn serve(&self, mut connection: TcpStream) -> std::io::Result<()> {
        let mut request = Vec::new();
        connection.read_to_end(&mut request).await?;
        let answer = match serde_json::from_slice(&request) {
            Ok(request) => self.answer(&request).await,
            Err(_) => Err("NOT A REQUEST".to_owned()),
        };
        if self.hangs_up.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        connection
            .write_all(serde_json::to_string(&answer)?.as_bytes())
            .await
    }

    async fn answer(&self, request: &Request) -> Result<Value, String> {
        let message = [request.call.as_bytes(), request.body.as_bytes()];
        let expected = self.key.hmac_sha512(SecretEncoding::Text, &message);
        let expected = expected.map_err(|_| "KEY")?;
        if request.key != self.key.public_key() || request.sign != HEXLOWER.encode(&expected) {
            return Err("KEY".to_owned());
        }
        let orders = &self.orders;
        match request.call.as_str() {
            "place" => self.place(&read(&request.body)?).await,
            "cancel" => told(orders.cancel(&read::<Which>(&request.body)?.id).await),
            "open" => said(orders.open_orders().await),
            "closed" => said(orders.closed_orders(read::<Since>(&request.body)?.since).await),
            "find" => {
                let (which, since): (Which, Since) = (read(&request.body)?, read(&request.body)?);
                said(orders.find(&which.id, since.since).await)
            }
            "fills" => said(orders.fills(read::<Since>(&request.body)?.since).await),
            "balances" => said(orders.balances().await),
            "rights" => Ok(json!(*self.rights.read().unwrap_or_else(PoisonError::into_inner))),
            "time" => Ok(json!(self.clock.now())),
            _ => Err("NO SUCH CALL".to_owned()),
        }
    }

    async fn place(&self, order: &Order) -> Result<Value, String> {
        if self.clock.now() > order.until {
            return Err("LATE".to_owned());
        }
        match self.orders.place_by_hand(&order.id, &order.terms).await {
            Ok(placed) => Ok(json!(placed.venue_order_id)),
            Err(PlaceError::AlreadyThere { .. }) => Err("SAME ID".to_owned()),
            Err(PlaceError::Refused { class, .. }) => Err(match class {
                ErrorClass::VenueState => "CLOSED",
                _ => "FUNDS",
            }
            .to_owned()),
            Err(_) => Err("OUT OF ORDER".to_owned()),
        }
    }
}

fn read<'a, T: Deserialize<'a>>(body: &'a str) -> Result<T, String> {
    serde_json::from_str(body).map_err(|_| "TERMS".to_owned())
}

fn said<T: Serialize>(reading: Result<T, ReadError>) -> Result<Value, String> {
    reading
        .map(|value| json!(value))
        .map_err(|_| "OUT OF ORDER".to_owned())
}

fn told(cancelled: Result<CancelOutcome, CancelError>) -> Result<Value, String> {
    cancelled
        .map(|outcome| json!(outcome == CancelOutcome::Taken))
        .map_err(|_| "OUT OF ORDER".to_owned())
}
