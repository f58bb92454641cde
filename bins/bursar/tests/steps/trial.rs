//! One command in a folder of its own, undisturbed and ended at one of its steps.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use assert_cmd::cargo::cargo_bin;
use bursar_model::Entropy;
use bursar_testkit::SeededEntropy;
use serde_json::Value;
use tempfile::TempDir;

/// How many steps of a command are tried where nothing else is asked for.
const TRIED: u64 = 6;

/// A folder in which commands are typed.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn empty() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.path("home")).unwrap();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn copy(&self) -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        copy_folder(self.0.path(), copy.0.path());
        copy
    }

    /// As it is typed: what stands behind `<` is the file that it reads.
    fn command(&self, line: &str) -> Command {
        let (words, input) = match line.split_once(" < ") {
            Some((words, file)) => (words, File::open(self.path(file)).unwrap().into()),
            None => (line, Stdio::null()),
        };
        let mut command = Command::new(cargo_bin!("bursar"));
        command
            .args(words.split_whitespace())
            .current_dir(self.0.path())
            .env_clear()
            .env("HOME", self.path("home"))
            .stdin(input);
        command
    }

    pub(crate) fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    pub(crate) fn done(&self, line: &str) -> String {
        self.done_with(line, &[])
    }

    fn done_with(&self, line: &str, variables: &[(&str, &str)]) -> String {
        let ran = self
            .command(line)
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        assert!(ran.status.success(), "`{line}` failed:\n{}", told(&ran));
        String::from_utf8(ran.stdout).unwrap()
    }

    pub(crate) fn json(&self, line: &str) -> Value {
        self.json_with(line, &[])
    }

    /// With variables that this one command is started with.
    pub(crate) fn json_with(&self, line: &str, variables: &[(&str, &str)]) -> Value {
        serde_json::from_str(&self.done_with(&format!("{line} --json"), variables)).unwrap()
    }

    /// Ends the command before its step of this number; without a number, counts the steps.
    fn stepping(&self, line: &str, last: Option<u64>) -> Output {
        let mut command = self.command(line);
        command
            .env("LD_PRELOAD", layer())
            .env("BURSAR_STEPS_FOLDER", self.0.path())
            .env("BURSAR_STEPS_COUNT", self.path("steps"));
        if let Some(last) = last {
            command.env("BURSAR_STEPS_LAST", last.to_string());
        }
        command.output().unwrap()
    }

    fn steps(&self) -> u64 {
        fs::read_to_string(self.path("steps"))
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    }
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            fs::set_permissions(&target, entry.metadata().unwrap().permissions()).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

fn layer() -> &'static Path {
    static LAYER: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, made) = LAYER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/steps/layer.c");
        let made = bursar_testkit::layer::preloaded(&source, folder.path()).unwrap();
        (folder, made)
    });
    made
}

fn told(ran: &Output) -> String {
    format!(
        "{:?}\n{}{}",
        ran.status,
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    )
}

/// What is to hold of the same command when it is typed once more.
#[derive(Clone, Copy)]
pub(crate) enum Again {
    /// It cannot be typed again as it was.
    Never,
    /// It brings about what was asked for, and where that was done, it may end with one of these codes.
    MayEnd(&'static [i32]),
    /// Where what was asked for was not done, it brings that about. Where it was, it would take it back, or do it once
    /// more.
    WhereNotDone,
}

/// What is to hold of a command wherever it ends.
pub(crate) struct Case {
    pub(crate) line: &'static str,
    pub(crate) again: Again,
    /// What counts of a place, once it is proved to be whole.
    pub(crate) state: fn(&Place) -> Value,
}

impl Case {
    /// Tries the command in copies of `arranged`.
    pub(crate) fn try_in(&self, arranged: &Place) {
        let before = (self.state)(arranged);
        let whole = arranged.copy();
        let ran = whole.stepping(self.line, None);
        assert!(ran.status.success(), "`{}`:\n{}", self.line, told(&ran));
        let (total, after) = (whole.steps(), (self.state)(&whole));
        assert!(total > 3, "`{}` changes files in {total} steps only", self.line);
        let mut died = 0;
        let chosen = chosen(total);
        for step in &chosen {
            let place = arranged.copy();
            let ran = place.stepping(self.line, Some(*step));
            let why = format!("`{}` ended before step {step} of {total}", self.line);
            if ran.status.signal() == Some(9) {
                died += 1;
            } else {
                // Where a thread was faster there was one step less.
                assert!(ran.status.success(), "{why}:\n{}", told(&ran));
            }
            let left = (self.state)(&place);
            let is_known = left == before || left == after;
            assert!(
                is_known,
                "{why} and left\n{left:#}\nnot\n{before:#}\nnor\n{after:#}"
            );
            let refusals = match self.again {
                Again::MayEnd(refusals) => refusals,
                Again::WhereNotDone if left == before => &[],
                Again::WhereNotDone | Again::Never => continue,
            };
            let again = place.run(self.line);
            let code = again.status.code();
            let is_expected = code.is_some_and(|code| code == 0 || refusals.contains(&code));
            assert!(is_expected, "{why}, then:\n{}", told(&again));
            let reached = (self.state)(&place);
            assert_eq!(reached, after, "{why}, then:\n{}", told(&again));
        }
        assert!(died > 0, "`{}` never died", self.line);
        println!(
            "`{}`: {total} steps, {} tried, {died} ends",
            self.line,
            chosen.len()
        );
    }
}

/// Which steps are tried: the first and the last, and others as the seed says.
fn chosen(total: u64) -> BTreeSet<u64> {
    let asked = std::env::var("BURSAR_STEPS").unwrap_or_default();
    if asked == "all" {
        return (1..=total).collect();
    }
    let count = asked.parse().unwrap_or(TRIED).min(total);
    let seed = std::env::var("BURSAR_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(20_261_129);
    println!("BURSAR_SEED={seed}");
    let entropy = SeededEntropy::new(seed);
    let mut chosen = BTreeSet::from([1, total]);
    while u64::try_from(chosen.len()).unwrap() < count {
        let mut bytes = [0; 8];
        entropy.fill(&mut bytes);
        chosen.insert(u64::from_le_bytes(bytes) % total + 1);
    }
    chosen
}
