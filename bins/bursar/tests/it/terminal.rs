//! The program at a terminal: a real one, of which nobody sees the other end.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use assert_cmd::cargo::cargo_bin;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Says that it is there and what it knows, and shows everything.
const PAGER: &str =
    "echo \"paged with $LESS, secure $LESSSECURE, secret ${KRAKEN_MASTER_API_SECRET:-unknown}\"\ncat\n";
/// Shows a line, and leaves the rest.
const HASTY: &str = "echo paged\nread -r line\necho \"$line\"\n";
/// Longer than a usual screen, and needs no store.
const LONG: &[&str] = &["schema"];

/// A folder, and what is set in it beside the pager.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pager"), PAGER).unwrap();
        std::fs::write(folder.path().join("hasty"), HASTY).unwrap();
        Self(folder)
    }

    fn with_store() -> Self {
        let place = Self::new();
        let made = place
            .bursar(&["init", "--yes", "--recovery-file", "recovery.txt"], &[])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        place
    }

    fn bursar(&self, line: &[&str], set: &[(&str, &str)]) -> Command {
        let mut command = Command::new(cargo_bin!("bursar"));
        command
            .args(line)
            .current_dir(self.0.path())
            .env_clear()
            .env("HOME", self.0.path().join("home"))
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("TERM", "xterm")
            .env("KRAKEN_MASTER_API_SECRET", "CANARYSECRET")
            .envs(set.iter().copied());
        command
    }

    /// What is on the screen of so many rows at the end, and how the command ended.
    fn shown(&self, rows: u16, line: &[&str], set: &[(&str, &str)]) -> (String, i32) {
        Terminal::with(rows, |end| run_on(self.bursar(line, set), end)).read()
    }
}

fn run_on(mut command: Command, end: &dyn Fn() -> Stdio) -> Child {
    command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap()
}

/// This end of a terminal, with a command at the other.
struct Terminal {
    this: File,
    child: Child,
    screen: String,
}

impl Terminal {
    fn with(rows: u16, run: impl FnOnce(&dyn Fn() -> Stdio) -> Child) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let this = openpt(flags).unwrap();
        grantpt(&this).unwrap();
        unlockpt(&this).unwrap();
        let other: OwnedFd = ioctl_tiocgptpeer(&this, flags).unwrap();
        let size = Winsize {
            ws_row: rows,
            ws_col: 100,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&other, size).unwrap();
        let child = run(&|| Stdio::from(other.try_clone().unwrap()));
        Self {
            this: this.into(),
            child,
            screen: String::new(),
        }
    }

    /// Reads what is shown until this is among it, or to the end.
    fn read_to(&mut self, text: &str) -> bool {
        let mut bytes = [0; 4096];
        while !self.screen.contains(text) {
            // When nobody holds the other end any more, reading is an error.
            match self.this.read(&mut bytes) {
                Ok(0) | Err(_) => return false,
                Ok(count) => self.screen.push_str(&String::from_utf8_lossy(&bytes[..count])),
            }
        }
        true
    }

    fn asked(&mut self, question: &str, answer: &str) {
        assert!(
            self.read_to(question),
            "`{question}` is not asked:\n{}",
            self.screen
        );
        self.this.write_all(answer.as_bytes()).unwrap();
    }

    fn read(mut self) -> (String, i32) {
        self.read_to("never shown: \u{0}");
        (self.screen, self.child.wait().unwrap().code().unwrap())
    }
}

/// Where whoever runs the tests acts with rights that were lent to them, no pager of theirs runs.
fn are_rights_lent() -> bool {
    let uid = rustix::process::geteuid().as_raw();
    let login = std::fs::read_to_string("/proc/self/loginuid").unwrap_or_default();
    let login: u32 = login.trim().parse().unwrap_or(u32::MAX);
    std::env::var_os("SUDO_UID").is_some() || (login != u32::MAX && login != 0 && login != uid)
}

#[test]
fn what_is_longer_than_the_screen_is_paged_whole() {
    let place = Place::new();
    if are_rights_lent() {
        eprintln!("left out: whoever runs this is not whose rights it has");
        return;
    }

    for set in [("BURSAR_PAGER", "sh pager"), ("PAGER", "sh pager")] {
        let (screen, code) = place.shown(24, LONG, &[set]);

        assert_eq!(code, 0);
        assert!(
            screen.starts_with("paged with FRX, secure 1, secret unknown"),
            "{screen}"
        );
        assert!(
            screen.contains("account add") && screen.contains("user show"),
            "{screen}"
        );
    }
    let (screen, code) = place.shown(24, LONG, &[("BURSAR_PAGER", "sh hasty")]);
    assert_eq!((code, screen.lines().count()), (0, 2), "{screen}");
}

#[test]
fn a_pager_is_left_out_where_it_is_not_wanted_or_not_there() {
    let place = Place::new();
    let own = ("BURSAR_PAGER", "sh pager");
    let for_all = ("PAGER", "sh pager");
    let schema_json: &[&str] = &["schema", "--json"];

    for (rows, line, set) in [
        (24, &["schema", "--no-pager"][..], &[own][..]),
        (24, LONG, &[("BURSAR_PAGER", "cat"), for_all]),
        (24, LONG, &[("BURSAR_PAGER", ""), for_all]),
        (24, LONG, &[("PAGER", "cat")]),
        (24, LONG, &[("BURSAR_PAGER", "no-such-pager -R")]),
        (24, LONG, &[("BURSAR_PAGER", "env no-such-pager")]),
        (24, schema_json, &[own]),
        (500, LONG, &[own]),
        (24, &["--help"], &[own]),
    ] {
        let (screen, code) = place.shown(rows, line, set);

        assert_eq!(code, 0, "{line:?} {set:?}");
        assert!(!screen.contains("paged"), "{line:?} {set:?}\n{screen}");
        assert!(screen.contains("account"), "{line:?} {set:?}\n{screen}");
    }
}

#[test]
fn only_a_person_who_types_gets_a_pager() {
    let place = Place::new();
    let command = || place.bursar(LONG, &[("BURSAR_PAGER", "sh pager")]);

    let piped_in = Terminal::with(24, |end| {
        let mut command = command();
        command.stdin(Stdio::null()).stdout(end()).stderr(end());
        command.spawn().unwrap()
    });
    let (screen, code) = piped_in.read();
    assert_eq!(code, 0);
    assert!(
        screen.contains("user show") && !screen.contains("paged"),
        "{screen}"
    );

    let file = File::create(place.0.path().join("file")).unwrap();
    let to_file = Terminal::with(24, |end| {
        let mut command = command();
        command.stdin(end()).stdout(file).stderr(end());
        command.spawn().unwrap()
    });
    assert_eq!(to_file.read(), (String::new(), 0));
    let written = std::fs::read_to_string(place.0.path().join("file")).unwrap();
    assert!(
        written.contains("user show") && !written.contains("paged"),
        "{written}"
    );
}

/// The answer is longer than this screen; what is asked before it, and the code, are not the pager's.
#[test]
fn a_command_that_asks_is_answered_before_its_answer_is_paged() {
    let place = Place::with_store();
    let pager = [("BURSAR_PAGER", "sh pager")];

    let halt = ["kill", "global", "--mode", "halt"];
    let mut asking = Terminal::with(4, |end| run_on(place.bursar(&halt, &pager), end));
    asking.asked("Reason", "drill\r");
    let (screen, code) = asking.read();

    assert_eq!(code, 0, "{screen}");
    let (question, answer) = (screen.find("Reason").unwrap(), screen.find("global").unwrap());
    assert!(question < answer, "{screen}");
    assert!(are_rights_lent() || screen.contains("paged with FRX"), "{screen}");
    let verified = place.shown(4, &["audit", "verify", "--head", "1:00"], &pager);
    assert_eq!(verified.1, 2, "a failure is no answer: {}", verified.0);
    assert!(!verified.0.contains("paged"), "{}", verified.0);
}

#[test]
fn a_bar_shows_how_far_long_work_is_and_is_gone_at_its_end() {
    let place = Place::with_store();
    std::fs::create_dir(place.0.path().join("safe")).unwrap();

    let (screen, code) = place.shown(24, &["backup", "create", "safe/one"], &[]);

    assert_eq!(code, 0, "{screen}");
    let bar = screen
        .rfind("bytes sealed")
        .unwrap_or_else(|| panic!("no bar:\n{screen}"));
    assert!(screen[bar..].contains(" left"), "{screen}");
    let answer = screen.rfind("prove it:").unwrap();
    assert!(bar < answer, "{screen}");
    // Cleared before the answer, which stands on lines of its own.
    assert!(
        screen[bar..answer].contains("\u{1b}[2K") || screen[bar..answer].contains("\u{1b}[K"),
        "{screen}"
    );
}
