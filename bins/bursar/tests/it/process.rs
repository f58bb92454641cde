//! The program itself, as a process: what only a real one can show.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::cargo_bin;
use rustix::process::{Pid, Signal};

fn bursar(folder: &Path) -> Command {
    let mut command = Command::new(cargo_bin!("bursar"));
    command
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder.join("home"))
        .stdin(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    bursar(folder).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn an_operator_goes_from_init_to_a_halt_and_a_verified_trail() {
    let folder = tempfile::tempdir().unwrap();
    let steps: [(&[&str], i32); 13] = [
        (&["init", "--yes", "--recovery-file", "recovery.txt"], 0),
        (
            &[
                "user",
                "add",
                "mara_ilves",
                "--email",
                "mara@example.com",
                "--tier",
                "basic",
            ],
            0,
        ),
        (
            &[
                "account",
                "add",
                "kraken-ilves",
                "--user",
                "mara_ilves",
                "--broker",
                "kraken",
                "--role",
                "user",
                "--mode",
                "paper",
            ],
            0,
        ),
        (&["permissions", "set", "mara_ilves", "--pairs", "BTC-USD"], 0),
        (&["user", "enable", "mara_ilves"], 0),
        // Nothing is connected, and there is no price: that alone refuses.
        (&["can", "mara_ilves", "kraken-ilves", "buy", "BTC-USD", "40"], 3),
        (&["kill", "global", "--mode", "halt", "--reason", "drill"], 0),
        (&["can", "mara_ilves", "kraken-ilves", "buy", "BTC-USD", "40"], 3),
        (&["status"], 0),
        (&["audit", "verify"], 0),
        (&["init", "--yes", "--recovery-file", "again.txt"], 3),
        (&["user", "show", "nobody"], 4),
        (&["user", "add"], 2),
    ];
    for (arguments, code) in steps {
        let output = run(folder.path(), arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}\n{}\n{}",
            text(&output.stdout),
            text(&output.stderr)
        );
    }
    let latches = run(folder.path(), &["latches", "--json"]);
    let latches: serde_json::Value = serde_json::from_slice(&latches.stdout).unwrap();
    let id = latches["latches"][0]["latch_id"].as_str().unwrap().to_owned();
    let released = run(folder.path(), &["release", &id, "--reason", "drill is over"]);
    // A switch on everything takes two people, and this is one, or none where the kernel knows of no login.
    let refused = text(&released.stderr);
    match released.status.code() {
        Some(6) => assert!(text(&released.stdout).contains("another person runs `bursar approve")),
        Some(3) => assert!(
            refused.contains("the kernel recorded no login but root's"),
            "{refused}"
        ),
        code => panic!("{code:?}: {refused}"),
    }
}

#[test]
fn whoever_acts_is_named_by_the_login_and_not_by_a_variable() {
    let folder = tempfile::tempdir().unwrap();
    run(
        folder.path(),
        &["init", "--yes", "--recovery-file", "recovery.txt"],
    );

    let output = bursar(folder.path())
        .env("USER", "somebody_else")
        .env("LOGNAME", "somebody_else")
        .args(["kill", "global", "--mode", "pause", "--reason", "drill", "--json"])
        .output()
        .unwrap();

    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let by = document["latch"]["tripped_by"].as_str().unwrap();
    assert!(
        by.starts_with("operator:") && !by.contains("somebody_else"),
        "{by}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    run(
        folder.path(),
        &["init", "--yes", "--recovery-file", "recovery.txt"],
    );
    let mut child = bursar(folder.path())
        .args(["config", "schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());

    let status = child.wait().unwrap();

    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(said, "");
}

#[test]
fn a_pipe_gets_no_colour() {
    let folder = tempfile::tempdir().unwrap();
    run(
        folder.path(),
        &["init", "--yes", "--recovery-file", "recovery.txt"],
    );

    for arguments in [&["status"][..], &["--help"], &["user", "show"]] {
        let output = run(folder.path(), arguments);
        assert!(!output.stdout.contains(&0x1b), "{}", text(&output.stdout));
        assert!(!output.stderr.contains(&0x1b), "{}", text(&output.stderr));
    }
}

#[test]
fn logs_go_to_the_error_stream_and_leave_json_alone() {
    let folder = tempfile::tempdir().unwrap();
    run(
        folder.path(),
        &["init", "--yes", "--recovery-file", "recovery.txt"],
    );

    let output = bursar(folder.path())
        .env("RUST_LOG", "trace")
        .args(["user", "list", "--json"])
        .output()
        .unwrap();

    serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
}

/// As another process that holds the store's lock and does not let go.
#[test]
fn u4_a_locked_store_does_not_keep_trading_from_being_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let made = run(
        folder.path(),
        &["init", "--yes", "--recovery-file", "recovery.txt"],
    );
    assert!(made.status.success(), "{}", text(&made.stderr));
    let shared = folder.path().join("bursar-data/bursar.db-shm");
    let lock = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(shared)
        .unwrap();
    rustix::fs::fcntl_lock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();

    let began = std::time::Instant::now();
    let halt = ["kill", "global", "--mode", "halt", "--reason", "drill"];
    let killed = run(folder.path(), &halt);
    let took = began.elapsed();
    drop(lock);

    let said = text(&killed.stdout);
    assert_eq!(killed.status.code(), Some(6), "{said}\n{}", text(&killed.stderr));
    assert!(said.contains("emergency.jsonl"), "{said}");
    assert!(took < std::time::Duration::from_secs(15), "{took:?}");
    let latches = run(folder.path(), &["latches"]);
    assert!(
        text(&latches.stdout).contains("drill"),
        "{}",
        text(&latches.stdout)
    );
    let verified = run(folder.path(), &["audit", "verify"]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stderr));
}

fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap();
    ignored >> (signal.as_raw() - 1) & 1 == 1
}

/// Whoever verifies a backup from a slow disk, and does not wait for it.
#[test]
fn a_copy_that_is_not_sealed_goes_when_a_signal_ends_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("safe")).unwrap();
    for line in [
        &["init", "--yes", "--recovery-file", "recovery.txt"][..],
        &["backup", "create", "safe/one"],
    ] {
        let ran = run(folder.path(), line);
        assert!(ran.status.success(), "{}", text(&ran.stderr));
    }
    let sealed = std::fs::read(path("safe/one")).unwrap();
    // More than a pipe and what reads from it hold.
    assert!(sealed.len() > 256 * 1024);
    let slow = path("safe/slow");
    assert!(Command::new("mkfifo").arg(&slow).status().unwrap().success());

    let signals = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)];
    // What whoever runs the tests has left out (`nohup`, a job in the background), the command leaves out as well.
    for (signal, code) in signals.into_iter().filter(|(signal, _)| !is_ignored(*signal)) {
        let mut verify = bursar(folder.path())
            .args(["backup", "verify", "safe/slow"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut pipe = OpenOptions::new().write(true).open(&slow).unwrap();
        pipe.write_all(&sealed[..sealed.len() - 1]).unwrap();
        let copy = path("bursar-data/bursar.db.copy");
        assert!(copy.exists(), "the copy is being made");

        rustix::process::kill_process(Pid::from_child(&verify), signal).unwrap();

        assert_eq!(verify.wait().unwrap().code(), Some(code));
        assert!(!copy.exists());
    }
}

/// As a disk that has no room for anything.
fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

#[test]
fn what_could_not_be_written_is_told_and_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    run(
        folder.path(),
        &["init", "--yes", "--recovery-file", "recovery.txt"],
    );

    for arguments in [
        &["config", "show"][..],
        &["config", "show", "--json"],
        &["status"],
        &["audit", "export", "-"],
        &["completions", "bash"],
        &["--help"],
    ] {
        let output = bursar(folder.path())
            .args(arguments)
            .stdout(full())
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("No space left on device"), "{arguments:?}: {said}");
        assert!(said.contains("hint: "), "{arguments:?}: {said}");
    }
    // Nobody may take it for a trail that is broken.
    let unsaid = bursar(folder.path())
        .args(["audit", "verify"])
        .stdout(full())
        .output()
        .unwrap();
    assert_eq!(unsaid.status.code(), Some(2), "{}", text(&unsaid.stderr));
    // A refusal is one, whoever hears of it.
    let refused = bursar(folder.path())
        .args(["user", "show", "nobody", "--json"])
        .stdout(full())
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(4));
    // What a person must not miss counts as much as the answer.
    std::fs::write(folder.path().join("bursar-data/emergency.jsonl"), "cut\n").unwrap();
    let unwarned = bursar(folder.path())
        .arg("status")
        .stderr(full())
        .output()
        .unwrap();
    assert_eq!(unwarned.status.code(), Some(1), "{}", text(&unwarned.stdout));
}

/// A disk that is full, or somebody who went away before the code was there.
#[test]
fn a_recovery_code_that_nobody_saw_is_the_code_of_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let unseen = |arguments: &[&str]| {
        let failed = bursar(folder.path())
            .args(arguments)
            .stderr(full())
            .output()
            .unwrap();
        assert_eq!(
            failed.status.code(),
            Some(1),
            "{arguments:?}: {}",
            text(&failed.stdout)
        );
        let mut child = bursar(folder.path())
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stderr.take());
        assert_eq!(child.wait().unwrap().code(), Some(1), "{arguments:?}");
    };
    let slots = || {
        let status = run(folder.path(), &["keystore", "status", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        status["slots"].clone()
    };

    unseen(&["init", "--yes"]);

    assert!(!folder.path().join("bursar-data/bursar.db").exists());
    assert!(!folder.path().join("home/.config/bursar/unlock.key").exists());
    let made = run(
        folder.path(),
        &["init", "--yes", "--recovery-file", "recovery.txt"],
    );
    assert!(made.status.success(), "{}", text(&made.stderr));
    let before = slots();
    for arguments in [
        &["keystore", "rotate", "root", "--yes", "--reason", "yearly"][..],
        &["keystore", "slot", "add", "recovery", "--yes"],
    ] {
        unseen(arguments);
        assert_eq!(slots(), before, "{arguments:?}");
        let proved = run(
            folder.path(),
            &[
                "keystore",
                "slot",
                "prove",
                "--recovery-code-file",
                "recovery.txt",
            ],
        );
        assert!(proved.status.success(), "{}", text(&proved.stderr));
    }
}
