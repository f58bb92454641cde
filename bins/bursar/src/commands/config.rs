//! `bursar config`: the settings file.

use bursar_execution::{Conditions, Measure};
use clap::Subcommand;
use serde_json::json;

use crate::commands::approvals;
use crate::render::{Cell, Page};
use crate::session::Session;
use crate::{Exit, Failure, prompt};

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Check the settings; every mistake is named with its line
    #[command(after_help = "Example:\n  bursar config check")]
    Check,
    /// The JSON Schema of the settings file, for editors
    #[command(after_help = "Example:\n  bursar config schema > bursar.schema.json")]
    Schema,
    /// All settings as they hold, as a file with a comment for each
    #[command(after_help = "Example:\n  bursar config show")]
    Show,
    /// Put looser limits of the settings in force; a second person has to approve it
    #[command(after_help = "\
Tighter limits are in force as soon as the daemon reads the settings. Looser ones, for everybody, take
two people.

Example:
  bursar config apply --reason \"agreed on 3 March\"")]
    Apply,
}

impl Config {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Check => check(session),
            Self::Schema => {
                let schema = bursar_config::schema();
                let mut page = Page::new();
                page.line(format!("{schema:#}"));
                session.console.answer(&page, &schema);
                Ok(Exit::Done)
            }
            Self::Show => {
                let settings = session.installation()?.settings;
                let mut page = Page::new();
                page.line(settings.to_toml().trim_end());
                session.console.answer(&page, &json!(settings));
                Ok(Exit::Done)
            }
            Self::Apply => apply(session).await,
        }
    }
}

fn check(session: &mut Session<'_>) -> Result<Exit, Failure> {
    let installation = session.installation()?;
    let file = installation.file.as_ref().map_or_else(
        || "none; every value is the default".to_owned(),
        |file| file.display().to_string(),
    );
    let mut page = Page::new();
    page.line("the settings can be used");
    page.facts([
        ("file", Cell::new(&file)),
        ("store", Cell::new(installation.store.display())),
    ]);
    for warning in &installation.warnings {
        page.line(format!("  {} {warning}", crate::render::caution("warning:")));
    }
    session.console.answer(
        &page,
        &json!({ "file": installation.file, "store": installation.store, "warnings": installation.warnings }),
    );
    Ok(Exit::Done)
}

async fn apply(session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let policy = bursar_execution::settings::policy(&opened.installation.settings);
    let replaces = opened.store.policy().await?;
    let reason = prompt::reason(
        session.console,
        session.global.reason.as_deref(),
        "more is allowed to everybody",
    )?;
    let measure = Measure::SetPolicy {
        replaces: Box::new(replaces),
        policy: Box::new(policy),
    };
    approvals::propose(measure, "", &reason, &opened, session).await
}
