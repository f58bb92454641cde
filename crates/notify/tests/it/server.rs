//! Servers on loopback that speak enough HTTP and SMTP, with and without encryption.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A server's certificate, for `names`, and how it is trusted.
pub(crate) struct Identity {
    pub(crate) pem: String,
    acceptor: TlsAcceptor,
}

impl Identity {
    pub(crate) fn of(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self {
            pem: made.cert.pem(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
        }
    }
}

/// What a client asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// Method and target.
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// How the server answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Text(String),
    /// Reads, and says nothing any more.
    Silence,
    /// A success whose body does not end.
    Endless,
}

pub(crate) fn status(status: u16) -> Answer {
    Answer::Text(format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok"))
}

/// An HTTP server that answers every request the same.
pub(crate) struct HttpServer {
    pub(crate) port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<Mutex<u32>>,
    pub(crate) written: Arc<Mutex<usize>>,
}

impl HttpServer {
    pub(crate) async fn start(answer: Answer, identity: Option<&Identity>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            requests: Arc::default(),
            connections: Arc::default(),
            written: Arc::default(),
        };
        let (requests, connections) = (Arc::clone(&server.requests), Arc::clone(&server.connections));
        let (written, acceptor) = (
            Arc::clone(&server.written),
            identity.map(|identity| identity.acceptor.clone()),
        );
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *connections.lock().unwrap() += 1;
                let (requests, written) = (Arc::clone(&requests), Arc::clone(&written));
                let (answer, acceptor) = (answer.clone(), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, answer, &requests, &written).await,
                        Some(acceptor) => {
                            // A client that does not trust the certificate goes away.
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, answer, &requests, &written).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> u32 {
        *self.connections.lock().unwrap()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    answer: Answer,
    requests: &Mutex<Vec<Request>>,
    written: &Mutex<usize>,
) {
    let mut stream = BufReader::new(stream);
    let mut request = Request::default();
    stream.read_line(&mut request.line).await.unwrap();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        request
            .headers
            .insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = request
        .headers
        .get("content-length")
        .map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    request.body = String::from_utf8(body).unwrap();
    requests.lock().unwrap().push(request);
    match answer {
        Answer::Text(text) => {
            stream.write_all(text.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
        }
        Answer::Silence => std::future::pending().await,
        Answer::Endless => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n")
                .await
                .unwrap();
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {
                *written.lock().unwrap() += 4096;
            }
        }
    }
}

/// When a client may speak in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encryption {
    None,
    Starttls,
    Implicit,
}

/// A mail as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) text: String,
    pub(crate) encrypted: bool,
    /// What came with AUTH, decoded.
    pub(crate) login: Option<String>,
}

/// A mail server that keeps what it gets.
pub(crate) struct MailServer {
    pub(crate) port: u16,
    mails: Arc<Mutex<Vec<Arrived>>>,
}

#[derive(Clone)]
struct Mailbox {
    encryption: Encryption,
    acceptor: Option<TlsAcceptor>,
    /// Answers to a command instead of the usual one.
    refusals: BTreeMap<&'static str, &'static str>,
    wants_login: bool,
    mails: Arc<Mutex<Vec<Arrived>>>,
}

impl MailServer {
    pub(crate) async fn start(
        encryption: Encryption,
        identity: Option<&Identity>,
        wants_login: bool,
        refusals: &[(&'static str, &'static str)],
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mails = Arc::<Mutex<Vec<Arrived>>>::default();
        let mailbox = Mailbox {
            encryption,
            acceptor: identity.map(|identity| identity.acceptor.clone()),
            refusals: refusals.iter().copied().collect(),
            wants_login,
            mails: Arc::clone(&mails),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(mailbox.clone().receive(stream));
            }
        });
        Self { port, mails }
    }

    pub(crate) fn mails(&self) -> Vec<Arrived> {
        self.mails.lock().unwrap().clone()
    }
}

/// How a dialogue goes on.
enum Next<S> {
    Encrypt(S),
    Over,
}

impl Mailbox {
    async fn receive(self, stream: TcpStream) {
        if self.encryption == Encryption::Implicit {
            if let Ok(stream) = self.acceptor.as_ref().unwrap().accept(stream).await {
                self.talk(stream, true, true).await;
            }
            return;
        }
        if let Next::Encrypt(stream) = self.talk(stream, false, true).await
            && let Ok(stream) = self.acceptor.as_ref().unwrap().accept(stream).await
        {
            self.talk(stream, true, false).await;
        }
    }

    /// One command, one answer, as RFC 5321 has it.
    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        encrypted: bool,
        greet: bool,
    ) -> Next<S> {
        let mut stream = BufReader::new(stream);
        if greet {
            say(&mut stream, "220 mail.example.com ESMTP").await;
        }
        let (mut from, mut to, mut login) = (None, Vec::new(), None);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return Next::Over;
            }
            assert!(line.ends_with("\r\n"), "a command ends with CRLF: {line:?}");
            let line = line.trim_end();
            let verb = line.split([' ', ':']).next().unwrap().to_ascii_uppercase();
            if let Some(refusal) = self.refusals.get(verb.as_str()) {
                say(&mut stream, refusal).await;
                continue;
            }
            match verb.as_str() {
                "EHLO" => {
                    assert!(line.len() > 5, "a client says who it is");
                    let mut lines = vec!["mail.example.com", "8BITMIME"];
                    if self.encryption == Encryption::Starttls && !encrypted {
                        lines.push("STARTTLS");
                    }
                    if self.wants_login {
                        lines.push("AUTH PLAIN");
                    }
                    let last = lines.pop().unwrap();
                    for line in lines {
                        say(&mut stream, &format!("250-{line}")).await;
                    }
                    say(&mut stream, &format!("250 {last}")).await;
                }
                "STARTTLS" => {
                    say(&mut stream, "220 go ahead").await;
                    assert!(stream.buffer().is_empty(), "nothing in the clear after STARTTLS");
                    return Next::Encrypt(stream.into_inner());
                }
                "AUTH" => {
                    let sent = line.rsplit(' ').next().unwrap();
                    let decoded = data_encoding::BASE64.decode(sent.as_bytes()).unwrap();
                    login = Some(String::from_utf8(decoded).unwrap());
                    say(&mut stream, "235 welcome").await;
                }
                "MAIL" if self.wants_login && login.is_none() => {
                    say(&mut stream, "530 who are you").await;
                }
                "MAIL" => {
                    from = Some(between(line));
                    say(&mut stream, "250 ok").await;
                }
                "RCPT" => {
                    assert!(from.is_some(), "RCPT follows MAIL");
                    to.push(between(line));
                    say(&mut stream, "250 ok").await;
                }
                "DATA" => {
                    assert!(!to.is_empty(), "DATA follows RCPT");
                    say(&mut stream, "354 end with a dot").await;
                    let text = data(&mut stream).await;
                    self.mails.lock().unwrap().push(Arrived {
                        from: from.take().unwrap(),
                        to: std::mem::take(&mut to),
                        text,
                        encrypted,
                        login: login.clone(),
                    });
                    say(&mut stream, "250 queued").await;
                }
                "QUIT" => {
                    say(&mut stream, "221 bye").await;
                    return Next::Over;
                }
                "RSET" | "NOOP" => say(&mut stream, "250 ok").await,
                _ => say(&mut stream, "500 what").await,
            }
        }
    }
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, line: &str) {
    // A client that has gone hears nothing any more.
    let _ = stream.write_all(format!("{line}\r\n").as_bytes()).await;
    let _ = stream.flush().await;
}

fn between(line: &str) -> String {
    let (_, rest) = line.split_once('<').unwrap();
    rest.split_once('>').unwrap().0.to_owned()
}

/// Lines up to one with a single dot, with the dots that were added taken off.
async fn data<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> String {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        if line == ".\r\n" || line.is_empty() {
            return text;
        }
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}
