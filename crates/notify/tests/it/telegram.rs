use bursar_notify::{Channel, ChannelError, ChannelSecret, Outcome, Receiver, Telegram};
use bursar_testkit::Canary;

use crate::server::{Answer, HttpServer, status};
use crate::support::{Log, letter, mara, message, switch_on, trade};

const TOKEN: &str = "123456:canary-Marigold_Lantern";

fn telegram(port: u16) -> Telegram {
    let base = format!("http://127.0.0.1:{port}").parse().unwrap();
    let token = ChannelSecret::new(TOKEN.to_owned());
    Telegram::new(Some(&base), token, "-1001234567890".parse().unwrap()).unwrap()
}

#[tokio::test]
async fn a_message_is_one_post_to_the_bot() {
    let server = HttpServer::start(status(200), None).await;
    let message = message(Receiver::Operator, vec![switch_on(1, "manual")]);

    assert_eq!(
        telegram(server.port).send(&letter(&message)).await,
        Outcome::Delivered
    );

    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(
        requests[0].line,
        format!("POST /bot{TOKEN}/sendMessage HTTP/1.1\r\n")
    );
    let body: serde_json::Value = serde_json::from_str(&requests[0].body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({
            "chat_id": "-1001234567890",
            "text": message.text(),
            "link_preview_options": { "is_disabled": true },
        })
    );
}

#[tokio::test]
async fn an_answer_is_sorted_by_what_can_be_done() {
    for (code, expected) in [
        (200, "Delivered"),
        (400, "Later"),
        (413, "Never"),
        (401, "Later"),
        (403, "Later"),
        (404, "Later"),
        (302, "Never"),
        (429, "Later"),
        (502, "Later"),
    ] {
        let server = HttpServer::start(status(code), None).await;
        let message = message(Receiver::Operator, vec![switch_on(1, "manual")]);

        let outcome = format!("{:?}", telegram(server.port).send(&letter(&message)).await);

        assert!(outcome.starts_with(expected), "{code}: {outcome}");
    }
}

#[tokio::test]
async fn the_token_is_shown_nowhere_whatever_fails() {
    let log = Log::default();
    let guard = log.begin();
    let mut seen = String::new();
    let closed = 1;
    let broken = HttpServer::start(Answer::Text("canary is no HTTP\r\n\r\n".to_owned()), None).await;
    let refusing = HttpServer::start(status(401), None).await;
    let to = format!("HTTP/1.1 302 X\r\nlocation: /bot{TOKEN}/x\r\ncontent-length: 0\r\n\r\n");
    let redirecting = HttpServer::start(Answer::Text(to), None).await;
    for port in [closed, broken.port, refusing.port, redirecting.port] {
        let telegram = telegram(port);
        let message = message(Receiver::Operator, vec![switch_on(1, "manual")]);

        let outcome = telegram.send(&letter(&message)).await;

        assert_ne!(outcome, Outcome::Delivered);
        seen.push_str(&format!("{outcome:?} {telegram:?}\n"));
    }
    drop(guard);
    seen.push_str(&log.text());
    assert_eq!(Canary::new("token", TOKEN).find(seen.as_bytes()), None);
    assert_eq!(
        Canary::new("token", "canary-Marigold_Lantern").find(seen.as_bytes()),
        None
    );
}

#[test]
fn what_is_no_token_is_refused_and_not_repeated() {
    for text in ["canary/../x", "canary?x", "canary x"] {
        let token = ChannelSecret::new(text.to_owned());

        let refused = Telegram::new(None, token, "@bursar_ops".parse().unwrap()).unwrap_err();

        assert!(matches!(refused, ChannelError::Settings { .. }));
        assert!(!format!("{refused} {refused:?}").contains("canary"));
    }
}

#[tokio::test]
async fn a_long_message_is_cut_and_says_so() {
    let server = HttpServer::start(status(200), None).await;
    let message = message(Receiver::Operator, (0..200).map(trade).collect());

    assert_eq!(
        telegram(server.port).send(&letter(&message)).await,
        Outcome::Delivered
    );

    let body: serde_json::Value = serde_json::from_str(&server.requests()[0].body).unwrap();
    let text = body["text"].as_str().unwrap();
    assert!(text.chars().count() <= 4_096 && text.contains("This is cut"));
}

#[test]
fn only_the_operator_has_a_chat() {
    assert!(telegram(1).serves(&Receiver::Operator));
    assert!(!telegram(1).serves(&mara()));
}
