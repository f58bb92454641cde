//! A message to a chat, by the bot API of Telegram.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bursar_config::{BaseUrl, ChatId};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use serde_json::json;
use zeroize::Zeroizing;

use crate::channel::{Channel, ChannelError, Letter, Outcome, Why};
use crate::deliveries::ChannelKind;
use crate::notice::Receiver;
use crate::secret::ChannelSecret;
use crate::webhook::{discard, of_error};

const TELEGRAM: &str = "https://api.telegram.org";
const PATIENCE: Duration = Duration::from_secs(10);
/// The API takes 4096 characters.
const LONGEST: usize = 4_000;

/// Writes to one chat as one bot. The bot's token is part of the URL, so no URL is ever shown.
pub struct Telegram {
    client: Client,
    base: String,
    token: ChannelSecret,
    chat: ChatId,
}

impl Telegram {
    /// # Errors
    ///
    /// See [`ChannelError`].
    pub fn new(base: Option<&BaseUrl>, token: ChannelSecret, chat: ChatId) -> Result<Self, ChannelError> {
        let base = base.map_or(TELEGRAM, BaseUrl::as_str).to_owned();
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b":_-".contains(&b);
        if !token.expose().bytes().all(is_token) {
            return Err(ChannelError::Settings {
                kind: ChannelKind::Telegram,
                problem: "what is in the token file is no token of a bot",
            });
        }
        let client = Client::builder()
            .user_agent(concat!("bursar/", env!("CARGO_PKG_VERSION")))
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .http1_only()
            .pool_max_idle_per_host(0)
            .https_only(base.starts_with("https://"))
            .tls_backend_rustls()
            .build()
            .map_err(|_| ChannelError::Client {
                kind: ChannelKind::Telegram,
            })?;
        Ok(Self {
            client,
            base,
            token,
            chat,
        })
    }
}

impl fmt::Debug for Telegram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telegram").finish_non_exhaustive()
    }
}

#[async_trait]
impl Channel for Telegram {
    fn kind(&self) -> ChannelKind {
        ChannelKind::Telegram
    }

    fn serves(&self, receiver: &Receiver) -> bool {
        *receiver == Receiver::Operator
    }

    async fn send(&self, letter: &Letter<'_>) -> Outcome {
        let url = Zeroizing::new(format!("{}/bot{}/sendMessage", self.base, self.token.expose()));
        let Ok(url) = Url::parse(&url) else {
            return Outcome::Never(Why::new("its URL is no URL"));
        };
        let body = json!({
            "chat_id": self.chat.as_str(),
            "text": shortened(&letter.message.text()),
            "link_preview_options": { "is_disabled": true },
        });
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string());
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

fn of_status(status: u16) -> Outcome {
    let why = |words: &str| Why::new(format!("{words}, status {status}"));
    match status {
        200..=299 => Outcome::Delivered,
        // What is set up wrongly can be set up rightly while the message waits.
        401 | 404 => Outcome::Later(why("it does not know the bot: check the token")),
        400 => Outcome::Later(why("it does not know the chat: check its number")),
        403 => Outcome::Later(why("the bot may not write to the chat")),
        408 | 425 | 429 => Outcome::Later(why("it asks for a pause")),
        402..=499 => Outcome::Never(why("it refuses the message")),
        300..=399 => Outcome::Never(why("it answers with another address, which is not followed")),
        _ => Outcome::Later(why("it failed")),
    }
}

/// What is longer than a message may be ends in the middle, and says so.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((end, _)) => format!(
            "{}…\nThis is cut; see `bursar status`.",
            text.get(..end).unwrap_or_default()
        ),
    }
}
