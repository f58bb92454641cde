use bursar_model::{AccountId, AccountStatus, Check, Level, OrderRequest, Rights, UserId, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::UserPermissions;

/// On whose word an order is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Caller {
    /// A person at the machine, who can open the store. Orders from before logins were recorded say
    /// no more than this.
    Operator,
    /// A person at the machine, by the name of their login there.
    Person {
        /// As the operating system names it, not a [`UserId`].
        login: String,
    },
    /// The gateway's own trading cycle of the account.
    Strategy {
        /// The strategy's own name, for people and records; no permission depends on it.
        name: String,
        /// What it sells for, when that is not the strategy's signal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit: Option<ProtectiveExit>,
    },
    /// The gateway closing positions while a flatten switch is on. Only ever reduces.
    Flattener,
    /// Somebody with a membership of the account, or its owner.
    Member {
        /// Who asks, as their login or token was resolved to.
        user: UserId,
        /// What that user may do with this very account. Taken as it is: whoever names the caller reads
        /// it from the memberships.
        rights: Rights,
    },
}

/// A sale that protects what a position has gained, or what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProtectiveExit {
    /// The price fell to a stop, trailing or not.
    StopLoss,
    /// The price rose as far as was wished for.
    ProfitTarget,
}

impl Caller {
    /// What this caller may do with the account at hand.
    pub const fn rights(&self) -> Rights {
        match self {
            Self::Operator | Self::Person { .. } => Rights::ALL,
            Self::Strategy { .. } | Self::Flattener => Rights {
                view: true,
                trade: true,
                manage: false,
            },
            Self::Member { rights, .. } => *rights,
        }
    }
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
            Self::Person { login } => write!(f, "operator {login}"),
            Self::Strategy { name, .. } => write!(f, "strategy {name}"),
            Self::Flattener => f.write_str("flattener"),
            Self::Member { user, .. } => write!(f, "user {user}"),
        }
    }
}

/// What the permission to trade depends on, read in the transaction that acts.
#[derive(Clone, Copy, Debug)]
pub struct TradingContext<'a> {
    /// On whose word; decides the rule `trade-right`.
    pub caller: &'a Caller,
    /// The account that is to be traded: the permission is for this one and no other.
    pub account: &'a AccountId,
    /// A suspended account takes only orders that reduce, a closed one none.
    pub account_status: AccountStatus,
    /// The account's owner.
    pub user: &'a UserId,
    /// Whether the owner is enabled. A disabled owner's accounts take only orders that reduce.
    pub user_enabled: bool,
    /// The owner's: only their list of pairs counts here. Amounts are the hard controls' business.
    pub permissions: &'a UserPermissions,
    /// Whether the ledger proves that the order only lowers a position.
    pub reducing: bool,
}

/// An order whose caller may trade the account and the pair.
///
/// The fields are private and [`permit`] is the only constructor, so holding one proves that the
/// permission was checked. It is not `Clone`: one permission admits one order.
///
/// ```compile_fail,E0451
/// # fn forge(request: bursar_model::OrderRequest, account: bursar_model::AccountId, user: bursar_model::UserId, caller: bursar_permissions::Caller) {
/// let forged = bursar_permissions::PermittedOrder { request, account, user, caller, reducing: false, trace: vec![] };
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a permission does nothing until the hard controls review it"]
pub struct PermittedOrder {
    request: OrderRequest,
    account: AccountId,
    user: UserId,
    caller: Caller,
    reducing: bool,
    trace: Vec<Check>,
}

impl PermittedOrder {
    /// As it was asked for, unchanged.
    pub const fn request(&self) -> &OrderRequest {
        &self.request
    }

    /// The account it was permitted for, and for no other.
    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    /// The account's owner, whose limits count.
    pub const fn user(&self) -> &UserId {
        &self.user
    }

    /// Who asked; the hard controls need it to tell the gateway's own exits.
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether it was permitted as an order that only lowers a position. Whoever sends it has to prove that.
    pub const fn is_reducing(&self) -> bool {
        self.reducing
    }

    /// What each permission rule said, in order.
    pub fn trace(&self) -> &[Check] {
        &self.trace
    }
}

/// Checks that the caller may place `request`; a refusal is the whole trace with all broken rules.
///
/// # Errors
///
/// What every rule said, the passed ones too; at least one is [`Verdict::Broken`].
pub fn permit(request: OrderRequest, context: TradingContext<'_>) -> Result<PermittedOrder, Vec<Check>> {
    let trace = trace(&request, context);
    if trace.iter().any(|check| check.verdict == Verdict::Broken) {
        return Err(trace);
    }
    Ok(PermittedOrder {
        request,
        account: context.account.clone(),
        user: context.user.clone(),
        caller: context.caller.clone(),
        reducing: context.reducing,
        trace,
    })
}

/// What each permission rule says of `request`, passed rules too, in a fixed order.
pub fn trace(request: &OrderRequest, context: TradingContext<'_>) -> Vec<Check> {
    vec![
        trade_right(context),
        account_active(context),
        user_enabled(context),
        pair_allowed(request, context),
    ]
}

fn trade_right(context: TradingContext<'_>) -> Check {
    let may_trade =
        context.caller.rights().trade && (context.reducing || *context.caller != Caller::Flattener);
    Check {
        rule: "trade-right".into(),
        level: Level::Grant,
        verdict: if may_trade {
            Verdict::Passed
        } else {
            Verdict::Broken
        },
        limit: "trade".into(),
        observed: format!(
            "{} {}",
            context.caller,
            if may_trade { "may trade" } else { "may not trade" }
        ),
        source: "memberships".into(),
        age_ms: None,
        hint: if may_trade {
            String::new()
        } else {
            "ask the owner of the account for the right `trade`".into()
        },
    }
}

fn account_active(context: TradingContext<'_>) -> Check {
    let (verdict, hint) = match context.account_status {
        AccountStatus::Active => (Verdict::Passed, String::new()),
        AccountStatus::Suspended if context.reducing => (Verdict::Exempt, String::new()),
        AccountStatus::Suspended => (
            Verdict::Broken,
            format!("see `bursar account show {}`", context.account),
        ),
        AccountStatus::Closed => (
            Verdict::Broken,
            "a closed account trades no more; add a new one".into(),
        ),
    };
    Check {
        rule: "account-active".into(),
        level: Level::Account,
        verdict,
        limit: AccountStatus::Active.to_string(),
        observed: context.account_status.to_string(),
        source: format!("account {}", context.account),
        age_ms: None,
        hint,
    }
}

fn user_enabled(context: TradingContext<'_>) -> Check {
    let verdict = match (context.user_enabled, context.reducing) {
        (true, _) => Verdict::Passed,
        (false, true) => Verdict::Exempt,
        (false, false) => Verdict::Broken,
    };
    Check {
        rule: "user-enabled".into(),
        level: Level::User,
        verdict,
        limit: "enabled".into(),
        observed: if context.user_enabled {
            "enabled"
        } else {
            "disabled"
        }
        .into(),
        source: format!("user {}", context.user),
        age_ms: None,
        hint: match verdict {
            Verdict::Broken => format!("run `bursar user enable {}`", context.user),
            Verdict::Passed | Verdict::Exempt => String::new(),
        },
    }
}

fn pair_allowed(request: &OrderRequest, context: TradingContext<'_>) -> Check {
    let pairs = &context.permissions.limits.pairs;
    let verdict = match (pairs.allows(&request.pair), context.reducing) {
        (true, _) => Verdict::Passed,
        (false, true) => Verdict::Exempt,
        (false, false) => Verdict::Broken,
    };
    Check {
        rule: "pair-allowed".into(),
        level: Level::User,
        verdict,
        limit: pairs.to_string(),
        observed: request.pair.to_string(),
        source: format!("permissions of {}", context.user),
        age_ms: None,
        hint: match verdict {
            Verdict::Broken => format!(
                "trade an allowed pair, or run `bursar permissions set {} --pairs …`",
                context.user
            ),
            Verdict::Passed | Verdict::Exempt => String::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursar_model::{OrderSize, PairRule, Side, Usd, UserLimits};

    struct World {
        caller: Caller,
        account: AccountId,
        status: AccountStatus,
        user: UserId,
        enabled: bool,
        permissions: UserPermissions,
        reducing: bool,
    }

    fn world() -> World {
        World {
            caller: Caller::Operator,
            account: "kraken-ilves".parse().unwrap(),
            status: AccountStatus::Active,
            user: "mara_ilves".parse().unwrap(),
            enabled: true,
            permissions: UserPermissions::new(UserLimits {
                max_position: Usd::ZERO,
                max_daily_loss: Usd::ZERO,
                max_positions: 0,
                pairs: PairRule::Only(["BTC-USD".parse().unwrap()].into()),
            }),
            reducing: false,
        }
    }

    impl World {
        fn broken(&self, pair: &str) -> Vec<String> {
            let size = OrderSize::Usd("10".parse().unwrap());
            let request = OrderRequest::market(pair.parse().unwrap(), Side::Buy, size);
            let context = TradingContext {
                caller: &self.caller,
                account: &self.account,
                account_status: self.status,
                user: &self.user,
                user_enabled: self.enabled,
                permissions: &self.permissions,
                reducing: self.reducing,
            };
            match permit(request, context) {
                Ok(_) => vec![],
                Err(trace) => trace
                    .into_iter()
                    .filter(|c| c.verdict == Verdict::Broken)
                    .map(|c| c.rule)
                    .collect(),
            }
        }
    }

    #[test]
    fn e14_only_listed_pairs_may_be_traded() {
        assert!(world().broken("BTC-USD").is_empty());
        assert_eq!(world().broken("DOGE-USD"), ["pair-allowed"]);
    }

    #[test]
    fn e2_an_empty_list_of_pairs_allows_none() {
        let mut world = world();
        world.permissions.limits.pairs = PairRule::Only([].into());

        assert_eq!(world.broken("BTC-USD"), ["pair-allowed"]);
    }

    #[test]
    fn a_refusal_lists_every_broken_rule() {
        let mut world = world();
        world.enabled = false;
        world.status = AccountStatus::Suspended;
        world.caller = Caller::Member {
            user: "tomas_brandt".parse().unwrap(),
            rights: Rights {
                view: true,
                trade: false,
                manage: true,
            },
        };

        assert_eq!(
            world.broken("DOGE-USD"),
            ["trade-right", "account-active", "user-enabled", "pair-allowed"]
        );
    }

    #[test]
    fn d15_a_reducing_order_passes_a_disabled_user_and_a_pair_that_is_no_longer_listed() {
        let mut world = world();
        world.enabled = false;
        world.reducing = true;

        assert!(world.broken("DOGE-USD").is_empty());
    }

    #[test]
    fn a_closed_account_trades_nothing() {
        let mut world = world();
        world.status = AccountStatus::Closed;
        world.reducing = true;

        assert_eq!(world.broken("BTC-USD"), ["account-active"]);
    }

    /// Every combination there is: more rights, an account or user that is on rather than off, and a
    /// longer list of pairs never turn a yes into a no.
    #[test]
    fn permission_is_monotone_in_everything_that_grants() {
        let all = [Rights::NONE, Rights::ALL]
            .into_iter()
            .chain(["view", "view,trade", "view,manage"].map(|text| text.parse().unwrap()));
        let rights: Vec<Rights> = all.collect();
        let statuses = [
            AccountStatus::Closed,
            AccountStatus::Suspended,
            AccountStatus::Active,
        ];
        let pairs: [&[&str]; 3] = [&[], &["BTC-USD"], &["BTC-USD", "DOGE-USD"]];
        let mut grants = Vec::new();
        for right in &rights {
            for status in 0..statuses.len() {
                for enabled in [false, true] {
                    for listed in 0..pairs.len() {
                        for reducing in [false, true] {
                            grants.push((*right, status, enabled, listed, reducing));
                        }
                    }
                }
            }
        }
        let allowed: Vec<bool> = grants
            .iter()
            .map(|(rights, status, enabled, listed, reducing)| {
                let mut world = world();
                world.caller = Caller::Member {
                    user: "tomas_brandt".parse().unwrap(),
                    rights: *rights,
                };
                world.status = statuses[*status];
                world.enabled = *enabled;
                world.permissions.limits.pairs =
                    PairRule::Only(pairs[*listed].iter().map(|pair| pair.parse().unwrap()).collect());
                world.reducing = *reducing;
                world.broken("DOGE-USD").is_empty()
            })
            .collect();

        for (less, said) in grants.iter().zip(&allowed) {
            for (more, also) in grants.iter().zip(&allowed) {
                let wider = less.0.is_within(more.0)
                    && less.1 <= more.1
                    && less.2 <= more.2
                    && less.3 <= more.3
                    && less.4 <= more.4;
                assert!(!wider || !said || *also, "{less:?} may, {more:?} may not");
            }
        }
        assert!(allowed.contains(&true) && allowed.contains(&false));
    }

    #[test]
    fn the_flattener_never_adds_risk() {
        let mut world = world();
        world.caller = Caller::Flattener;

        assert_eq!(world.broken("BTC-USD"), ["trade-right"]);
        world.reducing = true;
        assert!(world.broken("BTC-USD").is_empty());
    }
}
