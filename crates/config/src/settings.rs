//! All settings, and the way in.

use bursar_model::Tier;
use serde_json::{Value, json};
use toml::de::{DeTable, Error as TomlError};

use crate::node::{Node, shortened};
use crate::reader::{ConfigError, Reader};
use crate::rules::{self, Warning};
use crate::section::{any, section};
use crate::sections::accounts::Accounts;
use crate::sections::audit::Audit;
use crate::sections::backups::Backups;
use crate::sections::brokers::Brokers;
use crate::sections::controls::{Breaker, Caps, Day, Errors, Gate};
use crate::sections::log::Log;
use crate::sections::notify::Notify;
use crate::sections::people::People;
use crate::sections::strategy::{Balance, Risk, Strategy};
use crate::sections::switches::Switches;
use crate::sections::tiers::{Assets, TierLimits, Tiers};
use crate::sections::unlock::Unlock;
use crate::values::{StoreUrl, Text};

section! {
    /// Everything that can be set.
    pub struct Settings {
        /// The folder for what the daemon keeps, unless `--data-dir` or BURSAR_DATA_DIR names another.
        pub data_dir: Text = Text::fixed("bursar-data"), any;
        /// Where users, orders and the audit trail are kept.
        pub store: Store = Store::default(), any;
        /// How the key store is unlocked at the start, where nobody types a passphrase.
        pub unlock: Unlock = Unlock::default(), any;
        /// What each tier grants.
        pub tiers: Tiers = Tiers::default(), any;
        /// The assets that "top" means. A list with a date, not a live ranking: what a user may trade
        /// does not change overnight. An asset that a venue renamed stays the same asset.
        pub assets: Assets = Assets::default(), any;
        /// Caps that hold for everybody and that no user, strategy or request can lift.
        pub caps: Caps = Caps::default(), any;
        /// What the gate takes for fresh, near and double.
        pub gate: Gate = Gate::default(), any;
        /// When a trading day begins. The day's loss is counted from there.
        pub day: Day = Day::default(), any;
        /// When errors of an exchange stop an account. Our own refusals never count.
        pub errors: Errors = Errors::default(), any;
        /// When an exchange as a whole counts as out of order: new positions pause at it until it answers
        /// again.
        pub breaker: Breaker = Breaker::default(), any;
        /// Ways to stop when the store cannot be written, and what is kept back so that it can.
        pub switches: Switches = Switches::default(), any;
        /// A section for each broker whose settings differ from these.
        pub brokers: Brokers = Brokers::default(), any;
        /// How accounts are connected and watched.
        pub accounts: Accounts = Accounts::default(), any;
        /// The strategy that trades for every enabled user. Users cannot change it.
        pub strategy: Strategy = Strategy::default(), any;
        /// What the risk levels mean that users choose from.
        pub risk: Risk = Risk::default(), any;
        /// How much money makes an account ready to trade.
        pub balance: Balance = Balance::default(), any;
        /// Proofs of the audit trail.
        pub audit: Audit = Audit::default(), any;
        /// How long backups are kept.
        pub backups: Backups = Backups::default(), any;
        /// Who runs the installation.
        pub people: People = People::default(), any;
        /// Telling people and programs what happened. Nothing is sent until a channel is set up below.
        /// Secrets are in files of mode 0400 or 0600, never in here.
        pub notify: Notify = Notify::default(), any;
        /// What is logged. The audit trail is something else and always complete.
        pub log: Log = Log::default(), any;
    }
}

section! {
    /// Where everything durable is kept.
    pub struct Store {
        /// "sqlite:" and the path of a file on a local disk.
        pub url: StoreUrl = StoreUrl::Sqlite { path: "bursar-data/bursar.db".into() }, any;
    }
}

impl Settings {
    /// Reads a settings text. `file_name` is only what messages call it.
    ///
    /// # Errors
    ///
    /// With everything that is wrong with the text, each with its line.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, ConfigError> {
        check(text, file_name).map(|(settings, _)| settings)
    }

    /// What a tier grants, with the lists it refers to filled in.
    pub fn tier(&self, tier: Tier) -> TierLimits {
        let settings = self.tiers.of(tier);
        TierLimits {
            default: settings.default.resolved(&self.assets),
            ceiling: settings.ceiling.resolved(&self.assets),
        }
    }

    /// The settings as a file, with a comment for each. Reading it gives the same settings.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        self.render_section("", &[], &mut text);
        text
    }
}

/// What settings name and only a program can know.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The brokers that there is an adapter for.
    pub brokers: &'a [String],
    /// Whether there is a time zone of this name; where not, the names that there are.
    pub zone: fn(&str) -> Result<(), Vec<String>>,
}

/// Reads a settings text, and says what is allowed but hardly meant. Brokers and time zones may have any name.
///
/// # Errors
///
/// As [`Settings::parse`].
pub fn check(text: &str, file_name: &str) -> Result<(Settings, Vec<Warning>), ConfigError> {
    read(text, file_name, None)
}

/// As [`check`], and refuses names of brokers and time zones that the program does not know.
///
/// # Errors
///
/// As [`Settings::parse`].
pub fn check_against(
    known: &Known<'_>,
    text: &str,
    file_name: &str,
) -> Result<(Settings, Vec<Warning>), ConfigError> {
    read(text, file_name, Some(known))
}

fn read(
    text: &str,
    file_name: &str,
    known: Option<&Known<'_>>,
) -> Result<(Settings, Vec<Warning>), ConfigError> {
    let mut settings = Settings::default();
    let mut names = Vec::new();
    settings.names("", &mut names);
    let mut reader = Reader::new(text, names);
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        settings.read_table(table.get_ref(), &mut reader);
    } else {
        tell_syntax(&errors, text, &mut reader);
    }
    if reader.is_fine() {
        rules::must_hold(&settings, &mut reader);
        if let Some(known) = known {
            rules::must_be_known(&settings, known, &mut reader);
        }
    }
    if reader.is_fine() {
        let warnings = rules::warnings(&settings, &reader);
        Ok((settings, warnings))
    } else {
        Err(reader.into_error(file_name))
    }
}

/// Of a text that is not TOML, the first mistake is told: the others often follow from it. Names that
/// come twice stand each for itself.
fn tell_syntax(errors: &[TomlError], text: &str, reader: &mut Reader<'_>) {
    let is_duplicate = |error: &TomlError| error.message() == "duplicate key";
    if let Some(error) = errors.iter().find(|error| !is_duplicate(error)) {
        reader.problem(error.span(), error.message().to_owned());
        return;
    }
    for error in errors {
        let name = error.span().and_then(|span| text.get(span)).unwrap_or_default();
        reader.problem(
            error.span(),
            format!("`{}` is set twice; remove one", shortened(name)),
        );
    }
}

/// The JSON Schema of a settings file.
pub fn schema() -> Value {
    let mut schema = Settings::default().schema();
    if let Value::Object(fields) = &mut schema {
        fields.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        fields.insert("title".to_owned(), json!("bursar.toml"));
    }
    schema
}
