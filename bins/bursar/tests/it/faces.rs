//! What people and programs see: help texts, tables and the shapes of the JSON.

use bursar::arguments::command_tree;
use serde_json::Value;

use crate::desk::Desk;

#[test]
fn the_help_of_every_command_is_reviewed() {
    let mut text = String::new();
    help_of(&mut command_tree(), "", &mut text);

    insta::assert_snapshot!(text);
}

fn help_of(command: &mut clap::Command, path: &str, text: &mut String) {
    let path = format!("{path} {}", command.get_name()).trim_start().to_owned();
    // Widths follow the terminal otherwise.
    let mut shown = command.clone().term_width(100);
    text.push_str(&format!("==== {path}\n{}\n", shown.render_long_help()));
    for below in command.get_subcommands_mut() {
        if below.get_name() != "help" {
            help_of(below, &path, text);
        }
    }
}

#[test]
fn every_command_that_takes_something_shows_an_example() {
    let mut missing = Vec::new();
    look_for_examples(&command_tree(), "", &mut missing);

    assert!(missing.is_empty(), "without an example: {missing:?}");
}

fn look_for_examples(command: &clap::Command, path: &str, missing: &mut Vec<String>) {
    let path = format!("{path} {}", command.get_name());
    let takes_something = command.get_arguments().any(|argument| !argument.is_global_set());
    let has_example = command
        .get_after_help()
        .is_some_and(|help| help.to_string().contains("Example"));
    if takes_something && !command.has_subcommands() && !has_example {
        missing.push(path.clone());
    }
    for below in command.get_subcommands() {
        look_for_examples(below, &path, missing);
    }
}

const READING: [&str; 18] = [
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
    "audit tail",
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
