//! What is broken before it comes in, one row each: how the command ends, what it says and advises, and
//! that nothing which was there is gone or changed once the disturbance is.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bursar::Exit;
use serde_json::Value;

use crate::credentials::Venue;
use crate::desk::{Desk, Ran, words};

const STORE: &str = "bursar-data/bursar.db";
const UNLOCK: &str = "home/.config/bursar/unlock.key";
const SETTINGS: &str = "bursar.toml";

/// What is changed before a command runs, and taken back after it.
enum Disturbance {
    /// The input alone is bad.
    None,
    /// A file holds something else; it need not have been there.
    Holds(&'static str, fn(Vec<u8>) -> Vec<u8>),
    /// A file holds what belongs elsewhere.
    Exchanged(&'static str, Vec<u8>),
    Gone(&'static str),
    Mode(&'static str, u32),
    Environment(&'static [(&'static str, &'static str)]),
}

struct Row {
    what: &'static str,
    disturbance: Disturbance,
    /// `LONG` stands for 10,000 characters.
    line: &'static str,
    input: &'static str,
}

const fn row(what: &'static str, disturbance: Disturbance, line: &'static str) -> Row {
    let input = "";
    Row {
        what,
        disturbance,
        line,
        input,
    }
}

/// A row whose input alone is bad.
const fn typed(what: &'static str, line: &'static str) -> Row {
    row(what, Disturbance::None, line)
}

const fn piped(what: &'static str, line: &'static str, input: &'static str) -> Row {
    let disturbance = Disturbance::None;
    Row {
        what,
        disturbance,
        line,
        input,
    }
}

fn of_the_store() -> Vec<Row> {
    use Disturbance::{Gone, Holds};
    vec![
        row(
            "a store with a page that was written over",
            Holds(STORE, |mut bytes| {
                bytes[4096 * 3..4096 * 4].fill(0xa5);
                bytes
            }),
            "user list",
        ),
        row(
            "a store that was cut in the middle",
            Holds(STORE, |mut bytes| {
                bytes.truncate(bytes.len() / 2 / 4096 * 4096);
                bytes
            }),
            "order place kraken-ilves buy BTC-USD --usd 40",
        ),
        row(
            "a file that is no store",
            Holds(STORE, |_| b"This was a store once.\n".repeat(400)),
            "status",
        ),
        row("a store of no bytes", Holds(STORE, |_| Vec::new()), "hierarchy"),
        row("a missing store", Gone(STORE), "user show mara_ilves"),
        row(
            "a data folder that is not there",
            Gone(STORE),
            "latches --data-dir elsewhere",
        ),
    ]
}

fn of_the_unlock_key(key_of_another_store: Vec<u8>) -> Vec<Row> {
    use Disturbance::{Exchanged, Gone, Holds, Mode};
    vec![
        row(
            "the unlock key of another store",
            Exchanged(UNLOCK, key_of_another_store),
            "keystore status --prove",
        ),
        row(
            "an unlock key that was cut",
            Holds(UNLOCK, |bytes| bytes[..20].to_vec()),
            "keystore slot prove",
        ),
        row("a missing unlock key", Gone(UNLOCK), "keystore slot prove"),
        row(
            "an unlock key that everybody may read",
            Mode(UNLOCK, 0o644),
            "keystore slot prove",
        ),
    ]
}

fn of_the_settings() -> Vec<Row> {
    use Disturbance::Holds;
    vec![
        row(
            "settings that were written half",
            Holds(SETTINGS, |_| {
                b"[caps]\norder_usd = \"500\"\n\n[brokers.kra".to_vec()
            }),
            "status",
        ),
        row(
            "an unknown setting",
            Holds(SETTINGS, |_| b"[caps]\norder_usb = \"500\"\n".to_vec()),
            "user list",
        ),
        row(
            "a setting that stands twice",
            Holds(SETTINGS, |_| {
                b"[caps]\norder_usd = \"500\"\norder_usd = \"5000\"\n".to_vec()
            }),
            "order place kraken-ilves buy BTC-USD --usd 40",
        ),
        row(
            "settings that are no text",
            Holds(SETTINGS, |_| vec![0xff, 0xfe, 0x00, 0x5b]),
            "config check",
        ),
        row(
            "certificates whose PEM is broken",
            Holds(SETTINGS, |_| {
                b"[notify.webhook]\nurl = \"https://127.0.0.1/in\"\nsecret_file = \"hook\"\nallow_loopback = true\n\
                  ca_file = \"broken.pem\"\n"
                    .to_vec()
            }),
            "notify test",
        ),
    ]
}

const BROKEN_PEM: &str = "-----BEGIN EC PRIVATE KEY-----\nCANARYpem\n-----END";

fn of_documents() -> Vec<Row> {
    vec![
        piped(
            "a JSON key that stands twice among a user's fields",
            "setup -",
            "{\"user_id\": \"clara_winter\",\n \"email\": \"clara@example.com\",\n \"broker_type\": \"kraken\",\n \
             \"tier\": \"basic\",\n \"tier\": \"enterprise\"}",
        ),
        piped(
            "a JSON key that stands twice beside an exchange key",
            "credentials set kraken-brandt --yes",
            "{\"api_key\": \"CANARYone\",\n \"api_secret\": \"CANARYtwo\",\n \"api_secret\": \"CANARYthree\"}",
        ),
        piped(
            "an exchange key under two names for one thing",
            "credentials set kraken-brandt --yes",
            "{\"key\": \"CANARYone\", \"api_key\": \"CANARYone\", \"secret\": \"CANARYtwo\"}",
        ),
        piped(
            "an unknown field beside an exchange key",
            "credentials set kraken-brandt --yes",
            "{\"api_key\": \"CANARYone\", \"api_secret\": \"CANARYtwo\", \"CANARYthree\": \"\"}",
        ),
        piped(
            "an unknown field of a user, and one that stands twice, in a file with keys",
            "apply - --plan",
            "[{\"user_id\": \"clara_winter\", \"broker_type\": \"kraken\", \"teir\": \"basic\",\n  \"credentials\": \
             {\"api_key\": \"CANARYone\", \"api_secret\": \"CANARYtwo\"}},\n {\"user_id\": \"ines_faber\", \
             \"user_id\": \"ines_weber\", \"broker_type\": \"kraken\",\n  \"credentials\": {\"api_key\": \
             \"CANARYone\", \"api_secret\": \"CANARYtwo\"}}]",
        ),
        piped(
            "an unknown field of a user",
            "setup -",
            "{\"user_id\": \"clara_winter\", \"broker_type\": \"kraken\", \"teir\": \"basic\"}",
        ),
        piped(
            "a document that ends in its middle",
            "setup -",
            "[{\"user_id\": \"clara_winter\",",
        ),
        piped(
            "a PEM where JSON belongs",
            "credentials set kraken-brandt --yes",
            BROKEN_PEM,
        ),
        piped(
            "a broken PEM for an exchange whose secrets are base64",
            "credentials set kraken-brandt --yes",
            "{\"api_key\": \"organizations/CANARYone\", \"api_secret\": \"-----BEGIN EC PRIVATE \
             KEY-----\\nCANARYpem\\n-----END\"}",
        ),
        typed(
            "an account at an exchange that there is no adapter for",
            "account add coinbase-ilves --user mara_ilves --broker coinbase --role user",
        ),
    ]
}

fn of_the_environment() -> Vec<Row> {
    use Disturbance::Environment;
    vec![
        row(
            "a name that fits two accounts",
            Environment(&[
                ("KRAKEN_USER_TOMAS_API_KEY", "CANARYone"),
                ("KRAKEN_USER_TOMAS_API_SECRET", "CANARYtwo"),
            ]),
            "import-env",
        ),
        row(
            "two names for one account",
            Environment(&[
                ("KRAKEN_USER_TOMAS_LIND_API_KEY", "CANARYone"),
                ("KRAKEN_USER_TOMAS_LIND_API_SECRET", "CANARYtwo"),
                ("KRAKEN_USER_TOMAS_API_KEY", "CANARYone"),
                ("KRAKEN_USER_TOMAS_API_SECRET", "CANARYtwo"),
            ]),
            "import-env",
        ),
        row(
            "a key without its secret",
            Environment(&[("KRAKEN_USER_TOMAS_LIND_API_KEY", "CANARYone")]),
            "import-env",
        ),
    ]
}

fn of_orders() -> Vec<Row> {
    vec![
        typed(
            "an order of nothing",
            "order place kraken-ilves buy BTC-USD --usd 0",
        ),
        typed(
            "an order of no quantity",
            "order place kraken-ilves buy BTC-USD --quantity 0",
        ),
        typed(
            "an order of less than nothing",
            "order place kraken-ilves buy BTC-USD --usd -40",
        ),
        typed(
            "an order of no number",
            "order place kraken-ilves buy BTC-USD --usd NaN",
        ),
        typed(
            "an order of no quantity that is a number",
            "order place kraken-ilves buy BTC-USD --quantity NaN",
        ),
        typed(
            "an order of 1e30 dollars",
            "order place kraken-ilves buy BTC-USD --usd 1e30",
        ),
        typed(
            "an order of a nonillion written out",
            "order place kraken-ilves buy BTC-USD --usd 1000000000000000000000000000000",
        ),
        typed(
            "an order of 1e30 bitcoins",
            "order place kraken-ilves buy BTC-USD --quantity 1e30",
        ),
        typed(
            "the largest order that can be written",
            "order place kraken-ilves buy BTC-USD --quantity 79228162514264337593543950335 --wait-ms 0",
        ),
        typed(
            "an unknown pair",
            "order place kraken-ilves buy WOMBAT-USD --usd 40 --wait-ms 0",
        ),
        typed("no pair", "order place kraken-ilves buy BTCUSD --usd 40"),
        typed(
            "a user id of 10,000 characters",
            "user add LONG --email clara@example.com --tier basic",
        ),
        typed("a look at a user id of 10,000 characters", "user show LONG"),
    ]
}

/// What a store held that must not be lost: what every list shows, and the audit trail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    lists: BTreeMap<&'static str, Value>,
    orders: Vec<Value>,
    trail: Vec<Value>,
}

impl Kept {
    pub(crate) async fn of(desk: &Desk) -> Self {
        let mut lists = BTreeMap::new();
        for line in [
            "user list",
            "account list",
            "permissions show mara_ilves",
            "preferences show mara_ilves",
            "credentials list",
            "latches --all",
            "positions",
            "fills",
            "approvals",
            // Opens every sealed key.
            "keystore status --prove",
        ] {
            let ran = desk.run(&format!("{line} --json")).await;
            assert_eq!(ran.exit, Exit::Done, "`{line}`\n{}", ran.err);
            lists.insert(line, serde_json::from_str(&ran.out).unwrap());
        }
        let rows = |document: &Value, of: &str| document[of].as_array().unwrap().clone();
        let verified = desk.run("audit verify --deep").await;
        assert_eq!(verified.exit, Exit::Done, "{}\n{}", verified.out, verified.err);
        Self {
            lists,
            orders: rows(&desk.json("orders").await, "orders"),
            trail: rows(&desk.json("audit tail -n 10000").await, "records"),
        }
    }

    /// What came on top of `before`, of which nothing may be missing.
    pub(crate) fn beyond(&self, before: &Self, row: &str) -> String {
        assert_eq!(self.lists, before.lists, "{row}");
        for order in &before.orders {
            assert!(self.orders.contains(order), "{row}: lost {order:#}");
        }
        let (old, new) = self.trail.split_at(before.trail.len());
        assert_eq!(old, before.trail, "{row}");
        let added: Vec<&str> = new
            .iter()
            .map(|record| record["action"].as_str().unwrap())
            // Looking leaves a record of itself.
            .filter(|action| *action != "audit.read")
            .collect();
        if added.is_empty() {
            assert_eq!(self.orders, before.orders, "{row}");
            "nothing".to_owned()
        } else {
            added.join(", ")
        }
    }
}

/// Whether the store's engine makes and removes it as it likes.
pub(crate) fn is_of_the_engine(file: &Path) -> bool {
    file.ends_with("bursar.db-wal") || file.ends_with("bursar.db-shm")
}

/// Every file below a folder, with its mode.
fn files(folder: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            found.insert(path.clone(), (mode, fs::read(&path).unwrap()));
        }
    }
    found
}

/// Puts files back as they were; what is new goes.
fn put_back(folder: &Path, before: &BTreeMap<PathBuf, (u32, Vec<u8>)>) {
    for path in files(folder).into_keys() {
        if !before.contains_key(&path) {
            fs::remove_file(path).unwrap();
        }
    }
    for (path, (mode, bytes)) in before {
        let mode_of = |mode| fs::Permissions::from_mode(mode);
        if path.exists() {
            fs::set_permissions(path, mode_of(0o600)).unwrap();
        }
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, mode_of(*mode)).unwrap();
    }
}

impl Disturbance {
    fn begin(&self, desk: &mut Desk) {
        match self {
            Self::None => {}
            Self::Holds(name, with) => {
                let path = desk.path(name);
                write_over(&path, &with(fs::read(&path).unwrap()));
            }
            Self::Exchanged(name, bytes) => write_over(&desk.path(name), bytes),
            Self::Gone(name) => fs::remove_file(desk.path(name)).unwrap(),
            Self::Mode(name, mode) => {
                fs::set_permissions(desk.path(name), fs::Permissions::from_mode(*mode)).unwrap();
            }
            Self::Environment(variables) => {
                for (name, value) in *variables {
                    desk.set_variable(name, value);
                }
            }
        }
    }

    fn end(&self, desk: &mut Desk) {
        if let Self::Environment(variables) = self {
            for (name, _) in *variables {
                desk.unset_variable(name);
            }
        }
    }
}

/// Other bytes in a file of the same mode.
fn write_over(path: &Path, bytes: &[u8]) {
    let mode = path.metadata().unwrap().permissions();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, mode).unwrap();
}

/// What somebody reads who typed it, with what it wrote all the same.
fn told(row: &Row, ran: &Ran, written: &str) -> String {
    let line = row.line.trim_end();
    let code = ran.exit.code();
    assert_ne!(ran.exit, Exit::Done, "{}", row.what);
    let shown = format!("{}{}", ran.out, ran.err);
    assert!(shown.contains("hint"), "{}: no hint in\n{shown}", row.what);
    assert!(!shown.contains("CANARY"), "{}: {shown}", row.what);
    assert!(shown.len() < 3_000, "{}: {} characters", row.what, shown.len());
    format!(
        "# {}\n$ bursar {line}\n{}exit {code}; written: {written}\n\n",
        row.what,
        ruled(&shown)
    )
}

pub(crate) fn ruled(text: &str) -> String {
    text.lines()
        .map(|line| format!("| {line}").trim_end().to_owned() + "\n")
        .collect()
}

/// With two users of the same first name who trade live, an order, a sealed key, and a user on paper.
async fn desk_with_something_to_lose() -> (Desk, Venue) {
    let desk = Desk::ready().await;
    desk.run("order place kraken-ilves buy BTC-USD --usd 40 --wait-ms 0")
        .await;
    for (user, account) in [("tomas_brandt", "kraken-brandt"), ("tomas_lind", "kraken-lind")] {
        desk.done(&format!(
            "user add {user} --email {user}@example.com --tier basic"
        ))
        .await;
        desk.done(&format!(
            "account add {account} --user {user} --broker kraken --role user"
        ))
        .await;
    }
    let venue = Venue::open(&desk).await;
    let set = desk
        .run_with("credentials set kraken-brandt", &venue.document("mara"))
        .await;
    assert_eq!(set.exit, Exit::Done, "{}", set.err);
    desk.write("broken.pem", BROKEN_PEM);
    desk.write("hook", "a word that signs\n");
    fs::set_permissions(desk.path("hook"), fs::Permissions::from_mode(0o600)).unwrap();
    desk.later(5);
    (desk, venue)
}

/// The key with which another store is unlocked.
async fn key_of_another_store() -> Vec<u8> {
    let other = Desk::made().await;
    other.done("keystore slot add file home/another.key").await;
    fs::read(other.path("home/another.key")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_input_ends_with_its_code_a_message_and_a_hint_and_nothing_is_lost() {
    let (mut desk, venue) = desk_with_something_to_lose().await;
    let long = "x".repeat(10_000);
    let rows = [
        of_the_store(),
        of_the_unlock_key(key_of_another_store().await),
        of_the_settings(),
        of_documents(),
        of_the_environment(),
        of_orders(),
    ];
    let mut text = String::new();
    let mut kept = Kept::of(&desk).await;
    for row in rows.iter().flatten() {
        desk.leave_store();
        let whole = files(&desk.path(""));
        row.disturbance.begin(&mut desk);
        let disturbed = files(&desk.path(""));

        let typed: Vec<String> = words(row.line)
            .iter()
            .map(|word| word.replace("LONG", &long))
            .collect();
        let ran = desk.run_words(&typed, row.input).await;

        desk.wait_until_closed();
        let mut left = files(&desk.path(""));
        left.retain(|file, _| disturbed.contains_key(file) || !is_of_the_engine(file));
        let is_disturbed = disturbed != whole;
        if is_disturbed {
            // What is broken is left as it was found, for whoever puts it right.
            assert!(left == disturbed, "{}: a file was touched", row.what);
            put_back(&desk.path(""), &whole);
        }
        row.disturbance.end(&mut desk);
        let now = Kept::of(&desk).await;
        let written = now.beyond(&kept, row.what);
        text.push_str(&told(row, &ran, &written));
        kept = now;
    }
    venue.close().await;

    insta::assert_snapshot!(text);
}
