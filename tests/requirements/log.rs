//! The page about the log and the lines that the code writes.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "tests" && name != "benches" {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// What a line is said to say is said by some line.
#[test]
fn every_text_of_the_page_about_the_log_is_in_the_code() {
    let page = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join("docs/log.md"),
    )
    .unwrap();
    let mut files = Vec::new();
    for folder in ["crates", "bins"] {
        sources(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder),
            &mut files,
        );
    }
    let code: Vec<String> = files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    // A text may go on in the next line of the source.
    let code: Vec<String> = code
        .iter()
        .map(|text| {
            text.replace("\\\n", "")
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.contains("---"))
        .collect();
    let mut looked_at = 0;
    for row in rows.iter().skip(1) {
        let says = row.split('|').nth(3).unwrap();
        for text in says.split('`').skip(1).step_by(2) {
            looked_at += 1;
            assert!(
                code.iter().any(|code| code.contains(text)),
                "no line says `{text}`"
            );
        }
    }
    assert!(looked_at > 15, "{looked_at}");
}
