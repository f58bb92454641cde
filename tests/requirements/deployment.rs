//! What is shipped to run Bursar as a service, and the pages that go with it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bursar_controls::LatchCause;
use bursar_tests::project::{files, root};
use bursard::options::{Command, Options};
use clap::Parser;
use strum::IntoEnumIterator;

const SETTINGS: &str = "/etc/bursar/bursar.toml";
const DATA: &str = "/var/lib/bursar";
/// Words of commands that take something away or begin to trade.
const DELETES_OR_STARTS: [&str; 7] = [
    "rm",
    "userdel",
    "deluser",
    "start",
    "restart",
    "enable",
    "try-restart",
];

fn shipped(name: &str) -> String {
    fs::read_to_string(root().join("deploy").join(name)).unwrap()
}

/// What a unit sets, line by line.
fn unit() -> BTreeSet<String> {
    shipped("bursard.service")
        .lines()
        .filter(|line| !line.starts_with(['#', '[']) && !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The settings file that this command line of the daemon names; it is read as the daemon reads it.
fn settings_of(words: &[&str]) -> Option<PathBuf> {
    match Options::try_parse_from(words).unwrap().command {
        Command::Run(run) => run.config,
        other => panic!("not the daemon: {other:?}"),
    }
}

#[test]
fn t1_t5_the_service_starts_the_daemon_restarts_it_and_keeps_its_log_where_services_log() {
    let unit = unit();
    let starts = |line: &&String| line.starts_with("ExecStart=");
    let started = unit.iter().find(starts).unwrap().trim_start_matches("ExecStart=");
    let words: Vec<&str> = started.split(' ').collect();

    assert_eq!(words[0], "/usr/bin/bursard");
    assert_eq!(settings_of(&words).as_deref(), Some(Path::new(SETTINGS)));
    for line in [
        "Restart=on-failure",
        "User=bursar",
        "UMask=0077",
        "LimitCORE=0",
        // A large store takes minutes to be read and brought to a new format; a start that is ended begins anew.
        "TimeoutStartSec=infinity",
    ] {
        assert!(unit.contains(line), "{line}");
    }
    // The daemon logs to its standard error; nothing sends that elsewhere.
    assert!(!unit.iter().any(|line| line.starts_with("StandardError")));
    // Started only where somebody has set it up.
    assert!(unit.contains(&format!("ConditionPathExists={SETTINGS}")));
}

#[test]
fn t1_a_container_starts_the_same_daemon() {
    let recipe = shipped("Containerfile");
    let started = recipe.lines().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    let words: Vec<String> = serde_json::from_str(started).unwrap();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();

    assert_eq!(settings_of(&words).as_deref(), Some(Path::new(SETTINGS)));
    assert!(recipe.lines().any(|line| line == "USER bursar"));
}

#[test]
fn t2_the_store_lies_where_no_deployment_goes() {
    let settings = bursar_config::Settings::parse(&shipped("bursar.toml"), "bursar.toml").unwrap();

    assert_eq!(settings.data_dir.as_str(), DATA);
    assert!(unit().contains("StateDirectory=bursar"));
    let recipe = shipped("Containerfile");
    let volumes = recipe
        .lines()
        .find_map(|line| line.strip_prefix("VOLUME "))
        .unwrap();
    let volumes: Vec<String> = serde_json::from_str(volumes).unwrap();
    assert!(volumes.contains(&DATA.to_owned()));
    // What opens the store is a volume of its own, and a folder that is made for the daemon's user.
    let key = Path::new(settings.unlock.file.as_str()).parent().unwrap();
    assert!(volumes.iter().any(|volume| Path::new(volume) == key));
    assert!(!key.starts_with(DATA));
    let folders = shipped("tmpfiles.conf");
    for folder in [Path::new(DATA), key] {
        let made = folders
            .lines()
            .find(|line| line.split_whitespace().nth(1) == folder.to_str())
            .unwrap();
        let words: Vec<&str> = made.split_whitespace().collect();
        assert_eq!(words[2..5], ["0700", "bursar", "bursar"]);
    }
}

#[test]
fn t2_t3_no_package_deletes_a_store_or_starts_without_one() {
    for script in ["preinst", "postinst", "prerm", "postrm"] {
        let text = shipped(&format!("debian/{script}"));
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            for word in DELETES_OR_STARTS {
                assert!(!words.contains(&word), "{script}: {line}");
            }
        }
    }
}

/// The pages that the rows of an index lead to, by what the rows begin with.
fn index() -> Vec<(String, PathBuf)> {
    let folder = root().join("docs/runbooks");
    let text = fs::read_to_string(folder.join("README.md")).unwrap();
    text.lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let name = cells.next()?.trim_matches('`').to_owned();
            let (_, link) = cells.next()?.split_once("](")?;
            let (page, _) = link.split_once(')')?;
            Some((name, folder.join(page)))
        })
        .collect()
}

#[test]
fn w7_every_scenario_and_every_cause_of_a_switch_has_its_page() {
    let index = index();
    let scenarios = (1..=12).map(|number| format!("S{number}"));
    let causes = LatchCause::iter().map(|cause| cause.to_string());
    for name in scenarios.chain(causes) {
        let row = index.iter().find(|(listed, _)| *listed == name);
        let (_, page) = row.unwrap_or_else(|| panic!("no page for {name}"));
        let text = fs::read_to_string(page).unwrap_or_else(|_| panic!("no {}", page.display()));
        for part in ["**You see**", "**It means**", "**Do**", "**Do not**"] {
            assert!(text.contains(part), "{}: no {part}", page.display());
        }
    }
    let listed: BTreeSet<&PathBuf> = index.iter().map(|(_, page)| page).collect();
    for page in files(&root().join("docs/runbooks"), &["md"]) {
        assert!(
            listed.contains(&page) || page.ends_with("README.md"),
            "{} is in no list",
            page.display()
        );
    }
}

/// The files of ours that a page leads to.
fn links(page: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(page).unwrap();
    let folder = page.parent().unwrap();
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(link, _)| link.split('#').next().unwrap_or_default())
        .filter(|link| !link.is_empty() && !link.contains(':'))
        .map(|link| folder.join(link).canonicalize())
        .map(|found| found.unwrap_or_else(|_| panic!("{}: a link leads nowhere", page.display())))
        .collect()
}

#[test]
fn x1_x2_every_page_is_reached_from_the_first_one() {
    let root = root().canonicalize().unwrap();
    let mut reached = BTreeSet::new();
    let mut next = vec![root.join("README.md")];
    while let Some(page) = next.pop() {
        let is_page = page.extension().is_some_and(|ending| ending == "md");
        if page.is_dir() {
            next.extend(files(&page, &["md"]));
        } else if is_page && reached.insert(page.clone()) {
            next.extend(links(&page));
        }
    }

    for page in [
        "ARCHITECTURE.md",
        "SECURITY.md",
        "docs/install.md",
        "docs/demo.md",
    ] {
        assert!(reached.contains(&root.join(page)), "{page} is not reached");
    }
    let lost: Vec<PathBuf> = files(&root.join("docs"), &["md"])
        .into_iter()
        .filter(|page| !reached.contains(page))
        .collect();
    assert!(lost.is_empty(), "no page leads to {lost:?}");
}

#[test]
fn x4_the_guide_says_of_which_version_and_date_it_is() {
    let guide = fs::read_to_string(root().join("docs/operating.md")).unwrap();
    let of = guide
        .lines()
        .find(|line| line.starts_with("For Bursar "))
        .unwrap();

    let version = env!("CARGO_PKG_VERSION");
    let (_, date) = of
        .split_once(&format!("For Bursar {version}, as of "))
        .unwrap_or_else(|| panic!("{of}: this is version {version}"));
    let (month, year) = date.trim_end_matches('.').split_once(' ').unwrap();
    assert!(year.parse::<u16>().is_ok_and(|year| year > 2_025), "{date}");
    assert!(month.chars().all(char::is_alphabetic), "{date}");
}
