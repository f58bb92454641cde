//! The documents of the commands are what their schemas say: in files, and as they are printed. Every test
//! that runs a command with `--json` has its document read against the schema of the command.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::LazyLock;

use bursar::Exit;
use bursar::arguments::command_tree;
use bursar::documents::{ERROR, WITHOUT_DOCUMENT, schemas};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::credentials::Venue;
use crate::desk::{Desk, Ran, words};
use crate::people::{forgotten, proposal, sold_by_hand};

static VALIDATORS: LazyLock<BTreeMap<&'static str, Validator>> = LazyLock::new(|| {
    let validators = schemas().into_iter().map(|(command, schema)| {
        let validator = jsonschema::validator_for(&schema);
        (
            command,
            validator.unwrap_or_else(|error| panic!("the schema of `{command}`: {error}")),
        )
    });
    validators.collect()
});

/// The words of the command itself, where the line can be read and wants a document.
pub(crate) fn command_of(words: &[String]) -> Option<String> {
    if !words.iter().any(|word| word == "--json") {
        return None;
    }
    let line = std::iter::once("bursar").chain(words.iter().map(String::as_str));
    let mut matches = command_tree().try_get_matches_from(line).ok()?;
    let mut path = Vec::new();
    while let Some((name, below)) = matches.remove_subcommand() {
        path.push(name);
        matches = below;
    }
    Some(path.join(" "))
}

/// Reads what a command printed against its schema.
pub(crate) fn check(words: &[String], ran: &Ran) {
    let Some(command) = command_of(words) else {
        return;
    };
    let is_trail = command == "audit export" && words.iter().any(|word| word == "-");
    if is_trail || WITHOUT_DOCUMENT.iter().any(|(name, _)| *name == command) {
        return;
    }
    let document: Value = serde_json::from_str(&ran.out)
        .unwrap_or_else(|error| panic!("`{command}` printed no document: {error}\n{}", ran.out));
    let has_failed = ran.exit != Exit::Done && document.get("error").is_some();
    let wrong = mistakes(if has_failed { ERROR } else { &command }, &document);
    assert!(wrong.is_empty(), "`{command}`: {wrong:#?}\n{document:#}");
}

fn mistakes(command: &str, document: &Value) -> Vec<String> {
    let validator = VALIDATORS
        .get(command)
        .unwrap_or_else(|| panic!("the document of `{command}` is described nowhere"));
    let errors = validator.iter_errors(document);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// The words of every command that has none below it.
fn leaves(command: &clap::Command, path: &str) -> Vec<String> {
    let below: Vec<&clap::Command> = command
        .get_subcommands()
        .filter(|below| below.get_name() != "help")
        .collect();
    if below.is_empty() {
        return vec![path.to_owned()];
    }
    below
        .into_iter()
        .flat_map(|below| leaves(below, format!("{path} {}", below.get_name()).trim_start()))
        .collect()
}

#[test]
fn every_document_is_described_and_nothing_else_is() {
    let mut commands: BTreeSet<String> = leaves(&command_tree(), "").into_iter().collect();
    for (command, what) in WITHOUT_DOCUMENT {
        assert!(
            commands.remove(command),
            "there is no `{command}`, which prints {what}"
        );
    }
    commands.insert(ERROR.to_owned());

    let described: Vec<&str> = schemas().into_iter().map(|(command, _)| command).collect();

    let expected: Vec<&str> = commands.iter().map(String::as_str).collect();
    assert_eq!(described, expected);
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/schemas/bursar")
}

/// `BURSAR_WRITE_PAGES=1` writes them anew.
#[test]
fn the_files_are_what_the_commands_print() {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for (command, schema) in schemas() {
        files.insert(
            format!("{}.json", command.replace(' ', "-")),
            format!("{schema:#}\n"),
        );
    }
    if std::env::var_os("BURSAR_WRITE_PAGES").is_some() {
        drop(std::fs::remove_dir_all(folder()));
        std::fs::create_dir_all(folder()).unwrap();
        for (name, text) in &files {
            std::fs::write(folder().join(name), text).unwrap();
        }
    }

    let there = std::fs::read_dir(folder()).unwrap();
    let there: BTreeSet<String> = there
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, files.keys().cloned().collect());
    for (name, text) in files {
        let kept = std::fs::read_to_string(folder().join(&name)).unwrap();
        assert!(
            kept == text,
            "`docs/schemas/bursar/{name}` is old: write it anew with BURSAR_WRITE_PAGES=1"
        );
    }
}

/// Every object of a schema that names its fields.
fn objects<'a>(schema: &'a Value, place: &str, found: &mut Vec<(String, &'a Value)>) {
    match schema {
        Value::Object(fields) => {
            if fields.get("properties").is_some_and(Value::is_object) {
                found.push((place.to_owned(), schema));
            }
            for (name, below) in fields {
                objects(below, &format!("{place}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (number, below) in items.iter().enumerate() {
                objects(below, &format!("{place}/{number}"), found);
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn a_command_without_a_document_is_told_apart() {
    let desk = Desk::bare();

    let said = desk.ends("schema user lst", Exit::NotFound).await;

    assert!(said.contains("did you mean `user list`?"), "{said}");
}

#[test]
fn no_schema_leaves_room_for_a_field_that_nobody_described() {
    for (command, schema) in schemas() {
        let mut found = Vec::new();
        objects(&schema, "", &mut found);
        for (place, object) in found {
            let closed = ["additionalProperties", "unevaluatedProperties"]
                .iter()
                .any(|word| object.get(*word).is_some());
            assert!(closed, "`{command}` at {place}");
        }
    }
}

#[tokio::test]
async fn a_document_with_a_field_too_many_or_too_few_is_found() {
    let desk = Desk::with_mara().await;
    let right = desk.json("user list").await;
    assert_eq!(mistakes("user list", &right), Vec::<String>::new());

    let mut more = right.clone();
    more["users"][0]["shoe_size"] = json!(41);
    assert_eq!(mistakes("user list", &more).len(), 1);
    let mut other = right.clone();
    other["total_count"] = json!("1");
    assert_eq!(mistakes("user list", &other).len(), 1);
    let mut fewer = right;
    fewer["users"][0].as_object_mut().unwrap().remove("tier");
    assert_eq!(mistakes("user list", &fewer).len(), 1);
}

/// Runs a command line for its document, and notes which command that was.
async fn printed(desk: &Desk, seen: &mut BTreeSet<String>, line: &str, input: &str) -> Value {
    let line = format!("{line} --json");
    let ran = desk.run_with(&line, input).await;
    let document: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("`{line}`: {}", ran.err));
    assert_eq!(document.get("error"), None, "`{line}`: {document:#}");
    seen.insert(command_of(&words(&line)).unwrap());
    document
}

#[tokio::test(flavor = "multi_thread")]
async fn every_document_was_read_against_its_schema() {
    let mut desk = Desk::bare();
    let mut seen = BTreeSet::new();
    printed(&desk, &mut seen, "init --yes --recovery-file recovery.txt", "").await;
    let venue = Venue::open(&desk).await;
    let key = venue.document("mara");
    let users = r#"[{"user_id": "clara_winter", "email": "clara@example.com", "tier": "basic",
        "broker_type": "kraken", "mode": "paper", "enabled": true}]"#;
    let more = users.replace("clara", "ines");
    desk.write("tighter.toml", "[limits]\nmax_position_usd = \"10\"\n");
    desk.write_secret("words.txt", "walnut harbour violin eleven\n");
    std::fs::create_dir(desk.path("backups")).unwrap();
    std::fs::create_dir(desk.path("safe")).unwrap();
    for (line, input) in [
        ("user add mara_ilves --email mara@example.com --tier basic", ""),
        (
            "account add kraken-ilves --user mara_ilves --broker kraken --role user --mode paper",
            "",
        ),
        ("user enable mara_ilves", ""),
        ("user set-email mara_ilves mara.ilves@example.com", ""),
        ("user set-tier mara_ilves pro --yes", ""),
        ("user list", ""),
        ("user show mara_ilves", ""),
        ("setup -", users),
        ("apply - --plan", &more),
        ("apply - --yes", &more),
        ("user add tomas_lind --email tomas@example.com --tier basic", ""),
        (
            "account add kraken-lind --user tomas_lind --broker kraken --role user",
            "",
        ),
        ("credentials set kraken-lind", &key),
        ("credentials check kraken-lind", ""),
        ("credentials list", ""),
        ("account list", ""),
        ("permissions set mara_ilves --max-position-usd 60", ""),
        ("permissions show mara_ilves", ""),
        ("preferences set mara_ilves --risk-level low", ""),
        ("preferences show mara_ilves", ""),
        ("config check", ""),
        ("config schema", ""),
        ("config show", ""),
        ("schema", ""),
        ("schema order place", ""),
        ("keystore status --prove", ""),
        ("keystore slot add file safe/second.key", ""),
        ("keystore slot add env safe/variable", ""),
        ("keystore slot add systemd-credential safe/credential", ""),
        ("keystore slot add passphrase --new-passphrase-file words.txt", ""),
        ("keystore slot add recovery --yes --recovery-file second.txt", ""),
        ("keystore slot prove", ""),
        ("keystore slot remove env-5 --yes --reason drill", ""),
        ("keystore rotate wrapping-key", ""),
        ("keystore rotate api-key-pepper", ""),
        ("keystore rotate session-key", ""),
        ("keystore rotate pseudonym-key", ""),
        ("backup create backups/one.bursar-backup", ""),
        ("backup verify backups/one.bursar-backup", ""),
        ("doctor", ""),
        ("notify test", ""),
        ("audit verify --deep", ""),
        ("audit tail", ""),
        ("audit export trail.jsonl", ""),
        ("audit verify --export trail.jsonl", ""),
        ("errors show mara_ilves", ""),
        ("errors reset mara_ilves --reason drill", ""),
        ("loss show mara_ilves", ""),
    ] {
        if line == "notify test" {
            let settings = std::fs::read_to_string(desk.path("bursar.toml")).unwrap();
            let webhook = "[notify.webhook]\nurl = \"https://127.0.0.1/in\"\nsecret_file = \"none\"\nallow_loopback = true\n";
            desk.write("bursar.toml", &format!("{settings}{webhook}"));
        }
        printed(&desk, &mut seen, line, input).await;
    }
    desk.connect("kraken-ilves").await;
    for line in [
        "can mara_ilves kraken-ilves buy BTC-USD 5000",
        "order place kraken-ilves buy BTC-USD --usd 4000 --wait-ms 0",
        "order place kraken-ilves buy ETH-USD --usd 30 --wait-ms 0",
        "account show kraken-ilves",
        "balance kraken-ilves",
        "positions",
        "fills",
        "orders",
        "orders --external",
        "hierarchy",
        "status",
        "status mara_ilves",
        "stats mara_ilves",
        "check",
        "replay --limits tighter.toml",
    ] {
        printed(&desk, &mut seen, line, "").await;
    }
    let other = Desk::ready().await;
    sold_by_hand(&other).await;
    let write_off = "position write-off kraken-ilves BTC-USD --evidence 'her e-mail' --reason 'sold by hand'";
    printed(&other, &mut seen, write_off, "").await;
    let order = forgotten(&desk).await;
    for line in [
        format!("order show {order}"),
        format!("explain {order}"),
        format!("order cancel {order}"),
    ] {
        printed(&desk, &mut seen, &line, "").await;
    }
    let absent = format!("order resolve {order} --as absent --evidence 'not there' --reason 'too old'");
    let first = proposal(&printed(&desk, &mut seen, &absent, "").await);
    let allow = "loss allow mara_ilves --extra-usd 5 --reason agreed";
    let second = proposal(&printed(&desk, &mut seen, allow, "").await);
    printed(&desk, &mut seen, "approvals", "").await;
    let bystander = "user add dora_kern --email dora@example.com --tier basic";
    printed(&desk, &mut seen, bystander, "").await;
    let kill = "kill user dora_kern --mode reduce-only --reason drill";
    let on = printed(&desk, &mut seen, kill, "").await;
    let halt = "kill global --mode halt --reason drill";
    let halted = printed(&desk, &mut seen, halt, "").await;
    printed(&desk, &mut seen, "latches", "").await;
    for (document, insisting) in [(&on, ""), (&halted, "--unreconciled")] {
        let id = document["latch"]["latch_id"].as_str().unwrap();
        let release = format!("release {id} --reason over {insisting}");
        printed(&desk, &mut seen, &release, "").await;
    }
    printed(&desk, &mut seen, "latches --all", "").await;
    desk.taken_by("night_desk");
    printed(&desk, &mut seen, &format!("approve {first} --yes"), "").await;
    printed(&desk, &mut seen, &format!("reject {second} --reason no"), "").await;
    let second = venue.document("second");
    printed(&desk, &mut seen, "credentials rotate kraken-lind", &second).await;
    for line in [
        "keystore rotate root --yes --reason yearly --recovery-file new.txt --passphrase-file words.txt \
         --leave-out file-4 --leave-out systemd-credential-6 --leave-out recovery-8",
        "keystore seal --reason test",
        "keystore unseal --reason test",
        "user add gone_soon --email gone@example.com --tier basic",
        "user delete gone_soon --yes --reason gone",
        "user disable mara_ilves --reason holiday",
        "credentials delete kraken-lind --yes",
        "account close kraken-lind --yes --reason left",
    ] {
        printed(&desk, &mut seen, line, "").await;
    }
    venue.name_key(&mut desk, "KRAKEN_USER_TOMAS_LIND", "mara");
    printed(
        &desk,
        &mut seen,
        "account add kraken-lind-2 --user tomas_lind --broker kraken --role user",
        "",
    )
    .await;
    printed(&desk, &mut seen, "import-env", "").await;
    let looser = std::fs::read_to_string(desk.path("bursar.toml")).unwrap();
    desk.write(
        "bursar.toml",
        &format!("[caps]\norder_usd = \"20000\"\n\n{looser}"),
    );
    printed(&desk, &mut seen, "config apply --reason agreed", "").await;
    desk.leave_store();
    std::fs::remove_file(desk.path("bursar-data/bursar.db")).unwrap();
    let restore =
        "backup restore backups/one.bursar-backup --yes --reason drill --recovery-code-file recovery.txt";
    printed(&desk, &mut seen, restore, "").await;
    venue.close().await;

    let all: BTreeSet<String> = schemas()
        .into_iter()
        .map(|(command, _)| command.to_owned())
        .filter(|command| command != ERROR)
        .collect();
    let unseen: Vec<&String> = all.difference(&seen).collect();
    assert!(unseen.is_empty(), "no document of {unseen:?} was read");
}
