//! Who is told of what, and how.

use crate::node::word_node;
use crate::section::{any, at_least_one, section};
use crate::values::{BaseUrl, ChatId, FilePath, HostName, Login, MailAddress, Seconds, WebhookUrl};

word_node! {
    /// How a connection to a mail server is encrypted.
    MailTls {
        /// From a command of the protocol on; the server must know it.
        #[default]
        Starttls,
        /// From the first byte on.
        Implicit,
        /// Not at all: on this machine only.
        None,
    }
}

section! {
    /// Telling people and programs what happened. Nothing is sent until a channel is set up below.
    /// Secrets are in files of mode 0400 or 0600, never in here.
    pub struct Notify {
        /// Tell the operator of every trade too, and not only of what needs people.
        pub operator_trades: bool = false, any;
        /// Tell the operator amounts too, and not only ids and states.
        pub operator_amounts: bool = false, any;
        /// The same cause is told again only after this.
        pub repeat_after_s: Seconds = Seconds(3_600), Seconds::some;
        /// What is not urgent waits this long for others to go along with. 0: never.
        pub gather_s: Seconds = Seconds(60), any;
        /// Messages to one receiver are counted for this long.
        pub storm_window_s: Seconds = Seconds(600), Seconds::some;
        /// So many messages in that time. Then what is not urgent is only counted until the time is over.
        pub storm_messages: u32 = 6, at_least_one;
        /// The gate refusing an account so many orders within ten minutes is suspicious. 0: never.
        pub suspicious_refusals: u32 = 50, any;
        /// To each user at the address on file, and to the operator.
        pub email: EmailChannel = EmailChannel::default(), any;
        /// To a program of the operator, signed.
        pub webhook: WebhookChannel = WebhookChannel::default(), any;
        /// To a chat of the operator.
        pub telegram: TelegramChannel = TelegramChannel::default(), any;
    }
}

section! {
    /// To each user at the address on file, and to the operator.
    pub struct EmailChannel {
        /// The mail server. Without one there is no e-mail.
        pub host: Option<HostName> = None, any;
        /// Its port: 587 with "starttls", 465 with "implicit".
        pub port: u32 = 587, port;
        /// "starttls", "implicit", or "none" for a server on this machine.
        pub tls: MailTls = MailTls::Starttls, any;
        /// Whom the mails come from.
        pub from: Option<MailAddress> = None, any;
        /// Where the operator is told. Without one only users are.
        pub operator: Option<MailAddress> = None, any;
        /// The name under which the server knows Bursar, if it asks for one.
        pub username: Option<Login> = None, any;
        /// The file with its password.
        pub password_file: Option<FilePath> = None, any;
        /// A file with certificates (PEM) that are trusted instead of the usual ones.
        pub ca_file: Option<FilePath> = None, any;
    }
}

section! {
    /// To a program of the operator, signed.
    pub struct WebhookChannel {
        /// Where it is sent. Without one there is no webhook.
        pub url: Option<WebhookUrl> = None, any;
        /// The file with the secret that signs: `HMAC-SHA256(secret, timestamp + body)`.
        pub secret_file: Option<FilePath> = None, any;
        /// Let the URL lead to this machine. Other addresses that are not public are refused either way.
        pub allow_loopback: bool = false, any;
        /// A file with certificates (PEM) that are trusted instead of the usual ones.
        pub ca_file: Option<FilePath> = None, any;
    }
}

section! {
    /// To a chat of the operator.
    pub struct TelegramChannel {
        /// The file with the bot's token. Without one there is no Telegram.
        pub token_file: Option<FilePath> = None, any;
        /// The chat.
        pub chat: Option<ChatId> = None, any;
        /// Another server that speaks the bot API. It sees the token.
        pub base_url: Option<BaseUrl> = None, any;
    }
}

impl Notify {
    /// Whether there is any channel.
    pub const fn is_on(&self) -> bool {
        self.email.host.is_some() || self.webhook.url.is_some() || self.telegram.token_file.is_some()
    }
}

fn port(value: &u32) -> Result<(), String> {
    (1..=65_535)
        .contains(value)
        .then_some(())
        .ok_or_else(|| format!("is {value}, but a port from 1 to 65535 belongs here"))
}
