//! The project's own files, for tests that read them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::stage::must;

/// The folder of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files at and below `place` whose names end in one of these.
///
/// # Panics
///
/// When `place` cannot be read.
pub fn files(place: &Path, endings: &[&str]) -> Vec<PathBuf> {
    if place.is_dir() {
        let entries = fs::read_dir(place).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        return must("read a folder", entries)
            .iter()
            .flat_map(|entry| files(&entry.path(), endings))
            .collect();
    }
    let ending = place.extension();
    let is_one = ending.is_some_and(|ending| endings.iter().any(|wanted| ending == *wanted));
    is_one.then(|| place.to_owned()).into_iter().collect()
}
