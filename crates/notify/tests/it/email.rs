use std::path::PathBuf;

use bursar_config::MailTls;
use bursar_notify::{
    Channel, ChannelError, ChannelSecret, Email, MailServer as Settings, Outcome, Receiver, Trust,
};
use bursar_testkit::Canary;

use crate::server::{Encryption, Identity, MailServer};
use crate::support::{Log, letter, mara, message, switch_on, trade};

const PASSWORD: &str = "canary-walnut-harbour";

fn settings(port: u16, tls: MailTls, pem: Option<&str>, login: bool) -> Settings {
    Settings {
        host: "127.0.0.1".parse().unwrap(),
        port,
        tls,
        trust: pem.map_or(Trust::Usual, |pem| Trust::Only {
            pem: pem.as_bytes().to_vec(),
            path: PathBuf::from("ca.pem"),
        }),
        login: login.then(|| ("bursar".to_owned(), ChannelSecret::new(PASSWORD.to_owned()))),
    }
}

fn email(settings: Settings) -> Email {
    let from = "bursar@example.com".parse().unwrap();
    let operator = "ops@example.com".parse().unwrap();
    Email::new(settings, &from, Some(&operator)).unwrap()
}

fn later(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Later(_) => "later",
        Outcome::Never(_) => "never",
        Outcome::Delivered => "delivered",
    }
}

#[tokio::test]
async fn p2_a_user_gets_a_mail_at_their_own_address() {
    let server = MailServer::start(Encryption::None, None, false, &[]).await;
    let email = email(settings(server.port, MailTls::None, None, false));
    let message = message(mara(), vec![trade(1)]);

    let outcome = email.send(&letter(&message)).await;

    assert_eq!(outcome, Outcome::Delivered);
    let mails = server.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].from, "bursar@example.com");
    assert_eq!(mails[0].to, ["mara@example.com"]);
    for line in [
        "To: mara@example.com\r\n",
        "From: Bursar <bursar@example.com>\r\n",
        "Subject: Bursar: an order was executed\r\n",
        "Date: Mon, 02 Mar 2026 12:00:00 +0000\r\n",
        "Message-ID: <6d1b345e-2821-40e2-ad83-4ecb00000007@example.com>\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "kraken-ilves: sold BTC-USD (0.05 BTC)",
    ] {
        assert!(mails[0].text.contains(line), "{line:?} in {}", mails[0].text);
    }
}

#[tokio::test]
async fn p2_the_operator_gets_theirs_at_the_address_of_the_settings() {
    let server = MailServer::start(Encryption::None, None, false, &[]).await;
    let email = email(settings(server.port, MailTls::None, None, false));
    let message = message(Receiver::Operator, vec![switch_on(1, "manual")]);

    assert_eq!(email.send(&letter(&message)).await, Outcome::Delivered);

    assert_eq!(server.mails()[0].to, ["ops@example.com"]);
}

#[tokio::test]
async fn p2_a_password_leaves_only_on_an_encrypted_connection() {
    for (encryption, tls) in [
        (Encryption::Starttls, MailTls::Starttls),
        (Encryption::Implicit, MailTls::Implicit),
    ] {
        let identity = Identity::of(&["127.0.0.1"]);
        let server = MailServer::start(encryption, Some(&identity), true, &[]).await;
        let email = email(settings(server.port, tls, Some(&identity.pem), true));
        let message = message(mara(), vec![trade(1)]);

        assert_eq!(email.send(&letter(&message)).await, Outcome::Delivered);

        let mails = server.mails();
        assert!(mails[0].encrypted);
        assert_eq!(
            mails[0].login.as_deref(),
            Some(format!("\0bursar\0{PASSWORD}").as_str())
        );
    }
}

#[tokio::test]
async fn a_server_that_does_not_encrypt_gets_nothing() {
    // It offers no STARTTLS, as somebody in the middle would see to it.
    let server = MailServer::start(Encryption::None, None, true, &[]).await;
    let identity = Identity::of(&["127.0.0.1"]);
    let email = email(settings(
        server.port,
        MailTls::Starttls,
        Some(&identity.pem),
        true,
    ));
    let message = message(mara(), vec![trade(1)]);

    assert_eq!(later(&email.send(&letter(&message)).await), "later");

    assert_eq!(server.mails(), []);
}

#[tokio::test]
async fn a_server_with_another_certificate_gets_nothing() {
    let identity = Identity::of(&["127.0.0.1"]);
    let other = Identity::of(&["127.0.0.1"]);
    for (encryption, tls) in [
        (Encryption::Starttls, MailTls::Starttls),
        (Encryption::Implicit, MailTls::Implicit),
    ] {
        for trusted in [Some(other.pem.as_str()), None] {
            let server = MailServer::start(encryption, Some(&identity), true, &[]).await;
            let email = email(settings(server.port, tls, trusted, true));
            let message = message(mara(), vec![trade(1)]);

            let outcome = email.send(&letter(&message)).await;

            assert_eq!(later(&outcome), "later");
            assert!(
                format!("{outcome:?}").contains("certificate is not trusted"),
                "{outcome:?}"
            );
            assert_eq!(server.mails(), []);
        }
    }
}

#[tokio::test]
async fn a_port_that_is_not_encrypted_from_the_first_byte_is_told_from_a_bad_certificate() {
    let identity = Identity::of(&["127.0.0.1"]);
    let server = MailServer::start(Encryption::Starttls, Some(&identity), true, &[]).await;
    let email = email(settings(
        server.port,
        MailTls::Implicit,
        Some(&identity.pem),
        true,
    ));

    let outcome = email.send(&letter(&message(mara(), vec![trade(1)]))).await;

    assert!(
        format!("{outcome:?}").contains("could not be encrypted: look at `tls`"),
        "{outcome:?}"
    );
    assert_eq!(server.mails(), []);
}

#[tokio::test]
async fn what_a_server_refuses_is_sorted_by_what_can_be_done() {
    for (verb, answer, expected, code) in [
        ("RCPT", "550 5.1.1 canary-nobody here", "never", "550"),
        ("RCPT", "451 4.3.0 canary-later", "later", "451"),
        ("MAIL", "530 5.7.0 canary-login", "later", "530"),
        ("DATA", "554 5.7.1 canary-spam", "never", "554"),
    ] {
        let server = MailServer::start(Encryption::None, None, false, &[(verb, answer)]).await;
        let email = email(settings(server.port, MailTls::None, None, false));
        let message = message(mara(), vec![trade(1)]);

        let outcome = email.send(&letter(&message)).await;

        assert_eq!(later(&outcome), expected, "{answer}");
        let words = format!("{outcome:?}");
        assert!(words.contains(code), "{words}");
        assert!(!words.contains("canary"), "its words are not repeated: {words}");
    }
}

#[tokio::test]
async fn a_password_that_is_refused_is_shown_nowhere() {
    let log = Log::default();
    let guard = log.begin();
    let identity = Identity::of(&["127.0.0.1"]);
    let refusal = [("AUTH", "535 5.7.8 canary-walnut-harbour is wrong")];
    let server = MailServer::start(Encryption::Starttls, Some(&identity), true, &refusal).await;
    let email = email(settings(
        server.port,
        MailTls::Starttls,
        Some(&identity.pem),
        true,
    ));
    let message = message(mara(), vec![trade(1)]);

    let outcome = email.send(&letter(&message)).await;

    drop(guard);
    assert_eq!(
        later(&outcome),
        "later",
        "the password can be corrected while the message waits"
    );
    let seen = format!("{outcome:?} {email:?} {}", log.text());
    assert_eq!(Canary::new("password", PASSWORD).find(seen.as_bytes()), None);
}

#[tokio::test]
async fn without_a_server_it_is_tried_again() {
    // Nobody listens where somebody did.
    let port = MailServer::start(Encryption::None, None, false, &[]).await.port;
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = gone.local_addr().unwrap().port();
    drop(gone);
    assert_ne!(port, closed);
    let email = email(settings(closed, MailTls::None, None, false));
    let message = message(mara(), vec![trade(1)]);

    assert_eq!(later(&email.send(&letter(&message)).await), "later");
}

#[test]
fn only_this_machine_is_reached_without_encryption() {
    let plain = Settings {
        host: "mail.example.com".parse().unwrap(),
        ..settings(25, MailTls::None, None, false)
    };

    let refused = Email::new(plain, &"bursar@example.com".parse().unwrap(), None);

    assert!(matches!(refused, Err(ChannelError::Settings { .. })));
}

#[test]
fn without_an_address_of_the_operator_only_users_get_mails() {
    let from = "bursar@example.com".parse().unwrap();
    let email = Email::new(settings(25, MailTls::None, None, false), &from, None).unwrap();

    assert!(email.serves(&mara()));
    assert!(!email.serves(&Receiver::Operator));
}

#[tokio::test]
async fn an_address_that_is_none_is_given_up() {
    let server = MailServer::start(Encryption::None, None, false, &[]).await;
    let email = email(settings(server.port, MailTls::None, None, false));
    let message = message(mara(), vec![trade(1)]);
    for address in [
        None,
        Some(""),
        Some("mara"),
        Some("mara@example.com\r\nBcc: x@example.com"),
    ] {
        let mut letter = letter(&message);
        letter.email = address;

        assert_eq!(later(&email.send(&letter).await), "never");
    }
    assert_eq!(server.mails(), []);
}
