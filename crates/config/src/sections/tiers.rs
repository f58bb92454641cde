//! What each tier grants, and the list that "top" means.

use std::collections::BTreeSet;
use std::fmt;

use bursar_model::{Asset, Pair, PairRule, Tier, Usd, UserLimits};
use jiff::civil::{Date, date};
use rust_decimal::Decimal;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use toml::Spanned;
use toml::de::DeValue;

use crate::node::{Node, kind, read_set, shortened, written_set};
use crate::reader::Reader;
use crate::section::{any, not_negative, section};

section! {
    /// What each tier grants.
    pub struct Tiers {
        /// Conservative limits for those who begin.
        pub basic: TierSettings = TierSettings::both(limits(50, 25, 2, beginners())), any;
        /// Moderate limits.
        pub pro: TierSettings = TierSettings {
            default: limits(200, 100, 5, TierPairs::Top),
            ceiling: limits(300, 150, 7, TierPairs::Top),
        }, any;
        /// The largest limits.
        pub enterprise: TierSettings = TierSettings::both(limits(1_000, 500, 20, TierPairs::All)), any;
    }
}

section! {
    /// What one tier grants.
    pub struct TierSettings {
        /// What a user of the tier gets.
        pub default: LimitSettings = LimitSettings::default(), any;
        /// What a user of the tier can be given. More takes `--exceed-tier` and a reason.
        pub ceiling: LimitSettings = LimitSettings::default(), any;
    }
}

section! {
    /// The limits of one user.
    pub struct LimitSettings {
        /// The most an order may cost, and the most a position may have cost.
        pub max_position_usd: Usd = Usd::ZERO, not_negative;
        /// The loss of one trading day at which entries stop; 0 means that no loss is allowed.
        pub max_daily_loss_usd: Usd = Usd::ZERO, not_negative;
        /// Open positions at the same time.
        pub max_positions: u32 = 0, any;
        /// What may be traded: "all", "top" (the list in the section `assets`), { bases = ["BTC"] } for every
        /// pair of these assets, or { only = ["BTC-USD"] }.
        pub pairs: TierPairs = TierPairs::Only(BTreeSet::new()), any;
    }
}

section! {
    /// The assets that "top" means. A list with a date, not a live ranking: what a user may trade
    /// does not change overnight. An asset that a venue renamed stays the same asset.
    pub struct Assets {
        /// The day on which the list was drawn up.
        pub as_of: Date = date(2026, 11, 20), any;
        /// The assets themselves, by their identity.
        pub top: BTreeSet<Asset> = top_assets(), any;
    }
}

/// Which pairs a tier's limits allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TierPairs {
    /// Every pair that the venue offers.
    All,
    /// Every pair whose base is in the list of assets.
    Top,
    /// Every pair whose base is one of these.
    Bases(BTreeSet<Asset>),
    /// These pairs and no others.
    Only(BTreeSet<Pair>),
}

/// What a tier grants, and what it can be raised to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TierLimits {
    /// What a new user of the tier gets.
    pub default: UserLimits,
    /// The most that a user of the tier can be given without saying why.
    pub ceiling: UserLimits,
}

impl Tiers {
    /// What the tier grants and how far it can be raised.
    pub const fn of(&self, tier: Tier) -> &TierSettings {
        match tier {
            Tier::Basic => &self.basic,
            Tier::Pro => &self.pro,
            Tier::Enterprise => &self.enterprise,
        }
    }
}

impl TierSettings {
    fn both(limits: LimitSettings) -> Self {
        Self {
            default: limits.clone(),
            ceiling: limits,
        }
    }
}

impl LimitSettings {
    /// The limits as every other part of Bursar knows them.
    pub fn resolved(&self, assets: &Assets) -> UserLimits {
        UserLimits {
            max_position: self.max_position_usd,
            max_daily_loss: self.max_daily_loss_usd,
            max_positions: self.max_positions,
            pairs: self.pairs.resolved(assets),
        }
    }
}

impl TierPairs {
    /// As a rule for pairs; `Top` becomes the list of assets as it is now.
    pub fn resolved(&self, assets: &Assets) -> PairRule {
        match self {
            Self::All => PairRule::All,
            Self::Top => PairRule::Bases(assets.top.clone()),
            Self::Bases(bases) => PairRule::Bases(bases.clone()),
            Self::Only(pairs) => PairRule::Only(pairs.clone()),
        }
    }
}

fn limits(position: i64, loss: i64, positions: u32, pairs: TierPairs) -> LimitSettings {
    LimitSettings {
        max_position_usd: Usd::new(Decimal::from(position)),
        max_daily_loss_usd: Usd::new(Decimal::from(loss)),
        max_positions: positions,
        pairs,
    }
}

fn assets<const N: usize>(codes: [&str; N]) -> BTreeSet<Asset> {
    codes.iter().filter_map(|code| code.parse().ok()).collect()
}

fn beginners() -> TierPairs {
    TierPairs::Bases(assets(["BTC", "ETH"]))
}

/// Twenty large assets with liquid dollar markets; no asset that is itself a dollar.
fn top_assets() -> BTreeSet<Asset> {
    assets([
        "BTC", "ETH", "XRP", "BNB", "SOL", "DOGE", "ADA", "TRX", "AVAX", "LINK", "DOT", "POL", "LTC", "BCH",
        "XLM", "SUI", "HBAR", "TON", "SHIB", "UNI",
    ])
}

impl Node for TierPairs {
    fn read_over(&mut self, value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) {
        match value.get_ref() {
            DeValue::String(text) if text == "all" => *self = Self::All,
            DeValue::String(text) if text == "top" => *self = Self::Top,
            DeValue::String(text) => reader.wrong(format_args!(
                "is `{}`, but \"all\", \"top\" or a table such as {{ bases = [\"BTC\"] }} belongs here",
                shortened(text)
            )),
            DeValue::Table(table) => {
                let mut entries = table.iter();
                let (first, second) = (entries.next(), entries.next());
                let (Some((key, list)), None) = (first, second) else {
                    reader.wrong("needs exactly one of `bases` and `only`");
                    return;
                };
                match key.get_ref().as_ref() {
                    "bases" => *self = read_set(list, reader).map_or(self.clone(), Self::Bases),
                    "only" => *self = read_set(list, reader).map_or(self.clone(), Self::Only),
                    unknown => reader.unknown(unknown, key.span(), &["bases", "only"]),
                }
            }
            other => reader.wrong(format_args!(
                "is {}, but \"all\", \"top\" or a table such as {{ bases = [\"BTC\"] }} belongs here",
                kind(other)
            )),
        }
    }

    fn written(&self) -> Option<String> {
        Some(match self {
            Self::All => "\"all\"".to_owned(),
            Self::Top => "\"top\"".to_owned(),
            Self::Bases(bases) => format!("{{ bases = {} }}", written_set(bases)),
            Self::Only(pairs) => format!("{{ only = {} }}", written_set(pairs)),
        })
    }

    fn schema(&self) -> Value {
        let list = json!({ "type": "array", "items": { "type": "string" }, "uniqueItems": true });
        let table = |name: &str| {
            json!({
                "type": "object", "additionalProperties": false, "required": [name], "properties": { name: list }
            })
        };
        json!({ "oneOf": [{ "enum": ["all", "top"] }, table("bases"), table("only")] })
    }
}

impl fmt::Display for TierPairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.written().unwrap_or_default())
    }
}

impl Serialize for TierPairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::Top => serializer.serialize_str("top"),
            Self::Bases(bases) => json!({ "bases": bases }).serialize(serializer),
            Self::Only(pairs) => json!({ "only": pairs }).serialize(serializer),
        }
    }
}
