use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bursar::{Exit, Surroundings};
use bursar_execution::{Conditions, ConnectionState};
use bursar_sandbox::{CustomerSpec, Market};
use bursar_testkit::Canary;
use bursard::rehearsal::{Plan, Rehearsal};
use tracing_subscriber::fmt::MakeWriter;

use crate::image;

/// Polls rest for longer than a second, so that an image can be taken a second after a key was used.
const SETTINGS: &str = "\
[accounts]
quote_poll_ms = 4000
order_poll_ms = 4000
balance_poll_s = 4
";

const PASSPHRASE: &str = "walnut \"harbour\" violin/canary e3f8";

/// Everything that is traced in this process: commands, key store, adapter, local exchange.
#[derive(Clone, Default)]
struct Traced(Arc<Mutex<Vec<u8>>>);

impl Write for Traced {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Traced {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

async fn prepared() -> Rehearsal {
    let customers = ["ops_desk", "mara_ilves"].map(CustomerSpec::named);
    let plan = Plan {
        market: Market::generated(7),
        customers: customers.to_vec(),
        seed: 20_261_128,
        settings: SETTINGS.to_owned(),
        daemon: PathBuf::from(env!("CARGO_BIN_EXE_bursard")),
    };
    let mut stage = Rehearsal::prepare(plan, &Surroundings::of_process())
        .await
        .unwrap();
    stage.set_variable("RUST_LOG", "trace");
    let scratch = stage.folder().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    stage.set_variable("TMPDIR", scratch.to_str().unwrap());
    let passphrase = stage.folder().join("home/passphrase");
    std::fs::write(&passphrase, PASSPHRASE).unwrap();
    stage
}

async fn must(stage: &mut Rehearsal, line: &str, input: Option<String>) {
    let words: Vec<&str> = line.split(' ').collect();
    let said = stage.bursar(&words, input).await;
    assert_eq!(said.exit, Exit::Done, "`{line}`\n{}{}", said.out, said.err);
}

/// Users, accounts and keys, a key replaced, and what a person types wrong on the way.
async fn set_up(stage: &mut Rehearsal) {
    let recovery = stage.folder().join("home/recovery.txt").display().to_string();
    must(stage, &format!("init --yes --recovery-file {recovery}"), None).await;
    for (user, account, role) in [
        ("ops_desk", "kraken-main", "master"),
        ("mara_ilves", "kraken-ilves", "user"),
    ] {
        let add = format!("user add {user} --email {user}@example.com --tier enterprise");
        must(stage, &add, None).await;
        let add = format!("account add {account} --user {user} --broker kraken --role {role}");
        must(stage, &add, None).await;
        let set =
            format!("permissions set {user} --pairs BTC-USD --max-position-usd 500 --max-daily-loss-usd 100");
        must(stage, &set, None).await;
        must(stage, &format!("user enable {user}"), None).await;
        let key = stage.key_of(user);
        // Cut off, then with the secret in the place of the key, then right, then once more.
        let cut = key.as_deref().map(|key| key[..key.len() - 2].to_owned());
        let swapped = key
            .as_deref()
            .map(|key| key.replace("\"key\"", "\"x\"").replace("\"secret\"", "\"key\""));
        for wrong in [cut, swapped] {
            let said = stage.bursar(&["credentials", "set", account], wrong).await;
            assert_ne!(said.exit, Exit::Done);
        }
        for _ in 0..2 {
            must(stage, &format!("credentials set {account} --yes"), key.clone()).await;
        }
    }
    let secrets: Vec<String> = stage.secrets().map(|(_, secret)| secret.to_owned()).collect();
    // A secret where no secret belongs is not repeated.
    for line in [
        vec!["credentials", "set", &secrets[0]],
        vec!["credentials", "set", "kraken-ilves", &secrets[1]],
    ] {
        assert_ne!(stage.bursar(&line, None).await.exit, Exit::Done);
    }
}

fn canaries(stage: &Rehearsal) -> Vec<Canary> {
    let mut canaries: Vec<Canary> = stage
        .all_secrets()
        .iter()
        .map(|(name, secret)| Canary::new(name, secret))
        .collect();
    canaries.push(Canary::new("the passphrase", PASSPHRASE));
    canaries
}

/// Every file below the folder but the two that hold a secret for the operator, and those of `home`
/// that a test put there.
fn files(folder: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if ["unlock.key", "recovery.txt", "passphrase"].contains(&name.as_str()) {
            continue;
        }
        into.push((path.display().to_string(), std::fs::read(&path).unwrap()));
    }
}

async fn wait_until_ready(stage: &mut Rehearsal) {
    let store = Arc::new(stage.store().unwrap());
    let came = stage
        .until(Duration::from_secs(60), || {
            let store = Arc::clone(&store);
            async move {
                let connections = store.connections().await.unwrap_or_default();
                let ready = |state| state == ConnectionState::Ready;
                connections.iter().filter(|(_, one)| ready(one.state)).count() == 2
            }
        })
        .await;
    assert!(came, "not connected\n{}", stage.log());
}

/// Whoever may not look at the daemon is kept out because the daemon asked for it, not because nobody may look at
/// anything here: what belongs to it in `/proc` is root's once it is not dumpable, and another process of ours, which
/// asks for nothing, can be looked at.
fn keeps_everybody_out(pid: u32) {
    use std::os::unix::fs::MetadataExt;
    let owner = |path: String| std::fs::metadata(path).unwrap().uid();
    let ours = owner("/proc/self/environ".to_owned());
    let its = owner(format!("/proc/{pid}/environ"));
    // A process of root's is root's in any case.
    assert!(ours == 0 || its != ours, "process {pid} may be dumped");
    let mut ordinary = Command::new("/bin/cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let looked = image::search(ordinary.id(), &[]);
    ordinary.kill().unwrap();
    ordinary.wait().unwrap();
    assert!(
        looked.is_ok_and(|image| image.bytes > 0),
        "no process can be looked at here, so that this says nothing of the daemon"
    );
}

/// How long the daemon's key rested: since the last request that it signed.
async fn rested(stage: &Rehearsal) {
    const PUBLIC: [&str; 6] = ["AssetPairs", "Assets", "OHLC", "SystemStatus", "Ticker", "Time"];
    let signed = |stage: &Rehearsal| -> u64 {
        let requests = stage.book().requests;
        let private = requests
            .iter()
            .filter(|(name, _)| !PUBLIC.contains(&name.as_str()));
        private.map(|(_, count)| count).sum()
    };
    let (mut seen, mut quiet) = (signed(stage), 0);
    for _ in 0..600 {
        if quiet == 11 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = signed(stage);
        quiet = if now == seen { quiet + 1 } else { 0 };
        seen = now;
    }
    panic!("the daemon never rests for a second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_no_secret_is_in_anything_that_an_installation_leaves_behind() {
    let asked: Option<usize> = std::env::var("BURSAR_IMAGES")
        .ok()
        .map(|text| text.parse().unwrap());
    let images = asked.unwrap_or(2);
    let traced = Traced::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(traced.clone())
        .init();
    let mut stage = prepared().await;
    set_up(&mut stage).await;
    let canaries = canaries(&stage);
    assert_eq!(canaries.len(), 5);

    stage.start_daemon().unwrap();
    wait_until_ready(&mut stage).await;
    let buy = "order place kraken-ilves buy BTC-USD --usd 50 --yes";
    let said = stage.bursar(&buy.split(' ').collect::<Vec<_>>(), None).await;
    assert_eq!(said.exit, Exit::Done, "{}{}", said.out, said.err);
    let pid = stage.daemon_pid().unwrap();
    let process = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        std::fs::read(&path).map(|bytes| (path, bytes))
    };
    let mut places = vec![process("cmdline").unwrap()];
    // Who may not look at the process may not see its environment either.
    places.extend(process("environ"));
    let mut bytes_of_memory = 0;
    for number in 0..images {
        rested(&stage).await;
        match image::search(pid, &canaries) {
            Ok(image) => {
                assert!(image.leaks.is_empty(), "image {number}: {:#?}", image.leaks);
                assert!(image.bytes > 1_000_000, "image {number}: {} bytes", image.bytes);
                bytes_of_memory += image.bytes;
            }
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{error}");
                keeps_everybody_out(pid);
            }
        }
    }
    if bytes_of_memory == 0 {
        println!("NO MEMORY WAS SEARCHED: this process may not look at that of the daemon");
        assert!(asked.unwrap_or(0) == 0, "{images} images were asked for");
    }
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size"));
    assert_eq!(
        cores.map(|line| line.split_whitespace().skip(4).take(2).collect::<Vec<_>>()),
        Some(vec!["0", "0"])
    );
    // While the daemon goes on; it is searched with all other files.
    let backups = stage.folder().join("backups");
    std::fs::create_dir(&backups).unwrap();
    must(&mut stage, &format!("backup create {}", backups.display()), None).await;
    let wrong = stage.folder().join("home/passphrase").display().to_string();
    let said = stage
        .bursar(
            &[
                "credentials",
                "check",
                "kraken-ilves",
                "--passphrase-file",
                &wrong,
            ],
            None,
        )
        .await;
    assert_ne!(said.exit, Exit::Done);
    for line in ["status", "audit tail", "credentials list", "hierarchy"] {
        let said = stage.bursar(&line.split(' ').collect::<Vec<_>>(), None).await;
        places.push((
            format!("`{line}`"),
            format!("{}{}", said.out, said.err).into_bytes(),
        ));
    }
    // In the middle of what it does: the write-ahead log and whatever it had open stay behind.
    stage.kill_daemon().unwrap();
    places.extend(stage.everything_written().unwrap());
    files(stage.folder(), &mut places);
    places.push((
        "the trace of the commands".to_owned(),
        traced.0.lock().unwrap().clone(),
    ));

    let lines = |(_, bytes): &(String, Vec<u8>)| bytes.iter().filter(|byte| **byte == b'\n').count();
    println!(
        "{} places, {} lines, {} bytes, {images} images of {bytes_of_memory} bytes together",
        places.len(),
        places.iter().map(lines).sum::<usize>(),
        places.iter().map(|(_, bytes)| bytes.len()).sum::<usize>(),
    );
    assert!(
        stage.log().lines().count() > 100,
        "the log is not at its most talkative"
    );
    for (what, ending) in [("write-ahead log", "bursar.db-wal"), ("backup", ".bursar-backup")] {
        assert!(
            places
                .iter()
                .any(|(place, bytes)| place.ends_with(ending) && !bytes.is_empty()),
            "the {what} was not searched"
        );
    }
    let leaks = Canary::search(&canaries, &places);
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[test]
fn i5_a_planted_secret_is_found_in_a_file_an_argument_an_environment_and_a_memory() {
    let secret = "cGxhbnRlZC9jYW5hcnkrZm9yLXRoZS1zZWFyY2gtMDE=";
    let canary = [Canary::new("planted", secret)];
    let folder = tempfile::tempdir().unwrap();
    for (form, bytes) in canary[0].forms() {
        std::fs::write(folder.path().join("log"), [b"before ", bytes, b" after"].concat()).unwrap();
        let mut places = Vec::new();
        files(folder.path(), &mut places);
        assert_eq!(Canary::search(&canary, &places).len(), 1, "{form}");
    }

    // Three processes that hold it: as an argument, in the environment, and in a variable only.
    let script = "read -r held; echo ready; read -r never";
    let begin = |arguments: &[&str], variable: &str, input: &str| {
        let mut child = Command::new("/bin/sh")
            .args(["-c", script])
            .args(arguments)
            .env_clear()
            .env("PLANTED", variable)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{input}").unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        child
    };
    let mut children = [
        begin(&[secret], "", ""),
        begin(&[], secret, ""),
        begin(&[], "", secret),
    ];
    let looks: Vec<(Vec<String>, Vec<String>)> = children
        .iter()
        .map(|child| {
            let read = |name: &str| {
                let path = format!("/proc/{}/{name}", child.id());
                (name.to_owned(), std::fs::read(path).unwrap())
            };
            let outside = Canary::search(&canary, &[read("cmdline"), read("environ")]);
            (outside, image::search(child.id(), &canary).unwrap().leaks)
        })
        .collect();
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    assert!(looks[0].0[0].starts_with("cmdline") && !looks[0].1.is_empty());
    assert!(looks[1].0[0].starts_with("environ") && !looks[1].1.is_empty());
    assert!(looks[2].0.is_empty() && !looks[2].1.is_empty(), "{:?}", looks[2]);
}
