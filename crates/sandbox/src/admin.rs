//! The exchange's own routes, `/sandbox/…`: read its book, move its prices, break its answers.
//!
//! Only for callers on the same machine, and not for web pages: a request that carries an `Origin`
//! is refused.

use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::amount;
use crate::exchange::Exchange;
use crate::faults::{FaultPlan, FaultRule};
use crate::handle::{Disposition, Reply, Request};
use crate::json::Json;
use crate::mode::Mode;
use crate::moment::Moment;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetPrice {
    pair: String,
    #[serde(deserialize_with = "amount::one")]
    price: Decimal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetSpeed {
    #[serde(deserialize_with = "amount::one")]
    speed: Decimal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetMode {
    mode: Mode,
    #[serde(default)]
    pair: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delist {
    pair: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetBalance {
    customer: String,
    asset: String,
    #[serde(deserialize_with = "amount::one")]
    amount: Decimal,
}

/// One rule, or a whole plan.
#[derive(Deserialize)]
#[serde(untagged)]
enum NewFaults {
    Rule(FaultRule),
    Plan(FaultPlan),
}

impl Exchange {
    pub(crate) fn handle_admin(&mut self, route: &str, request: &Request, now: Moment) -> Reply {
        if request.peer.is_some_and(|peer| !peer.is_loopback()) || request.headers.contains_key("origin") {
            return problem(403, "only programs on this machine may use these routes");
        }
        let at = now.timestamp();
        let done = |outcome: Result<(), String>| match outcome {
            Ok(()) => Reply::json(200, &Json::object([("ok", Json::Bool(true))])),
            Err(reason) => problem(400, &reason),
        };
        match (request.method.as_str(), route) {
            ("GET", "book") => value(&self.book()),
            ("GET", "status") => value(&self.status()),
            ("GET", "faults") => value(&self.status().faults),
            ("DELETE", "faults") => {
                self.clear_faults();
                done(Ok(()))
            }
            ("POST", "faults") => done(read(request).and_then(|faults| {
                let plan = match faults {
                    NewFaults::Plan(plan) => plan,
                    NewFaults::Rule(rule) => FaultPlan {
                        fault: vec![rule],
                        mode: Vec::new(),
                    },
                };
                let plan = plan.checked().map_err(|error| error.to_string())?;
                self.load_faults(plan);
                Ok(())
            })),
            ("POST", "mode") => done(read(request).and_then(|SetMode { mode, pair }| {
                self.set_mode(at, pair.as_deref(), mode)
                    .map_err(|error| error.to_string())
            })),
            ("POST", "delist") => done(
                read(request)
                    .and_then(|Delist { pair }| self.delist(at, &pair).map_err(|error| error.to_string())),
            ),
            ("POST", "price") => done(read(request).and_then(|SetPrice { pair, price }| {
                self.set_price(at, &pair, price)
                    .map_err(|error| error.to_string())
            })),
            ("POST", "speed") => done(read(request).map(|SetSpeed { speed }| self.set_speed(at, speed))),
            ("POST", "balance") => done(read(request).and_then(
                |SetBalance {
                     customer,
                     asset,
                     amount,
                 }| {
                    self.set_balance(at, &customer, &asset, amount)
                        .map_err(|error| error.to_string())
                },
            )),
            _ => problem(404, "there is no such route"),
        }
    }
}

fn read<T: DeserializeOwned>(request: &Request) -> Result<T, String> {
    serde_json::from_slice(&request.body).map_err(|error| format!("the body is not valid: {error}"))
}

fn value(value: &impl serde::Serialize) -> Reply {
    Reply {
        status: 200,
        content_type: "application/json",
        body: serde_json::to_vec(value).unwrap_or_default(),
        delay: std::time::Duration::ZERO,
        disposition: Disposition::Answer,
    }
}

fn problem(status: u16, reason: &str) -> Reply {
    Reply::json(status, &Json::object([("error", Json::text(reason))]))
}
