//! The commands, and what is to hold of each.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use bursar::Surroundings;
use bursar_auth::{Act, Principal};
use bursar_keystore::{
    CredentialMaterial, CredentialPlace, KeyFile, KeyStore, Secret, UnlockMaterial, Vault,
};
use bursar_model::AccountMode;
use bursar_store_sqlite::{Environment, SqliteStore};
use serde_json::{Value, json};

use crate::trial::{Again, Case, Place};

const LIST: &str = r#"[
  {"user_id": "mara_ilves", "email": "mara@example.com", "tier": "basic", "broker_type": "kraken",
   "mode": "paper", "pairs": ["BTC-USD"], "max_size": 50, "max_positions": 2, "trade_only": true},
  {"user_id": "tomas_brandt", "email": "tomas@example.com", "tier": "pro", "broker_type": "kraken",
   "mode": "paper", "pairs": ["BTC-USD", "ETH-USD"], "max_size": 200, "max_positions": 3, "trade_only": true}
]"#;

pub(crate) const REFUSED: i32 = 3;
const NOT_FOUND: i32 = 4;

/// After `init`.
pub(crate) fn made() -> Place {
    let place = Place::empty();
    place.done("init --yes --recovery-file home/recovery.txt");
    place
}

/// With two users whose accounts have keys, which no exchange was asked about.
async fn with_keys() -> Place {
    let place = made();
    for (user, account) in [("mara_ilves", "kraken-ilves"), ("tomas_brandt", "kraken-brandt")] {
        place.done(&format!(
            "user add {user} --email {user}@example.com --tier basic"
        ));
        place.done(&format!(
            "account add {account} --user {user} --broker kraken --role user"
        ));
        seal(&place, account).await;
    }
    place
}

async fn seal(place: &Place, account: &str) {
    let surroundings = Surroundings::of_process();
    let environment = Environment::new(surroundings.clock.clone(), surroundings.entropy.clone(), "test");
    let store = Arc::new(SqliteStore::open(place.path("bursar-data/bursar.db"), environment).unwrap());
    let vault: Arc<dyn Vault> = store.clone();
    let keys = KeyStore::open(vault, surroundings.entropy.clone()).await.unwrap();
    let file = KeyFile::new(place.path("home/.config/bursar/unlock.key"), vec![]);
    keys.unlock(&UnlockMaterial::File(file)).await.unwrap();
    let material = CredentialMaterial::new(
        Secret::from_text(format!("ThePublicKeyIdOf-{account}")),
        Secret::from_text("SmVmZQ==".to_owned()),
    );
    let credential = CredentialPlace {
        account: account.parse().unwrap(),
        broker: "kraken".parse().unwrap(),
        mode: AccountMode::Live,
    };
    let act = Act::new(Principal::operator("ops_desk").unwrap(), surroundings.now());
    let staged = keys.stage(&material).unwrap();
    let record = keys.seal(staged, credential, "trade", act.at).unwrap();
    store.put_credential(&record, None, &act).await.unwrap();
}

/// Users, accounts, keys and slots by name; and everything is whole and opens.
pub(crate) fn store(place: &Place) -> Value {
    place.done("audit verify --deep");
    place.done("keystore status --prove");
    let names = |document: Value, list: &str, key: &str| -> Vec<Value> {
        let rows = document[list].as_array().unwrap();
        rows.iter().map(|row| row[key].clone()).collect()
    };
    let permissions = |user: &Value| {
        let user = user.as_str().unwrap();
        place.json(&format!("permissions show {user}"))["permissions"].clone()
    };
    let users = names(place.json("user list"), "users", "user_id");
    json!({
        "permissions": users.iter().map(permissions).collect::<Vec<_>>(),
        "users": users,
        "accounts": place.json("account list")["accounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|account| json!([account["account_id"], account["status"]]))
            .collect::<Vec<_>>(),
        "keys": names(place.json("credentials list"), "credentials", "account_id"),
        "slots": names(place.json("keystore status"), "slots", "kind"),
    })
}

/// The store, and which ROOT it has; the recovery code that was handed over with it opens it.
fn store_and_root(place: &Place) -> Value {
    let root = place.json("keystore status")["root"].clone();
    let code = if root == json!("root#1") {
        "recovery"
    } else {
        "new-recovery"
    };
    place.done(&format!(
        "keystore slot prove --recovery-code-file home/{code}.txt"
    ));
    json!({ "root": root, "store": store(place) })
}

/// The store, and which keys it has.
fn store_and_keys(place: &Place) -> Value {
    let keys = place.json("keystore status --prove")["keys"].clone();
    json!({ "keys": keys, "store": store(place) })
}

/// The store; each slot that `init` did not make opens it with what lies in `home/added`.
fn store_and_slots(place: &Place) -> Value {
    let state = store(place);
    for kind in state["slots"].as_array().unwrap().iter().skip(2) {
        let text = |name: &str| fs::read_to_string(place.path(&format!("home/added/{name}"))).unwrap();
        let folder = place.path("home/added").display().to_string();
        let proved = match kind.as_str().unwrap() {
            "file" => place.json("keystore slot prove --unlock-file home/added/file"),
            "passphrase" => place.json("keystore slot prove --passphrase-file home/added/passphrase"),
            "recovery" => place.json("keystore slot prove --recovery-code-file home/added/recovery"),
            "env" => place.json_with(
                "keystore slot prove",
                &[("BURSAR_UNLOCK_KEY", text("variable").trim())],
            ),
            "systemd-credential" => {
                place.json_with("keystore slot prove", &[("CREDENTIALS_DIRECTORY", &folder)])
            }
            other => panic!("nothing proves a slot of the kind `{other}`"),
        };
        assert_eq!(proved["kind"], *kind, "{proved:#}");
    }
    state
}

/// With a folder for what a new slot opens with, and a passphrase in it.
async fn with_a_place_for_slots() -> Place {
    let place = with_keys().await;
    fs::create_dir(place.path("home/added")).unwrap();
    fs::write(
        place.path("home/added/passphrase"),
        "seven words that nobody else would think of",
    )
    .unwrap();
    fs::set_permissions(place.path("home/added/passphrase"), Permissions::from_mode(0o600)).unwrap();
    place
}

/// Nothing, or a store that opens with its file and its code.
fn new_store(place: &Place) -> Value {
    let is_there = place.path("bursar-data/bursar.db").exists();
    if !is_there || !place.run("keystore status --prove").status.success() {
        return Value::Null;
    }
    place.done("keystore slot prove --recovery-code-file home/recovery.txt");
    store(place)
}

/// The store; a key that is not in it any more is on the list of erased ones, whatever came of the command.
fn erased(place: &Place) -> Value {
    let list = fs::read_to_string(place.path("bursar-data/erased-keys")).unwrap_or_default();
    let state = store(place);
    for account in ["kraken-ilves", "kraken-brandt"] {
        let is_there = state["keys"].as_array().unwrap().contains(&json!(account));
        let line = list.lines().find(|line| line.contains(account));
        let is_listed = line.is_some_and(|line| serde_json::from_str::<Value>(line).is_ok());
        assert!(is_there || is_listed, "{account} is not on the list: {list:?}");
    }
    state
}

/// Whether there is a whole backup under its name; of one that is there the store knows, and it counts no other.
fn backup(place: &Place) -> Value {
    let is_there = place.path("backups/one.bursar-backup").exists();
    if is_there {
        place.done("backup verify backups/one.bursar-backup");
        let trail = place.done("audit tail");
        assert!(trail.contains("backup.created"), "{trail}");
    }
    let checks = place.json("doctor")["checks"].clone();
    let mut checks = checks.as_array().unwrap().iter();
    let found = checks.find(|found| found["check"] == json!("backups")).unwrap();
    assert!(is_there || found["verdict"] == json!("look"), "{found}");
    json!({ "backup": is_there, "store": store(place) })
}

/// Nothing, or a whole store that halts everything.
fn restored(place: &Place) -> Value {
    if !place.path("bursar-data/bursar.db").exists() {
        return Value::Null;
    }
    let latches = place.json("latches");
    assert_eq!(latches["latches"][0]["cause"], json!("restored"), "{latches:#}");
    assert_eq!(latches["latches"][0]["mode"], json!("halt"), "{latches:#}");
    store(place)
}

#[tokio::test]
async fn every_step_of_replacing_the_wrapping_key() {
    Case {
        line: "keystore rotate wrapping-key --reason yearly",
        again: Again::MayEnd(&[]),
        state: store,
    }
    .try_in(&with_keys().await);
}

#[tokio::test]
async fn every_step_of_replacing_root() {
    Case {
        line: "keystore rotate root --recovery-file home/new-recovery.txt --yes --reason yearly",
        again: Again::Never,
        state: store_and_root,
    }
    .try_in(&with_keys().await);
}

#[tokio::test]
async fn every_step_of_replacing_a_purpose_key() {
    let place = with_keys().await;
    for line in [
        "keystore rotate api-key-pepper",
        "keystore rotate session-key",
        "keystore rotate pseudonym-key",
    ] {
        Case {
            line,
            again: Again::WhereNotDone,
            state: store_and_keys,
        }
        .try_in(&place);
    }
}

#[tokio::test]
async fn every_step_of_adding_a_slot() {
    let place = with_a_place_for_slots().await;
    for line in [
        "keystore slot add file home/added/file",
        "keystore slot add systemd-credential home/added/bursar-unlock",
        "keystore slot add env home/added/variable",
        "keystore slot add recovery --recovery-file home/added/recovery",
    ] {
        Case {
            line,
            again: Again::Never,
            state: store_and_slots,
        }
        .try_in(&place);
    }
}

#[tokio::test]
async fn every_step_of_adding_a_passphrase() {
    Case {
        line: "keystore slot add passphrase --new-passphrase-file home/added/passphrase",
        again: Again::WhereNotDone,
        state: store_and_slots,
    }
    .try_in(&with_a_place_for_slots().await);
}

#[tokio::test]
async fn every_step_of_removing_a_slot() {
    let place = with_a_place_for_slots().await;
    place.done("keystore slot add file home/added/file");
    Case {
        line: "keystore slot remove file-4 --yes --reason test",
        again: Again::MayEnd(&[NOT_FOUND]),
        state: store_and_slots,
    }
    .try_in(&place);
}

#[test]
fn every_step_of_making_a_store() {
    Case {
        line: "init --yes --recovery-file home/recovery.txt",
        // An unlock key that lies there may be another store's: a person has to say that it is not.
        again: Again::Never,
        state: new_store,
    }
    .try_in(&Place::empty());
}

#[tokio::test]
async fn i17_every_step_of_erasing_a_key() {
    Case {
        line: "credentials delete kraken-ilves --yes --reason compromised",
        again: Again::MayEnd(&[NOT_FOUND]),
        state: erased,
    }
    .try_in(&with_keys().await);
}

#[tokio::test]
async fn every_step_of_deleting_a_user() {
    Case {
        line: "user delete mara_ilves --yes --reason gone",
        again: Again::MayEnd(&[REFUSED]),
        state: erased,
    }
    .try_in(&with_keys().await);
}

#[tokio::test]
async fn every_step_of_a_backup() {
    let place = with_keys().await;
    fs::create_dir(place.path("backups")).unwrap();
    Case {
        line: "backup create backups/one.bursar-backup",
        again: Again::MayEnd(&[REFUSED]),
        state: backup,
    }
    .try_in(&place);
}

#[tokio::test]
async fn every_step_of_putting_a_backup_back() {
    let place = with_keys().await;
    fs::create_dir(place.path("backups")).unwrap();
    place.done("backup create backups/one.bursar-backup");
    place.done("credentials delete kraken-ilves --yes --reason compromised");
    for name in ["bursar.db", "bursar.db-wal", "bursar.db-shm"] {
        _ = fs::remove_file(place.path("bursar-data").join(name));
    }
    Case {
        line: "backup restore backups/one.bursar-backup --yes --reason lost",
        again: Again::MayEnd(&[REFUSED]),
        state: restored,
    }
    .try_in(&place);
}

#[tokio::test]
async fn every_step_of_a_list_of_users() {
    let place = made();
    fs::write(place.path("users.json"), LIST).unwrap();
    Case {
        line: "apply users.json --yes --exceed-tier --reason agreed",
        again: Again::MayEnd(&[]),
        state: store,
    }
    .try_in(&place);
}
