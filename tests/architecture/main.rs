//! The law of `ARCHITECTURE.md`, checked against the workspace as it is.
#![cfg(test)]

mod proofs;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use bursar_tests::project::{files, root};

/// Crate → what it may use, from the table; `None` means everything.
fn allowed() -> BTreeMap<String, Option<BTreeSet<String>>> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = text.split("## Crates, and who may use whom").nth(1).unwrap();
    let rows = section
        .lines()
        .skip_while(|line| !line.starts_with("| layer"))
        .skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let name = cells[1].trim_matches('`').to_owned();
            let uses = match cells[3] {
                "all" => None,
                "–" => Some(BTreeSet::new()),
                list => Some(
                    list.split(',')
                        .map(|cell| cell.trim().trim_matches('`').to_owned())
                        .collect(),
                ),
            };
            (name, uses)
        })
        .collect()
}

struct Member {
    name: String,
    manifest: toml::Table,
    folder: PathBuf,
}

fn members() -> Vec<Member> {
    let mut folders: Vec<PathBuf> = ["crates", "bins"]
        .iter()
        .flat_map(|parent| fs::read_dir(root().join(parent)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("Cargo.toml").exists())
        .collect();
    folders.push(root().join("tests"));
    folders.sort();
    folders
        .into_iter()
        .map(|folder| {
            let manifest: toml::Table = fs::read_to_string(folder.join("Cargo.toml"))
                .unwrap()
                .parse()
                .unwrap();
            let package = manifest["package"]["name"].as_str().unwrap();
            let name = package.strip_prefix("bursar-").unwrap_or(package).to_owned();
            Member {
                name,
                manifest,
                folder,
            }
        })
        .collect()
}

/// What a member uses of ours when it is built, tests left out.
fn edges(member: &Member) -> BTreeSet<String> {
    let ours = |table: &toml::Table| -> BTreeSet<String> {
        table
            .keys()
            .filter_map(|key| {
                key.strip_prefix("bursar-")
                    .or_else(|| (key == "bursar" || key == "bursard").then_some(key))
            })
            .map(str::to_owned)
            .collect()
    };
    let sections = ["dependencies", "build-dependencies"];
    sections
        .iter()
        .filter_map(|name| member.manifest.get(*name)?.as_table())
        .flat_map(ours)
        .collect()
}

#[test]
fn every_crate_uses_only_what_the_table_allows() {
    let allowed = allowed();
    let mut broken = Vec::new();
    for member in members() {
        match allowed.get(&member.name) {
            None => broken.push(format!(
                "`{}` is not in the table of ARCHITECTURE.md",
                member.name
            )),
            Some(None) => {}
            Some(Some(uses)) => {
                for edge in edges(&member).difference(uses) {
                    broken.push(format!(
                        "`{}` may not use `{edge}`: see the layers in ARCHITECTURE.md",
                        member.name
                    ));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_table_names_no_crate_that_is_not_there() {
    let there: BTreeSet<String> = members().into_iter().map(|member| member.name).collect();
    let gone: Vec<String> = allowed()
        .into_keys()
        .filter(|name| !there.contains(name))
        .collect();

    assert!(
        gone.is_empty(),
        "ARCHITECTURE.md names {gone:?}, which the workspace does not have"
    );
}

#[test]
fn only_the_named_crates_hold_ciphers_http_clients_and_sql() {
    let law = [
        ("chacha20poly1305", vec!["keystore"]),
        ("argon2", vec!["keystore"]),
        ("reqwest", vec!["broker-kraken", "notify", "tests"]),
        ("lettre", vec!["notify"]),
        ("rusqlite", vec!["store-sqlite"]),
    ];
    for (library, holders) in law {
        for member in members() {
            let uses = member
                .manifest
                .get("dependencies")
                .and_then(|table| table.get(library))
                .is_some();
            assert!(
                !uses || holders.contains(&member.name.as_str()),
                "`{}` may not use `{library}`",
                member.name
            );
        }
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace_and_has_a_front_page() {
    for member in members() {
        assert_eq!(
            member.manifest["lints"]["workspace"].as_bool(),
            Some(true),
            "`{}` does not take the workspace's lints",
            member.name
        );
        let library = member.folder.join("src/lib.rs");
        let main = member.folder.join("src/main.rs");
        let text = fs::read_to_string(if library.exists() { library } else { main }).unwrap();
        let page = text.lines().take_while(|line| line.starts_with("//!")).count();
        let least = if member.name == "tests" { 1 } else { 5 };
        assert!(
            page >= least,
            "the front page of `{}` has {page} lines",
            member.name
        );
    }
}

fn is_published(member: &Member) -> bool {
    member.manifest["package"].get("publish").is_none()
}

/// Whoever takes a crate from a registry gets none of what is not published.
#[test]
fn what_is_published_uses_only_what_is_published() {
    let workspace: toml::Table = fs::read_to_string(root().join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let shared = workspace["workspace"]["dependencies"].as_table().unwrap();
    let (published, others): (Vec<_>, Vec<_>) = members().into_iter().partition(is_published);
    let kept: BTreeSet<String> = others.into_iter().map(|member| member.name).collect();
    assert!(kept.contains("testkit") && published.len() >= 15);
    for member in &published {
        let used: Vec<_> = edges(member).intersection(&kept).cloned().collect();
        assert!(
            used.is_empty(),
            "`{}` is published and uses {used:?}",
            member.name
        );
    }
    // In the tests of what is published they are left out, because there is no version to ask for.
    for (name, dependency) in shared {
        let name = name.strip_prefix("bursar-").unwrap_or(name);
        assert!(
            !kept.contains(name) || dependency.get("version").is_none(),
            "`{name}` is not published and has a version among the workspace's dependencies"
        );
    }
}

#[test]
fn every_published_crate_says_what_it_promises_and_where_it_ends() {
    let embedding = fs::read_to_string(root().join("docs/embedding.md")).unwrap();
    for member in members().iter().filter(|member| is_published(member)) {
        let name = &member.name;
        let readme = fs::read_to_string(member.folder.join("README.md")).unwrap_or_default();
        for part in [
            "## What it promises",
            "## What it does not do",
            "## Example",
            "```rust",
            "## Units and errors",
        ] {
            assert!(readme.contains(part), "the README of `{name}` has no `{part}`");
        }
        let library = fs::read_to_string(member.folder.join("src/lib.rs")).unwrap();
        assert!(
            library.contains("#[doc = include_str!(\"../README.md\")]"),
            "the example in the README of `{name}` is not run"
        );
        for field in ["description", "keywords", "categories", "include"] {
            assert!(
                member.manifest["package"].get(field).is_some(),
                "`{name}` has no {field}"
            );
        }
        assert!(
            embedding.contains(&format!("](../crates/{name})")) || name == "points",
            "docs/embedding.md does not lead to `{name}`"
        );
    }
}

/// An example that nobody runs is one that does not work any more.
#[test]
fn every_example_is_a_test() {
    // Serves until somebody ends it.
    let not_run = ["serve"];
    let mut seen = 0;
    for member in members() {
        let Ok(entries) = fs::read_dir(member.folder.join("examples")) else {
            continue;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            let name = path.file_stem().unwrap().to_str().unwrap();
            if not_run.contains(&name) {
                continue;
            }
            let main = if path.is_dir() {
                path.join("main.rs")
            } else {
                path.clone()
            };
            let declared = member
                .manifest
                .get("example")
                .and_then(|examples| examples.as_array());
            let runs = declared.into_iter().flatten().any(|example| {
                example["name"].as_str() == Some(name)
                    && example.get("test").and_then(toml::Value::as_bool) == Some(true)
            });
            let calls_main = fs::read_to_string(&main).unwrap().contains("#[test]");
            assert!(
                runs && calls_main,
                "the example `{name}` of `{}` is not run",
                member.name
            );
            seen += 1;
        }
    }
    assert!(seen >= 4, "{seen} examples");
}

/// The rules must be replayable: they may not know the time, wait, or ask the system for anything.
#[test]
fn vocabulary_and_rules_are_pure() {
    let pure = ["model", "config", "permissions", "controls", "ledger"];
    let impure = [
        "tokio",
        "async-trait",
        "getrandom",
        "rustix",
        "reqwest",
        "rusqlite",
        "tracing",
        "fastrand",
    ];
    for member in members()
        .into_iter()
        .filter(|member| pure.contains(&member.name.as_str()))
    {
        let Some(dependencies) = member.manifest["dependencies"].as_table() else {
            continue;
        };
        for library in impure {
            assert!(
                !dependencies.contains_key(library),
                "`{}` may not use `{library}`",
                member.name
            );
        }
        for file in files(&member.folder.join("src"), &["rs"]) {
            let text = fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            for word in [
                "async fn",
                "std::fs",
                "std::net",
                "std::env",
                "SystemTime",
                "Instant::now",
                "thread::",
            ] {
                assert!(!code.contains(word), "{} holds `{word}`", file.display());
            }
        }
    }
}
