//! Who trades on the exchange: names, keys, rights and opening balances.
//!
//! ```
//! # use bursar_sandbox::Customers;
//! Customers::from_toml(r#"
//! [[customer]]                    # everything but the name has a default
//! name = "mara_ilves"
//!
//! [[customer]]
//! name = "ops_desk"
//! balances = { USD = "5000", BTC = "0.1" }
//! rights = ["query-funds", "query-open-trades", "query-closed-trades", "modify-trades"]
//! limit_tier = "pro"              # starter, intermediate, pro or unlimited
//! "#)?;
//! # Ok::<(), bursar_sandbox::CustomersError>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::amount;
use crate::auth::Secret;
use crate::limits::LimitTier;
use crate::permission::Permission;
use crate::seed;
use crate::settings::KeyInfoCasing;

/// One customer. Every field but the name has a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomerSpec {
    /// Unique among the customers; everything that is told of them names it.
    pub name: String,
    /// Opening balances by asset: `BTC`, `USD`, or the exchange's own ids.
    #[serde(default = "opening_balances", deserialize_with = "amount::by_name")]
    pub balances: BTreeMap<String, Decimal>,
    /// What the first key may do; everything that trading needs when it is left out.
    #[serde(default = "trading_rights")]
    pub rights: BTreeSet<Permission>,
    /// The key's public half; made from the seed when absent.
    #[serde(default)]
    pub key: Option<String>,
    /// The key's secret half in base64; made from the seed when absent.
    #[serde(default)]
    pub secret: Option<SecretText>,
    /// Intermediate when it is left out.
    #[serde(default)]
    pub limit_tier: LimitTier,
    /// Volume of the last 30 days in US dollars when the exchange begins: decides the fees.
    #[serde(default, deserialize_with = "amount::one")]
    pub volume_30d: Decimal,
    /// Fees in percent, instead of those that the volume would give.
    #[serde(default, deserialize_with = "amount::optional")]
    pub taker_fee_percent: Option<Decimal>,
    /// In percent, instead of what the volume would give.
    #[serde(default, deserialize_with = "amount::optional")]
    pub maker_fee_percent: Option<Decimal>,
    /// How far below the highest a nonce may be, in nonce ticks.
    #[serde(default)]
    pub nonce_window: u64,
    /// A fixed second factor that every private call must carry.
    #[serde(default)]
    pub otp: Option<SecretText>,
    /// Addresses that the key's description lists. Not enforced: everybody is on the loopback.
    #[serde(default)]
    pub ip_allowlist: Vec<String>,
    /// Whose account the key's description names; one of the customer's own when absent. A second customer
    /// with the same one stands for another key of the first.
    #[serde(default)]
    pub iban: Option<String>,
    /// Words of the key's description; the exchange's setting when absent.
    #[serde(default)]
    pub snake_case_key_info: Option<bool>,
    /// Assets that this customer may not trade, for example because of residence.
    #[serde(default)]
    pub restricted_assets: BTreeSet<String>,
}

/// A text that does not show itself.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    /// Takes any text; nothing is checked.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself. Whoever calls this shows it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretText(..)")
    }
}

fn opening_balances() -> BTreeMap<String, Decimal> {
    BTreeMap::from([
        ("USD".to_owned(), Decimal::from(100_000)),
        ("BTC".to_owned(), Decimal::TWO),
    ])
}

fn trading_rights() -> BTreeSet<Permission> {
    Permission::TRADING.into()
}

impl CustomerSpec {
    /// 100,000 USD, 2 BTC, every right that trading needs, and a key from the seed.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            balances: opening_balances(),
            rights: trading_rights(),
            key: None,
            secret: None,
            limit_tier: LimitTier::default(),
            volume_30d: Decimal::ZERO,
            taker_fee_percent: None,
            maker_fee_percent: None,
            nonce_window: 0,
            otp: None,
            ip_allowlist: Vec::new(),
            iban: None,
            snake_case_key_info: None,
            restricted_assets: BTreeSet::new(),
        }
    }

    /// Sets one opening balance.
    #[must_use]
    pub fn with_balance(mut self, asset: &str, amount: Decimal) -> Self {
        self.balances.insert(asset.to_owned(), amount);
        self
    }

    /// Replaces the rights.
    #[must_use]
    pub fn with_rights(mut self, rights: impl IntoIterator<Item = Permission>) -> Self {
        self.rights = rights.into_iter().collect();
        self
    }

    /// Sets how fast the customer may call and trade.
    #[must_use]
    pub const fn with_limit_tier(mut self, tier: LimitTier) -> Self {
        self.limit_tier = tier;
        self
    }

    /// Names the account in the key's description.
    #[must_use]
    pub fn with_iban(mut self, iban: &str) -> Self {
        self.iban = Some(iban.to_owned());
        self
    }

    pub(crate) fn casing(&self, usual: KeyInfoCasing) -> KeyInfoCasing {
        match self.snake_case_key_info {
            None => usual,
            Some(true) => KeyInfoCasing::Snake,
            Some(false) => KeyInfoCasing::Camel,
        }
    }
}

/// A customer's key, as a client needs it.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// The public half: the `API-Key` header.
    pub key: String,
    /// What signs; in base64 for a client.
    pub secret: Secret,
}

impl ApiKey {
    /// The key that `spec` names, or the one that `seed` makes for it.
    pub(crate) fn of(spec: &CustomerSpec, seed: u64) -> Result<Self, CustomersError> {
        let mut random = seed::generator(seed, &["customer key", &spec.name]);
        let mut public = [0; 42];
        let mut secret = vec![0; 64];
        random.fill(&mut public);
        random.fill(&mut secret);
        let secret = match &spec.secret {
            None => Secret::new(secret),
            Some(text) => Secret::from_base64(text.expose()).ok_or_else(|| CustomersError::Secret {
                customer: spec.name.clone(),
            })?,
        };
        let key = spec.key.clone().unwrap_or_else(|| BASE64.encode(&public));
        Ok(Self { key, secret })
    }

    /// A key beside the first: the so many-th.
    pub(crate) fn another(spec: &CustomerSpec, number: usize, seed: u64) -> Self {
        let mut random = seed::generator(seed, &["customer key", &spec.name, &number.to_string()]);
        let mut public = [0; 42];
        let mut secret = vec![0; 64];
        random.fill(&mut public);
        random.fill(&mut secret);
        Self {
            key: BASE64.encode(&public),
            secret: Secret::new(secret),
        }
    }
}

/// What is printed for each customer when a sandbox starts: one JSON line.
///
/// It holds the secret on purpose. The keys of a sandbox open nothing else.
#[derive(Serialize)]
pub struct Announcement {
    /// The customer's name.
    pub customer: String,
    /// The public half of the key, for the header `API-Key`.
    pub key: String,
    /// The secret half, in base64.
    pub secret: String,
    /// What they begin with, by the names in their specification.
    pub balances: BTreeMap<String, Decimal>,
    /// What the key may do, in the exchange's names.
    pub rights: Vec<&'static str>,
    /// Where the exchange listens.
    pub url: String,
}

impl Announcement {
    /// The line, without its end.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Why the customers could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CustomersError {
    /// It is not there, or cannot be read.
    #[error("the customers file `{}` cannot be read", path.display())]
    Read {
        /// As it was named.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no TOML, or has a field that no customer has.
    #[error("the customers file is not valid: {reason}")]
    Format {
        /// What is wrong, and where in the text.
        reason: String,
    },
    /// Names and keys tell customers apart.
    #[error("customer `{customer}` is there twice, or shares a key with another")]
    Duplicate {
        /// The name of the second of the two.
        customer: String,
    },
    /// A client could not sign with it.
    #[error("the secret of customer `{customer}` is not base64")]
    Secret {
        /// The name of the customer.
        customer: String,
    },
    /// It is negative, too large, or too fine to be added up without loss.
    #[error(
        "customer `{customer}` has `{amount}` of `{asset}`: use 0 to 1000000000000 with at most 10 decimals"
    )]
    Balance {
        /// The name of the customer.
        customer: String,
        /// By the name in the specification.
        asset: String,
        /// As it was asked for.
        amount: Decimal,
    },
    /// Nobody could call a private method.
    #[error("there is no customer")]
    None,
}

impl CustomersError {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => "name a file that exists with `--customers`",
            Self::Format { .. } => {
                "write `[[customer]]` tables with `name`, and amounts as strings such as \"100000\""
            }
            Self::Duplicate { .. } => "give every customer a name and a key of its own",
            Self::Secret { .. } => "leave `secret` out to have one made",
            Self::Balance { .. } => "amounts are strings of plain decimals",
            Self::None => "add a `[[customer]]`, or leave the file out for the default one",
        }
    }
}

/// Everybody who trades.
#[derive(Clone, Debug)]
pub struct Customers(Vec<CustomerSpec>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CustomersFile {
    #[serde(alias = "customers")]
    customer: Vec<CustomerSpec>,
}

/// What a balance may be, so that no sum or product of the exchange can overflow.
pub(crate) fn is_sane_amount(amount: Decimal) -> bool {
    amount >= Decimal::ZERO && amount <= Decimal::from(1_000_000_000_000_i64) && amount.scale() <= 10
}

impl Customers {
    /// Refuses no customer, two of one name, and amounts that no account could hold.
    ///
    /// # Errors
    ///
    /// [`CustomersError`], which names the customer.
    pub fn new(specs: Vec<CustomerSpec>) -> Result<Self, CustomersError> {
        if specs.is_empty() {
            return Err(CustomersError::None);
        }
        let mut names = BTreeSet::new();
        for spec in &specs {
            if !names.insert(&spec.name) {
                return Err(CustomersError::Duplicate {
                    customer: spec.name.clone(),
                });
            }
            if let Some((asset, amount)) = spec.balances.iter().find(|(_, amount)| !is_sane_amount(**amount))
            {
                return Err(CustomersError::Balance {
                    customer: spec.name.clone(),
                    asset: asset.clone(),
                    amount: *amount,
                });
            }
        }
        Ok(Self(specs))
    }

    /// One customer, `default`, with 100,000 USD, 2 BTC and full trading rights.
    pub fn default_one() -> Self {
        Self(vec![CustomerSpec::named("default")])
    }

    /// Reads TOML: `[[customer]]` tables.
    ///
    /// # Errors
    ///
    /// [`CustomersError`], with the place of the mistake.
    pub fn from_toml(text: &str) -> Result<Self, CustomersError> {
        let file: CustomersFile = toml::from_str(text).map_err(|error| CustomersError::Format {
            reason: error.to_string(),
        })?;
        Self::new(file.customer)
    }

    /// Reads JSON: a list of customers, or an object with the list as `customers`.
    ///
    /// # Errors
    ///
    /// [`CustomersError`], with the place of the mistake.
    pub fn from_json(text: &str) -> Result<Self, CustomersError> {
        let format = |error: serde_json::Error| CustomersError::Format {
            reason: error.to_string(),
        };
        if text.trim_start().starts_with('[') {
            return Self::new(serde_json::from_str(text).map_err(format)?);
        }
        let file: CustomersFile = serde_json::from_str(text).map_err(format)?;
        Self::new(file.customer)
    }

    /// Reads a file: JSON when its name ends so, TOML otherwise.
    ///
    /// # Errors
    ///
    /// [`CustomersError`], when the file cannot be read or has a mistake.
    pub fn from_file(path: &Path) -> Result<Self, CustomersError> {
        let text = std::fs::read_to_string(path).map_err(|source| CustomersError::Read {
            path: path.to_owned(),
            source,
        })?;
        if path.extension().is_some_and(|extension| extension == "json") {
            Self::from_json(&text)
        } else {
            Self::from_toml(&text)
        }
    }

    pub(crate) fn into_specs(self) -> Vec<CustomerSpec> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_are_read_from_toml_and_json() {
        let toml = Customers::from_toml(
            "[[customer]]\nname = \"ops_desk\"\nbalances = { USD = \"5000\" }\nrights = [\"query-funds\"]\nlimit_tier = \"pro\"\n",
        )
        .unwrap();
        let json = Customers::from_json(r#"[{"name":"ops_desk","balances":{"USD":"5000"}}]"#).unwrap();

        assert_eq!(toml.0[0].rights, BTreeSet::from([Permission::QueryFunds]));
        assert_eq!(toml.0[0].limit_tier, LimitTier::Pro);
        assert_eq!(json.0[0].balances, toml.0[0].balances);
    }

    #[test]
    fn bad_customers_are_refused() {
        for text in [
            "",
            "[[customer]]\nname = \"a\"\nbalance = {}\n",
            "[[customer]]\nname = \"a\"\n[[customer]]\nname = \"a\"\n",
            "[[customer]]\nname = \"a\"\nbalances = { USD = 5.5 }\n",
            "[[customer]]\nname = \"a\"\nbalances = { USD = \"-5\" }\n",
            "customer = []\n",
        ] {
            assert!(Customers::from_toml(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_from_the_seed_has_the_exchanges_shape_and_is_always_the_same() {
        let spec = CustomerSpec::named("mara_ilves");

        let key = ApiKey::of(&spec, 7).unwrap();

        assert_eq!(key.key.len(), 56);
        assert_eq!(
            BASE64.decode(key.secret.to_base64().as_bytes()).unwrap().len(),
            64
        );
        assert_eq!(ApiKey::of(&spec, 7).unwrap().key, key.key);
        assert_ne!(ApiKey::of(&spec, 8).unwrap().key, key.key);
        assert_ne!(ApiKey::of(&CustomerSpec::named("other"), 7).unwrap().key, key.key);
        assert!(!format!("{key:?}").contains(&key.secret.to_base64()));
    }
}
