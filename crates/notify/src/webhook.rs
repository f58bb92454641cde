//! A signed POST to a program of the operator.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bursar_config::WebhookUrl;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Certificate, Client, Url};
use serde_json::json;
use sha2::Sha256;

use crate::addresses::is_public;
use crate::channel::{Channel, ChannelError, Letter, Outcome, Trust, Why};
use crate::deliveries::ChannelKind;
use crate::notice::Receiver;
use crate::secret::ChannelSecret;

/// For everything: finding the address, connecting, sending, and reading the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// So much of an answer is read, and thrown away.
const READ_LIMIT: usize = 64 * 1024;

/// When the body was signed, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "bursar-timestamp";
/// `v1=` and the hexadecimal HMAC-SHA256 of the timestamp as it stands in its header, followed by the
/// body, under the shared secret.
pub const SIGNATURE_HEADER: &str = "bursar-signature";
/// The id of the message; the same on every attempt.
pub const DELIVERY_HEADER: &str = "bursar-delivery";

/// Finds the addresses of a name. A seam: tests have name servers of their own.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// # Errors
    ///
    /// When nobody knows the name, or nobody answers.
    async fn addresses(&self, name: &str) -> std::io::Result<Vec<IpAddr>>;
}

/// Asks the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn addresses(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// Sends signed documents to one URL, and only to an address of the public network.
///
/// The addresses of the host are looked up anew for every message and checked before anything connects;
/// the connection goes to what was checked, redirects are not followed, and no proxy of the environment
/// stands between.
pub struct Webhook {
    client: Client,
    url: Url,
    secret: ChannelSecret,
}

impl Webhook {
    /// # Errors
    ///
    /// See [`ChannelError`].
    pub fn new(
        url: &WebhookUrl,
        secret: ChannelSecret,
        allow_loopback: bool,
        trust: &Trust,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, ChannelError> {
        let settings = |problem| ChannelError::Settings {
            kind: ChannelKind::Webhook,
            problem,
        };
        let client_error = || ChannelError::Client {
            kind: ChannelKind::Webhook,
        };
        let url = Url::parse(url.as_str()).map_err(|_| settings("its URL is no URL"))?;
        let reach = match (url.scheme(), allow_loopback) {
            ("https", false) => Reach::Public,
            ("https", true) => Reach::PublicOrLoopback,
            ("http", true) => Reach::Loopback,
            _ => return Err(settings("only HTTPS leads to another machine")),
        };
        // An address in the URL itself is never looked up.
        let host = url.host_str().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse::<IpAddr>()
            && !reach.covers(address)
        {
            return Err(settings("its address is not of the public network"));
        }
        let mut builder = Client::builder()
            .user_agent(concat!("bursar/", env!("CARGO_PKG_VERSION")))
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .http1_only()
            // Every message connects anew, so that every message is checked.
            .pool_max_idle_per_host(0)
            .https_only(reach != Reach::Loopback)
            .dns_resolver(Arc::new(Checked { lookup, reach }))
            .tls_backend_rustls();
        if let Trust::Only { pem, path } = trust {
            let certificates = Certificate::from_pem_bundle(pem)
                .ok()
                .filter(|certificates| !certificates.is_empty());
            let certificates =
                certificates.ok_or_else(|| ChannelError::Certificates { path: path.clone() })?;
            builder = builder.tls_certs_only(certificates);
        }
        Ok(Self {
            client: builder.build().map_err(|_| client_error())?,
            url,
            secret,
        })
    }

    fn signature(&self, timestamp: &str, body: &str) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.expose().as_bytes()).ok()?;
        mac.update(timestamp.as_bytes());
        mac.update(body.as_bytes());
        Some(format!("v1={}", HEXLOWER.encode(&mac.finalize().into_bytes())))
    }
}

/// Without the URL: some services put what is secret to them into it.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}

#[async_trait]
impl Channel for Webhook {
    fn kind(&self) -> ChannelKind {
        ChannelKind::Webhook
    }

    fn serves(&self, receiver: &Receiver) -> bool {
        *receiver == Receiver::Operator
    }

    async fn send(&self, letter: &Letter<'_>) -> Outcome {
        let id = letter.id.to_string();
        let body = json!({ "id": id, "message": letter.message.document() }).to_string();
        let timestamp = letter.now.as_second().to_string();
        let Some(signature) = self.signature(&timestamp, &body) else {
            return Outcome::Never(Why::new("it could not be signed"));
        };
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(TIMESTAMP_HEADER, timestamp)
            .header(SIGNATURE_HEADER, signature)
            .header(DELIVERY_HEADER, id)
            .body(body);
        match request.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                discard(response).await;
                of_status(status)
            }
            Err(error) => of_error(&error),
        }
    }
}

/// Reads what there is, up to the limit, and forgets it: a short answer lets the other side end in peace.
/// What goes wrong on the way changes nothing about the status that was given.
pub(crate) async fn discard(mut response: reqwest::Response) {
    let mut read = 0_usize;
    while read < READ_LIMIT {
        match response.chunk().await {
            Ok(Some(chunk)) => read = read.saturating_add(chunk.len()),
            Ok(None) | Err(_) => return,
        }
    }
}

fn of_status(status: u16) -> Outcome {
    let why = |words: &str| Why::new(format!("{words}, status {status}"));
    match status {
        200..=299 => Outcome::Delivered,
        300..=399 => Outcome::Never(why("it answers with another address, which is not followed")),
        408 | 425 | 429 => Outcome::Later(why("it asks for a pause")),
        // What is set up wrongly, or is being set up anew, can be right while the message waits.
        401 | 403 => Outcome::Later(why("it does not accept whoever sends it")),
        404 | 410 => Outcome::Later(why("there is nothing at this address: check it")),
        400..=499 => Outcome::Never(why("it refuses the message")),
        _ => Outcome::Later(why("it failed")),
    }
}

/// Never with the error's own words: they may hold the URL.
pub(crate) fn of_error(error: &reqwest::Error) -> Outcome {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<NotReachable>() {
            return Outcome::Later(Why::new(
                "its name leads to an address that is not of the public network",
            ));
        }
        cause = error.source();
    }
    Outcome::Later(Why::new(if error.is_timeout() {
        "it did not answer in time"
    } else if error.is_connect() {
        "no connection could be made"
    } else {
        "the connection broke"
    }))
}

/// Where a webhook may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Public,
    PublicOrLoopback,
    Loopback,
}

impl Reach {
    fn covers(self, address: IpAddr) -> bool {
        match self {
            Self::Public => is_public(address),
            Self::PublicOrLoopback => is_public(address) || address.is_loopback(),
            Self::Loopback => address.is_loopback(),
        }
    }
}

/// Gives a connection only addresses that were checked.
struct Checked {
    lookup: Arc<dyn Lookup>,
    reach: Reach,
}

/// A name has an address that a webhook must not be sent to.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to an address that must not be reached")]
struct NotReachable;

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookup, reach) = (Arc::clone(&self.lookup), self.reach);
        Box::pin(async move {
            let addresses = lookup.addresses(name.as_str()).await?;
            // One that is wrong is enough: a name of the public network has no other.
            if addresses.iter().any(|address| !reach.covers(*address)) {
                return Err(NotReachable.into());
            }
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            let addresses: Addrs = Box::new(addresses);
            Ok(addresses)
        })
    }
}
