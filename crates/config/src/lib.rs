//! Settings: a text goes in, checked [`Settings`] come out, or every mistake with its line.
//!
//! Every value has a default, so that an empty text is a complete configuration. Each setting is
//! declared once, in its section, with its default, its check and its explanation; reading,
//! [`Settings::to_toml`] and [`schema`] all follow that one declaration.
//!
//! Nothing here reads a file, the environment or the time: the binaries do, and hand over the text.
//! Which brokers and time zones there are is therefore theirs to say too, in [`Known`].
//!
//! Start reading at [`Settings`]; what a user may wish for is in [`Preferences`].
//!
//! # Invariants
//!
//! - A name that is not known, and a name that comes twice, is refused: a limit with a slip of the
//!   pen in its name would otherwise be no limit.
//! - Amounts and percentages are exact decimals, whether they are written `2.5` or `"2.5"`.
//! - No default of a tier is above its ceiling.
//! - Preferences can only tighten.

#![warn(missing_docs)]

mod nearest;
mod node;
pub mod preferences;
mod reader;
mod render;
mod rules;
mod section;
pub mod sections;
pub mod settings;
pub mod values;

pub use nearest::nearest;
pub use preferences::{Preferences, TooLoose};
pub use reader::{ConfigError, Problem};
pub use rules::Warning;
pub use sections::accounts::Accounts;
pub use sections::audit::Audit;
pub use sections::backups::Backups;
pub use sections::brokers::{Broker, Brokers, MasterPolicy, RateTier};
pub use sections::controls::{Breaker, Caps, Day, Errors, Gate};
pub use sections::log::{Log, LogFormat, LogLevel};
pub use sections::notify::{EmailChannel, MailTls, Notify, TelegramChannel, WebhookChannel};
pub use sections::strategy::{Balance, Risk, RiskLimits, Strategy};
pub use sections::switches::Switches;
pub use sections::tiers::{Assets, LimitSettings, TierLimits, TierPairs, TierSettings, Tiers};
pub use sections::unlock::Unlock;
pub use settings::{Known, Settings, Store, check, check_against, schema};
pub use values::{
    BaseUrl, ChatId, FilePath, HostName, Login, MailAddress, Milliseconds, Name, Seconds, StoreUrl, Text,
    WebhookUrl, ZoneName,
};

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
