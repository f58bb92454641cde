//! How far long work is: a bar with the time that is left on a terminal, now and then a line elsewhere.

use std::pin::pin;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::Console;

/// Work of fewer steps is over before anybody reads a line about it.
const WORTH_A_LINE: usize = 100;
/// How often is looked how far work is that does not tell by itself.
const LOOK: Duration = Duration::from_millis(200);
/// After how long the first line is worth it about work of which nobody knows how far it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// How far one piece of work is, on the error stream.
pub(crate) struct Progress {
    what: &'static str,
    bar: Option<ProgressBar>,
    /// Whether something else says elsewhere what is at work.
    is_silent: bool,
    /// How many tenths were told.
    told: usize,
}

impl Progress {
    /// `what`: what is counted, as in `credentials wrapped anew`.
    pub(crate) fn new(console: &mut Console, what: &'static str) -> Self {
        let bar = console.can_ask().then(|| {
            let bar = drawn(ProgressBar::new(0), "{bar:30} {pos}/{len} {msg}, {eta} left");
            bar.with_message(what)
        });
        console.draws(bar.clone());
        Self {
            what,
            bar,
            is_silent: false,
            told: 0,
        }
    }

    /// As [`new`](Self::new), for work that has a line of its own for each step: only the bar.
    pub(crate) fn beside_lines(console: &mut Console, what: &'static str) -> Self {
        let mut progress = Self::new(console, what);
        progress.is_silent = true;
        progress
    }

    /// `done` of `of` steps are done.
    pub(crate) fn at(&mut self, console: &mut Console, done: usize, of: usize) {
        if let Some(bar) = &self.bar {
            bar.set_length(u64::try_from(of).unwrap_or(u64::MAX));
            bar.set_position(u64::try_from(done).unwrap_or(u64::MAX));
            return;
        }
        let tenths = done.saturating_mul(10).checked_div(of).unwrap_or(10);
        if of >= WORTH_A_LINE && tenths > self.told && !self.is_silent {
            self.told = tenths;
            console.raw_err(&format!("{done} of {of} {}\n", self.what));
        }
    }

    /// Does work that does not tell how far it is: `look` is asked, in steps done and of how many.
    pub(crate) async fn of<T>(
        mut self,
        console: &mut Console,
        look: impl Fn() -> (usize, usize),
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = pin!(work);
        loop {
            match tokio::time::timeout(LOOK, &mut work).await {
                Ok(done) => return done,
                Err(_) => {
                    let (done, of) = look();
                    self.at(console, done, of);
                }
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Does work of which nobody knows how far it is, and tells for how long: on a terminal as soon as it takes a moment,
/// elsewhere less and less often. `what`: what is done, as in `120000 records are verified`.
pub(crate) async fn waited<T>(console: &mut Console, what: &str, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut waiting = Waiting::default();
    let mut bar: Option<ProgressBar> = None;
    let done = loop {
        if let Ok(done) = tokio::time::timeout(LOOK, &mut work).await {
            break done;
        }
        let is_due = waiting.lasts_longer();
        if console.can_ask() {
            let bar = bar.get_or_insert_with(|| {
                let bar = drawn(
                    ProgressBar::new_spinner(),
                    "{spinner} {msg}, for {elapsed} so far",
                );
                bar.with_message(what.to_owned())
            });
            console.draws(Some(bar.clone()));
            bar.tick();
        } else if is_due {
            console.raw_err(&format!("{what}, for {} s so far\n", waiting.so_far.as_secs()));
        }
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    done
}

/// How long somebody waits, and when they were told so.
struct Waiting {
    so_far: Duration,
    /// When it is worth a line again.
    next: Duration,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            so_far: Duration::ZERO,
            next: PATIENCE,
        }
    }
}

impl Waiting {
    /// Counts another look. Whether it is worth a line: after a while, and each time when it lasted twice as long.
    fn lasts_longer(&mut self) -> bool {
        self.so_far = self.so_far.saturating_add(LOOK);
        let is_due = self.so_far >= self.next;
        if is_due {
            self.next = self.next.saturating_mul(2);
        }
        is_due
    }
}

fn drawn(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn console(&self) -> Console {
            Console::with_streams(
                Box::new(io::sink()),
                Box::new(self.clone()),
                Box::new(io::empty()),
            )
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    #[test]
    fn long_work_is_told_in_tenths_and_short_work_not_at_all() {
        let lines = Lines::default();
        let mut console = lines.console();

        for of in [99, 200] {
            let mut progress = Progress::new(&mut console, "orders looked at");
            for done in 1..=of {
                progress.at(&mut console, done, of);
            }
        }
        let mut silent = Progress::beside_lines(&mut console, "keys shown");
        silent.at(&mut console, 200, 200);

        let text = lines.text();
        assert_eq!(text.lines().count(), 10, "{text}");
        assert!(
            text.starts_with("20 of 200 orders looked at\n40 of 200"),
            "{text}"
        );
    }

    #[test]
    fn who_waits_long_is_told_less_and_less_often() {
        let mut waiting = Waiting::default();
        let mut told = Vec::new();

        while waiting.so_far < Duration::from_secs(100) {
            if waiting.lasts_longer() {
                told.push(waiting.so_far.as_secs());
            }
        }

        assert_eq!(told, [10, 20, 40, 80]);
    }

    #[tokio::test]
    async fn work_that_is_quick_is_done_without_a_word() {
        let lines = Lines::default();
        let mut console = lines.console();

        assert_eq!(waited(&mut console, "something is done", async { 7 }).await, 7);
        let progress = Progress::new(&mut console, "bytes copied");
        assert_eq!(progress.of(&mut console, || (1, 1_000), async { 8 }).await, 8);

        assert_eq!(lines.text(), "");
    }
}
