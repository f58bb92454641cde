//! Switches: persisted stops with a scope, a mode, a cause and a rule for clearing them.

use std::fmt;
use std::str::FromStr;

use bursar_model::{AccountId, BrokerId, LatchId, UserId};
use bursar_permissions::Caller;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

/// What a switch stops.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
pub enum Scope {
    /// Every account of this installation.
    Global,
    /// Every account at this broker.
    Broker(BrokerId),
    /// Every account that this user owns.
    User(UserId),
    /// This account alone.
    Account(AccountId),
}

impl Scope {
    /// Whether a switch of this scope covers an account.
    pub fn covers(&self, account: &AccountId, user: &UserId, broker: &BrokerId) -> bool {
        match self {
            Self::Global => true,
            Self::Broker(id) => id == broker,
            Self::User(id) => id == user,
            Self::Account(id) => id == account,
        }
    }

    /// `global`, `broker`, `user` or `account`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Broker(_) => "broker",
            Self::User(_) => "user",
            Self::Account(_) => "account",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Broker(id) => write!(f, "broker:{id}"),
            Self::User(id) => write!(f, "user:{id}"),
            Self::Account(id) => write!(f, "account:{id}"),
        }
    }
}

/// A text that names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a scope: write `global`, `broker:ID`, `user:ID` or `account:ID`")]
pub struct InvalidScope(String);

impl FromStr for Scope {
    type Err = InvalidScope;
    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let refuse = || InvalidScope(text.chars().take(80).collect());
        if text == "global" {
            return Ok(Self::Global);
        }
        let (kind, id) = text.split_once(':').ok_or_else(refuse)?;
        match kind {
            "broker" => id.parse().map(Self::Broker).map_err(|_| refuse()),
            "user" => id.parse().map(Self::User).map_err(|_| refuse()),
            "account" => id.parse().map(Self::Account).map_err(|_| refuse()),
            _ => Err(refuse()),
        }
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

impl TryFrom<String> for Scope {
    type Error = InvalidScope;
    fn try_from(text: String) -> Result<Self, InvalidScope> {
        text.parse()
    }
}

/// What a switch stops, from mild to strict; the order of the variants is the order of strictness.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    Display,
    EnumString,
    EnumIter,
    IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum LatchMode {
    /// No new risk; working orders stay.
    Pause,
    /// No new risk; working orders that would add risk are cancelled.
    ReduceOnly,
    /// Nothing is sent but cancels; all our working orders are cancelled.
    Halt,
    /// As halt, and positions are closed by the gateway itself.
    Flatten,
}

impl LatchMode {
    /// Whether an order proven to lower a position may still be sent by anybody.
    pub const fn allows_reducing(self) -> bool {
        match self {
            Self::Pause | Self::ReduceOnly => true,
            Self::Halt | Self::Flatten => false,
        }
    }

    /// Whether an order may be sent while such a switch is on: one that is proven to reduce, by anybody or, while
    /// positions are closed, by the gateway itself.
    pub fn lets_through(self, caller: &Caller, reducing: bool) -> bool {
        let flattening = self == Self::Flatten && *caller == Caller::Flattener;
        reducing && (self.allows_reducing() || flattening)
    }

    /// Whether a working order is cancelled when such a switch is turned on.
    pub const fn cancels_working(self, reducing: bool) -> bool {
        match self {
            Self::Pause => false,
            Self::ReduceOnly => !reducing,
            Self::Halt | Self::Flatten => true,
        }
    }

    /// Whether an order that was admitted and not sent is taken back when such a switch is turned on.
    pub const fn withdraws_unsent(self, reducing: bool) -> bool {
        !(reducing && self.allows_reducing())
    }
}

/// Why a switch is on.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    Display,
    EnumString,
    EnumIter,
    IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum LatchCause {
    /// A person.
    Manual,
    /// The day's loss reached its limit.
    DailyLoss,
    /// Too many errors of the venue or of the credential.
    AutoDisable,
    /// Orders, fills or balances contradict what we recorded.
    Reconciliation,
    /// An invariant of the gateway itself was found broken.
    SelfCheck,
    /// The rights of the exchange key changed, or the key was refused.
    KeyRights,
    /// The store was put back from a backup.
    Restored,
}

/// What turns a switch off.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClearRule {
    /// A person, with a reason.
    Manual,
    /// By itself when the trading day `day` has ended.
    DayBoundary {
        /// The key of that day, for example `2026-11-20`.
        day: String,
    },
    /// A person, with a reason, once the trading day `day` has ended.
    PersonAfterDay {
        /// The key of that day, for example `2026-11-20`.
        day: String,
    },
    /// By itself when the exchange has answered well a few times in a row; or a person.
    GoodProbes,
}

/// One trip of a switch. Never overwritten; "on" means that nobody cleared it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Latch {
    /// Names this trip in `bursar release` and in the audit trail. A switch that trips again has
    /// another.
    pub id: LatchId,
    /// Which accounts it stops. Only orders are stopped by it, never a cancel.
    pub scope: Scope,
    /// How much it stops.
    pub mode: LatchMode,
    /// What the store decides by; [`reason`](Self::reason) is for people.
    pub cause: LatchCause,
    /// In the words of whoever or whatever tripped it; never decides anything.
    pub reason: String,
    /// The name of the person, or of the part of the gateway, that tripped it; for people.
    pub tripped_by: String,
    /// By the clock of the process that tripped it.
    pub tripped_at: Timestamp,
    /// What ends it, and whether a person has to or may.
    pub clear_rule: ClearRule,
}

impl Latch {
    /// Whether the day's losses of this user turned it on.
    pub fn is_of_losses(&self, user: &UserId) -> bool {
        self.cause == LatchCause::DailyLoss && matches!(&self.scope, Scope::User(of) if of == user)
    }

    /// The command that turns it off, for people.
    pub fn release_hint(&self) -> String {
        match &self.clear_rule {
            ClearRule::Manual => format!(
                "run `bursar release {} --reason …` when the cause is gone",
                self.id
            ),
            ClearRule::DayBoundary { day } => {
                format!("it clears when trading day {day} ends{}", self.allowance_hint())
            }
            ClearRule::PersonAfterDay { day } => format!(
                "run `bursar release {} --reason …` when trading day {day} has ended{}",
                self.id,
                self.allowance_hint()
            ),
            ClearRule::GoodProbes => format!(
                "it clears by itself when the exchange answers again; to clear it now, run `bursar release {} --reason …`",
                self.id
            ),
        }
    }

    /// Only the limit of a user is raised for a day; those of an account and of everybody are not.
    fn allowance_hint(&self) -> String {
        match &self.scope {
            Scope::User(user) => {
                format!("; to allow more today, run `bursar loss allow {user} --extra-usd X --reason …`")
            }
            Scope::Account(_) | Scope::Broker(_) | Scope::Global => ", and not before".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_reads_and_writes_the_same() {
        for text in [
            "global",
            "broker:kraken",
            "user:mara_ilves",
            "account:kraken-ilves",
        ] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        for text in ["", "all", "user:", "user:Mara", "global:x", "x:y"] {
            assert!(text.parse::<Scope>().is_err(), "`{text}` was read");
        }
    }

    #[test]
    fn a_scope_is_stored_as_it_is_written() {
        let scope: Scope = "user:mara_ilves".parse().unwrap();

        let stored = serde_json::to_string(&scope).unwrap();

        assert_eq!(stored, "\"user:mara_ilves\"");
        assert_eq!(serde_json::from_str::<Scope>(&stored).unwrap(), scope);
        assert!(serde_json::from_str::<Scope>("\"user:Mara\"").is_err());
    }

    #[test]
    fn modes_are_ordered_by_strictness() {
        assert!(LatchMode::Pause < LatchMode::ReduceOnly);
        assert!(LatchMode::ReduceOnly < LatchMode::Halt);
        assert!(LatchMode::Halt < LatchMode::Flatten);
    }

    #[test]
    fn a_scope_covers_its_own_and_nothing_else() {
        let (account, user, broker) = (
            "kraken-ilves".parse().unwrap(),
            "mara_ilves".parse().unwrap(),
            "kraken".parse().unwrap(),
        );
        let covers = |scope: &str| scope.parse::<Scope>().unwrap().covers(&account, &user, &broker);

        assert!(covers("global") && covers("broker:kraken") && covers("user:mara_ilves"));
        assert!(covers("account:kraken-ilves"));
        assert!(!covers("broker:coinbase") && !covers("user:tomas_brandt") && !covers("account:kraken-main"));
    }

    const ID: &str = "6d1b345e-2821-40e2-ad83-4ecb18a06876";

    fn latch(scope: &str, cause: LatchCause, clear_rule: ClearRule) -> Latch {
        Latch {
            id: ID.parse().unwrap(),
            scope: scope.parse().unwrap(),
            mode: LatchMode::Pause,
            cause,
            reason: "maintenance".into(),
            tripped_by: "operator:ops_desk".into(),
            tripped_at: Timestamp::UNIX_EPOCH,
            clear_rule,
        }
    }

    #[test]
    fn only_the_day_of_the_user_is_a_switch_of_their_losses() {
        let user: UserId = "mara_ilves".parse().unwrap();
        for (scope, cause, expected) in [
            ("user:mara_ilves", LatchCause::DailyLoss, true),
            ("user:mara_ilves", LatchCause::Manual, false),
            ("user:tomas_brandt", LatchCause::DailyLoss, false),
            ("account:kraken-ilves", LatchCause::DailyLoss, false),
        ] {
            let latch = latch(scope, cause, ClearRule::Manual);
            assert_eq!(latch.is_of_losses(&user), expected, "{scope} {cause}");
        }
    }

    #[test]
    fn a_hint_says_how_a_switch_is_turned_off_and_whether_more_can_be_allowed() {
        let day = || "2026-03-02".to_owned();
        let boundary = || ClearRule::DayBoundary { day: day() };
        let person = || ClearRule::PersonAfterDay { day: day() };
        let release: &str = &format!("run `bursar release {ID} --reason …`");
        let gone = " when the cause is gone";
        let probes = "it clears by itself when the exchange answers again; to clear it now, ";
        let ends = "it clears when trading day 2026-03-02 ends";
        let ended: &str = &format!("{release} when trading day 2026-03-02 has ended");
        let allow = "; to allow more today, run `bursar loss allow mara_ilves --extra-usd X --reason …`";
        let wait = ", and not before";
        for (scope, clear_rule, expected) in [
            ("global", ClearRule::Manual, [release, gone]),
            ("broker:kraken", ClearRule::GoodProbes, [probes, release]),
            ("user:mara_ilves", boundary(), [ends, allow]),
            ("account:kraken-ilves", boundary(), [ends, wait]),
            ("user:mara_ilves", person(), [ended, allow]),
            ("global", person(), [ended, wait]),
        ] {
            let latch = latch(scope, LatchCause::DailyLoss, clear_rule);
            assert_eq!(latch.release_hint(), expected.concat());
        }
    }
}
