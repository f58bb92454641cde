use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bursar_notify::{
    Channel, ChannelError, ChannelSecret, DELIVERY_HEADER, Lookup, Outcome, Receiver, SIGNATURE_HEADER,
    SystemLookup, TIMESTAMP_HEADER, Trust, Webhook,
};
use bursar_testkit::Canary;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::server::{Answer, HttpServer, Identity, status};
use crate::support::{Log, at, letter, mara, message, switch_on, uuid};

const SECRET: &str = "canary-juniper-anvil";

/// Every name has these addresses.
struct Names(Vec<IpAddr>);

#[async_trait]
impl Lookup for Names {
    async fn addresses(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(self.0.clone())
    }
}

fn names(addresses: &[&str]) -> Arc<dyn Lookup> {
    Arc::new(Names(
        addresses.iter().map(|text| text.parse().unwrap()).collect(),
    ))
}

fn webhook(
    url: &str,
    allow_loopback: bool,
    trust: &Trust,
    lookup: Arc<dyn Lookup>,
) -> Result<Webhook, ChannelError> {
    let secret = ChannelSecret::new(SECRET.to_owned());
    Webhook::new(&url.parse().unwrap(), secret, allow_loopback, trust, lookup)
}

/// To this machine, in the clear.
fn plain(port: u16) -> Webhook {
    let url = format!("http://127.0.0.1:{port}/in?from=bursar");
    webhook(&url, true, &Trust::Usual, Arc::new(SystemLookup)).unwrap()
}

async fn sent(webhook: &Webhook) -> Outcome {
    let message = message(Receiver::Operator, vec![switch_on(1, "daily-loss")]);
    webhook.send(&letter(&message)).await
}

#[tokio::test]
async fn a_webhook_is_signed_over_its_time_and_body() {
    let server = HttpServer::start(status(204), None).await;

    assert_eq!(sent(&plain(server.port)).await, Outcome::Delivered);

    let requests = server.requests();
    let request = &requests[0];
    assert_eq!(request.line, "POST /in?from=bursar HTTP/1.1\r\n");
    let timestamp = &request.headers[TIMESTAMP_HEADER];
    assert_eq!(*timestamp, at(0).as_second().to_string());
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{timestamp}{}", request.body).as_bytes());
    let expected = format!("v1={}", HEXLOWER.encode(&mac.finalize().into_bytes()));
    assert_eq!(request.headers[SIGNATURE_HEADER], expected);
    assert_eq!(request.headers[DELIVERY_HEADER], uuid(7));
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({
            "id": uuid(7),
            "message": {
                "receiver": "operator",
                "notices": [{
                    "at": "2026-03-02T12:00:00Z",
                    "kind": "day-loss",
                    "what": "switched-on",
                    "switch": uuid(1),
                    "scope": "user:mara_ilves",
                    "mode": "pause",
                    "cause": "daily-loss",
                    "repeats": 0,
                }],
                "held_back": 0,
                "quiet_until": null,
            },
        })
    );
}

#[tokio::test]
async fn a_webhook_speaks_tls_with_a_certificate_for_its_name() {
    let identity = Identity::of(&["hooks.example.com"]);
    let server = HttpServer::start(status(200), Some(&identity)).await;
    let url = format!("https://hooks.example.com:{}/in", server.port);
    let trust = |pem: &str| Trust::Only {
        pem: pem.as_bytes().to_vec(),
        path: PathBuf::from("ca.pem"),
    };
    let this_machine = || names(&["127.0.0.1"]);

    let trusting = webhook(&url, true, &trust(&identity.pem), this_machine()).unwrap();
    let other = webhook(
        &url,
        true,
        &trust(&Identity::of(&["hooks.example.com"]).pem),
        this_machine(),
    )
    .unwrap();
    let other_name = url.replace("hooks.", "other.");
    let other_name = webhook(&other_name, true, &trust(&identity.pem), this_machine()).unwrap();

    assert_eq!(sent(&trusting).await, Outcome::Delivered);
    assert!(matches!(sent(&other).await, Outcome::Later(_)));
    assert!(matches!(sent(&other_name).await, Outcome::Later(_)));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_name_with_an_address_that_is_not_public_is_not_connected_to() {
    let identity = Identity::of(&["hooks.example.com"]);
    let server = HttpServer::start(status(200), Some(&identity)).await;
    let url = format!("https://hooks.example.com:{}/in", server.port);
    for (addresses, allow_loopback) in [
        (vec!["127.0.0.1"], false),
        (vec!["::1"], false),
        (vec!["::ffff:127.0.0.1"], true),
        (vec!["10.0.0.1"], true),
        (vec!["169.254.169.254"], true),
        (vec!["192.168.1.1"], false),
        (vec!["fd00::1"], true),
        // One that is wrong is enough.
        (vec!["127.0.0.1", "10.0.0.1"], true),
        (vec!["2606:4700:4700::1111", "127.0.0.1"], false),
    ] {
        let webhook = webhook(&url, allow_loopback, &Trust::Usual, names(&addresses)).unwrap();

        let outcome = sent(&webhook).await;

        let Outcome::Later(why) = outcome else {
            panic!("{addresses:?}: {outcome:?}");
        };
        assert!(
            why.to_string().contains("not of the public network"),
            "{addresses:?}: {why}"
        );
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn an_address_in_the_url_is_checked_however_it_is_written() {
    for url in [
        "https://127.0.0.1/in",
        "https://10.0.0.1/in",
        "https://169.254.169.254/in",
        "https://[::1]/in",
        "https://[::ffff:10.0.0.1]/in",
        "https://[fe80::1]/in",
        // Other ways to write 127.0.0.1 and 10.0.0.1.
        "https://2130706433/in",
        "https://0x7f000001/in",
        "https://0177.0.0.1/in",
        "https://10.1/in",
    ] {
        let refused = webhook(url, false, &Trust::Usual, Arc::new(SystemLookup));

        assert!(matches!(refused, Err(ChannelError::Settings { .. })), "{url}");
    }
    for url in ["https://10.0.0.1/in", "https://[::ffff:127.0.0.1]/in"] {
        assert!(
            webhook(url, true, &Trust::Usual, Arc::new(SystemLookup)).is_err(),
            "{url}"
        );
    }
    assert!(
        webhook(
            "http://127.0.0.1/in",
            false,
            &Trust::Usual,
            Arc::new(SystemLookup)
        )
        .is_err()
    );
    assert!(webhook("https://8.8.8.8/in", false, &Trust::Usual, Arc::new(SystemLookup)).is_ok());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = HttpServer::start(status(200), None).await;
    for code in [301, 302, 303, 307, 308] {
        let to = format!(
            "HTTP/1.1 {code} X\r\nlocation: http://127.0.0.1:{}/\r\ncontent-length: 0\r\n\r\n",
            target.port
        );
        let server = HttpServer::start(Answer::Text(to), None).await;

        assert!(
            matches!(sent(&plain(server.port)).await, Outcome::Never(_)),
            "{code}"
        );
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_left_after_five_seconds() {
    let server = HttpServer::start(Answer::Silence, None).await;
    let begun = tokio::time::Instant::now();

    let outcome = sent(&plain(server.port)).await;

    let Outcome::Later(why) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(why.to_string(), "it did not answer in time");
    let waited = begun.elapsed();
    assert!((5..6).contains(&waited.as_secs()), "{waited:?}");
}

#[tokio::test]
async fn of_a_huge_answer_little_is_read() {
    let server = HttpServer::start(Answer::Endless, None).await;

    let outcome = sent(&plain(server.port)).await;

    assert_eq!(outcome, Outcome::Delivered);
    // What the sockets hold between the two comes on top of what was read.
    let written = *server.written.lock().unwrap();
    assert!(written < 32 * 1024 * 1024, "{written} bytes");
}

#[tokio::test]
async fn an_answer_is_sorted_by_what_can_be_done() {
    for (code, expected) in [
        (200, "Delivered"),
        (204, "Delivered"),
        (400, "Never"),
        (401, "Later"),
        (404, "Later"),
        (410, "Later"),
        (422, "Never"),
        (408, "Later"),
        (425, "Later"),
        (429, "Later"),
        (500, "Later"),
        (503, "Later"),
    ] {
        let server = HttpServer::start(status(code), None).await;

        let outcome = format!("{:?}", sent(&plain(server.port)).await);

        assert!(outcome.starts_with(expected), "{code}: {outcome}");
    }
}

#[tokio::test]
async fn neither_the_secret_nor_the_url_is_shown_anywhere() {
    let log = Log::default();
    let guard = log.begin();
    let url = "http://127.0.0.1:1/canary-in-the-path";
    let webhook = webhook(url, true, &Trust::Usual, Arc::new(SystemLookup)).unwrap();

    let outcome = sent(&webhook).await;

    drop(guard);
    assert!(matches!(outcome, Outcome::Later(_)));
    let seen = format!("{outcome:?} {webhook:?} {}", log.text());
    for canary in [
        Canary::new("secret", SECRET),
        Canary::new("path", "canary-in-the-path"),
    ] {
        assert_eq!(canary.find(seen.as_bytes()), None);
    }
}

#[test]
fn only_the_operator_has_a_webhook() {
    let webhook = plain(1);

    assert!(webhook.serves(&Receiver::Operator));
    assert!(!webhook.serves(&mara()));
}
