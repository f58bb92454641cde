//! People and programs are told what happened, also of what happened while no daemon ran.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use bursar_testkit::Canary;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::masters_and_users::{Operator, PATIENCE};

const SECRET: &str = "canary-juniper-anvil-lantern";

/// What arrived: bodies of webhooks, and mails as they were sent.
#[derive(Clone, Default)]
struct Arrived {
    hooks: Arc<Mutex<Vec<Value>>>,
    mails: Arc<Mutex<Vec<String>>>,
}

impl Arrived {
    /// Every notice that a webhook brought, by what it is.
    fn notices(&self, what: &str) -> Vec<Value> {
        let hooks = self.hooks.lock().unwrap();
        let all = hooks
            .iter()
            .flat_map(|hook| hook["message"]["notices"].as_array().unwrap().clone());
        all.filter(|notice| notice["what"] == what).collect()
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begun = tokio::time::Instant::now();
        while !holds(self) {
            assert!(
                begun.elapsed() < PATIENCE,
                "{what}: {:?}",
                self.hooks.lock().unwrap()
            );
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

impl Operator {
    /// How many messages are not delivered yet.
    async fn waiting(&mut self) -> u64 {
        let status = self.json("status").await;
        let queue = status["notifications"]["queue"].as_array().unwrap().clone();
        queue.iter().map(|state| state["waiting"].as_u64().unwrap()).sum()
    }
}

async fn listen<F: Future<Output = ()> + Send>(receive: impl Fn(TcpStream) -> F + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            receive(stream).await;
        }
    });
    port
}

async fn take_hook(stream: TcpStream, arrived: Arrived) {
    let mut stream = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    while stream.read_line(&mut line).await.unwrap_or(0) > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    // A daemon that ends drops what is under way, and sends it again later.
    if length == 0 || stream.read_exact(&mut body).await.is_err() {
        return;
    }
    arrived
        .hooks
        .lock()
        .unwrap()
        .push(serde_json::from_slice(&body).unwrap());
    _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
}

async fn take_mail(stream: TcpStream, arrived: Arrived) {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mail.example.com\r\n").await.unwrap();
    let (mut mail, mut line, mut in_text) = (String::new(), String::new(), false);
    while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
        mail.push_str(&line);
        let answer: &[u8] = match (in_text, line.trim_end()) {
            (true, ".") => {
                in_text = false;
                arrived.mails.lock().unwrap().push(std::mem::take(&mut mail));
                b"250 queued\r\n"
            }
            (true, _) => b"",
            (false, "DATA") => {
                in_text = true;
                b"354 go on\r\n"
            }
            (false, _) => b"250 ok\r\n",
        };
        line.clear();
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p2_p3_people_are_told_what_happened_across_restarts() {
    let arrived = Arrived::default();
    let for_hooks = arrived.clone();
    let hooks = listen(move |stream| take_hook(stream, for_hooks.clone())).await;
    let for_mails = arrived.clone();
    let mails = listen(move |stream| take_mail(stream, for_mails.clone())).await;
    let settings = format!(
        "[notify]\noperator_trades = true\ngather_s = 0\n\
         [notify.email]\nhost = \"127.0.0.1\"\nport = {mails}\ntls = \"none\"\nfrom = \"bursar@example.com\"\n\
         [notify.webhook]\nurl = \"http://127.0.0.1:{hooks}/in\"\nsecret_file = \"home/hook\"\nallow_loopback = true\n"
    );
    let mut operator = Operator::begin_with(&settings).await;
    let secret = operator.stage.folder().join("home/hook");
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o400)).unwrap();

    // Each channel is tried out, and says what became of it.
    operator
        .trader("ops_desk", "kraken-main", "kraken", "master", "live")
        .await;
    operator
        .trader("mara_ilves", "kraken-ilves", "kraken", "user", "live")
        .await;
    let tried = operator.json("notify test").await;
    assert_eq!(
        tried["channels"],
        serde_json::json!([{ "channel": "webhook", "delivered": true, "why": null, "hint": null }])
    );
    let tried = operator.json("notify test --user mara_ilves").await;
    assert_eq!(tried["channels"][0]["channel"], "email");
    assert_eq!(arrived.notices("test").len(), 1);

    // A daemon that starts, a switch, and a trade by hand.
    operator.stage.start_daemon().unwrap();
    operator.logged(0, &["cycle 1 for kraken / mara_ilves"]).await;
    operator
        .done("order place kraken-ilves buy BTC-USD --usd 40 --wait-ms 20000")
        .await;
    operator
        .done("kill user mara_ilves --mode pause --reason canary-in-the-reason")
        .await;
    arrived
        .until("the trade and the switch", |arrived| {
            !arrived.notices("traded").is_empty()
                && arrived.notices("switched-on").len() == 1
                && arrived
                    .mails
                    .lock()
                    .unwrap()
                    .iter()
                    .any(|mail| mail.contains("switch on: user:mara_ilves"))
        })
        .await;
    assert_eq!(arrived.notices("daemon")[0]["state"], "started");
    let traded = &arrived.notices("traded")[0];
    assert_eq!(
        (&traded["kind"], &traded["account"]),
        (&"trade".into(), &"kraken-ilves".into())
    );
    assert!(
        traded.get("filled").is_none(),
        "nobody asked for amounts: {traded}"
    );
    let switch = arrived.notices("switched-on")[0]["switch"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        arrived
            .mails
            .lock()
            .unwrap()
            .iter()
            .all(|mail| mail.contains("RCPT TO:<mara_ilves@example.com>")),
        "only she has mail: the operator has no address"
    );

    // An attempt in which the process ends is made again; this is about what was delivered and recorded.
    let begun = tokio::time::Instant::now();
    while operator.waiting().await > 0 {
        assert!(begun.elapsed() < PATIENCE, "what was delivered is not recorded");
    }

    // The daemon dies. What happens meanwhile is told by the next one, and nothing is told again.
    operator.stage.kill_daemon().unwrap();
    operator.done(&format!("release {switch} --reason checked")).await;
    operator.stage.start_daemon().unwrap();
    arrived
        .until("the switch is off", |arrived| {
            !arrived.notices("switched-off").is_empty()
        })
        .await;
    assert_eq!(
        operator.stage.stop_daemon().await.unwrap().unwrap().code(),
        Some(0)
    );
    arrived
        .until("the daemon stopped", |arrived| {
            arrived
                .notices("daemon")
                .last()
                .is_some_and(|last| last["state"] == "stopped")
        })
        .await;
    assert_eq!(arrived.notices("switched-on").len(), 1);
    assert_eq!(arrived.notices("switched-off").len(), 1);

    // It is visible how the channels fare, and neither a secret nor a reason is anywhere.
    let status = operator.json("status").await;
    assert_eq!(
        status["notifications"]["channels"],
        serde_json::json!(["email", "webhook"])
    );
    for state in status["notifications"]["queue"].as_array().unwrap() {
        // What was said at the very end may wait for the next daemon.
        assert_eq!(state["given_up"], 0, "{state}");
        assert!(state["delivered"].as_u64().unwrap() > 0, "{state}");
    }
    let canaries = [Canary::new("secret", SECRET)];
    let everything = operator.stage.everything_written().unwrap();
    assert_eq!(Canary::search(&canaries, &everything), Vec::<String>::new());
    let told = format!(
        "{:?}{:?}",
        arrived.hooks.lock().unwrap(),
        arrived.mails.lock().unwrap()
    );
    for canary in [SECRET, "canary-in-the-reason"] {
        assert!(!told.contains(canary), "{canary}");
    }
}
