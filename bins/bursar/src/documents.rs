//! The JSON documents of the commands, each with its schema (JSON Schema, draft 2020-12).
//!
//! A schema is made of the type that is printed, so it says what a command really prints. It lists every
//! field and allows no other: a program that reads a document knows all there can be. Files with them are in
//! `docs/schemas/bursar/`; a test compares, and writes them anew with `BURSAR_WRITE_PAGES=1`.

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Failure;
use crate::commands::{
    account, apply, approvals, audit, backup, balance, can, check, config, credentials, doctor, errors,
    explain, hierarchy, import_env, init, keystore, kill, latches, lists, loss, notify, order, permissions,
    preferences, replay, schema, setup, stats, status, user,
};

/// What every command prints that failed, whatever it would have printed otherwise.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub(crate) struct ErrorDocument<'a> {
    pub(crate) error: ErrorFacts<'a>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct ErrorFacts<'a> {
    /// The kind of ending: failed, usage, refused, not-found, unavailable, partial or unclear.
    pub(crate) code: &'static str,
    /// The exit code of the process.
    pub(crate) exit: u8,
    /// What failed, with which value.
    pub(crate) message: &'a str,
    /// What to do now.
    pub(crate) hint: &'a str,
}

/// What failed of several things, and what to do about it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Failure")]
pub(crate) struct FailureDocument<'a> {
    message: &'a str,
    hint: &'a str,
}

impl<'a> FailureDocument<'a> {
    pub(crate) fn of(failure: &'a Failure) -> Self {
        Self {
            message: failure.message(),
            hint: failure.hint(),
        }
    }
}

/// One of two documents: which, depends on what was asked for or found.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(
    dead_code,
    reason = "it is there for its schema: a command prints the one or the other itself"
)]
enum Either<A, B> {
    One(A),
    Other(B),
}

/// Commands that print no document of their own, and what they print instead.
pub const WITHOUT_DOCUMENT: [(&str, &str); 2] =
    [("completions", "a script for the shell"), ("man", "manual pages")];

/// The name under which the schema of a failure is found.
pub const ERROR: &str = "error";

/// Every command that prints a document, with the schema of it, in the order of their names.
pub fn schemas() -> Vec<(&'static str, Value)> {
    let mut all = of_all();
    for (command, schema) in &mut all {
        if let Value::Object(fields) = schema {
            fields.insert("title".to_owned(), json!(format!("bursar {command}")));
        }
    }
    all
}

fn of_all() -> Vec<(&'static str, Value)> {
    use approvals::Decided;
    vec![
        ("account add", of::<account::Added<'_>>()),
        ("account close", of::<account::Closed<'_>>()),
        ("account list", of::<account::Listed<'_>>()),
        ("account show", of::<account::Shown<'_>>()),
        (
            "apply",
            of::<
                Either<
                    apply::outcome::Applied<'_, apply::outcome::KeyPlanned<'_>>,
                    apply::outcome::Applied<'_, apply::outcome::KeyDone<'_>>,
                >,
            >(),
        ),
        ("approvals", of::<approvals::Listed<'_>>()),
        ("approve", of::<Decided<'_>>()),
        ("audit export", of::<audit::export::Exported<'_>>()),
        ("audit tail", of::<audit::Newest>()),
        (
            "audit verify",
            of::<Either<audit::Proof<'_>, audit::exported::ExportProof<'_>>>(),
        ),
        ("backup create", of::<backup::Created<'_>>()),
        ("backup restore", of::<backup::restore::Restored<'_>>()),
        ("backup verify", of::<backup::Proved<'_>>()),
        ("balance", of::<balance::Readiness<'_>>()),
        ("can", of::<can::Answer<'_>>()),
        ("check", of::<check::Checked>()),
        ("config apply", of::<Decided<'_>>()),
        ("config check", of::<config::Checked<'_>>()),
        ("config schema", of::<config::SchemaDocument>()),
        ("config show", of::<config::Shown<'_>>()),
        ("credentials check", of::<credentials::Checked<'_>>()),
        ("credentials delete", of::<credentials::Deleted<'_>>()),
        ("credentials list", of::<credentials::Listed<'_>>()),
        ("credentials rotate", of::<credentials::rotate::Rotated<'_>>()),
        ("credentials set", of::<credentials::Entered<'_>>()),
        ("doctor", of::<doctor::Examined<'_>>()),
        (ERROR, of::<ErrorDocument<'_>>()),
        ("errors reset", of::<errors::Forgotten<'_>>()),
        ("errors show", of::<errors::Shown<'_>>()),
        ("explain", of::<explain::Explanation<'_>>()),
        ("fills", of::<lists::ListedFills<'_>>()),
        ("hierarchy", of::<hierarchy::Reported>()),
        ("import-env", of::<import_env::Imported<'_>>()),
        ("init", of::<init::Made<'_>>()),
        (
            "keystore rotate api-key-pepper",
            of::<keystore::rotate::Renewed>(),
        ),
        ("keystore rotate pseudonym-key", of::<keystore::rotate::Renewed>()),
        ("keystore rotate root", of::<keystore::rotate::Replaced<'_>>()),
        ("keystore rotate session-key", of::<keystore::rotate::Renewed>()),
        ("keystore rotate wrapping-key", of::<keystore::rotate::Wrapped>()),
        ("keystore seal", of::<keystore::seal::Sealed<'_>>()),
        ("keystore slot add env", of::<keystore::slot::Added<'_>>()),
        ("keystore slot add file", of::<keystore::slot::Added<'_>>()),
        ("keystore slot add passphrase", of::<keystore::slot::Added<'_>>()),
        ("keystore slot add recovery", of::<keystore::slot::Added<'_>>()),
        (
            "keystore slot add systemd-credential",
            of::<keystore::slot::Added<'_>>(),
        ),
        ("keystore slot prove", of::<keystore::slot::Proved>()),
        ("keystore slot remove", of::<keystore::slot::Removed<'_>>()),
        ("keystore status", of::<keystore::Shown<'_>>()),
        ("keystore unseal", of::<keystore::seal::Unsealed>()),
        ("kill", of::<Either<kill::Stopped<'_>, kill::Emergency<'_>>>()),
        ("latches", of::<Either<latches::On<'_>, latches::History<'_>>>()),
        ("loss allow", of::<Decided<'_>>()),
        ("loss show", of::<loss::Shown<'_>>()),
        ("notify test", of::<notify::TriedOut<'_>>()),
        ("order cancel", of::<order::Cancelled<'_>>()),
        ("order place", of::<order::Placed<'_>>()),
        ("order resolve", of::<Decided<'_>>()),
        ("order show", of::<order::Shown<'_>>()),
        (
            "orders",
            of::<Either<lists::ListedOrders<'_>, lists::ExternalOrders>>(),
        ),
        ("permissions set", of::<permissions::Changed<'_>>()),
        ("permissions show", of::<permissions::Shown<'_>>()),
        ("position write-off", of::<Decided<'_>>()),
        ("positions", of::<lists::OpenPositions<'_>>()),
        ("preferences set", of::<preferences::Changed<'_>>()),
        ("preferences show", of::<preferences::Shown<'_>>()),
        ("reject", of::<approvals::Rejected<'_>>()),
        (
            "release",
            of::<Either<latches::ReleasedDocument<'_>, Decided<'_>>>(),
        ),
        ("replay", of::<replay::Replayed<'_>>()),
        ("schema", of::<Either<schema::Listed, config::SchemaDocument>>()),
        ("setup", of::<setup::SetUp<'_>>()),
        ("stats", of::<stats::document::Shown<'_>>()),
        (
            "status",
            of::<Either<status::OfEverything<'_>, status::OfUser<'_>>>(),
        ),
        ("user add", of::<user::Added<'_>>()),
        ("user delete", of::<user::delete::Deleted<'_>>()),
        ("user disable", of::<user::Switched<'_>>()),
        ("user enable", of::<user::Switched<'_>>()),
        ("user list", of::<user::Listed<'_>>()),
        ("user set-email", of::<user::Reached<'_>>()),
        ("user set-tier", of::<user::Moved<'_>>()),
        ("user show", of::<status::OfUser<'_>>()),
    ]
}

/// The schema of what a type is written as.
fn of<D: Serialize + JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .for_serialize()
        .with_transform(Closed);
    json!(settings.into_generator().into_root_schema_for::<D>())
}

/// Allows no field but those that are described.
#[derive(Clone)]
struct Closed;

impl Transform for Closed {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else {
            return;
        };
        if !object.contains_key("properties") || object.contains_key("additionalProperties") {
            return;
        }
        // What is described beside the fields may describe more of them.
        let has_more = ["$ref", "allOf", "anyOf", "oneOf"]
            .iter()
            .any(|word| object.contains_key(*word));
        let word = if has_more {
            "unevaluatedProperties"
        } else {
            "additionalProperties"
        };
        object.insert(word.to_owned(), Value::Bool(false));
    }
}
