//! No text names a command that is not there: hints, messages, help and pages are read like an operator
//! would type them.

use std::fs;

use bursar_tests::project::{files, root};

/// Where texts are that people read.
const TEXTS: [&str; 7] = [
    "README.md",
    "ARCHITECTURE.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "docs",
    "crates",
    "bins",
];
/// Fewer would mean that the search itself went wrong.
const AT_LEAST: usize = 200;

#[test]
fn every_command_that_a_text_names_is_there() {
    let texts = TEXTS
        .iter()
        .flat_map(|place| files(&root().join(place), &["md", "rs", "snap"]));
    let tree = bursar::arguments::command_tree();
    let (mut looked_at, mut wrong) = (0, Vec::new());
    for file in texts {
        let text = fs::read_to_string(&file).unwrap();
        for line in lines(&text) {
            looked_at += 1;
            if let Err(why) = typed(&tree, &line) {
                wrong.push(format!("{}: `bursar {line}`: {why}", file.display()));
            }
        }
    }

    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(looked_at >= AT_LEAST, "only {looked_at} commands were found");
}

#[test]
fn a_command_that_is_not_there_is_seen() {
    let tree = bursar::arguments::command_tree();

    assert!(typed(&tree, "credentials set ACCOUNT").is_ok());
    assert!(typed(&tree, "release {} --reason …").is_ok());
    assert!(typed(&tree, "credentials rename ACCOUNT").is_err());
    assert!(typed(&tree, "release ID --forever").is_err());
}

/// What follows `bursar ` where a text shows a command: between backquotes, and in lines of their own, also
/// behind a pipe.
fn lines(text: &str) -> Vec<String> {
    let quoted = text.split("`bursar ").skip(1).filter_map(|rest| {
        let (line, _) = rest.split_once('`')?;
        // A quotation that was broken over two lines.
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        Some(line.replace("//! ", "").replace("/// ", "").replace("\\ ", ""))
    });
    let alone = text
        .lines()
        .flat_map(|line| line.split(" | "))
        .filter_map(|line| {
            let line = line.trim_start();
            let line = line.strip_prefix("$ ").unwrap_or(line);
            let line = line.strip_prefix("sudo -u bursar ").unwrap_or(line);
            Some(line.strip_prefix("bursar ")?.to_owned())
        });
    quoted.chain(alone).collect()
}

/// Whether such a line leads to a command, and to options that it has.
fn typed(tree: &clap::Command, line: &str) -> Result<(), String> {
    let mut command = tree;
    let mut is_leading = true;
    for word in line.split_whitespace() {
        if word.starts_with(['#', '>', '|', '<']) || word == "&&" || word == "\\" {
            break;
        }
        if let Some(option) = word.strip_prefix("--") {
            let name = option.split('=').next().unwrap_or_default();
            let name = name.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
            let is_there = |of: &clap::Command| {
                of.get_arguments()
                    .any(|argument| argument.get_long() == Some(name))
            };
            if !["help", "version", ""].contains(&name) && !is_there(command) && !is_there(tree) {
                return Err(format!("no option --{name}"));
            }
            continue;
        }
        if !is_leading {
            continue;
        }
        match command.find_subcommand(word) {
            Some(below) => command = below,
            None if command.has_subcommands() && is_name(word) => {
                return Err(format!("no command {word}"));
            }
            None => is_leading = false,
        }
    }
    Ok(())
}

/// Not a place for something else, such as `{}`, `…` or `COMMAND`.
fn is_name(word: &str) -> bool {
    word.chars()
        .all(|letter| letter.is_ascii_lowercase() || letter == '-')
}
