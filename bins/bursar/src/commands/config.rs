//! `bursar config`: the settings file.

use std::borrow::Cow;
use std::path::Path;

use bursar_config::{Settings, Warning};
use bursar_execution::{Conditions, Measure};
use clap::Subcommand;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value;

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
                session.console.answer(&page, &SchemaDocument(schema));
                Ok(Exit::Done)
            }
            Self::Show => {
                let settings = session.installation()?.settings;
                let mut page = Page::new();
                page.line(settings.to_toml().trim_end());
                session.console.answer(&page, &Shown(&settings));
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
    let document = Checked {
        file: installation.file.as_deref(),
        store: &installation.store,
        warnings: &installation.warnings,
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

/// Settings that can be used.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SettingsChecked")]
pub(crate) struct Checked<'a> {
    /// `null` when every value is the default.
    file: Option<&'a Path>,
    store: &'a Path,
    /// What is allowed and hardly meant.
    warnings: &'a [Warning],
}

/// All settings as they hold.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct Shown<'a>(&'a Settings);

impl JsonSchema for Shown<'_> {
    fn schema_name() -> Cow<'static, str> {
        "Settings".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = bursar_config::schema();
        as_shown(&mut schema);
        Schema::try_from(schema).unwrap_or_default()
    }
}

/// From what may stand in the file to what is shown of it: every setting, and `null` for one without a value.
fn as_shown(schema: &mut Value) {
    let Value::Object(fields) = schema else {
        return;
    };
    if let Some(Value::Object(settings)) = fields.get_mut("properties") {
        settings.values_mut().for_each(as_shown);
        let names = settings.keys().map(|name| Value::String(name.clone())).collect();
        fields.insert("required".to_owned(), Value::Array(names));
    }
    if let Some(each) = fields.get_mut("additionalProperties") {
        as_shown(each);
    }
    let is_none = |value: &Value| value.get("const").is_some_and(|word| word == "none");
    let kinds = fields.get("anyOf").and_then(Value::as_array);
    let may_be_none = kinds.is_some_and(|kinds| kinds.iter().any(is_none));
    if may_be_none || fields.get("default").is_some_and(Value::is_null) {
        let kept = ["description", "default"].map(|word| (word.to_owned(), fields.remove(word)));
        let value = Value::Object(std::mem::take(fields));
        fields.insert("anyOf".to_owned(), serde_json::json!([value, { "type": "null" }]));
        fields.extend(kept.into_iter().filter_map(|(word, value)| Some((word, value?))));
    }
}

/// The schema of the settings file.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct SchemaDocument(pub(crate) Value);

impl JsonSchema for SchemaDocument {
    fn schema_name() -> Cow<'static, str> {
        "JsonSchema".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "$ref": "https://json-schema.org/draft/2020-12/schema" })
    }
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
