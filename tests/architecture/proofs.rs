//! What the proofs say of themselves: that they can be asked for at length.

use std::collections::BTreeSet;
use std::fs;

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
