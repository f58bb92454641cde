//! Lines for people, each with the level at which it is logged.

use bursar_auth::Account;
use schemars::JsonSchema;
use serde::Serialize;

/// One line of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Line {
    /// At which it is logged.
    pub level: LineLevel,
    /// One line, without its end.
    pub text: String,
}

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LineLevel {
    /// What goes as it should.
    Info,
    /// What somebody should look at.
    Warning,
}

impl Line {
    /// A line that tells what goes as it should.
    pub fn info(text: impl Into<String>) -> Self {
        Self {
            level: LineLevel::Info,
            text: text.into(),
        }
    }

    /// A line that somebody should look at.
    pub fn warning(text: impl Into<String>) -> Self {
        Self {
            level: LineLevel::Warning,
            text: text.into(),
        }
    }

    /// Writes the line to the log.
    pub fn log(&self) {
        match self.level {
            LineLevel::Info => tracing::info!("{}", self.text),
            LineLevel::Warning => tracing::warn!("{}", self.text),
        }
    }

    /// Writes the line to the log as one about an account, which its fields name.
    pub(crate) fn log_about(&self, account: &Account) {
        let (id, user) = (account.id(), account.owner());
        match self.level {
            LineLevel::Info => tracing::info!(account = %id, %user, "{}", self.text),
            LineLevel::Warning => tracing::warn!(account = %id, %user, "{}", self.text),
        }
    }
}

/// The lines as one text, each ended.
pub(crate) fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| format!("{}\n", line.text)).collect()
}
