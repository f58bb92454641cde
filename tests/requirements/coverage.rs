//! The table of `docs/requirements.md` names a proof of every requirement, or says what it waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use bursar_tests::project::{files, root};

/// The numbers of each section: its letter, how many there are, and those that were never given out.
const SECTIONS: [(&str, u32, &[u32]); 25] = [
    ("A", 48, &[47]),
    ("B", 14, &[12]),
    ("C", 32, &[]),
    ("D", 21, &[]),
    ("E", 18, &[]),
    ("F", 7, &[]),
    ("G", 18, &[]),
    ("H", 12, &[]),
    ("I", 20, &[]),
    ("J", 17, &[]),
    ("K", 19, &[]),
    ("L", 9, &[]),
    ("M", 10, &[]),
    ("N", 6, &[]),
    ("O", 8, &[]),
    ("P", 3, &[]),
    ("Q", 4, &[]),
    ("R", 1, &[]),
    ("S", 15, &[]),
    ("T", 5, &[]),
    ("U", 10, &[]),
    ("V", 6, &[]),
    ("W", 7, &[]),
    ("X", 4, &[]),
    ("Decision D", 30, &[]),
];

/// How a row begins that no program can fulfil.
const ADVICE: &str = "not for a program: ";

struct Row {
    number: String,
    paraphrase: String,
    proof: String,
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(root().join("docs/requirements.md")).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .filter(|line| !line.starts_with("Number") && !line.starts_with("---"))
        .map(|line| (line, line.split(" | ").map(str::trim).collect::<Vec<_>>()))
        // The table of what waits has two.
        .filter(|(_, cells)| cells.len() != 2)
        .map(|(line, cells)| {
            assert_eq!(cells.len(), 3, "a row has three cells: {line}");
            Row {
                number: cells[0].to_owned(),
                paraphrase: cells[1].to_owned(),
                proof: cells[2].to_owned(),
            }
        })
        .collect()
}

fn numbers() -> BTreeSet<String> {
    SECTIONS
        .iter()
        .flat_map(|(letter, last, never)| {
            (1..=*last)
                .filter(|number| !never.contains(number))
                .map(move |number| format!("{letter}{number}"))
        })
        .collect()
}

/// The tests of each source file that has some, by the package and file that they are called by.
fn tests() -> BTreeMap<String, BTreeSet<String>> {
    ["crates", "bins", "tests"]
        .iter()
        .flat_map(|folder| files(&root().join(folder), &["rs"]))
        .map(|path| {
            let found = names(&fs::read_to_string(&path).unwrap());
            (path.strip_prefix(root()).unwrap().display().to_string(), found)
        })
        .collect()
}

/// The functions that bear a test attribute.
fn names(source: &str) -> BTreeSet<String> {
    let mut is_test = false;
    let mut names = BTreeSet::new();
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if line.starts_with("#[ignore") {
            is_test = false;
        } else if let Some(rest) = line
            .strip_prefix("async fn ")
            .or_else(|| line.strip_prefix("fn "))
        {
            let name = rest.split('(').next().unwrap_or_default();
            if std::mem::take(&mut is_test) {
                names.insert(name.to_owned());
            }
        }
    }
    names
}

/// `path.rs::name` of each proof that a row names.
fn proofs(row: &Row) -> Vec<(&str, &str)> {
    let waits = row.proof.find("later: ").unwrap_or(row.proof.len());
    let proof = if row.proof.starts_with(ADVICE) {
        ""
    } else {
        &row.proof[..waits]
    };
    proof
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|proof| {
            proof
                .split_once("::")
                .unwrap_or_else(|| panic!("{}: `{proof}` is not file::name", row.number))
        })
        .collect()
}

#[test]
fn every_number_has_one_row() {
    let mut seen = BTreeSet::new();
    for row in rows() {
        assert!(seen.insert(row.number.clone()), "{} has two rows", row.number);
        assert!(
            row.paraphrase.len() > 5,
            "{} does not say what is required",
            row.number
        );
    }
    let numbers = numbers();
    let missing: Vec<_> = numbers.difference(&seen).collect();
    assert!(missing.is_empty(), "no row: {missing:?}");
    let invented: Vec<_> = seen.difference(&numbers).collect();
    assert!(invented.is_empty(), "no such number: {invented:?}");
}

#[test]
fn every_row_names_a_proof_or_what_it_waits_for() {
    for row in rows() {
        let has_proof = !proofs(&row).is_empty();
        let rest = row.proof.split_once("later: ").map(|(_, what)| what);
        let waits = rest.is_some_and(|what| what.len() > 3);
        let advice = row.proof.strip_prefix(ADVICE).is_some_and(|why| why.len() > 3);
        assert!(
            has_proof || waits || advice,
            "{} has neither a test nor a reason",
            row.number
        );
    }
}

#[test]
fn what_a_row_waits_for_is_explained() {
    let text = fs::read_to_string(root().join("docs/requirements.md")).unwrap();
    let (_, explained) = text.split_once("## What waits").unwrap();
    let explained: Vec<&str> = explained
        .lines()
        .skip_while(|line| !line.starts_with("| ---"))
        .skip(1)
        .map_while(|line| line.strip_prefix("| ")?.split(" | ").next())
        .collect();
    assert!(explained.len() > 3, "{explained:?}");
    let rows = rows();
    let waiting: Vec<(&str, &str)> = (rows.iter())
        .filter_map(|row| Some((row.number.as_str(), row.proof.split_once("later: ")?.1)))
        .collect();
    for (number, what) in &waiting {
        let is_explained = explained.iter().any(|name| what.starts_with(name));
        assert!(
            is_explained,
            "{number} waits for `{what}`, which nothing explains"
        );
    }
    for name in explained {
        let is_needed = waiting.iter().any(|(_, what)| what.contains(name));
        assert!(is_needed, "nothing waits for `{name}`");
    }
}

#[test]
fn every_test_that_is_named_exists() {
    let tests = tests();
    let mut missing = Vec::new();
    for row in rows() {
        for (file, name) in proofs(&row) {
            if !tests.get(file).is_some_and(|names| names.contains(name)) {
                missing.push(format!("{}: {file}::{name}", row.number));
            }
        }
    }
    assert!(missing.is_empty(), "no such test:\n{}", missing.join("\n"));
}

/// A test that bears the number of a requirement stands in the row of that number.
#[test]
fn every_test_told_here_stands_in_the_row_of_its_numbers() {
    let rows = rows();
    let mut missing = Vec::new();
    for (file, names) in tests() {
        if !file.starts_with("tests/requirements/") && !file.starts_with("bins/bursard/tests/stories/") {
            continue;
        }
        for name in names {
            let numbers = name
                .split('_')
                .take_while(|part| is_number(part))
                .map(str::to_uppercase);
            for number in numbers {
                let stands = rows
                    .iter()
                    .filter(|row| row.number == number || row.number == format!("Decision {number}"))
                    .any(|row| proofs(row).contains(&(file.as_str(), name.as_str())));
                if !stands {
                    missing.push(format!("{number}: {file}::{name}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "not in its row:\n{}", missing.join("\n"));
}

fn is_number(part: &str) -> bool {
    let mut letters = part.chars();
    letters.next().is_some_and(|first| first.is_ascii_lowercase())
        && part.len() > 1
        && letters.all(|digit| digit.is_ascii_digit())
}
