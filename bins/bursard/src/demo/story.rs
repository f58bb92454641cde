//! How the demo is told: numbered chapters, commands as they are typed, and a list of promises.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use bursar::render::{self, Cell, Table, Tone};
use indicatif::{ProgressBar, ProgressStyle};

use crate::rehearsal::Said;

/// One thing that was promised, and whether it held.
#[derive(Clone, Debug)]
struct Promise {
    text: &'static str,
    held: bool,
    found: String,
}

/// Writes to standard output; colour and a moving bar only where a terminal reads.
pub(super) struct Story {
    out: anstream::Stdout,
    terminal: bool,
    chapter: usize,
    chapters: usize,
    promises: Vec<Promise>,
}

impl Story {
    pub(super) fn new(chapters: usize) -> Self {
        Self {
            out: anstream::stdout(),
            terminal: std::io::stdout().is_terminal(),
            chapter: 0,
            chapters,
            promises: Vec::new(),
        }
    }

    pub(super) fn line(&mut self, text: &str) {
        // A reader that has gone, such as `head`, does not end the demo.
        drop(writeln!(self.out, "{text}"));
    }

    pub(super) fn chapter(&mut self, title: &str) {
        self.chapter = self.chapter.saturating_add(1);
        let number = format!("[{}/{}]", self.chapter, self.chapters);
        self.line("");
        self.line(&render::bold(&format!("{number} {title}")));
    }

    /// A sentence beside the commands.
    pub(super) fn tell(&mut self, text: &str) {
        self.line(&format!("      {text}"));
    }

    /// A command as it was typed.
    pub(super) fn typed(&mut self, line: &[&str]) {
        let quoted: Vec<String> = line
            .iter()
            .map(|word| {
                if word.contains(' ') {
                    format!("\"{word}\"")
                } else {
                    (*word).to_owned()
                }
            })
            .collect();
        self.line(&format!(
            "    {} {}",
            render::dim("$"),
            render::bold(&format!("bursar {}", quoted.join(" ")))
        ));
    }

    /// What a command wrote.
    pub(super) fn answer(&mut self, said: &Said) {
        for line in said.out.lines().chain(said.err.lines()) {
            self.line(format!("      {line}").trim_end());
        }
    }

    /// Only the first lines of what a command wrote. One line is enough where a table follows.
    pub(super) fn answer_briefly(&mut self, said: &Said, lines: usize) {
        let all: Vec<&str> = said
            .out
            .lines()
            .chain(said.err.lines())
            .filter(|line| !line.trim().is_empty())
            .collect();
        for line in all.iter().take(lines) {
            self.line(&format!("      {line}"));
        }
        if let Some(more) = all.len().checked_sub(lines).filter(|more| *more > 0 && lines > 1) {
            self.line(&render::dim(&format!("      … {more} more lines")));
        }
    }

    pub(super) fn table(&mut self, table: &Table) {
        for line in table.to_string().lines() {
            self.line(&format!("      {line}"));
        }
    }

    /// Lets time pass with a bar that moves, or a line now and then where nobody watches.
    pub(super) async fn wait(&mut self, what: &str, time: Duration) {
        let ticks = u64::try_from(time.as_millis() / 100).unwrap_or(u64::MAX).max(1);
        let bar = if self.terminal {
            ProgressBar::new(ticks)
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) =
            ProgressStyle::with_template("      {bar:40.cyan/dim} {percent:>3} %  {msg}  {eta} left")
        {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        for tick in 0..ticks {
            tokio::time::sleep(Duration::from_millis(100)).await;
            bar.inc(1);
            if !self.terminal && tick.checked_rem(50) == Some(49) {
                let done = tick.saturating_add(1).saturating_mul(100) / ticks;
                self.tell(&format!("{what}: {done} %"));
            }
        }
        bar.finish_and_clear();
    }

    /// Notes whether a promise held, and shows it at once.
    pub(super) fn promise(&mut self, text: &'static str, held: bool, found: impl Into<String>) {
        let found = found.into();
        let mark = if held {
            render::good("held")
        } else {
            render::bad("BROKEN")
        };
        self.line(&format!("      {mark}  {text}{}", detail(&found)));
        self.promises.push(Promise { text, held, found });
    }

    /// The list of everything that was checked. Says whether all of it held.
    pub(super) fn close(&mut self) -> bool {
        self.line("");
        self.line(&render::bold("What was checked"));
        let mut table = Table::new(&["", "promise", "found"]);
        for promise in &self.promises {
            let (mark, tone) = if promise.held {
                ("held", Tone::Good)
            } else {
                ("BROKEN", Tone::Bad)
            };
            table.row([
                Cell::new(mark).tone(tone),
                Cell::new(promise.text),
                Cell::new(&promise.found),
            ]);
        }
        for line in table.to_string().lines() {
            self.line(&format!("  {line}"));
        }
        let broken = self.promises.iter().filter(|promise| !promise.held).count();
        self.line("");
        if broken == 0 {
            self.line(&render::good(&format!(
                "All {} promises held.",
                self.promises.len()
            )));
        } else {
            self.line(&render::bad(&format!(
                "{broken} of {} promises were broken.",
                self.promises.len()
            )));
        }
        broken == 0
    }
}

fn detail(found: &str) -> String {
    if found.is_empty() {
        String::new()
    } else {
        render::dim(&format!("  ({found})"))
    }
}
