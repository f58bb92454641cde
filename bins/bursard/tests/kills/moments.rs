//! The named moments that there are, read from the source: a transaction that is added to the store is a
//! moment that a long run has to die at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use bursar_execution::machine::Step;
use strum::IntoEnumIterator;

/// The stages of what a transaction does, but for the one in which it is taken back.
const STAGES: [&str; 4] = ["begun", "uncommitted", "committed", "answered"];
/// Requests to the exchange that are more than readings, and their stages.
const CALLS: [&str; 3] = ["AddOrder", "CancelOrder", "CancelAllOrdersAfter"];
const CALL_STAGES: [&str; 5] = ["numbered", "signed", "leaving", "answered", "unanswered"];

/// Not reached by a daemon that trades or a command beside it, and why. A name without a stage stands for
/// all of its stages.
const APART: &[(&str, &str)] = &[
    ("set_default_account", "no command does it yet"),
    (
        "add_user",
        "no command does it: users, permissions and preferences are written together",
    ),
    (
        "set_permissions",
        "no command does it: users, permissions and preferences are written together",
    ),
    (
        "set_preferences",
        "no command does it: users, permissions and preferences are written together",
    ),
    ("put_by", "no command does it: a key comes in with its account"),
    ("mark_restored", "a store that comes back has no daemon yet"),
    ("doubt", "a store that comes back has no daemon yet"),
    ("come_from", "a store that comes back has no daemon yet"),
    ("erase", "a store that comes back has no daemon yet"),
    ("limit_growth", "only tests do it"),
    ("record_denial", "takes somebody who asks for what is not theirs"),
    (
        "send/withheld",
        "takes a switch between the record of an attempt and its request",
    ),
    (
        "send/recorded-meanwhile",
        "takes a reading while an order waits for its answer, and Kraken's requests go one by one; the \
         simulation comes to it",
    ),
    ("contradict", "takes an exchange that contradicts itself"),
    ("roll_day", "takes a day that ends; the simulation comes to it"),
    ("statement", "takes a day that ended while nothing ran"),
    (
        "after_prices",
        "takes pairs that are not paid for in dollars; the simulation comes to it",
    ),
    (
        "resolve-absent",
        "takes an order that contradicts itself, and two people",
    ),
    (
        "resolve-rejected",
        "takes an order that contradicts itself, and two people",
    ),
    (
        "resolve-open",
        "takes an order that contradicts itself, and two people",
    ),
    (
        "resolve-filled",
        "takes an order that contradicts itself, and two people",
    ),
    (
        "resolve-cancelled",
        "takes an order that contradicts itself, and two people",
    ),
    (
        "resolve-venue-expired",
        "takes an order that contradicts itself, and two people",
    ),
];

/// Every moment but those apart.
pub(crate) fn to_be_reached() -> &'static BTreeSet<String> {
    static ALL: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
        let mut all = in_the_source();
        all.retain(|moment| why_apart(moment).is_none());
        all
    });
    &ALL
}

/// Those apart, with the reason.
pub(crate) fn apart() -> BTreeMap<String, &'static str> {
    in_the_source()
        .into_iter()
        .filter_map(|moment| why_apart(&moment).map(|why| (moment, why)))
        .collect()
}

fn why_apart(moment: &str) -> Option<&'static str> {
    let what = moment.split('/').next().unwrap_or_default();
    APART
        .iter()
        .find(|(name, _)| *name == moment || *name == what)
        .map(|(_, why)| *why)
}

fn in_the_source() -> BTreeSet<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates");
    let mut found = BTreeSet::new();
    for file in sources(&crates.join("store-sqlite/src")) {
        let text = std::fs::read_to_string(file).unwrap();
        for what in transactions(&text) {
            found.extend(STAGES.iter().map(|stage| format!("{what}/{stage}")));
        }
    }
    for file in sources(&crates.join("execution/src")) {
        found.extend(named(&std::fs::read_to_string(file).unwrap()));
    }
    for call in CALLS {
        found.extend(CALL_STAGES.iter().map(|stage| format!("{call}/{stage}")));
    }
    for step in Step::iter() {
        found.extend(STAGES.iter().map(|stage| format!("{step}/{stage}")));
    }
    found
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
    files
}

/// The functions that hand a transaction to the writer.
fn transactions(text: &str) -> BTreeSet<String> {
    let mut function = "";
    let mut found = BTreeSet::new();
    for line in text.lines().take_while(|line| *line != "mod tests {") {
        if let Some((_, rest)) = line.split_once("fn ") {
            function = rest.split(['<', '(']).next().unwrap_or_default();
        }
        if line.contains(".write(move |tx|") {
            found.insert(function.to_owned());
        }
    }
    found
}

/// The moments that are named where they are reached.
fn named(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("reach(\"")?.strip_suffix("\");"))
        .filter_map(|names| names.split_once("\", \""))
        .map(|(what, stage)| format!("{what}/{stage}"))
        .collect()
}

/// Those apart as a table for people, one row for each reason.
fn page() -> String {
    let mut rows: Vec<(&str, Vec<String>)> = Vec::new();
    for (name, why) in APART {
        let name = format!("`{name}`");
        match rows.iter_mut().find(|(known, _)| known == why) {
            Some((_, names)) => names.push(name),
            None => rows.push((why, vec![name])),
        }
    }
    let rows = rows
        .iter()
        .map(|(why, names)| format!("| {} | {why} |\n", names.join(", ")));
    format!("| moments | why |\n|---|---|\n{}", rows.collect::<String>())
}

/// `BURSAR_WRITE_PAGES=1` writes the page anew.
#[test]
fn the_page_about_proofs_names_each_moment_that_is_apart() {
    const BEFORE: &str = "<!-- moments apart, from bins/bursard/tests/kills/moments.rs -->\n";
    const AFTER: &str = "<!-- end -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEFORE).unwrap();
    let (kept, after) = rest.split_once(AFTER).unwrap();
    if std::env::var_os("BURSAR_WRITE_PAGES").is_some() {
        std::fs::write(&path, [before, BEFORE, &page(), AFTER, after].concat()).unwrap();
        return;
    }

    assert!(
        kept == page(),
        "tests/README.md is old: write it anew with BURSAR_WRITE_PAGES=1\n{}",
        page()
    );
}

/// The campaign asks for this many.
const AT_LEAST: usize = 60;

#[test]
fn there_are_enough_moments_and_each_that_is_apart_exists() {
    let all = in_the_source();
    assert!(to_be_reached().len() >= AT_LEAST, "{all:?}");
    for (name, _) in APART {
        let is_known = all
            .iter()
            .any(|moment| moment == name || moment.split('/').next().is_some_and(|what| what == *name));
        assert!(is_known, "`{name}` is apart and does not exist");
    }
    // One of each kind, so that none was missed as a whole.
    for moment in [
        "dispatch/committed",
        "send/recorded",
        "AddOrder/leaving",
        "prove-absent/begun",
    ] {
        assert!(all.contains(moment), "no `{moment}` in {all:?}");
    }
}
