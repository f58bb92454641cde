//! What people and programs see: help texts, tables and the shapes of the JSON.

use bursar::arguments::command_tree;
use serde_json::Value;

use crate::desk::Desk;

#[tokio::test]
async fn the_help_of_every_command_is_reviewed() {
    let desk = Desk::bare();
    let mut text = String::new();
    for path in paths(&command_tree(), "") {
        let help = desk.done(&format!("{path} --help")).await;
        let own = if path.is_empty() {
            help
        } else {
            without_globals(&help)
        };
        text.push_str(&format!("==== bursar {path}\n{own}\n"));
    }

    insta::assert_snapshot!(text);
}

/// A help text without the options that are the same everywhere.
fn without_globals(help: &str) -> String {
    let mut kept = Vec::new();
    let mut skipping = false;
    for line in help.lines() {
        if line == "Everywhere:" {
            skipping = true;
        } else if skipping && !line.is_empty() && !line.starts_with(' ') {
            skipping = false;
        }
        if !skipping {
            kept.push(line);
        }
    }
    kept.join("\n")
}

/// The words of every command, the root included.
fn paths(command: &clap::Command, path: &str) -> Vec<String> {
    let mut all = vec![path.to_owned()];
    for below in command.get_subcommands() {
        if below.get_name() != "help" {
            all.extend(paths(below, format!("{path} {}", below.get_name()).trim_start()));
        }
    }
    all
}

fn command_at<'a>(path: &str, root: &'a clap::Command) -> &'a clap::Command {
    path.split(' ')
        .filter(|word| !word.is_empty())
        .fold(root, |command, word| {
            command
                .get_subcommands()
                .find(|below| below.get_name() == word)
                .unwrap()
        })
}

#[test]
fn every_command_shows_an_example_of_its_own() {
    let root = command_tree();

    for path in paths(&root, "") {
        let command = command_at(&path, &root);
        if command.has_subcommands() {
            continue;
        }
        let help = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(help.contains(&format!("bursar {path}")), "`{path}` shows: {help}");
    }
}

#[test]
fn every_argument_says_what_it_is() {
    let root = command_tree();

    for path in paths(&root, "") {
        for argument in command_at(&path, &root).get_arguments() {
            assert!(argument.get_help().is_some(), "`{path}`: {}", argument.get_id());
        }
    }
}

const READING: [&str; 19] = [
    "user list",
    "user show mara_ilves",
    "account list",
    "account show kraken-ilves",
    "credentials list",
    "permissions show mara_ilves",
    "preferences show mara_ilves",
    "status",
    "hierarchy",
    "balance kraken-ilves",
    "positions",
    "orders",
    "fills",
    "can mara_ilves kraken-ilves buy BTC-USD 5000",
    "latches",
    "latches --all",
    "loss show mara_ilves",
    "errors show mara_ilves",
    "stats mara_ilves",
];

async fn lived_in() -> Desk {
    let desk = Desk::ready().await;
    desk.run("order place kraken-ilves buy BTC-USD --usd 40 --wait-ms 0")
        .await;
    desk.later(5);
    desk.run("order place kraken-ilves buy BTC-USD --usd 4000 --wait-ms 0")
        .await;
    desk.done("kill user mara_ilves --mode reduce-only --reason 'looks odd'")
        .await;
    desk
}

#[tokio::test]
async fn every_table_is_reviewed() {
    let desk = lived_in().await;
    let mut text = String::new();
    for line in READING {
        let ran = desk.run(line).await;
        text.push_str(&format!("$ bursar {line}\n{}\n", ran.out));
        assert_eq!(ran.err, "", "`{line}` writes to the error stream");
        assert!(!ran.out.contains('\u{1b}'), "`{line}` colours a pipe");
    }

    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn the_shape_of_every_document_is_reviewed() {
    let desk = lived_in().await;
    let mut text = String::new();
    for line in READING {
        text.push_str(&format!("$ bursar {line} --json\n{:#}\n", desk.json(line).await));
    }

    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn no_document_has_a_float() {
    let desk = lived_in().await;

    for line in READING {
        let document = desk.json(line).await;
        assert!(
            !has_float(&document),
            "`{line}` has an amount as a number: {document:#}"
        );
    }
}

fn has_float(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_float),
        Value::Object(fields) => fields.values().any(has_float),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

#[tokio::test]
async fn the_trail_shows_who_did_what_to_whom_and_why() {
    let desk = lived_in().await;

    let table = desk.done("audit tail").await;
    let heading: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(
        heading,
        ["NUMBER", "WHEN", "WHO", "WHAT", "OUTCOME", "ABOUT", "WHY", "DATA"]
    );
    let tripped = table.lines().find(|line| line.contains("latch.tripped")).unwrap();
    for part in [
        "2026-11-20 12:00:05 UTC",
        "operator:ops_desk",
        "allowed",
        "user mara_ilves",
        "looks odd",
    ] {
        assert!(tripped.contains(part), "{part} is missing in {tripped}");
    }
    let document = desk.json("audit tail -n 3 --user mara_ilves").await;
    let records = document["records"].as_array().unwrap();
    assert_eq!(records.len(), 2, "{document:#}");
    for field in [
        "seq", "at", "actor", "action", "outcome", "subject", "data", "prev", "hash",
    ] {
        assert!(
            records[0].get(field).is_some(),
            "{field} is missing in {:#}",
            records[0]
        );
    }
    assert!(!has_float(&document));
    desk.done("user add tomas_brandt --email tomas@example.com --tier basic")
        .await;
    let nobody = desk.json("audit tail -n 1 --user mara_ilves").await;
    assert_eq!(nobody["records"], serde_json::json!([]));
}
