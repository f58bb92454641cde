//! Tables, headings and colours, the same in both programs.
//!
//! Everything here returns text with colour in it; [`crate::Console`] takes the colour out where
//! nobody wants it.

use anstyle::{AnsiColor, Style};
use bursar_model::text::is_shown;
use comfy_table::{CellAlignment, Table as Grid};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const CAUTION: Style = AnsiColor::Yellow.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

pub fn bold(text: &str) -> String {
    styled(BOLD, text)
}

pub fn dim(text: &str) -> String {
    styled(DIM, text)
}

/// For what is as it should be.
pub fn good(text: &str) -> String {
    styled(GOOD, text)
}

/// For what somebody should look at.
pub fn caution(text: &str) -> String {
    styled(CAUTION, text)
}

/// For what is wrong or stopped.
pub fn bad(text: &str) -> String {
    styled(BAD, text)
}

/// How a cell is to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Caution,
    Bad,
    Dim,
}

impl Tone {
    fn paint(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Good => good(text),
            Self::Caution => caution(text),
            Self::Bad => bad(text),
            Self::Dim => dim(text),
        }
    }
}

/// A cell of a [`Table`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Text from outside is made harmless: one line, and no control characters that a terminal
    /// would obey.
    pub fn new(text: impl ToString) -> Self {
        Self {
            text: harmless(&text.to_string()),
            tone: Tone::Plain,
        }
    }

    #[must_use]
    pub const fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

/// Rows under headings, without lines, aligned.
#[derive(Clone, Debug)]
pub struct Table {
    headings: Vec<&'static str>,
    right: Vec<usize>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub fn new(headings: &[&'static str]) -> Self {
        Self {
            headings: headings.to_vec(),
            right: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Columns that hold figures, counted from zero.
    #[must_use]
    pub fn figures(mut self, columns: &[usize]) -> Self {
        self.right = columns.to_vec();
        self
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut grid = Grid::new();
        grid.load_style(comfy_table::presets::NOTHING);
        // Lines are as long as they need to be: what is cut cannot be copied, and a pipe has no width.
        grid.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
        grid.force_no_tty();
        grid.set_header(self.headings.iter().copied());
        for row in &self.rows {
            grid.add_row(row.iter().map(|cell| cell.text.as_str()));
        }
        for (index, column) in grid.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if self.right.contains(&index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        // The grid aligns plain text; colours are put on afterwards, where they cannot shift anything.
        for (number, line) in grid.lines().enumerate() {
            let line = line.trim_end();
            match number.checked_sub(1).and_then(|row| self.rows.get(row)) {
                None => writeln!(f, "{}", bold(line))?,
                Some(row) => writeln!(f, "{}", paint_line(line, row))?,
            }
        }
        Ok(())
    }
}

/// Colours the cells of a row in its finished line, from left to right.
fn paint_line(line: &str, row: &[Cell]) -> String {
    let mut painted = String::new();
    let mut rest = line;
    for cell in row.iter().filter(|cell| !cell.text.is_empty()) {
        let Some((before, after)) = rest.split_once(cell.text.as_str()) else {
            continue;
        };
        painted.push_str(before);
        painted.push_str(&cell.tone.paint(&cell.text));
        rest = after;
    }
    painted.push_str(rest);
    painted
}

/// What a command shows, line by line.
#[derive(Clone, Debug, Default)]
pub struct Page(String);

impl Page {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn line(&mut self, text: impl AsRef<str>) -> &mut Self {
        self.0.push_str(text.as_ref());
        self.0.push('\n');
        self
    }

    pub fn blank(&mut self) -> &mut Self {
        self.line("")
    }

    pub fn heading(&mut self, text: &str) -> &mut Self {
        if !self.0.is_empty() {
            self.blank();
        }
        self.line(bold(text))
    }

    /// Names and values, the values under each other.
    pub fn facts<'a>(&mut self, facts: impl IntoIterator<Item = (&'a str, Cell)>) -> &mut Self {
        let facts: Vec<(&str, Cell)> = facts.into_iter().collect();
        let width = facts
            .iter()
            .map(|(name, _)| name.chars().count())
            .max()
            .unwrap_or(0);
        for (name, cell) in facts {
            let text = cell.tone.paint(&cell.text);
            let gap = " ".repeat(width.saturating_sub(name.chars().count()));
            self.line(format!("  {}{gap}  {text}", dim(name)));
        }
        self
    }

    /// The table, or a sentence where there is nothing to show.
    pub fn table(&mut self, table: &Table, when_empty: &str) -> &mut Self {
        if table.is_empty() {
            self.line(when_empty)
        } else {
            self.0.push_str(&table.to_string());
            self
        }
    }

    /// Commands to run next, each with what it does.
    pub fn next_steps<'a>(
        &mut self,
        title: &str,
        steps: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> &mut Self {
        self.heading(title);
        for (command, what) in steps {
            self.line(format!("  {command}"));
            self.line(format!("      {}", dim(what)));
        }
        self
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text from outside, fit for a terminal: one line, and every character shows itself.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if is_shown(c) { c } else { '?' }).collect()
}

/// A moment as people read it: UTC, to the second.
pub fn moment(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How old something is, in the largest unit that fits.
pub fn age(age_ms: i64) -> String {
    let seconds = age_ms / 1_000;
    match seconds {
        ..0 => "in the future".to_owned(),
        0 => format!("{age_ms} ms"),
        1..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// `1 account`, `2 accounts`.
pub fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{number} {many}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn columns_are_aligned_and_figures_stand_on_the_right() {
        let mut table = Table::new(&["USER", "LIMIT", "STATE"]).figures(&[1]);
        table.row([
            "mara_ilves".into(),
            "50.00 USD".into(),
            Cell::new("enabled").tone(Tone::Good),
        ]);
        table.row(["ops_desk".into(), "1000.00 USD".into(), "disabled".into()]);

        insta::assert_snapshot!(plain(&table.to_string()), @r"
        USER              LIMIT  STATE
        mara_ilves    50.00 USD  enabled
        ops_desk    1000.00 USD  disabled
        ");
    }

    #[test]
    fn colour_does_not_move_a_column() {
        let mut table = Table::new(&["A", "B"]);
        table.row([Cell::new("x").tone(Tone::Bad), "y".into()]);
        let mut same = Table::new(&["A", "B"]);
        same.row(["x".into(), "y".into()]);

        assert_ne!(table.to_string(), same.to_string());
        assert_eq!(plain(&table.to_string()), plain(&same.to_string()));
    }

    #[test]
    fn a_text_from_outside_cannot_drive_the_terminal() {
        assert_eq!(Cell::new("a\u{1b}[2Jb\nc").text, "a?[2Jb?c");
        assert_eq!(harmless("\u{202e}abc"), "?abc");
    }

    #[test]
    fn an_age_is_told_in_a_unit_that_fits() {
        assert_eq!(age(250), "250 ms");
        assert_eq!(age(30_000), "30 s");
        assert_eq!(age(180_000), "3 min");
        assert_eq!(age(7_200_000), "2 h");
        assert_eq!(age(-2_000), "in the future");
    }
}
