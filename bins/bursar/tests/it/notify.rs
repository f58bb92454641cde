//! Trying the channels out. What the channels themselves do is tested where they are.

use std::os::unix::fs::PermissionsExt;

use bursar::Exit;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::desk::Desk;

/// A program that answers every webhook with this status.
async fn hooks(status: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 64 * 1024];
            let mut length = 0;
            // The body is one object, and the last thing in the request.
            while !request[..length].ends_with(b"}}") {
                length += stream.read(&mut request[length..]).await.unwrap();
            }
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    port
}

fn webhook(port: u16) -> String {
    format!(
        "[notify.webhook]\nurl = \"http://127.0.0.1:{port}/in\"\nsecret_file = \"hook\"\nallow_loopback = true\n"
    )
}

/// A file with a secret of a channel.
fn secret(desk: &Desk, name: &str, mode: u32) {
    desk.write(name, "canary-juniper-anvil\n");
    std::fs::set_permissions(desk.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn without_a_channel_it_says_where_one_is_set_up() {
    let desk = Desk::bare();

    let said = desk.ends("notify test", Exit::Failed).await;

    assert!(
        said.contains("no channel is set up that reaches `operator`"),
        "{said}"
    );
    assert!(said.contains("section `notify`"), "{said}");
}

#[tokio::test]
async fn every_channel_says_what_became_of_the_message() {
    for (status, exit, result) in [
        (204, Exit::Done, "delivered"),
        (
            503,
            Exit::Failed,
            "it failed, status 503; the daemon would try again",
        ),
        (
            422,
            Exit::Failed,
            "it refuses the message, status 422; the daemon would not try again",
        ),
        (
            404,
            Exit::Failed,
            "there is nothing at this address: check it, status 404; the daemon would try again",
        ),
    ] {
        let desk = Desk::bare();
        secret(&desk, "hook", 0o400);
        desk.write("bursar.toml", &webhook(hooks(status).await));

        let ran = desk.run("notify test").await;

        assert_eq!(ran.exit, exit, "{}", ran.err);
        assert!(ran.out.contains(result), "{}", ran.out);
    }
}

#[tokio::test]
async fn one_channel_that_fails_hides_no_other() {
    let desk = Desk::bare();
    secret(&desk, "hook", 0o400);
    secret(&desk, "bot", 0o644);
    let telegram = "[notify.telegram]\ntoken_file = \"bot\"\nchat = \"-5\"\n";
    desk.write("bursar.toml", &format!("{}{telegram}", webhook(hooks(200).await)));

    let ran = desk.run("notify test --json").await;

    assert_eq!(ran.exit, Exit::Partial);
    let said: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(said["receiver"], "operator");
    assert_eq!(said["channels"][0]["channel"], "webhook");
    assert_eq!(said["channels"][0]["delivered"], true);
    assert_eq!(said["channels"][1]["delivered"], false);
    let why = said["channels"][1]["why"].as_str().unwrap();
    assert!(why.contains("has mode 0644"), "{why}");
    let hint = said["channels"][1]["hint"].as_str().unwrap();
    assert!(hint.contains("chmod 0400"), "{hint}");
    assert!(
        !format!("{}{}", ran.out, ran.err).contains("canary"),
        "{}{}",
        ran.out,
        ran.err
    );
}

#[tokio::test]
async fn a_user_is_reached_by_mail_only() {
    let desk = Desk::with_mara().await;
    secret(&desk, "hook", 0o400);
    desk.write("bursar.toml", &webhook(hooks(200).await));

    let said = desk.ends("notify test --user mara_ilves", Exit::Failed).await;
    assert!(said.contains("reaches `user:mara_ilves`"), "{said}");
    desk.ends("notify test --user nobody", Exit::NotFound).await;
}
