//! What goes wrong with a text, and where.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use crate::nearest::nearest;

/// One mistake in a settings text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1; `None` when nothing in the text is to blame.
    pub line: Option<usize>,
    /// From 1, in characters.
    pub column: Option<usize>,
    /// In words, for people; may name the setting and what belongs there.
    pub message: String,
}

/// A settings text that cannot be used, with all that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// As it was named by who gave the text.
    pub file: String,
    /// In the order of the text; never empty.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// What the operator can do now.
    pub fn hint(&self) -> String {
        format!("correct `{}`, then run `bursar config check`", self.file)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            f.write_str(&self.file)?;
            if let (Some(line), Some(column)) = (problem.line, problem.column) {
                write!(f, ":{line}:{column}")?;
            }
            write!(f, ": {}", problem.message)?;
        }
        Ok(())
    }
}

/// Walks through a parsed text: knows where it is, and collects what is wrong.
pub(crate) struct Reader<'t> {
    text: &'t str,
    path: Vec<String>,
    /// Where each setting that the text names is written.
    places: BTreeMap<String, Range<usize>>,
    problems: Vec<(usize, Problem)>,
    /// The full name of every setting there is.
    known: Vec<String>,
}

impl<'t> Reader<'t> {
    pub(crate) fn new(text: &'t str, known: Vec<String>) -> Self {
        Self {
            text,
            path: Vec::new(),
            places: BTreeMap::new(),
            problems: Vec::new(),
            known,
        }
    }

    /// Runs `read` one level down, at the value of `name`.
    pub(crate) fn within(&mut self, name: &str, place: Range<usize>, read: impl FnOnce(&mut Self)) {
        self.path.push(name.to_owned());
        self.places.insert(self.here(), place);
        read(self);
        self.path.pop();
    }

    /// The full name of the setting that is being read.
    pub(crate) fn here(&self) -> String {
        self.path.join(".")
    }

    /// Blames the setting that is being read.
    pub(crate) fn wrong(&mut self, message: impl fmt::Display) {
        let here = self.here();
        self.wrong_at(&here, message);
    }

    /// Blames the setting with this full name, or the nearest section around it that is written.
    pub(crate) fn wrong_at(&mut self, setting: &str, message: impl fmt::Display) {
        let place = self.place_of(setting);
        let message = format!("`{setting}` {message}");
        self.problem(place, message);
    }

    pub(crate) fn unknown(&mut self, name: &str, place: Range<usize>, right_names: &[&str]) {
        let section = self.here();
        let shown_section = match section.as_str() {
            "" => "at the top level".to_owned(),
            section => format!("in [{section}]"),
        };
        let elsewhere = self.known.iter().find_map(|known| {
            let (section, last) = known.rsplit_once('.')?;
            (last == name).then(|| format!("it belongs in [{section}]"))
        });
        let hint = nearest(name, right_names.iter().copied())
            .map(|right| format!("did you mean `{right}`?"))
            .or(elsewhere)
            .unwrap_or_else(|| format!("there are {}", right_names.join(", ")));
        let shown_name: String = name.chars().take(60).collect();
        self.problem(
            Some(place),
            format!("unknown setting `{shown_name}` {shown_section}; {hint}"),
        );
    }

    pub(crate) fn problem(&mut self, place: Option<Range<usize>>, message: String) {
        let order = place.as_ref().map_or(usize::MAX, |place| place.start);
        let position = place.map(|place| position(self.text, place.start));
        let problem = Problem {
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            // A wrong name may hold anything; a message stays on its line.
            message: message.replace(char::is_control, "?"),
        };
        self.problems.push((order, problem));
    }

    /// The line of a setting, or of the nearest section around it that is written.
    pub(crate) fn line_of(&self, setting: &str) -> Option<usize> {
        let place = self.place_of(setting)?;
        Some(position(self.text, place.start).0)
    }

    fn place_of(&self, setting: &str) -> Option<Range<usize>> {
        let mut name = setting;
        loop {
            if let Some(place) = self.places.get(name) {
                return Some(place.clone());
            }
            name = name.rsplit_once('.')?.0;
        }
    }

    pub(crate) const fn is_fine(&self) -> bool {
        self.problems.is_empty()
    }

    pub(crate) fn into_error(mut self, file: &str) -> ConfigError {
        self.problems.sort_by_key(|(order, _)| *order);
        ConfigError {
            file: file.to_owned(),
            problems: self.problems.into_iter().map(|(_, problem)| problem).collect(),
        }
    }
}

/// Line and column, from 1, of a byte of `text`.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    (line, column.saturating_add(1))
}
