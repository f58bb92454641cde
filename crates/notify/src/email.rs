//! A mail by SMTP.

use std::error::Error as _;
use std::time::Duration;
use std::{fmt, io};

use async_trait::async_trait;
use bursar_config::{HostName, MailAddress, MailTls};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message as Mail};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use crate::channel::{Channel, ChannelError, Letter, Outcome, Trust, Why};
use crate::deliveries::ChannelKind;
use crate::notice::Receiver;
use crate::secret::ChannelSecret;

/// For each command of the protocol.
const PATIENCE: Duration = Duration::from_secs(10);
/// For a whole mail.
const LONGEST: Duration = Duration::from_secs(30);

/// How a mail server is reached.
#[derive(Debug)]
pub struct MailServer {
    /// A name or an address; checked against the certificate.
    pub host: HostName,
    /// Where it listens.
    pub port: u16,
    /// Whether the connection is encrypted from the first byte, after a word, or not at all, which is
    /// for this machine only.
    pub tls: MailTls,
    /// The certificates that it may prove itself with.
    pub trust: Trust,
    /// Under which name, and with which password.
    pub login: Option<(String, ChannelSecret)>,
}

/// Mails to users at their own address, and to the operator.
pub struct Email {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Address,
    operator: Option<Address>,
}

impl Email {
    /// # Errors
    ///
    /// See [`ChannelError`]: also for a server that would be reached without encryption and is not this
    /// machine.
    pub fn new(
        server: MailServer,
        from: &MailAddress,
        operator: Option<&MailAddress>,
    ) -> Result<Self, ChannelError> {
        let settings = |problem| ChannelError::Settings {
            kind: ChannelKind::Email,
            problem,
        };
        let address = |address: &MailAddress| {
            address
                .as_str()
                .parse::<Address>()
                .map_err(|_| settings("an address cannot be written to"))
        };
        let host = server.host.as_str().trim_start_matches('[').trim_end_matches(']');
        let encryption = |trust: &Trust| -> Result<TlsParameters, ChannelError> {
            let mut parameters = TlsParameters::builder(host.to_owned());
            if let Trust::Only { pem, path } = trust {
                let certificate = Certificate::from_pem(pem)
                    .map_err(|_| ChannelError::Certificates { path: path.clone() })?;
                parameters = parameters
                    .certificate_store(CertificateStore::None)
                    .add_root_certificate(certificate);
            }
            parameters.build_rustls().map_err(|_| ChannelError::Client {
                kind: ChannelKind::Email,
            })
        };
        let tls = match server.tls {
            MailTls::Starttls => Tls::Required(encryption(&server.trust)?),
            MailTls::Implicit => Tls::Wrapper(encryption(&server.trust)?),
            MailTls::None if server.host.is_this_machine() => Tls::None,
            MailTls::None => {
                return Err(settings(
                    "only a server on this machine is reached without encryption",
                ));
            }
        };
        let from = address(from)?;
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(server.port)
            .tls(tls)
            .timeout(Some(PATIENCE))
            .hello_name(ClientId::Domain(from.domain().to_owned()));
        if let Some((name, password)) = server.login {
            builder = builder.credentials(Credentials::new(name, password.expose().to_owned()));
        }
        Ok(Self {
            transport: builder.build(),
            from,
            operator: operator.map(address).transpose()?,
        })
    }

    fn mail(&self, letter: &Letter<'_>, to: Address) -> Option<Mail> {
        // Nobody's "I am away" is wanted.
        let name = HeaderName::new_from_ascii_str("Auto-Submitted");
        Mail::builder()
            .from(Mailbox::new(Some("Bursar".to_owned()), self.from.clone()))
            .to(Mailbox::new(None, to))
            .subject(letter.message.subject())
            .date(letter.now.into())
            .message_id(Some(format!("<{}@{}>", letter.id, self.from.domain())))
            .raw_header(HeaderValue::new(name, "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN)
            .body(letter.message.text())
            .ok()
    }
}

/// Without the transport: it holds the password.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Email").finish_non_exhaustive()
    }
}

#[async_trait]
impl Channel for Email {
    fn kind(&self) -> ChannelKind {
        ChannelKind::Email
    }

    fn serves(&self, receiver: &Receiver) -> bool {
        match receiver {
            Receiver::Operator => self.operator.is_some(),
            Receiver::User(_) => true,
        }
    }

    async fn send(&self, letter: &Letter<'_>) -> Outcome {
        let to = match &letter.message.receiver {
            Receiver::Operator => self.operator.clone(),
            Receiver::User(_) => letter.email.and_then(|email| email.parse().ok()),
        };
        let Some(mail) = to.and_then(|to| self.mail(letter, to)) else {
            return Outcome::Never(Why::new("there is no address that could be written to"));
        };
        match tokio::time::timeout(LONGEST, self.transport.send(mail)).await {
            Ok(Ok(_)) => Outcome::Delivered,
            Ok(Err(error)) => of_error(&error),
            Err(_) => Outcome::Later(Why::new("the mail server took too long")),
        }
    }
}

/// The server's code at most: its words may repeat what it was told.
fn of_error(error: &lettre::transport::smtp::Error) -> Outcome {
    if let Some(code) = error.status() {
        let code = u16::from(code);
        let why = |words: &str| Why::new(format!("{words}, code {code}"));
        return match code {
            // What is set up wrongly can be set up rightly while the message waits.
            530 | 534 | 535 | 538 => Outcome::Later(why("the mail server does not accept the login")),
            500..=599 => Outcome::Never(why("the mail server refuses the message")),
            _ => Outcome::Later(why("the mail server asks for patience")),
        };
    }
    Outcome::Later(Why::new(if error.is_timeout() {
        "the mail server did not answer in time"
    } else if let Some(tls) = of_encryption(error) {
        match tls {
            rustls::Error::InvalidCertificate(_) => {
                "the mail server's certificate is not trusted, or not for this name: look at `host` and `ca_file`"
            }
            _ => "the connection to the mail server could not be encrypted: look at `tls` and `port`",
        }
    } else if error.is_response() {
        "the mail server's answer is not understood"
    } else if error.is_client() {
        "the mail server cannot do what is asked of it"
    } else {
        "no connection to the mail server"
    }))
}

/// What went wrong when the connection was to be encrypted. The client counts it among the errors of connecting.
fn of_encryption(error: &lettre::transport::smtp::Error) -> Option<&rustls::Error> {
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.find_map(|cause| {
        let io = cause.downcast_ref::<io::Error>()?;
        io.get_ref()?.downcast_ref::<rustls::Error>()
    })
}
