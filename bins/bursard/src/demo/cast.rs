//! Who plays: one master, and three users, one of whom trades where no master is connected.

/// Where an account stands at its broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Master,
    User,
}

/// An invented person with one account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) user: &'static str,
    pub(super) tier: &'static str,
    pub(super) account: &'static str,
    pub(super) broker: &'static str,
    pub(super) role: Role,
    pub(super) mode: &'static str,
    pub(super) max_position: &'static str,
    pub(super) max_daily_loss: &'static str,
}

pub(super) const CAST: &[Member] = &[
    Member {
        user: "ops_desk",
        tier: "enterprise",
        account: "kraken-main",
        broker: "kraken",
        role: Role::Master,
        mode: "live",
        max_position: "1000",
        max_daily_loss: "500",
    },
    Member {
        user: "mara_ilves",
        tier: "pro",
        account: "kraken-ilves",
        broker: "kraken",
        role: Role::User,
        mode: "live",
        max_position: "200",
        max_daily_loss: "100",
    },
    // A tight limit on the day's loss: this one will trip.
    Member {
        user: "tomas_brandt",
        tier: "pro",
        account: "kraken-brandt",
        broker: "kraken",
        role: Role::User,
        mode: "live",
        max_position: "200",
        max_daily_loss: "8",
    },
    // Trades where no master is connected, and is told so.
    Member {
        user: "lindqvist",
        tier: "pro",
        account: "paper-lindqvist",
        broker: "paper",
        role: Role::User,
        mode: "paper",
        max_position: "200",
        max_daily_loss: "100",
    },
];
