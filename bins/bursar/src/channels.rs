//! From the settings to the channels by which people are told: the secrets are read from their files here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bursar_config::{Notify, Settings};
use bursar_notify::{
    Channel, ChannelError, ChannelKind, ChannelSecret, Email, Letter, MailServer, Outcome, Receiver,
    SecretFileError, SystemLookup, Telegram, Trust, Webhook, Why,
};

use crate::exit::chain;
use crate::{Exit, Failure};

/// Why a channel of the settings does not work.
#[derive(Debug, thiserror::Error)]
pub enum NoChannel {
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error("the setting `notify.{setting}` is missing")]
    Missing { setting: &'static str },
}

impl NoChannel {
    /// What the operator can do now.
    pub fn hint(&self) -> String {
        match self {
            Self::Secret(error) => error.hint(),
            Self::Channel(error) => error.hint().to_owned(),
            Self::Missing { .. } => "run `bursar config check`".to_owned(),
        }
    }
}

impl From<NoChannel> for Failure {
    fn from(error: NoChannel) -> Self {
        Self::of(Exit::Failed, &error, error.hint())
    }
}

/// A channel of the settings, or why it does not work.
pub type Made = Result<Arc<dyn Channel>, NoChannel>;

/// Every channel that the settings name. Files are relative to `directory`.
pub fn channels(settings: &Settings, directory: &Path) -> Vec<(ChannelKind, Made)> {
    let notify = &settings.notify;
    let mut channels = Vec::new();
    if notify.email.host.is_some() {
        channels.push((ChannelKind::Email, email(notify, directory)));
    }
    if notify.webhook.url.is_some() {
        channels.push((ChannelKind::Webhook, webhook(notify, directory)));
    }
    if notify.telegram.token_file.is_some() {
        channels.push((ChannelKind::Telegram, telegram(notify, directory)));
    }
    channels
}

/// The files with the secrets of the channels that the settings name. Relative to `directory`.
pub(crate) fn secret_files(settings: &Settings, directory: &Path) -> Vec<PathBuf> {
    let notify = &settings.notify;
    let files = [
        &notify.email.password_file,
        &notify.webhook.secret_file,
        &notify.telegram.token_file,
    ];
    files
        .into_iter()
        .flatten()
        .map(|file| directory.join(file.as_str()))
        .collect()
}

fn missing(setting: &'static str) -> impl FnOnce() -> NoChannel {
    move || NoChannel::Missing { setting }
}

fn email(notify: &Notify, directory: &Path) -> Made {
    let settings = &notify.email;
    let login = match (&settings.username, &settings.password_file) {
        (Some(name), Some(file)) => Some((
            name.to_string(),
            ChannelSecret::read(&directory.join(file.as_str()))?,
        )),
        _ => None,
    };
    let server = MailServer {
        host: settings.host.clone().ok_or_else(missing("email.host"))?,
        port: u16::try_from(settings.port).map_err(|_| missing("email.port")())?,
        tls: settings.tls,
        trust: trust(settings.ca_file.as_ref(), directory)?,
        login,
    };
    let from = settings.from.as_ref().ok_or_else(missing("email.from"))?;
    Ok(Arc::new(Email::new(server, from, settings.operator.as_ref())?))
}

fn webhook(notify: &Notify, directory: &Path) -> Made {
    let settings = &notify.webhook;
    let file = settings
        .secret_file
        .as_ref()
        .ok_or_else(missing("webhook.secret_file"))?;
    Ok(Arc::new(Webhook::new(
        settings.url.as_ref().ok_or_else(missing("webhook.url"))?,
        ChannelSecret::read(&directory.join(file.as_str()))?,
        settings.allow_loopback,
        &trust(settings.ca_file.as_ref(), directory)?,
        Arc::new(SystemLookup),
    )?))
}

fn telegram(notify: &Notify, directory: &Path) -> Made {
    let settings = &notify.telegram;
    let file = settings
        .token_file
        .as_ref()
        .ok_or_else(missing("telegram.token_file"))?;
    Ok(Arc::new(Telegram::new(
        settings.base_url.as_ref(),
        ChannelSecret::read(&directory.join(file.as_str()))?,
        settings.chat.clone().ok_or_else(missing("telegram.chat"))?,
    )?))
}

fn trust(file: Option<&bursar_config::FilePath>, directory: &Path) -> Result<Trust, ChannelError> {
    let path = file.map(|file| directory.join(file.as_str()));
    Trust::read(path.as_deref())
}

/// Stands for a channel that does not work: what is for it waits in the queue, and each attempt says why.
#[derive(Debug)]
pub struct BrokenChannel {
    kind: ChannelKind,
    serves_users: bool,
    serves_operator: bool,
    why: String,
}

impl BrokenChannel {
    pub fn new(kind: ChannelKind, settings: &Settings, problem: &NoChannel) -> Self {
        let is_email = kind == ChannelKind::Email;
        Self {
            kind,
            serves_users: is_email,
            serves_operator: !is_email || settings.notify.email.operator.is_some(),
            why: chain(problem),
        }
    }
}

#[async_trait]
impl Channel for BrokenChannel {
    fn kind(&self) -> ChannelKind {
        self.kind
    }

    fn serves(&self, receiver: &Receiver) -> bool {
        match receiver {
            Receiver::Operator => self.serves_operator,
            Receiver::User(_) => self.serves_users,
        }
    }

    async fn send(&self, _letter: &Letter<'_>) -> Outcome {
        Outcome::Later(Why::new(self.why.clone()))
    }
}
