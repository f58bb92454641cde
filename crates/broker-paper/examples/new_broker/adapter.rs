//! An adapter in a hundred lines: one account at the exchange Tidewater, behind `Broker`. What the
//! exchange's texts prove stands in `errors.rs`.
//!
//! Tidewater names pairs and assets as we do, so that nothing is mapped here. Another exchange's names are
//! mapped in both directions, from its own list.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bursar_broker::{
    Broker, BrokerProfile, CancelError, CancelOutcome, ErrorClass, KeyRights, OrderTicket, PlaceError,
    Placed, ReadError, VenueOrder,
};
use bursar_controls::ApprovedOrder;
use bursar_keystore::{SecretEncoding, Signer};
use bursar_model::{AccountId, Balance, ClientOrderId, Fill};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::errors::meaning;

const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Tidewater {
    pub(crate) account: AccountId,
    pub(crate) address: SocketAddr,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) profile: BrokerProfile,
}

impl Tidewater {
    /// A signed request, and a connection for it alone. Nothing is written yet.
    async fn begin(&self, call: &str, body: &Value) -> Result<(String, TcpStream), (ErrorClass, String)> {
        let (key, body) = (self.signer.public_key(), body.to_string());
        let message = [call.as_bytes(), body.as_bytes()];
        let signature = self.signer.hmac_sha512(SecretEncoding::Text, &message);
        let sign = HEXLOWER.encode(&signature.map_err(|error| (ErrorClass::Auth, error.to_string()))?);
        let request = json!({"key": key, "sign": sign, "call": call, "body": body}).to_string();
        match timeout(PATIENCE, TcpStream::connect(self.address)).await {
            Ok(Ok(connection)) => Ok((request, connection)),
            Ok(Err(error)) => Err((ErrorClass::Connect, error.to_string())),
            Err(late) => Err((ErrorClass::Connect, late.to_string())),
        }
    }

    async fn read<T: DeserializeOwned>(&self, call: &str, body: Value) -> Result<T, ReadError> {
        let again = |(class, reason)| ReadError::try_again(class, reason);
        let (request, connection) = self.begin(call, &body).await.map_err(again)?;
        let answer = send(connection, &request).await;
        let answer = answer.map_err(|error| again((ErrorClass::Ambiguous, error.to_string())))?;
        answer.map_err(|code| again((meaning(code.clone()).class(), code)))
    }
}

/// Writes a request once, and never again. Whatever fails in here, the exchange may have it.
async fn send<T: DeserializeOwned>(mut to: TcpStream, request: &str) -> io::Result<Result<T, String>> {
    let exchange = async {
        to.write_all(request.as_bytes()).await?;
        to.shutdown().await?;
        // No answer is longer than a megabyte.
        let mut answer = Vec::new();
        to.take(1 << 20).read_to_end(&mut answer).await?;
        Ok(serde_json::from_slice(&answer)?)
    };
    timeout(PATIENCE, exchange).await?
}

#[async_trait]
impl Broker for Tidewater {
    fn profile(&self) -> &BrokerProfile {
        &self.profile
    }

    async fn place(&self, order: ApprovedOrder, ticket: &OrderTicket) -> Result<Placed, PlaceError> {
        if *order.account() != self.account {
            return Err(PlaceError::not_sent(
                ErrorClass::LocalFault,
                "an order of another account",
            ));
        }
        let (id, until) = (&ticket.client_order_id, ticket.acceptance_bound);
        let body = json!({"id": id, "until": until, "terms": order.terms()});
        let begun = self.begin("place", &body).await;
        let (request, connection) = begun.map_err(|(class, why)| PlaceError::not_sent(class, why))?;
        // The last question, after every wait and right before the first byte.
        ticket.still_wanted.ask()?;
        let answer = send(connection, &request).await.map_err(PlaceError::unknown)?;
        let venue_order_id = answer.map_err(meaning)?;
        Ok(Placed { venue_order_id })
    }

    async fn cancel(&self, order: &ClientOrderId) -> Result<CancelOutcome, CancelError> {
        match self.read("cancel", json!({"id": order})).await? {
            true => Ok(CancelOutcome::Taken),
            false => Ok(CancelOutcome::NotWorking),
        }
    }

    async fn open_orders(&self) -> Result<Vec<VenueOrder>, ReadError> {
        self.read("open", json!({})).await
    }

    async fn closed_orders(&self, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        self.read("closed", json!({"since": since})).await
    }

    async fn find(&self, id: &ClientOrderId, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        self.read("find", json!({"id": id, "since": since})).await
    }

    async fn fills(&self, since: Timestamp) -> Result<Vec<Fill>, ReadError> {
        self.read("fills", json!({"since": since})).await
    }

    async fn balances(&self) -> Result<Vec<Balance>, ReadError> {
        self.read("balances", json!({})).await
    }

    /// As the exchange lists them: a right that it does not name is none.
    async fn key_rights(&self) -> Result<KeyRights, ReadError> {
        let rights: Vec<String> = self.read("rights", json!({})).await?;
        let may = |right: &str| rights.iter().any(|named| named == right);
        Ok(KeyRights {
            can_trade: may("trade"),
            can_read: may("read"),
            can_withdraw: Some(may("withdraw")),
            warnings: Vec::new(),
            venue_account_id: None,
            checked_at: self.venue_time().await?,
            rights,
        })
    }

    async fn venue_time(&self) -> Result<Timestamp, ReadError> {
        self.read("time", json!({})).await
    }

    /// Tidewater has no such timer.
    async fn arm_dead_man(&self, _timeout: Duration) -> Result<Option<Timestamp>, ReadError> {
        Ok(None)
    }
}
