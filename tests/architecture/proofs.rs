//! What the proofs say of themselves: that they can be asked for at length, and what they were run on.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use bursar_tests::project::{files, root};

#[test]
fn every_package_with_properties_is_in_the_recipe_that_runs_them_at_length() {
    let justfile = fs::read_to_string(root().join("justfile")).unwrap();
    let recipe = justfile.split("\nproperties ").nth(1).unwrap();
    let recipe = recipe.split("\n\n").next().unwrap();
    let named: BTreeSet<&str> = recipe.split_whitespace().collect();

    let mut missing = BTreeSet::new();
    for folder in fs::read_dir(root().join("crates")).unwrap() {
        let folder = folder.unwrap();
        let package = format!("bursar-{}", folder.file_name().to_str().unwrap());
        let has_properties = files(&folder.path(), &["rs"])
            .iter()
            .any(|file| fs::read_to_string(file).unwrap().contains("proptest! {"));
        if has_properties && !named.contains(package.as_str()) {
            missing.insert(package);
        }
    }

    assert!(missing.is_empty(), "`just properties` leaves out {missing:?}");
}

#[test]
fn no_property_has_a_number_of_cases_that_cannot_be_raised() {
    let fixed = |line: &str| {
        ["cases: ", "with_cases("].iter().any(|words| {
            let after = line.split(words).nth(1).and_then(|rest| rest.chars().next());
            line.contains("proptest_config") && after.is_some_and(|first| first.is_ascii_digit())
        })
    };
    let mut found = Vec::new();
    for file in ["crates", "bins"]
        .map(|place| files(&root().join(place), &["rs"]))
        .concat()
    {
        let text = fs::read_to_string(&file).unwrap();
        found.extend(
            text.lines()
                .filter(|line| fixed(line))
                .map(|line| format!("{}: {}", file.display(), line.trim())),
        );
    }

    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Seven or forty digits of a commit; numbers are written with commas.
fn commits(text: &str) -> BTreeSet<&str> {
    let is_commit = |word: &&str| {
        let is_hex = |letter: char| letter.is_ascii_digit() || ('a'..='f').contains(&letter);
        matches!(word.len(), 7 | 40)
            && word.chars().all(is_hex)
            && word.contains(|letter: char| letter.is_ascii_digit())
    };
    text.split(|letter: char| !letter.is_alphanumeric())
        .filter(is_commit)
        .collect()
}

/// What git says, or nothing where it cannot say anything.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .current_dir(root())
        .args(arguments)
        .output()
        .ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}

#[test]
fn every_commit_that_the_pages_about_runs_name_is_in_the_history() {
    let pages = ["docs/reliability.md", "docs/performance.md"]
        .map(|page| fs::read_to_string(root().join(page)).unwrap())
        .concat();
    let named = commits(&pages);
    assert!(named.len() > 5, "{named:?}");
    // An archive has no history, and a shallow copy only its end.
    let is_whole = git(&["rev-parse", "--is-shallow-repository"]).as_deref() == Some("false");
    let top = git(&["rev-parse", "--show-toplevel"]).and_then(|top| fs::canonicalize(top).ok());
    if !is_whole || top != fs::canonicalize(root()).ok() {
        println!("not checked: there is no whole history here");
        return;
    }

    let gone: Vec<&&str> = named
        .iter()
        .filter(|commit| git(&["merge-base", "--is-ancestor", commit, "HEAD"]).is_none())
        .collect();
    if gone.len() == named.len() {
        println!("not checked: the history here begins later");
        return;
    }

    assert!(gone.is_empty(), "not in the history: {gone:?}");
}

#[test]
fn a_commit_is_told_from_other_words() {
    let text = "| 2026-11-28 | 9ed5876 | 5,121 | seed 20261120; at 0b80b36: effaced, 1234, `a2bca66`";

    assert_eq!(commits(text), BTreeSet::from(["0b80b36", "9ed5876", "a2bca66"]));
}
