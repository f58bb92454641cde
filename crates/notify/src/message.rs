//! One message to one receiver, and its words. Every sentence is from this table.

use bursar_model::{IntentId, LatchId, Side};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::notice::{DaemonState, Happened, Kind, Notice, Receiver, Trigger};

/// A notice as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Without amounts unless the receiver asked for them.
    pub notice: Notice,
    /// How often the same cause came up since it was told before.
    #[serde(default)]
    pub repeats: u32,
}

/// What one receiver gets at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Whom it is for.
    pub receiver: Receiver,
    /// In the order in which it came up; may be empty where everything was held back.
    pub told: Vec<Told>,
    /// Notices that are counted here and told nowhere.
    #[serde(default)]
    pub held_back: u32,
    /// Until then nothing but what is urgent follows.
    #[serde(default)]
    pub quiet_until: Option<Timestamp>,
}

impl Message {
    /// Whether anything in it is.
    pub fn is_urgent(&self) -> bool {
        self.told.iter().any(|told| told.notice.kind().is_urgent())
    }

    /// One line, without anything from outside.
    pub fn subject(&self) -> String {
        match self.told.as_slice() {
            [] => "Bursar: many notices".to_owned(),
            [only] => format!("Bursar: {}", headline(only.notice.kind())),
            [first, others @ ..] => {
                let urgent = self.told.iter().find(|told| told.notice.kind().is_urgent());
                let named = urgent.unwrap_or(first);
                format!(
                    "Bursar: {} and {} more",
                    headline(named.notice.kind()),
                    others.len()
                )
            }
        }
    }

    /// The whole text, plain.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for told in &self.told {
            text.push_str(&format!(
                "{}  {}",
                told.notice.at.strftime("%Y-%m-%d %H:%M:%S UTC"),
                sentence(&told.notice.happened, &self.receiver)
            ));
            if told.repeats > 0 {
                text.push_str(&format!(
                    " ({} more of the same since it was last told)",
                    told.repeats
                ));
            }
            text.push('\n');
        }
        if self.held_back > 0 {
            text.push_str(&format!("{} more", self.held_back));
            match self.receiver {
                Receiver::Operator => text.push_str("; look with `bursar status`"),
                Receiver::User(_) => text.push_str("; ask your operator for the list"),
            }
            if let Some(until) = self.quiet_until {
                text.push_str(&format!(
                    ". Until {} only what is urgent is told",
                    until.strftime("%H:%M:%S UTC")
                ));
            }
            text.push_str(".\n");
        }
        text
    }

    /// The same for a program: ids, states, and amounts only where they were asked for.
    pub fn document(&self) -> Value {
        let notices: Vec<Value> = self
            .told
            .iter()
            .map(|told| {
                let mut notice = json!(told.notice.happened);
                if let Value::Object(fields) = &mut notice {
                    fields.insert("at".to_owned(), json!(told.notice.at));
                    fields.insert("kind".to_owned(), json!(told.notice.kind()));
                    fields.insert("repeats".to_owned(), json!(told.repeats));
                }
                notice
            })
            .collect();
        json!({
            "receiver": self.receiver,
            "notices": notices,
            "held_back": self.held_back,
            "quiet_until": self.quiet_until,
        })
    }
}

const fn headline(kind: Kind) -> &'static str {
    match kind {
        Kind::Trade => "an order was executed",
        Kind::ProfitTarget => "a profit target was reached",
        Kind::StopLoss => "a stop loss sold",
        Kind::SwitchOn => "a switch is on",
        Kind::SwitchOff => "a switch is off",
        Kind::DayLoss => "the day's loss",
        Kind::AutoDisabled => "errors stopped an account",
        Kind::KeyDrift => "an exchange key changed",
        Kind::OrderUnclear => "an order needs people",
        Kind::Suspicious => "suspicious activity",
        Kind::Daemon => "the gateway",
        Kind::Test => "a test",
    }
}

/// One sentence without its full stop. Only the operator has the command line, and is told what to run.
fn sentence(happened: &Happened, receiver: &Receiver) -> String {
    let run = |command: String| match receiver {
        Receiver::Operator => format!("; run `{command}`"),
        Receiver::User(_) => String::new(),
    };
    match happened {
        Happened::Traded {
            account,
            order,
            pair,
            side,
            trigger,
            filled,
        } => {
            let done = match side {
                Side::Buy => "bought",
                Side::Sell => "sold",
            };
            let why = match trigger {
                None => "",
                Some(Trigger::ProfitTarget) => "profit target reached, ",
                Some(Trigger::StopLoss) => "stop loss, ",
            };
            let amount = filled
                .map(|filled| format!(" ({} {})", filled.normalize(), pair.base()))
                .unwrap_or_default();
            format!("{account}: {why}{done} {pair}{amount}, order {}", short(order))
        }
        Happened::SwitchedOn {
            switch,
            scope,
            mode,
            cause,
        } => {
            let what = match happened.kind() {
                Kind::DayLoss => "the day's loss reached its limit, switch on",
                Kind::AutoDisabled => "too many errors of the exchange, switch on",
                Kind::KeyDrift => "the rights of an exchange key changed, switch on",
                _ => "switch on",
            };
            format!(
                "{what}: {scope}, mode {mode}, cause {cause}, switch {}{}",
                short_switch(switch),
                run("bursar latches".to_owned())
            )
        }
        Happened::SwitchedOff {
            switch,
            scope,
            mode,
            cause,
        } => format!(
            "switch off: {scope}, mode {mode}, cause {cause}, switch {}",
            short_switch(switch)
        ),
        Happened::LossNear { scope, day, amounts } => {
            let figures = amounts
                .map(|amounts| format!(": {} of {}", amounts.loss_usd, amounts.limit_usd))
                .unwrap_or_default();
            format!("the loss of trading day {day} of {scope} is near its limit{figures}")
        }
        Happened::OrderUnclear { account, order } => format!(
            "{account}: order {} needs people: what the exchange shows does not settle it{}",
            short(order),
            run(format!("bursar explain {order}"))
        ),
        Happened::ManyRejected { account, count } => format!(
            "{account}: the exchange refused {count} orders in a short time{}",
            run(format!("bursar orders --account {account}"))
        ),
        Happened::ManyRefused { account, count } => format!(
            "{account}: {count} orders were refused by rules in a short time{}",
            run(format!("bursar orders --account {account}"))
        ),
        Happened::Daemon { state } => match state {
            DaemonState::Started => "the daemon started".to_owned(),
            DaemonState::Stopped => "the daemon stopped; nothing is traded until it runs again".to_owned(),
        },
        Happened::Test => "this is a test; somebody tries out the notifications".to_owned(),
    }
}

/// As far as commands need it to find the order.
fn short(order: &IntentId) -> String {
    order.to_string().chars().take(8).collect()
}

fn short_switch(switch: &LatchId) -> String {
    switch.to_string().chars().take(8).collect()
}
