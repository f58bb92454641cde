//! One section per broker, all with the same defaults.

use std::collections::BTreeMap;

use bursar_model::BrokerId;
use serde::Serialize;
use serde_json::{Value, json};
use toml::Spanned;
use toml::de::DeValue;

use crate::node::{Node, kind, word_node};
use crate::reader::Reader;
use crate::section::{any, at_least_one, section};
use crate::values::{BaseUrl, Milliseconds};

/// The settings of each broker that has any; a broker without has the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Brokers(pub BTreeMap<BrokerId, Broker>);

impl Brokers {
    /// With the defaults where nothing is set for it.
    pub fn of(&self, broker: &BrokerId) -> Broker {
        self.0.get(broker).cloned().unwrap_or_default()
    }
}

word_node! {
    /// What happens when a user account connects while its broker's master account does not.
    MasterPolicy {
        /// It connects, and everybody is told.
        #[default]
        Warn,
        /// It waits for the master.
        Require,
        /// It connects, and nothing is said.
        Off,
    }
}

word_node! {
    /// How many requests the exchange allows the account, by what the exchange calls it.
    RateTier {
        /// The smallest allowance: safe for every account.
        #[default]
        Starter,
        /// More than that.
        Intermediate,
        /// The largest allowance. Where the account does not have it, the exchange refuses what is too
        /// much.
        Pro,
    }
}

section! {
    /// One broker.
    pub struct Broker {
        /// Where the broker is reached, if not where it always is. Needs `allow_custom_url`: whoever
        /// answers there sees signed orders.
        pub base_url: Option<BaseUrl> = None, any;
        /// Says that `base_url` is meant. Every status shows it.
        pub allow_custom_url: bool = false, any;
        /// When a user account connects without its master: "warn", "require" (it waits) or "off".
        pub master_policy: MasterPolicy = MasterPolicy::Warn, any;
        /// How many requests the exchange allows: "starter", "intermediate" or "pro".
        pub rate_tier: RateTier = RateTier::Starter, any;
        /// Whether coins that earn rewards without being bound (Kraken: auto-earn, names that end in `.F`)
        /// can be spent and sold. Where they cannot, an account that has some differs from what was bought for it,
        /// and flatten does not sell them.
        pub auto_earn_is_spendable: bool = false, any;
        /// Requests a second for prices and other public data, shared by all accounts at the broker.
        pub public_requests_per_s: u32 = 1, at_least_one;
        /// How long a connection may take to be made.
        pub connect_timeout_ms: Milliseconds = Milliseconds(3_000), Milliseconds::some;
        /// How long an answer may take.
        pub request_timeout_ms: Milliseconds = Milliseconds(10_000), Milliseconds::some;
    }
}

impl Node for Brokers {
    fn read_over(&mut self, value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) {
        let DeValue::Table(table) = value.get_ref() else {
            reader.wrong(format_args!(
                "is {}, but a section for each broker belongs here",
                kind(value.get_ref())
            ));
            return;
        };
        for (key, value) in table {
            match key.get_ref().parse::<BrokerId>() {
                Ok(id) => reader.within(id.clone().as_str(), key.span(), |reader| {
                    self.0.entry(id).or_default().read_over(value, reader);
                }),
                Err(error) => reader.problem(Some(key.span()), error.to_string()),
            }
        }
    }

    fn written(&self) -> Option<String> {
        None
    }

    fn schema(&self) -> Value {
        json!({
            "type": "object",
            "propertyNames": { "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$" },
            "additionalProperties": Broker::default().schema(),
        })
    }

    fn render_section(&self, path: &str, doc: &[&str], out: &mut String) {
        if !self.0.is_empty() {
            for (id, broker) in &self.0 {
                broker.render_section(&format!("{path}.{id}"), &[], out);
            }
            return;
        }
        // A section that is there for each broker is shown as an example, switched off.
        let mut example = String::new();
        Broker::default().render_section(&format!("{path}.NAME"), doc, &mut example);
        for line in example.lines() {
            let is_comment = line.is_empty() || line.starts_with('#');
            out.push_str(if is_comment { "" } else { "#" });
            out.push_str(line);
            out.push('\n');
        }
    }

    fn names(&self, path: &str, names: &mut Vec<String>) {
        Broker::default().names(&format!("{path}.NAME"), names);
    }
}
