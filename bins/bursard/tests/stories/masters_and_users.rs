use std::path::PathBuf;
use std::time::Duration;

use bursar::{Exit, Surroundings};
use bursar_sandbox::{CustomerSpec, LimitTier, Market};
use bursard::rehearsal::{Plan, Rehearsal};
use rust_decimal::Decimal;
use serde_json::{Value, json};

const SETTINGS: &str = "\
[strategy]
candle_interval_s = 60
cycle_interval_s = 1
";

/// Long enough for a slow machine; nothing waits that long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Operator {
    pub(crate) stage: Rehearsal,
}

impl Operator {
    async fn begin() -> Self {
        Self::begin_with("").await
    }

    /// With more settings than the story of everybody needs.
    pub(crate) async fn begin_with(settings: &str) -> Self {
        let customers = ["ops_desk", "mara_ilves"].map(CustomerSpec::named);
        Self::begin_for(customers.to_vec(), settings).await
    }

    /// With these customers of the exchange.
    pub(crate) async fn begin_for(mut customers: Vec<CustomerSpec>, settings: &str) -> Self {
        for customer in &mut customers {
            customer.limit_tier = LimitTier::Pro;
        }
        let plan = Plan {
            market: Market::generated(20_261_120),
            customers,
            seed: 20_261_120,
            settings: format!("{SETTINGS}{settings}"),
            daemon: PathBuf::from(env!("CARGO_BIN_EXE_bursard")),
        };
        let stage = Rehearsal::prepare(plan, &Surroundings::of_process())
            .await
            .unwrap();
        let mut operator = Self { stage };
        operator
            .done("init --yes --recovery-file home/recovery.txt")
            .await;
        operator
    }

    pub(crate) async fn done(&mut self, line: &str) -> String {
        self.done_with(line, None).await
    }

    pub(crate) async fn done_with(&mut self, line: &str, input: Option<String>) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let said = self.stage.bursar(&words, input).await;
        assert_eq!(said.exit, Exit::Done, "`{line}`:\n{}{}", said.out, said.err);
        said.out
    }

    pub(crate) async fn json(&mut self, line: &str) -> Value {
        serde_json::from_str(&self.done(&format!("{line} --json")).await).unwrap()
    }

    /// A user with an account; with a key when it is live.
    pub(crate) async fn trader(&mut self, user: &str, account: &str, broker: &str, role: &str, mode: &str) {
        self.done(&format!("user add {user} --email {user}@example.com --tier pro"))
            .await;
        self.done(&format!(
            "account add {account} --user {user} --broker {broker} --role {role} --mode {mode}"
        ))
        .await;
        self.done(&format!("user enable {user}")).await;
        if mode == "live" {
            let key = self.stage.key_of(user);
            self.done_with(&format!("credentials set {account}"), key).await;
        }
    }

    /// What the daemon logged after the first `skip` bytes.
    fn log_after(&self, skip: usize) -> String {
        self.stage.log().get(skip..).unwrap_or_default().to_owned()
    }

    pub(crate) fn log_length(&self) -> usize {
        self.stage.log().len()
    }

    /// Waits until the daemon has logged all of these after the first `skip` bytes.
    pub(crate) async fn logged(&self, skip: usize, texts: &[&str]) -> String {
        let checks = PATIENCE.as_millis() / 50;
        for _ in 0..checks {
            let log = self.log_after(skip);
            if texts.iter().all(|text| log.contains(text)) {
                return log;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not all of {texts:?} in\n{}", self.log_after(skip))
    }
}

/// Where each of these stands in the log; all of them, one after the other.
fn in_order(log: &str, texts: &[&str]) {
    let mut from = 0;
    for text in texts {
        let found = log[from..].find(text);
        from += found.unwrap_or_else(|| panic!("`{text}` does not come next in\n{log}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u1_u2_u3_a46_m4_m5_o6_o7_o8_s9_s15_from_the_master_alone_to_users_who_trade() {
    let mut operator = Operator::begin().await;

    // The master alone: connected, and nobody is warned of.
    operator
        .trader("ops_desk", "kraken-main", "kraken", "master", "live")
        .await;
    operator.stage.start_daemon().unwrap();
    let log = operator
        .logged(0, &["There are no users", "cycle 1 for kraken / ops_desk"])
        .await;
    assert!(log.contains("master account kraken-main connected"), "{log}");
    for warning in ["without its master", "trade without a master", "WARNING"] {
        assert!(!log.contains(warning), "a warning of nobody:\n{log}");
    }

    // A user beside it: connected with the right priority, without a restart.
    let before = operator.log_length();
    operator
        .trader("mara_ilves", "kraken-ilves", "kraken", "user", "live")
        .await;
    let log = operator
        .logged(
            before,
            &[
                "Correct: every connected user has its master",
                "cycle 1 for kraken / mara_ilves",
            ],
        )
        .await;
    assert!(log.contains("connects with correct priority"), "{log}");
    assert!(!log.contains("connects without its master"), "{log}");
    let hierarchy = operator.json("hierarchy").await;
    assert_eq!(
        hierarchy["hierarchy"]["verdict"],
        json!("every-user-has-master"),
        "{hierarchy:#}"
    );

    // A user whose broker has no master: warned of, told what to do, and connected.
    let before = operator.log_length();
    operator
        .trader("tomas_brandt", "paper-brandt", "paper", "user", "paper")
        .await;
    let log = operator
        .logged(
            before,
            &[
                "user account paper-brandt connected",
                "WARNING: at paper users trade without a master",
            ],
        )
        .await;
    in_order(
        &log,
        &[
            "connects without its master: the master should be primary, users secondary",
            "tomas_brandt",
            "the master of paper is not connected",
            "recommendation: configure the master credentials of paper first",
            "user account paper-brandt connected",
        ],
    );

    // She trades on her own account and with her own money; the master's is not touched.
    let placed = operator
        .json("order place kraken-ilves buy BTC-USD --usd 50 --wait-ms 20000")
        .await;
    assert_eq!(placed["order"]["state"], json!("filled"), "{placed:#}");
    let venue_order = placed["order"]["venue_order_id"].as_str().unwrap();
    let book = operator.stage.book();
    let order = book
        .orders
        .iter()
        .find(|order| order.txid == venue_order)
        .unwrap();
    assert_eq!(order.customer, "mara_ilves");
    let positions = operator.json("positions --user mara_ilves").await;
    let held = &positions["positions"][0];
    assert_eq!(held["user_id"], json!("mara_ilves"), "{positions:#}");
    assert_eq!(held["account_id"], json!("kraken-ilves"));
    let quantity: Decimal = held["quantity"].as_str().unwrap().parse().unwrap();
    assert!(quantity > Decimal::ZERO);
    let masters = operator.json("fills --account kraken-main").await;
    let by_hand = placed["order"]["order_id"].as_str().unwrap();
    assert!(!masters.to_string().contains(by_hand));

    // Stopped and started: what an operator looks for after a restart.
    let stopped = operator.stage.stop_daemon().await.unwrap().unwrap();
    assert!(stopped.success(), "{stopped}\n{}", operator.stage.log());
    operator.done("user disable tomas_brandt").await;
    let before = operator.log_length();
    operator.stage.start_daemon().unwrap();
    let log = operator
        .logged(
            before,
            &[
                "user account kraken-ilves connected",
                "ACCOUNT HIERARCHY",
                "cycle 1 for kraken / ops_desk",
                "cycle 1 for kraken / mara_ilves",
            ],
        )
        .await;
    assert!(operator.stage.folder().join("bursar-data/bursar.db").exists());
    assert!(log.contains("3 users with 3 accounts loaded"), "{log}");
    in_order(
        &log,
        &[
            "master account kraken-main connected",
            "user account kraken-ilves connected",
            "ACCOUNT HIERARCHY",
        ],
    );
    in_order(
        &log,
        &[
            "3 users with 3 accounts loaded",
            "kraken / mara_ilves: kraken-ilves enabled",
            "cycle 1 for kraken / mara_ilves",
        ],
    );
    let status = operator.json("status mara_ilves").await;
    assert_eq!(status["trading_enabled"], json!(true));

    for line in log.lines() {
        let mut words = line.split_whitespace();
        let time = words.next().unwrap_or_default().parse::<jiff::Timestamp>();
        let level = words.next().unwrap_or_default();
        assert!(time.is_ok() && ["INFO", "WARN"].contains(&level), "{line}");
        assert!(words.next().is_some(), "a line that says nothing: {line}");
    }

    // Who is not enabled is not traded; enabled, he is, and nobody restarts anything.
    assert!(!log.contains("cycle 1 for paper / tomas_brandt"), "{log}");
    let before = operator.log_length();
    operator.done("user enable tomas_brandt").await;
    operator
        .logged(before, &["cycle 1 for paper / tomas_brandt"])
        .await;
    let stopped = operator.stage.stop_daemon().await.unwrap().unwrap();
    assert!(stopped.success(), "{stopped}");
}
