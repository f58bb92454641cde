//! `bursar schema`: what the documents of the commands look like.

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::commands::config::SchemaDocument;
use crate::documents;
use crate::render::Page;
use crate::session::Session;
use crate::{Exit, Failure};

#[derive(Debug, Args)]
#[command(after_help = "\
Every field is listed, and there is no other. `error` is the document of a command that failed.

Examples:
  bursar schema
  bursar schema order place
  bursar schema error")]
pub struct SchemaOf {
    /// The words of a command, or `error`; without, the commands that print a document
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

/// The commands that print a document.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Documents")]
pub(crate) struct Listed {
    commands: Vec<&'static str>,
}

impl SchemaOf {
    pub(crate) fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let schemas = documents::schemas();
        let mut page = Page::new();
        if self.command.is_empty() {
            let commands: Vec<&str> = schemas.iter().map(|(command, _)| *command).collect();
            for command in &commands {
                page.line(command);
            }
            session.console.answer(&page, &Listed { commands });
            return Ok(Exit::Done);
        }
        let typed = self.command.join(" ");
        let found = schemas.iter().find(|(command, _)| *command == typed);
        let Some((_, schema)) = found else {
            let names = schemas.iter().map(|(command, _)| *command);
            let meant = bursar_config::nearest(&typed, names);
            let meant = meant.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
            return Err(Failure::not_found(
                format!(
                    "no document of `{}` is described{meant}",
                    crate::named::shown(&typed)
                ),
                "list them with `bursar schema`",
            ));
        };
        page.line(format!("{schema:#}"));
        session.console.answer(&page, &SchemaDocument(schema.clone()));
        Ok(Exit::Done)
    }
}
