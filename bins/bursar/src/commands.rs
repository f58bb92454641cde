//! The commands, one file per group.

pub mod account;
pub mod apply;
pub mod approvals;
pub mod audit;
pub mod backup;
pub mod balance;
pub mod can;
pub mod check;
pub mod config;
pub mod credentials;
pub mod doctor;
pub mod errors;
pub mod explain;
pub mod hierarchy;
pub mod import_env;
pub mod init;
pub mod keystore;
pub mod kill;
pub mod latches;
pub mod lists;
pub mod loss;
pub mod notify;
pub mod onboarding;
pub mod order;
pub mod permissions;
pub mod position;
pub mod preferences;
pub mod replay;
pub mod schema;
pub mod setup;
pub mod shell;
pub mod stats;
pub mod status;
pub mod user;

use clap::Subcommand;

use crate::session::Session;
use crate::{Exit, Failure};

/// Every command there is.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new store: users, keys, orders and audit trail
    Init(init::Init),
    /// The people whose accounts are traded
    #[command(subcommand)]
    User(user::User),
    /// Accounts at exchanges
    #[command(subcommand)]
    Account(account::Account),
    /// Exchange keys: sealed, and admitted only if they cannot withdraw
    #[command(subcommand)]
    Credentials(credentials::Credentials),
    /// What a user may trade and lose
    #[command(subcommand)]
    Permissions(permissions::Permissions),
    /// A user's own, tighter settings, inside the permissions
    #[command(subcommand)]
    Preferences(preferences::Preferences),
    /// One user with account, keys, permissions and settings, in four steps
    Setup(setup::Setup),
    /// Whether everything that has to be there is there, one line each
    Doctor(doctor::Doctor),
    /// A whole file of users: shown first, then written together or not at all
    Apply(apply::Apply),
    /// The exchange keys of all accounts, once, from environment variables
    ImportEnv(import_env::ImportEnv),
    /// A user's state, or everything at a glance
    Status(status::Status),
    /// Which brokers have their master account connected, and who trades without one
    Hierarchy(hierarchy::Hierarchy),
    /// Whether an account has enough money to trade
    Balance(balance::Balance),
    /// Open positions, with the user they belong to
    Positions(lists::Positions),
    /// What the ledger holds and nobody can sell
    #[command(subcommand)]
    Position(position::Position),
    /// Orders, newest first
    Orders(lists::Orders),
    /// Executions, newest first
    Fills(lists::Fills),
    /// How a user's accounts have done: trades, results, equity; as a page, rows or a chart
    Stats(stats::Stats),
    /// Place, cancel or look at one order
    #[command(subcommand)]
    Order(order::Order),
    /// Why an order was allowed or refused, and what became of it
    Explain(explain::Explain),
    /// Which past orders other limits would have refused
    Replay(replay::Replay),
    /// Whether the gateway's promises hold in everything that is recorded
    Check(check::Check),
    /// Would this order be allowed? The whole rule trace, nothing is sent
    Can(can::Can),
    /// Stop trading: everywhere, at a broker, of a user or of an account
    Kill(kill::Kill),
    /// Turn a switch off again
    Release(latches::Release),
    /// The switches that are on
    Latches(latches::Latches),
    /// What one person proposed and another has to approve
    Approvals(approvals::Approvals),
    /// Carry out what another person proposed
    Approve(approvals::Approve),
    /// End a proposal without carrying it out
    Reject(approvals::Reject),
    /// Errors of the exchanges, counted by kind
    #[command(subcommand)]
    Errors(errors::Errors),
    /// The day's loss of a user
    #[command(subcommand)]
    Loss(loss::Loss),
    /// The keys that seal all other keys: how they are unlocked, and new ones in their place
    #[command(subcommand)]
    Keystore(keystore::Keystore),
    /// Make, verify and restore sealed backups
    #[command(subcommand)]
    Backup(backup::Backup),
    /// Messages to people about what happened
    #[command(subcommand)]
    Notify(notify::Notify),
    /// The record of every decision
    #[command(subcommand)]
    Audit(audit::Audit),
    /// The settings file
    #[command(subcommand)]
    Config(config::Config),
    /// Completion of commands and options for a shell
    Completions(shell::Completions),
    /// What the JSON document of a command looks like, for programs that read it
    Schema(schema::SchemaOf),
    /// Manual pages
    Man(shell::Man),
}

impl Command {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Init(command) => command.run(session).await,
            Self::User(command) => command.run(session).await,
            Self::Account(command) => command.run(session).await,
            Self::Credentials(command) => command.run(session).await,
            Self::Permissions(command) => command.run(session).await,
            Self::Preferences(command) => command.run(session).await,
            Self::Setup(command) => command.run(session).await,
            Self::Doctor(command) => command.run(session).await,
            Self::Apply(command) => command.run(session).await,
            Self::ImportEnv(command) => command.run(session).await,
            Self::Status(command) => command.run(session).await,
            Self::Hierarchy(command) => command.run(session).await,
            Self::Balance(command) => command.run(session).await,
            Self::Positions(command) => command.run(session).await,
            Self::Position(command) => command.run(session).await,
            Self::Orders(command) => command.run(session).await,
            Self::Fills(command) => command.run(session).await,
            Self::Stats(command) => command.run(session).await,
            Self::Order(command) => command.run(session).await,
            Self::Explain(command) => command.run(session).await,
            Self::Replay(command) => command.run(session).await,
            Self::Check(command) => command.run(session).await,
            Self::Can(command) => command.run(session).await,
            Self::Kill(command) => command.run(session).await,
            Self::Release(command) => command.run(session).await,
            Self::Latches(command) => command.run(session).await,
            Self::Approvals(command) => command.run(session).await,
            Self::Approve(command) => command.run(session).await,
            Self::Reject(command) => command.run(session).await,
            Self::Errors(command) => command.run(session).await,
            Self::Loss(command) => command.run(session).await,
            Self::Keystore(command) => command.run(session).await,
            Self::Backup(command) => command.run(session).await,
            Self::Notify(command) => command.run(session).await,
            Self::Audit(command) => command.run(session).await,
            Self::Config(command) => command.run(session).await,
            Self::Completions(command) => Ok(command.run(session)),
            Self::Man(command) => command.run(session),
            Self::Schema(command) => command.run(session),
        }
    }
}
