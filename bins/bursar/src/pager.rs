//! Answers that are longer than the screen, by the program with which the person reads such things.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::{Command, Stdio};

use anstream::adapter::strip_str;
use tokio::signal::unix::{SignalKind, signal};

/// What reads where nothing is set.
const USUAL: &str = "less";
/// How it reads: ends at once what fits on the screen, shows colours, and leaves what was read on the screen.
const USUAL_OPTIONS: &str = "FRX";
/// What a pager may know of the environment; an exchange key may stand in any other variable.
const KNOWN: [&str; 17] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "TERMINFO",
    "TERMINFO_DIRS",
    "COLORTERM",
    "NO_COLOR",
    "LANG",
    "LANGUAGE",
    "LINES",
    "COLUMNS",
    "LESS",
    "LESSCHARSET",
    "MORE",
];
/// How the names of others begin that it may know.
const KNOWN_BEGINNINGS: [&str; 4] = ["LC_", "LESS_TERMCAP_", "BAT_", "MOST_"];

/// How large the terminal is, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Screen {
    pub(crate) rows: u16,
    pub(crate) columns: u16,
}

impl Screen {
    /// Of the terminal on the output; `None` where nothing is known of it.
    pub(crate) fn of_output() -> Option<Self> {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        (size.ws_row > 0 && size.ws_col > 0).then_some(Self {
            rows: size.ws_row,
            columns: size.ws_col,
        })
    }

    /// Whether a text and the prompt after it leave none of the text's lines out.
    pub(crate) fn holds(self, text: &str) -> bool {
        let columns = usize::from(self.columns);
        let rows = text
            .lines()
            .map(|line| {
                let width = strip_str(line).to_string().chars().count();
                width.div_ceil(columns).max(1)
            })
            .fold(0_usize, usize::saturating_add);
        rows < usize::from(self.rows)
    }
}

/// A program that shows a text screen by screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pager {
    program: String,
    options: Vec<String>,
    /// All of its environment.
    variables: BTreeMap<String, String>,
}

impl Pager {
    /// `BURSAR_PAGER`, else `PAGER`, else `less`; `None` where `cat` or nothing is named, or the terminal can do
    /// nothing. The words are divided at spaces, and no shell reads them.
    ///
    /// `is_lent`: whoever types acts with somebody else's rights. What they named does not run with these; it is
    /// `less` then, which obeys nobody who would leave it for a shell or a file.
    pub(crate) fn chosen(variables: &BTreeMap<String, String>, is_lent: bool) -> Option<Self> {
        let set = |name: &str| variables.get(name).map(String::as_str);
        let own = set("BURSAR_PAGER");
        if own.is_none() && set("TERM") == Some("dumb") {
            return None;
        }
        let mut words = own
            .or_else(|| set("PAGER"))
            .unwrap_or(USUAL)
            .split_whitespace()
            .map(str::to_owned);
        let program = words.next().filter(|program| program != "cat")?;
        let (program, options) = if is_lent {
            (USUAL.to_owned(), Vec::new())
        } else {
            (program, words.collect())
        };
        let mut known: BTreeMap<String, String> = variables
            .iter()
            .filter(|(name, _)| is_known(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if is_lent || !known.contains_key("LESS") {
            known.insert("LESS".to_owned(), USUAL_OPTIONS.to_owned());
        }
        known.insert("LESSSECURE".to_owned(), "1".to_owned());
        Some(Self {
            program,
            options,
            variables: known,
        })
    }

    /// Shows a text and waits until it was read, or as much of it as somebody wanted to.
    ///
    /// # Errors
    ///
    /// Where the program is not there; nothing was shown then.
    pub(crate) fn show(&self, text: &str) -> io::Result<()> {
        // What is typed to interrupt is the pager's: it would go on alone, beside the shell. Nothing is left to
        // interrupt here, and the process ends after this.
        let _ours = [signal(SignalKind::interrupt())?, signal(SignalKind::quit())?];
        let mut child = Command::new(&self.program)
            .args(&self.options)
            .env_clear()
            .envs(&self.variables)
            .stdin(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // Whoever has read enough does not take the rest.
            drop(input.write_all(text.as_bytes()));
        }
        match child.wait()?.code() {
            // A program that was to find the program, such as `env`.
            Some(126 | 127) => Err(io::ErrorKind::NotFound.into()),
            _ => Ok(()),
        }
    }
}

fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
        || KNOWN_BEGINNINGS
            .iter()
            .any(|beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(set: &[(&str, &str)]) -> Option<Pager> {
        Pager::chosen(&variables(set), false)
    }

    fn variables(set: &[(&str, &str)]) -> BTreeMap<String, String> {
        set.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn line(pager: &Pager) -> String {
        let words: Vec<&str> = std::iter::once(&pager.program)
            .chain(&pager.options)
            .map(String::as_str)
            .collect();
        words.join(" ")
    }

    #[test]
    fn the_nearest_wish_decides() {
        for (set, expected) in [
            (&[][..], Some("less")),
            (&[("PAGER", "more")], Some("more")),
            (
                &[("PAGER", "more"), ("BURSAR_PAGER", "less -S  -R")],
                Some("less -S -R"),
            ),
            (&[("PAGER", "more"), ("BURSAR_PAGER", "")], None),
            (&[("PAGER", "more"), ("BURSAR_PAGER", " ")], None),
            (&[("PAGER", "more"), ("BURSAR_PAGER", "cat")], None),
            (&[("PAGER", "cat")], None),
            (&[("PAGER", "")], None),
            (&[("TERM", "dumb")], None),
            (&[("TERM", "dumb"), ("BURSAR_PAGER", "more")], Some("more")),
        ] {
            assert_eq!(chosen(set).as_ref().map(line).as_deref(), expected, "{set:?}");
        }
    }

    #[test]
    fn a_wish_of_somebody_else_does_not_run_with_lent_rights() {
        for set in [
            &[][..],
            &[("BURSAR_PAGER", "sh -c id")],
            &[("PAGER", "vim -"), ("LESS", "-o/etc/passwd")],
        ] {
            let pager = Pager::chosen(&variables(set), true).unwrap();

            assert_eq!(line(&pager), "less", "{set:?}");
            assert_eq!(
                pager.variables,
                variables(&[("LESS", "FRX"), ("LESSSECURE", "1")])
            );
        }
        assert_eq!(Pager::chosen(&variables(&[("BURSAR_PAGER", "")]), true), None);
    }

    #[test]
    fn a_pager_knows_no_more_than_it_needs() {
        let pager = chosen(&[
            ("PATH", "/bin"),
            ("LC_ALL", "C"),
            ("KRAKEN_MASTER_API_SECRET", "CANARYSECRET"),
            ("LESSOPEN", "|id %s"),
            ("LESSSECURE", "0"),
        ])
        .unwrap();

        let expected = [
            ("LC_ALL", "C"),
            ("LESS", "FRX"),
            ("LESSSECURE", "1"),
            ("PATH", "/bin"),
        ];
        assert_eq!(pager.variables, variables(&expected));
        let own = chosen(&[("LESS", "-S")]).unwrap();
        assert_eq!(own.variables["LESS"], "-S");
    }

    #[test]
    fn what_fits_with_the_prompt_is_not_paged() {
        let screen = Screen { rows: 4, columns: 10 };

        assert!(screen.holds(""));
        assert!(screen.holds("one\ntwo\nthree\n"));
        assert!(!screen.holds("one\ntwo\nthree\nfour\n"));
        assert!(screen.holds("0123456789\n\n3\n"), "a full line is one line");
        assert!(!screen.holds("0123456789a\n3\n4\n"), "a longer one is two");
        let painted = crate::render::bad("0123456789");
        assert!(
            screen.holds(&format!("{painted}\n2\n3\n")),
            "colour takes no room"
        );
    }
}
