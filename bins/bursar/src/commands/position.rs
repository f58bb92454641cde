//! `bursar position`: what the ledger holds and nobody can sell.

use bursar_execution::{Measure, WriteOff};
use bursar_model::{AccountId, Pair, Price, Quantity};
use clap::{Args, Subcommand};

use crate::arguments::{evidence, pair};
use crate::commands::approvals;
use crate::session::Session;
use crate::{Exit, Failure, prompt};

#[derive(Debug, Subcommand)]
pub enum Position {
    /// Take out of the ledger what is not at the exchange any more; a second person has to approve it
    WriteOff(Box<TakeOut>),
}

#[derive(Debug, Args)]
#[command(after_help = "\
For coins that the owner sold or withdrew by hand, for dust, and for what the exchange does not list any more: the
ledger goes on holding them, they count in limits and in the day's loss, and the account cannot be closed. What can be
sold is sold instead. It counts at the exchange's last price, so that the day's loss is what it was.

Examples:
  bursar position write-off kraken-ilves ETH-USD --evidence \"withdrawn on 3 March, her e-mail\" --reason \"sold by \
hand\"
  bursar position write-off kraken-ilves XYZ-USD --quantity 12 --price 0.01 --evidence \"delisted on 1 March\" \
--reason \"nobody buys it\"")]
pub struct TakeOut {
    /// The account's id
    account: AccountId,
    /// For example BTC-USD
    #[arg(value_parser = pair)]
    pair: Pair,
    /// How much, in the base asset; all that cannot be sold when left out
    #[arg(long, value_name = "QUANTITY")]
    quantity: Option<Quantity>,
    /// What one of it is worth, in the quote asset: only where the exchange has no price for it
    #[arg(long, value_name = "PRICE")]
    price: Option<Price>,
    /// What was seen, and where
    #[arg(long, value_name = "TEXT", value_parser = evidence)]
    evidence: String,
}

impl Position {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        match self {
            Self::WriteOff(command) => write_off(*command, session).await,
        }
    }
}

async fn write_off(command: TakeOut, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let holding = opened.store.holding(&command.account, &command.pair).await?;
    let quantity = match command.quantity {
        Some(quantity) => quantity,
        None => Quantity::new(holding.unsellable).map_err(|_| nothing(&command))?,
    };
    let reason = prompt::reason(
        session.console,
        session.global.reason.as_deref(),
        "it was sold by hand",
    )?;
    let measure = Measure::WriteOff(WriteOff {
        account: command.account,
        pair: command.pair,
        quantity,
        held: holding.held,
        price: command.price,
    });
    approvals::propose(measure, &command.evidence, &reason, &opened, session).await
}

fn nothing(command: &TakeOut) -> Failure {
    let TakeOut { account, pair, .. } = command;
    Failure::new(
        Exit::Refused,
        format!("everything of {pair} that the ledger holds for `{account}` is there and can be sold"),
        "see `bursar positions`",
    )
}
