//! How far long work is: a bar with the time that is left on a terminal, now and then a line elsewhere.

use indicatif::{ProgressBar, ProgressStyle};

use crate::Console;

/// Work of fewer steps is over before anybody reads a line about it.
const WORTH_A_LINE: usize = 100;

/// Tells of one piece of work on the error stream.
pub(crate) struct Progress<'a> {
    console: &'a mut Console,
    what: &'static str,
    bar: Option<ProgressBar>,
    /// How many tenths were told.
    told: usize,
}

impl<'a> Progress<'a> {
    /// `what`: what is counted, as in `credentials wrapped anew`.
    pub(crate) fn new(console: &'a mut Console, what: &'static str) -> Self {
        let bar = console.can_ask().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}, {eta} left");
            let bar = ProgressBar::new(0).with_message(what);
            match style {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Self {
            console,
            what,
            bar,
            told: 0,
        }
    }

    /// `done` of `of` steps are done.
    pub(crate) fn at(&mut self, done: usize, of: usize) {
        if let Some(bar) = &self.bar {
            bar.set_length(u64::try_from(of).unwrap_or(u64::MAX));
            bar.set_position(u64::try_from(done).unwrap_or(u64::MAX));
            return;
        }
        let tenths = done.saturating_mul(10).checked_div(of).unwrap_or(10);
        if of >= WORTH_A_LINE && tenths > self.told {
            self.told = tenths;
            self.console.raw_err(&format!("{done} of {of} {}\n", self.what));
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
