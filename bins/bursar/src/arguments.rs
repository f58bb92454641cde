//! The command line: what may be typed, and what is said about it.

use std::error::Error;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::str::FromStr;

use bursar_model::{Asset, Pair, PairRule, RiskLevel, Usd};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser};
use jiff::{SignedDuration, Timestamp};
use strum::IntoEnumIterator;

use crate::commands::Command;
use crate::render::{bad, bold, harmless};

/// Administers Bursar, the gateway that trades exchange accounts.
#[derive(Debug, Parser)]
#[command(
    name = "bursar",
    version,
    propagate_version = true,
    disable_help_subcommand = false,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "\
Begin with:
  bursar init
  bursar user add mara_ilves --email mara@example.com --tier basic
  bursar status

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by a rule, 4 not found,
5 sealed, locked or no store, 6 done in part, 7 unclear whether it is on disk."
)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command understands.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// The settings file, else BURSAR_CONFIG, ./bursar.toml or /etc/bursar/bursar.toml
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The folder of the store, else BURSAR_DATA_DIR or the settings
    #[arg(long, global = true, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Print one JSON document on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Print long answers as they are, without BURSAR_PAGER, PAGER or `less`
    #[arg(long, global = true)]
    pub no_pager: bool,
    /// Answer yes to every question
    #[arg(long, short = 'y', global = true)]
    pub yes: bool,
    /// Why, for the audit trail
    #[arg(long, global = true, value_name = "TEXT", value_parser = reason)]
    pub reason: Option<String>,
    /// The unlock key, else BURSAR_UNLOCK_FILE or the settings
    #[arg(long, global = true, value_name = "FILE")]
    pub unlock_file: Option<PathBuf>,
    /// A file with the passphrase of the key store, for scripts
    #[arg(long, global = true, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Unlock with the recovery code, which is asked for
    #[arg(long, global = true, conflicts_with_all = ["passphrase_file", "unlock_file"])]
    pub recovery_code: bool,
    /// A file with the recovery code, for scripts
    #[arg(long, global = true, value_name = "FILE",
        conflicts_with_all = ["passphrase_file", "unlock_file", "recovery_code"])]
    pub recovery_code_file: Option<PathBuf>,
}

/// What reading the command line came to.
pub enum Read {
    Command(Box<Arguments>),
    /// Help or the version, to be printed on the output.
    Shown(String),
    /// What is wrong, to be printed on the error stream.
    Wrong(Wrong),
}

/// A mistake on the command line.
pub struct Wrong {
    /// For the error stream, as it is.
    pub text: String,
    /// In one line, for a program that wants a document.
    pub message: String,
    pub wants_json: bool,
}

/// Reads a command line, the program's name included.
pub fn read(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Read {
    let arguments: Vec<std::ffi::OsString> = arguments.into_iter().collect();
    let holds_keys = arguments.iter().skip(1).any(|argument| may_bring_a_key(argument));
    let wants_json = arguments.iter().any(|argument| argument == "--json");
    match Arguments::try_parse_from(arguments) {
        Ok(arguments) => Read::Command(Box::new(arguments)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Read::Shown(error.render().ansi().to_string())
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Read::Wrong(Wrong {
                text: error.render().ansi().to_string(),
                message: "a command is missing".to_owned(),
                wants_json,
            }),
            _ => Read::Wrong(Wrong {
                wants_json,
                ..wrong(error, holds_keys)
            }),
        },
    }
}

/// Whether somebody may type what opens something beside this word: a command about keys, or an option that is, or was
/// taken for, one to unlock with.
fn may_bring_a_key(argument: &OsStr) -> bool {
    const COMMANDS: [&str; 5] = ["credentials", "import-env", "keystore", "backup", "init"];
    const OPTIONS: [&str; 4] = ["--recovery", "--passphrase", "--new-passphrase", "--unlock"];
    let word = argument.to_string_lossy();
    COMMANDS.contains(&&*word) || OPTIONS.iter().any(|option| word.starts_with(option))
}

/// Whether this can be meant for the name of a command. Keys are longer, or have other letters.
fn reads_like_a_command(word: &str) -> bool {
    word.len() <= 20 && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}

/// The message of a mistake on the command line: short, on safe characters, with a hint line.
fn wrong(mut error: clap::Error, holds_keys: bool) -> Wrong {
    let mut hidden = None;
    for kind in [
        ContextKind::InvalidValue,
        ContextKind::InvalidArg,
        ContextKind::InvalidSubcommand,
    ] {
        let Some(ContextValue::String(value)) = error.get(kind) else {
            continue;
        };
        // Somebody may have typed a secret where it does not belong; it is not repeated.
        let is_named = match kind {
            ContextKind::InvalidSubcommand => reads_like_a_command(value),
            // Of an argument that is there, it is the name.
            ContextKind::InvalidArg if error.kind() != ErrorKind::UnknownArgument => true,
            _ => value.starts_with('-'),
        };
        let shown = if holds_keys && !is_named {
            hidden = Some(value.clone());
            "…".to_owned()
        } else if holds_keys {
            // An option that does not exist, without what was given for it.
            let name = value.split_once('=').map_or(value.as_str(), |(name, _)| name);
            shortened(&harmless(name))
        } else {
            shortened(&harmless(value))
        };
        error.insert(kind, ContextValue::String(shown));
    }
    // Without the colours of the renderer: what was typed may hold escape codes of its own.
    let text = error.render().to_string();
    let kept: Vec<String> = text
        .lines()
        .filter(|line| !line.contains("For more information"))
        .map(harmless)
        .collect();
    let text = kept.join("\n");
    let text = text.trim_end().strip_prefix("error:").unwrap_or(&text);
    let text = hidden.map_or_else(|| text.to_owned(), |hidden| without(text, &hidden));
    Wrong {
        message: text.lines().next().unwrap_or_default().trim().to_owned(),
        text: format!("{}{text}\n\n{} {USAGE_HINT}\n", bad("error:"), bold("hint:")),
        wants_json: false,
    }
}

/// What reads a value says what is wrong with it, and repeats it, or as much of its beginning as an error holds, in
/// backticks.
fn without(text: &str, hidden: &str) -> String {
    const LONGEST: usize = 100;
    let hidden = harmless(hidden);
    let ends = hidden.char_indices().map(|(end, _)| end).take(LONGEST);
    let ends: Vec<usize> = ends.chain([hidden.len()]).filter(|end| *end > 0).collect();
    let mut beginnings = ends.into_iter().rev().filter_map(|end| hidden.get(..end));
    let repeated = beginnings.find_map(|beginning| {
        let as_told = [format!("`{beginning}`"), format!("`{beginning}…`")];
        as_told.into_iter().find(|told| text.contains(told))
    });
    repeated.map_or_else(|| text.to_owned(), |repeated| text.replace(&repeated, "`…`"))
}

pub(crate) const USAGE_HINT: &str = "add `--help` to see what belongs there";

pub(crate) fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// The command tree, for help texts and completions.
pub fn command_tree() -> clap::Command {
    Arguments::command()
}

/// A word of an enumeration, listed in the help.
pub(crate) fn word<T>() -> impl TypedValueParser<Value = T>
where
    T: FromStr + Into<&'static str> + IntoEnumIterator + Clone + Send + Sync + 'static,
    T::Err: Error + Send + Sync + 'static,
{
    PossibleValuesParser::new(T::iter().map(|word| PossibleValue::new(Into::<&'static str>::into(word))))
        .try_map(|text| text.parse::<T>())
}

/// As [`word`], with the second name that the middle level goes by.
pub(crate) fn risk_level() -> impl TypedValueParser<Value = RiskLevel> {
    let values = RiskLevel::iter().map(|level| match level {
        RiskLevel::Low => PossibleValue::new("low"),
        RiskLevel::Medium => PossibleValue::new("medium").alias("moderate"),
        RiskLevel::High => PossibleValue::new("high"),
    });
    PossibleValuesParser::new(values).try_map(|text| text.parse::<RiskLevel>())
}

/// A reason: what somebody reads years later must say something, on one line.
pub(crate) fn reason(text: &str) -> Result<String, String> {
    let text = harmless(text.trim());
    match text.chars().count() {
        0 => Err("a reason cannot be empty".to_owned()),
        1..=200 => Ok(text),
        _ => Err("a reason has at most 200 characters".to_owned()),
    }
}

/// An amount of dollars that is not negative.
pub(crate) fn usd(text: &str) -> Result<Usd, String> {
    let usd: Usd = text
        .parse()
        .map_err(|error: bursar_model::decimal::NotADecimal| error.to_string())?;
    if usd.is_negative() {
        Err("an amount that is not negative belongs here".to_owned())
    } else {
        Ok(usd)
    }
}

/// An amount of dollars that is more than zero.
pub(crate) fn usd_above_zero(text: &str) -> Result<Usd, String> {
    let usd = usd(text)?;
    if usd == Usd::ZERO {
        Err("an amount of more than zero belongs here".to_owned())
    } else {
        Ok(usd)
    }
}

/// A pair in either case.
pub(crate) fn pair(text: &str) -> Result<Pair, String> {
    shortened(text)
        .to_ascii_uppercase()
        .parse()
        .map_err(|error: bursar_model::pair::InvalidPair| error.to_string())
}

/// Which pairs somebody may trade, as it is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PairsArgument {
    /// The list `top` of the settings.
    Top,
    Rule(PairRule),
}

/// `all`, `top`, pairs such as `BTC-USD,ETH-USD`, or assets such as `BTC,ETH`.
pub(crate) fn pairs(text: &str) -> Result<PairsArgument, String> {
    match text {
        "all" => return Ok(PairsArgument::Rule(PairRule::All)),
        "top" => return Ok(PairsArgument::Top),
        _ => {}
    }
    let parts: Vec<String> = text
        .split(',')
        .map(|part| shortened(part.trim()).to_ascii_uppercase())
        .filter(|part| !part.is_empty())
        .collect();
    if parts.is_empty() {
        return Err("write `all`, `top`, pairs such as BTC-USD,ETH-USD or assets such as BTC,ETH".to_owned());
    }
    if parts.iter().any(|part| part.contains('-')) {
        parts
            .iter()
            .map(|part| part.parse::<Pair>())
            .collect::<Result<_, _>>()
            .map(|pairs| PairsArgument::Rule(PairRule::Only(pairs)))
            .map_err(|error| error.to_string())
    } else {
        parts
            .iter()
            .map(|part| part.parse::<Asset>())
            .collect::<Result<_, _>>()
            .map(|bases| PairsArgument::Rule(PairRule::Bases(bases)))
            .map_err(|error| error.to_string())
    }
}

/// Until when: a moment, or a time from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    At(Timestamp),
    In(SignedDuration),
}

impl Until {
    pub fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::In(span) => now.saturating_add(span).unwrap_or(Timestamp::MAX),
        }
    }
}

/// `2026-11-20T18:00:00Z`, or a span such as `30m`.
pub(crate) fn until(text: &str) -> Result<Until, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(Until::At(at));
    }
    match text.parse::<SignedDuration>() {
        Ok(span) if span > SignedDuration::ZERO => Ok(Until::In(span)),
        _ => Err("write a moment such as 2026-11-20T18:00:00Z or a span such as 30m".to_owned()),
    }
}

/// What somebody reads years later: on one line, and long enough for a link or a number.
pub(crate) fn evidence(text: &str) -> Result<String, String> {
    let text = crate::render::harmless(text.trim());
    match text.chars().count() {
        0 => Err("evidence cannot be empty".to_owned()),
        1..=2_000 => Ok(text),
        _ => Err("evidence has at most 2000 characters".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        command_tree().debug_assert();
    }

    #[test]
    fn pairs_are_read_as_they_are_typed() {
        let only = |text: &str| match pairs(text).unwrap() {
            PairsArgument::Rule(rule) => rule.to_string(),
            PairsArgument::Top => "top".to_owned(),
        };

        assert_eq!(only("btc-usd, ETH-USD"), "BTC-USD, ETH-USD");
        assert_eq!(only("BTC,ETH"), "BTC, ETH");
        assert_eq!(only("all"), "all");
        assert_eq!(only("top"), "top");
        for text in ["", ",", "BTC-USD,ETH", "BTC USD", &"X".repeat(10_000)] {
            assert!(pairs(text).is_err(), "`{text}` was read");
        }
    }

    #[test]
    fn a_retired_name_is_the_same_asset() {
        assert_eq!(pair("MATIC-USD").unwrap().to_string(), "POL-USD");
    }

    #[test]
    fn an_end_is_a_moment_or_a_span() {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();

        assert_eq!(
            until("30m").unwrap().from(now).to_string(),
            "2026-11-20T12:30:00Z"
        );
        assert_eq!(
            until("2026-11-20T18:00:00Z").unwrap().from(now).to_string(),
            "2026-11-20T18:00:00Z"
        );
        assert!(until("-30m").is_err());
        assert!(until("soon").is_err());
    }

    #[test]
    fn ten_thousand_characters_make_a_short_message() {
        let long = "x".repeat(10_000);
        let Read::Wrong(Wrong { text, .. }) = read(["bursar", "user", "show", &long].map(Into::into)) else {
            panic!("that is no id");
        };

        assert!(text.len() < 1_000, "{} characters", text.len());
        assert!(text.contains("hint:"));
    }

    #[test]
    fn a_secret_typed_as_an_argument_is_not_repeated() {
        for line in [
            "credentials set kraken-main CANARYSECRET",
            "import-env CANARYSECRET",
            "keystore slot add passphrase CANARYSECRET",
            "keystore slot prove --recovery-code CANARYSECRET",
            "status --recovery-code CANARYSECRET mara_ilves",
            "init --passphrase CANARYSECRET",
            "backup verify file --recovery-code CANARYSECRET",
            "status --recovery-code=CANARYSECRET",
            "status mara_ilves --recovery-cod=CANARYSECRET",
            "status --recovery-cod CANARYSECRET --json",
            "status --passphrase CANARYSECRET more",
            "status --passphrase=CANARYSECRET",
            "user list --unlock-key CANARYSECRET",
            "credentials set CANARYSECRET",
            "credentials rotate CANARYSECRET --undo",
            "credentials CANARYSECRET",
            "keystore CANARYSECRET",
            "keystore slot remove CANARYSECRET",
            "import-env --account CANARYSECRET",
        ] {
            let words = std::iter::once("bursar").chain(line.split(' '));
            let Read::Wrong(Wrong { text, message, .. }) = read(words.map(Into::into)) else {
                panic!("a secret is no argument: {line}");
            };

            assert!(
                !text.contains("CANARYSECRET") && !message.contains("CANARYSECRET"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_told_also_where_it_is_not_repeated() {
        let told = |line: &str| match read(std::iter::once("bursar").chain(line.split(' ')).map(Into::into)) {
            Read::Wrong(wrong) => wrong.text,
            Read::Command(_) | Read::Shown(_) => panic!("{line}"),
        };

        let id = told("credentials set Kraken/Main");
        assert!(
            id.contains("`…` is not a valid account id: use 1 to 64 of a-z, 0-9, `-` and `_`"),
            "{id}"
        );
        let slip = told("credentials sett");
        assert!(slip.contains("'sett'") && slip.contains("'set'"), "{slip}");
    }
}
