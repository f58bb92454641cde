//! What a customer may read of the key, balances and fees.

use rust_decimal::{Decimal, RoundingStrategy};

use crate::exchange::{Customer, Exchange};
use crate::json::Json;
use crate::market::generated::usual_value;
use crate::moment::Moment;
use crate::orders::{CustomerNo, directed, fixed};
use crate::params::Params;
use crate::refusal::Refusal;
use crate::settings::KeyInfoCasing;

impl Exchange {
    pub(crate) fn account(&self, customer: CustomerNo) -> Result<&Customer, Refusal> {
        self.customer(customer).ok_or(Refusal::InvalidKey)
    }

    /// `GetApiKeyInfo`, in the casing that the customer is set to.
    pub(crate) fn key_info(&self, customer: CustomerNo) -> Result<Json, Refusal> {
        let account = self.account(customer)?;
        let asking = account.asking_key().ok_or(Refusal::InvalidKey)?;
        let rights = Json::list(account.spec.rights.iter().map(|right| Json::text(right.name())));
        let started = self.now.map_or(0, Moment::seconds).saturating_sub(86_400);
        let last_used = account
            .last_used
            .map_or(Json::Null, |at| Json::text(at.seconds()));
        let name = Json::text(&account.spec.name);
        let key = Json::text(&asking.key);
        let nonce = Json::text(asking.nonce.highest());
        let own = || format!("AA00 SAND BOX0 {:04}", customer.0.saturating_add(1));
        let iban = Json::text(account.spec.iban.clone().unwrap_or_else(own));
        let zero = || Json::text("0");
        let camel = account.spec.casing(self.settings.key_info_casing) == KeyInfoCasing::Camel;
        let addresses = &account.spec.ip_allowlist;
        let allowed = if addresses.is_empty() && !camel {
            Json::list([Json::text("")])
        } else {
            Json::list(addresses.iter().map(Json::text))
        };
        Ok(if camel {
            Json::object([
                ("apiKeyName", name),
                ("apiKey", key),
                ("nonce", nonce),
                ("nonceWindow", Json::number(asking.nonce.window())),
                ("permissions", rights),
                ("iban", iban),
                ("validUntil", zero()),
                ("queryFrom", zero()),
                ("queryTo", zero()),
                ("createdTime", Json::text(started)),
                ("modifiedTime", Json::text(started)),
                ("ipAllowlist", allowed),
                ("lastUsed", last_used),
            ])
        } else {
            Json::object([
                ("api_key_name", name),
                ("api_key", key),
                ("nonce", nonce),
                ("nonce_window", Json::text(asking.nonce.window())),
                ("permissions", rights),
                ("iban", iban),
                ("valid_until", zero()),
                ("query_from", zero()),
                ("query_to", zero()),
                ("created_time", Json::text(started)),
                ("modified_time", Json::text(started)),
                ("ip_allowlist", allowed),
                ("last_used", last_used),
            ])
        })
    }

    /// `Balance`: totals, with what open orders hold.
    pub(crate) fn balance(&self, customer: CustomerNo) -> Result<Json, Refusal> {
        let account = self.account(customer)?;
        let rows = account.wallet.iter().map(|(asset, funds)| {
            (
                asset.to_string(),
                self.funds_text(asset, funds.total, RoundingStrategy::ToZero),
            )
        });
        Ok(Json::object(rows))
    }

    /// `BalanceEx`: totals, and apart what open orders hold.
    pub(crate) fn balance_ex(&self, customer: CustomerNo) -> Result<Json, Refusal> {
        let account = self.account(customer)?;
        Ok(Json::object(account.wallet.iter().map(|(asset, funds)| {
            let row = Json::object([
                (
                    "balance",
                    self.funds_text(asset, funds.total, RoundingStrategy::ToZero),
                ),
                (
                    "hold_trade",
                    self.funds_text(asset, funds.held, RoundingStrategy::AwayFromZero),
                ),
            ]);
            (asset.to_string(), row)
        })))
    }

    /// In the asset's decimals. Totals round down and holds up: nobody is shown more than there is.
    pub(crate) fn funds_text(&self, asset: &str, value: Decimal, direction: RoundingStrategy) -> Json {
        Json::text(directed(
            value,
            self.market.pairs.assets.decimals(asset),
            direction,
        ))
    }

    /// `TradeBalance`: everything valued in US dollars; there is no margin here.
    pub(crate) fn trade_balance(&self, customer: CustomerNo, now: Moment) -> Result<Json, Refusal> {
        let account = self.account(customer)?;
        let worth: Decimal = account
            .wallet
            .iter()
            .map(|(asset, funds)| funds.total * self.dollar_price(asset, now))
            .sum();
        let amount = |value: Decimal| Json::text(fixed(value, 4));
        Ok(Json::object([
            ("eb", amount(worth)),
            ("tb", amount(worth)),
            ("m", amount(Decimal::ZERO)),
            ("uv", amount(Decimal::ZERO)),
            ("n", amount(Decimal::ZERO)),
            ("c", amount(Decimal::ZERO)),
            ("v", amount(Decimal::ZERO)),
            ("e", amount(worth)),
            ("mf", amount(worth)),
        ]))
    }

    /// What one unit of an asset is worth in US dollars: by its own pair, else by the usual value.
    pub(crate) fn dollar_price(&self, asset: &str, now: Moment) -> Decimal {
        if asset == "ZUSD" {
            return Decimal::ONE;
        }
        let code = self.market.pairs.assets.code(asset);
        self.market
            .find(&format!("{code}/USD"))
            .and_then(|pair| self.quote(pair, now))
            .map(|quote| quote.last)
            .or_else(|| usual_value(code))
            .unwrap_or_default()
    }

    /// `TradeVolume`: the fees that this customer pays.
    pub(crate) fn trade_volume(&self, customer: CustomerNo, params: &Params) -> Result<Json, Refusal> {
        let account = self.account(customer)?;
        let (taker, maker) = self.fees(customer);
        let mut reply = Json::object([
            ("currency", Json::text("ZUSD")),
            ("volume", Json::text(fixed(account.volume_30d, 4))),
        ]);
        if let Some(names) = params.get("pair") {
            let mut ids = Vec::new();
            for name in names.split(',') {
                let pair = self.tradable_pair(Some(name))?;
                let rules = self.market.rules(pair).ok_or(Refusal::UnknownAssetPair)?;
                ids.push(rules.id.to_string());
            }
            let fees = |fee: Decimal, schedule: &[(Decimal, Decimal)]| {
                let row = fee_row(fee, schedule, account.spec.volume_30d);
                Json::object(ids.iter().map(|id| (id.clone(), row.clone())))
            };
            reply.push("fees", fees(taker, &self.settings.taker_fees));
            reply.push("fees_maker", fees(maker, &self.settings.maker_fees));
        }
        Ok(reply)
    }

    /// `WithdrawMethods`: read only; there for those who ask what a key may do.
    pub(crate) fn withdraw_methods(&self, params: &Params) -> Result<Json, Refusal> {
        let asset = match params.get("asset") {
            None => "XXBT".into(),
            Some(name) => self
                .market
                .pairs
                .assets
                .find(name)
                .ok_or(Refusal::UnknownAsset)?
                .id
                .clone(),
        };
        Ok(Json::list([Json::object([
            ("asset", Json::text(asset)),
            ("method", Json::text("Sandbox")),
            ("network", Json::text("Sandbox")),
            ("minimum", Json::text("0.0004")),
        ])]))
    }
}

fn fee_row(fee: Decimal, schedule: &[(Decimal, Decimal)], volume: Decimal) -> Json {
    let percent = |value: Decimal| Json::text(fixed(value, 4));
    let tier = schedule.iter().rev().find(|(from, _)| *from <= volume);
    let next = schedule.iter().find(|(from, _)| *from > volume);
    let fees = || schedule.iter().map(|(_, fee)| *fee);
    let amount = |row: Option<&(Decimal, Decimal)>| row.map_or(Json::Null, |(from, _)| percent(*from));
    Json::object([
        ("fee", percent(fee)),
        ("minfee", percent(fees().min().unwrap_or_default())),
        ("maxfee", percent(fees().max().unwrap_or_default())),
        ("nextfee", next.map_or(Json::Null, |(_, fee)| percent(*fee))),
        ("nextvolume", amount(next)),
        ("tiervolume", amount(tier)),
    ])
}
