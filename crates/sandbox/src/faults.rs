//! What goes wrong on purpose: rules from a file, from the seed, or set while the exchange runs.
//!
//! ```
//! # use bursar_sandbox::FaultPlan;
//! let plan = FaultPlan::from_toml(r#"
//! [[fault]]                       # the third order of this customer is placed,
//! kind = "accept-then-drop"       # but the connection breaks before the answer
//! endpoint = "AddOrder"
//! customer = "ops_desk"
//! nth = 3
//!
//! [[fault]]                       # one answer in twenty is late
//! kind = "slow"
//! probability = "0.05"
//! delay_ms = 2000
//!
//! [[mode]]                        # after a minute only cancels are taken
//! after_ms = 60000
//! mode = "cancel_only"
//! "#)?;
//! assert_eq!(plan.fault.len(), 2);
//! # Ok::<(), bursar_sandbox::FaultsError>(())
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::amount;
use crate::mode::Mode;
use crate::seed;

/// The kinds of fault, by the names used in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The connection is closed before the request is dealt with. Nothing happened.
    DropBeforeAccept,
    /// Dealt with, then the connection is closed without an answer.
    AcceptThenDrop,
    /// Dealt with; the answer never comes.
    AcceptThenTimeOut,
    /// Not dealt with: an HTML page with `status` (502).
    ServerError,
    /// Dealt with, then an HTML page with `status` (502).
    AcceptThenServerError,
    /// Not dealt with: an HTML page with status 200.
    HtmlPage,
    /// Dealt with, then an HTML page with status 200.
    AcceptThenHtmlPage,
    /// Dealt with; the second half of the JSON is missing.
    TruncatedJson,
    /// Dealt with; the connection breaks in the middle of the answer.
    CutConnection,
    /// Dealt with, answered after `delay_ms` (1000).
    Slow,
    /// `EAPI:Invalid nonce`. Nothing happened.
    InvalidNonce,
    /// `EAPI:Rate limit exceeded`, or `EOrder:Rate limit exceeded` for orders. Nothing happened.
    RateLimit,
    /// `EService:Throttled:<time>`, `delay_ms` (5000) from now. Nothing happened.
    Throttled,
    /// `message` (`EService:Unavailable`). Nothing happened.
    Error,
    /// Dealt with, then `message` (`EService:Unavailable`).
    AcceptThenError,
    /// Dealt with, then an answer with neither error nor result.
    EmptyAnswer,
    /// The request reaches the engine after `delay_ms` (30000); the client is never answered. A
    /// deadline that has passed by then is obeyed.
    DelayedAcceptance,
    /// The same bytes arrive twice; the client sees the answer to the second copy.
    DuplicateDelivery,
    /// A new order fills `percent` (50) at once, the rest no earlier than after `delay_ms` (5000).
    PartialFill,
    /// A new order fills nothing before `delay_ms` (5000).
    LateFill,
    /// A cancel is promised, and takes effect after `delay_ms` (1000): the order may fill first.
    PendingCancel,
}

/// A rule: what goes wrong, for whom, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// What goes wrong.
    pub kind: FaultKind,
    /// A method such as `AddOrder`; any when absent.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// A customer's name; anybody when absent.
    #[serde(default)]
    pub customer: Option<String>,
    /// The first call that it strikes, counted from 1 among those it applies to.
    #[serde(default)]
    pub nth: Option<u64>,
    /// How many times it strikes: once when `nth` is given, without end otherwise.
    #[serde(default)]
    pub count: Option<u64>,
    /// How likely it strikes, as a decimal such as `"0.05"`; always when absent.
    #[serde(default, deserialize_with = "amount::optional")]
    pub probability: Option<Decimal>,
    /// Milliseconds, for the kinds that wait; each has its own when it is left out.
    #[serde(default)]
    pub delay_ms: Option<u64>,
    /// The HTTP status of an error page; 502 when it is left out.
    #[serde(default)]
    pub status: Option<u16>,
    /// The error text, for the kinds that answer with one; `EService:Unavailable` when it is left out.
    #[serde(default)]
    pub message: Option<String>,
    /// From 0 to 100: how much of an order fills at once; 50 when it is left out.
    #[serde(default)]
    pub percent: Option<u32>,
}

impl FaultRule {
    /// A rule that strikes every call.
    pub const fn always(kind: FaultKind) -> Self {
        Self {
            kind,
            endpoint: None,
            customer: None,
            nth: None,
            count: None,
            probability: None,
            delay_ms: None,
            status: None,
            message: None,
            percent: None,
        }
    }

    /// A rule that strikes the next call of `endpoint`, once.
    pub fn once(kind: FaultKind, endpoint: &str) -> Self {
        Self {
            endpoint: Some(endpoint.to_owned()),
            nth: Some(1),
            ..Self::always(kind)
        }
    }

    /// Sets `delay_ms`.
    #[must_use]
    pub const fn with_delay_ms(mut self, delay_ms: u64) -> Self {
        self.delay_ms = Some(delay_ms);
        self
    }

    /// Restricts the rule to one customer.
    #[must_use]
    pub fn for_customer(mut self, customer: &str) -> Self {
        self.customer = Some(customer.to_owned());
        self
    }

    fn delay(&self, usual_ms: u64) -> Duration {
        Duration::from_millis(self.delay_ms.unwrap_or(usual_ms))
    }

    fn fault(&self) -> Fault {
        let message = || {
            self.message
                .clone()
                .unwrap_or_else(|| "EService:Unavailable".to_owned())
        };
        let status = self.status.unwrap_or(502);
        match self.kind {
            FaultKind::DropBeforeAccept => Fault::Drop { accept: false },
            FaultKind::AcceptThenDrop => Fault::Drop { accept: true },
            FaultKind::AcceptThenTimeOut => Fault::Silence,
            FaultKind::ServerError => Fault::Page {
                status,
                accept: false,
            },
            FaultKind::AcceptThenServerError => Fault::Page { status, accept: true },
            FaultKind::HtmlPage => Fault::Page {
                status: 200,
                accept: false,
            },
            FaultKind::AcceptThenHtmlPage => Fault::Page {
                status: 200,
                accept: true,
            },
            FaultKind::TruncatedJson => Fault::Truncate,
            FaultKind::CutConnection => Fault::Cut,
            FaultKind::Slow => Fault::Slow {
                delay: self.delay(1_000),
            },
            FaultKind::InvalidNonce => Fault::Nonce,
            FaultKind::RateLimit => Fault::RateLimit,
            FaultKind::Throttled => Fault::Throttled {
                pause: self.delay(5_000),
            },
            FaultKind::Error => Fault::Error {
                message: message(),
                accept: false,
            },
            FaultKind::AcceptThenError => Fault::Error {
                message: message(),
                accept: true,
            },
            FaultKind::EmptyAnswer => Fault::Empty,
            FaultKind::DelayedAcceptance => Fault::Late {
                delay: self.delay(30_000),
            },
            FaultKind::DuplicateDelivery => Fault::Duplicate,
            FaultKind::PartialFill => Fault::PartialFill {
                percent: self.percent.unwrap_or(50),
                resume: self.delay(5_000),
            },
            FaultKind::LateFill => Fault::LateFill {
                resume: self.delay(5_000),
            },
            FaultKind::PendingCancel => Fault::PendingCancel {
                delay: self.delay(1_000),
            },
        }
    }
}

/// One fault that strikes one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Drop { accept: bool },
    Silence,
    Page { status: u16, accept: bool },
    Truncate,
    Cut,
    Slow { delay: Duration },
    Nonce,
    RateLimit,
    Throttled { pause: Duration },
    Error { message: String, accept: bool },
    Empty,
    Late { delay: Duration },
    Duplicate,
    PartialFill { percent: u32, resume: Duration },
    LateFill { resume: Duration },
    PendingCancel { delay: Duration },
}

/// A change of mode at a moment after the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModeChange {
    /// Milliseconds since the exchange was told the time first; since now for a plan that is loaded
    /// later.
    pub after_ms: u64,
    /// What can be done from then on.
    pub mode: Mode,
    /// One pair; the whole exchange when absent.
    #[serde(default)]
    pub pair: Option<String>,
}

/// Everything that is to go wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultPlan {
    /// Rules for single requests.
    #[serde(default)]
    pub fault: Vec<FaultRule>,
    /// Changes of mode, in any order.
    #[serde(default)]
    pub mode: Vec<ModeChange>,
}

/// Why a plan could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FaultsError {
    /// It is not there, or cannot be read.
    #[error("the faults file `{}` cannot be read", path.display())]
    Read {
        /// As it was named.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no TOML, or has a field that no rule has.
    #[error("the faults file is not valid: {reason}")]
    Format {
        /// What is wrong, and where in the text.
        reason: String,
    },
    /// A rule can be read, but could never strike, or says what cannot be.
    #[error("fault {position}: {reason}")]
    Rule {
        /// Which rule, counted from 1.
        position: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl FaultsError {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => "name a file that exists with `--faults`",
            Self::Format { .. } => {
                "write `[[fault]]` tables with `kind`, and `[[mode]]` tables with `after_ms` and `mode`"
            }
            Self::Rule { .. } => {
                "endpoints are named as in the path, for example `AddOrder`; probabilities are \"0\" to \"1\""
            }
        }
    }
}

impl FaultPlan {
    /// Reads TOML: `[[fault]]` and `[[mode]]` tables.
    ///
    /// # Errors
    ///
    /// [`FaultsError`], with the place of the mistake.
    pub fn from_toml(text: &str) -> Result<Self, FaultsError> {
        let plan: Self = toml::from_str(text).map_err(|error| FaultsError::Format {
            reason: error.to_string(),
        })?;
        plan.checked()
    }

    /// Reads a TOML file.
    ///
    /// # Errors
    ///
    /// [`FaultsError`], when the file cannot be read or has a mistake.
    pub fn from_file(path: &Path) -> Result<Self, FaultsError> {
        let text = std::fs::read_to_string(path).map_err(|source| FaultsError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::from_toml(&text)
    }

    /// Refuses rules that could never strike, or not as they say.
    ///
    /// # Errors
    ///
    /// [`FaultsError::Rule`], for the first such rule.
    pub fn checked(self) -> Result<Self, FaultsError> {
        for (position, rule) in self.fault.iter().enumerate() {
            let refuse = |reason: String| FaultsError::Rule {
                position: position.saturating_add(1),
                reason,
            };
            if let Some(endpoint) = &rule.endpoint
                && crate::endpoint::Private::from_name(endpoint).is_none()
                && crate::endpoint::Public::from_name(endpoint).is_none()
            {
                return Err(refuse(format!("`{endpoint}` is no endpoint")));
            }
            if rule
                .probability
                .is_some_and(|probability| probability < Decimal::ZERO || probability > Decimal::ONE)
            {
                return Err(refuse("the probability is not between 0 and 1".to_owned()));
            }
            if rule.nth == Some(0) {
                return Err(refuse("`nth` counts from 1".to_owned()));
            }
            if rule.percent.is_some_and(|percent| percent > 100) {
                return Err(refuse("`percent` is more than 100".to_owned()));
            }
            if rule.status.is_some_and(|status| !(400..=599).contains(&status)) {
                return Err(refuse("`status` is not between 400 and 599".to_owned()));
            }
        }
        Ok(self)
    }
}

/// The rules in force, and how often each has applied and struck.
#[derive(Debug)]
pub(crate) struct Faults {
    random: fastrand::Rng,
    rules: Vec<ActiveRule>,
    modes: Vec<ModeChange>,
    struck: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct ActiveRule {
    rule: FaultRule,
    applied: u64,
    struck: u64,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: seed::generator(seed, &["faults"]),
            rules: Vec::new(),
            modes: Vec::new(),
            struck: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, rule: FaultRule) {
        self.rules.push(ActiveRule {
            rule,
            applied: 0,
            struck: 0,
        });
    }

    pub(crate) fn set_modes(&mut self, modes: Vec<ModeChange>) {
        self.modes = modes;
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(crate) fn mode_schedule(&self) -> Vec<(Duration, Option<String>, Mode)> {
        self.modes
            .iter()
            .map(|change| {
                (
                    Duration::from_millis(change.after_ms),
                    change.pair.clone(),
                    change.mode,
                )
            })
            .collect()
    }

    pub(crate) fn rules(&self) -> impl Iterator<Item = &FaultRule> {
        self.rules.iter().map(|active| &active.rule)
    }

    /// How often each kind has struck.
    pub(crate) const fn struck(&self) -> &BTreeMap<String, u64> {
        &self.struck
    }

    /// The first rule that strikes this call. Every rule that applies counts it.
    pub(crate) fn choose(&mut self, endpoint: &str, customer: Option<&str>) -> Option<Fault> {
        let mut chosen = None;
        for active in &mut self.rules {
            let rule = &active.rule;
            let applies = rule.endpoint.as_deref().is_none_or(|name| name == endpoint)
                && (rule.customer.is_none() || rule.customer.as_deref() == customer);
            if !applies {
                continue;
            }
            active.applied = active.applied.saturating_add(1);
            let most = rule
                .count
                .unwrap_or(if rule.nth.is_some() { 1 } else { u64::MAX });
            if chosen.is_some() || active.applied < rule.nth.unwrap_or(1) || active.struck >= most {
                continue;
            }
            if let Some(probability) = rule.probability {
                let drawn = Decimal::new(self.random.i64(0..1_000_000), 6);
                if drawn >= probability {
                    continue;
                }
            }
            active.struck = active.struck.saturating_add(1);
            let name = serde_json::to_string(&rule.kind).unwrap_or_default();
            let count = self.struck.entry(name.trim_matches('"').to_owned()).or_default();
            *count = count.saturating_add(1);
            chosen = Some(rule.fault());
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    #[test]
    fn a_plan_is_read_and_checked() {
        let plan = FaultPlan::from_toml(
            r#"
            [[fault]]
            kind = "accept-then-drop"
            endpoint = "AddOrder"
            customer = "ops_desk"
            nth = 3
            count = 2

            [[fault]]
            kind = "slow"
            probability = "0.25"
            delay_ms = 50

            [[mode]]
            after_ms = 1000
            mode = "cancel_only"
            "#,
        )
        .unwrap();

        assert_eq!(plan.fault[0].nth, Some(3));
        assert_eq!(plan.fault[1].probability, Some(dec!(0.25)));
        assert_eq!(plan.mode[0].mode, Mode::CancelOnly);
        for bad in [
            "[[fault]]\nkind = \"explode\"\n",
            "[[fault]]\nkind = \"slow\"\nendpoint = \"AddOrders\"\n",
            "[[fault]]\nkind = \"slow\"\nprobability = \"2\"\n",
            "[[fault]]\nkind = \"slow\"\nnth = 0\n",
            "[[fault]]\nkind = \"slow\"\npercent = 101\n",
            "[[fault]]\nkind = \"server-error\"\nstatus = 200\n",
            "[[fault]]\nkind = \"slow\"\nwhen = \"now\"\n",
        ] {
            assert!(FaultPlan::from_toml(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rule_strikes_from_the_nth_call_that_it_applies_to() {
        let mut faults = Faults::new(1);
        faults.add(FaultRule {
            nth: Some(2),
            count: Some(2),
            endpoint: Some("AddOrder".to_owned()),
            customer: Some("a".to_owned()),
            ..FaultRule::always(FaultKind::Slow)
        });
        let mut strike = |endpoint, customer| faults.choose(endpoint, customer).is_some();

        assert!(!strike("AddOrder", Some("a")));
        assert!(!strike("Balance", Some("a")));
        assert!(!strike("AddOrder", Some("b")));
        assert!(strike("AddOrder", Some("a")));
        assert!(strike("AddOrder", Some("a")));
        assert!(!strike("AddOrder", Some("a")));
    }

    #[test]
    fn a_probability_strikes_about_so_often_and_the_same_way_for_one_seed() {
        let run = |seed| {
            let mut faults = Faults::new(seed);
            faults.add(FaultRule {
                probability: Some(dec!(0.2)),
                ..FaultRule::always(FaultKind::Slow)
            });
            (0..1_000)
                .map(|_| faults.choose("Time", None).is_some())
                .collect::<Vec<bool>>()
        };

        let struck = run(5).into_iter().filter(|struck| *struck).count();

        assert!((150..250).contains(&struck), "{struck}");
        assert_eq!(run(5), run(5));
        assert_ne!(run(5), run(6));
    }
}
