//! A disk that takes nothing more, and one that takes nothing at all: real ones, seen by nobody but the
//! command. Nothing is lost on either, and nothing that was begun is left behind.
//!
//! It needs the right to mount in a namespace of one's own; where the machine does not give it, the
//! commands are not run and the test says so.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use assert_cmd::cargo::cargo_bin;
use bursar::Exit;

use crate::bad_input::{Kept, is_of_the_engine, ruled};
use crate::desk::{Desk, words};

const DATA: &str = "bursar-data";

/// A file system in memory over the data folder, which is then spoilt, and put right again after the
/// command. What it holds in the end is copied to where the test can see it.
const ON_A_DISK: &str = r#"
set -e
mount -t tmpfs -o size=16m,mode=700 tmpfs bursar-data
cp -a kept/. bursar-data/
case "$DISK" in
full) head -c 64M /dev/zero >bursar-data/filler 2>/dev/null || test -s bursar-data/filler ;;
read-only) mount -o remount,ro bursar-data ;;
esac
set +e
env -i HOME="$PWD/home" "$BURSAR" "$@"
code=$?
set -e
case "$DISK" in
full) rm bursar-data/filler ;;
read-only) mount -o remount,rw bursar-data ;;
esac
cp -a bursar-data/. left/
exit $code
"#;

/// What happens to the disk before a command runs.
struct Disk {
    /// As the script calls it.
    is: &'static str,
    /// Whether somebody has the store open meanwhile, as the daemon has.
    in_use: bool,
}

struct Row {
    what: &'static str,
    line: &'static str,
}

const ROWS: [Row; 7] = [
    Row {
        what: "a new user",
        line: "user add clara_winter --email clara@example.com --tier basic",
    },
    Row {
        what: "an order",
        line: "order place kraken-ilves buy BTC-USD --usd 40 --wait-ms 0",
    },
    Row {
        what: "a looser limit",
        line: "permissions set mara_ilves --max-position-usd 45",
    },
    Row {
        what: "new keys of the store",
        line: "keystore rotate wrapping-key",
    },
    Row {
        what: "a backup",
        line: "backup create backups",
    },
    Row {
        what: "a copy of the audit trail",
        line: "audit export bursar-data/trail.jsonl",
    },
    Row {
        what: "another store",
        line: "init --yes --data-dir bursar-data/another --unlock-file home/second.key --recovery-file second.txt",
    },
];

/// Who may have a file system of their own.
fn namespace() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c"]);
    command
}

fn can_mount() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let tried = namespace()
        .args(["mount -t tmpfs -o size=1m tmpfs ."])
        .current_dir(&folder)
        .output();
    tried.is_ok_and(|output| output.status.success())
}

/// Runs a command line in a process of its own, on a disk like that.
fn run(desk: &Desk, disk: &Disk, line: &str) -> Output {
    let place = |name: &str| desk.path(name);
    let holder = disk.in_use.then(|| desk.store());
    fs::rename(place(DATA), place("kept")).unwrap();
    for name in [DATA, "left"] {
        fs::create_dir(place(name)).unwrap();
    }
    let output = namespace()
        .args([ON_A_DISK, "sh"])
        .args(words(line))
        .env("DISK", disk.is)
        .env("BURSAR", cargo_bin!("bursar"))
        .current_dir(place(""))
        .output()
        .unwrap();
    // Its files are where nobody looks any more.
    drop(holder);
    // From here on the store is the one that the command has left.
    fs::remove_dir(place(DATA)).unwrap();
    fs::remove_dir_all(place("kept")).unwrap();
    fs::rename(place("left"), place(DATA)).unwrap();
    output
}

fn names(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(names(&path));
        }
        found.insert(path);
    }
    found
}

async fn on_a_disk_that(disk: Disk) -> Option<String> {
    if !can_mount() {
        return None;
    }
    let desk = Desk::ready().await;
    desk.run("order place kraken-ilves buy BTC-USD --usd 40 --wait-ms 0")
        .await;
    fs::create_dir(desk.path("backups")).unwrap();
    let kept = Kept::of(&desk).await;
    let mut text = String::new();
    // On a full disk a stop finds a place, see the drill of the daemon's kills.
    let stop = Row {
        what: "a stop, which nobody may believe in",
        line: "kill global --mode halt --reason drill",
    };
    for Row { what, line } in ROWS.into_iter().chain((disk.is == "read-only").then_some(stop)) {
        desk.leave_store();
        let before = names(&desk.path(""));
        let output = run(&desk, &disk, line);

        let shown = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let code = output.status.code();
        assert_ne!(code, Some(i32::from(Exit::Done.code())), "{what}: {shown}");
        assert!(shown.contains("hint: "), "{what}: no hint in\n{shown}");
        let left: Vec<PathBuf> = names(&desk.path(""))
            .difference(&before)
            .filter(|path| !is_of_the_engine(path))
            .map(|path| path.strip_prefix(desk.path("")).unwrap().to_owned())
            .collect();
        let written = Kept::of(&desk).await.beyond(&kept, what);
        assert_eq!(written, "nothing", "{what}");
        text.push_str(&format!(
            "# {what}\n$ bursar {line}\n{}exit {}; left behind: {left:?}\n\n",
            ruled(&without_size(&desk.without_folder(&shown))),
            code.unwrap(),
        ));
    }
    Some(text)
}

/// How large the store is depends on when its log was written back.
fn without_size(text: &str) -> String {
    let is_size = |word: &&str| word.len() > 3 && word.bytes().all(|byte| byte.is_ascii_digit());
    let size = text.split(' ').find(is_size).unwrap_or("never");
    text.replace(size, "[size]")
}

async fn nothing_is_lost_on(name: &str, is: &'static str, in_use: bool) {
    match on_a_disk_that(Disk { is, in_use }).await {
        Some(text) => insta::assert_snapshot!(name, text),
        // Nobody is told that a test was skipped but by its output.
        None => eprintln!("skipped: this machine does not let a process mount a file system of its own"),
    }
}

#[tokio::test]
async fn nothing_is_lost_on_a_full_disk() {
    nothing_is_lost_on("full", "full", false).await;
}

#[tokio::test]
async fn nothing_is_lost_on_a_disk_that_fills_up_while_the_store_is_in_use() {
    nothing_is_lost_on("full_in_use", "full", true).await;
}

#[tokio::test]
async fn nothing_is_lost_on_a_read_only_file_system() {
    nothing_is_lost_on("read_only", "read-only", false).await;
}
