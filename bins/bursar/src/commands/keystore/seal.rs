//! `bursar keystore seal` and `unseal`: the keys leave the memory of whoever has them.

use std::time::Duration;

use bursar_auth::Directory;
use bursar_controls::{LatchMode, Scope};
use bursar_execution::Journal;
use bursar_execution::emergency::EmergencyStop;
use bursar_keystore::SlotId;
use bursar_model::AccountId;
use bursar_store_sqlite::{Sealing, SqliteStore};
use clap::Args;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::commands::kill;
use crate::render::{Page, moment};
use crate::session::{Opened, Session};
use crate::sole::daemon_of;
use crate::view::LatchDocument;
use crate::{Exit, Failure, prompt, view};

/// How long the daemon has for it before nothing is sealed, with `--cancel-first`.
const CANCELLED: Duration = Duration::from_secs(120);
/// How long the daemon has to drop its keys before it is said that it did not.
const OBEYED: Duration = Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 5 });
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
#[command(after_help = "\
Everything is halted first. Then the daemon drops its keys, and no command unlocks the store, until
`bursar keystore unseal`. Without keys no cancel can be signed: orders that work at the exchange stay there.
With --cancel-first it is waited until the daemon has proved that none of ours works any more.

Examples:
  bursar keystore seal --reason \"somebody was on the machine\"
  bursar keystore seal --cancel-first --reason \"maintenance\"")]
pub struct Seal {
    /// Seal only once every order of ours is cancelled
    #[arg(long)]
    cancel_first: bool,
}

impl Seal {
    pub(super) async fn run(&self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let reason = prompt::reason(
            session.console,
            session.global.reason.as_deref(),
            "the key store is sealed",
        )?;
        let installation = kill::installation(session)?;
        let daemon = daemon_of(&installation.store);
        if self.cancel_first && daemon.is_none() {
            return Err(Failure::refused(
                "rule cancel-first: no daemon runs that could cancel anything; nothing was sealed",
                "start it and try again, or seal without `--cancel-first` and cancel at the exchange",
            ));
        }
        let stop = EmergencyStop::new(
            Scope::Global,
            LatchMode::Halt,
            format!("the key store is sealed: {reason}"),
            session.surroundings.principal.clone(),
            session.surroundings.now(),
            session.surroundings.entropy.as_ref(),
        );
        let recorded = match kill::turn_on(&installation, &stop, session).await? {
            Ok(recorded) => recorded,
            // Whoever seals has a reason to stop, whatever the disk says.
            Err(why) => {
                kill::write_down(&installation, &stop, &why).await?;
                return Err(Failure::new(
                    Exit::Partial,
                    format!(
                        "everything is halted by `{}`, and nothing is sealed: {}",
                        installation.emergency_file().path().display(),
                        why.message()
                    ),
                    "end the daemon, which takes the keys out of its memory; seal when the store works",
                ));
            }
        };
        let latch = recorded.latch;
        let opened = session.opened(installation, recorded.store);
        if self.cancel_first {
            let left = tokio::time::timeout(CANCELLED, halted(&opened)).await;
            if left.is_err() {
                let left: Vec<String> = not_halted(&opened)
                    .await?
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                return Err(Failure::new(
                    Exit::Partial,
                    format!(
                        "everything is halted, and nothing is sealed: it is not proved that no order of {} works",
                        left.join(", ")
                    ),
                    "see `bursar latches`; to seal all the same, leave `--cancel-first` out",
                ));
            }
        }
        let act = session.act().because(reason);
        let mut sealing = opened.store.seal_keys(&act).await?;
        if daemon.is_some()
            && let Ok(obeyed) = tokio::time::timeout(OBEYED, obeyed(&opened.store)).await
        {
            sealing = obeyed?;
        }
        let has_obeyed = daemon.is_none() || sealing.obeyed_at.is_some();

        let mut page = Page::new();
        page.line(told(&sealing));
        page.line(match (daemon, has_obeyed) {
            (None, _) => "no daemon runs; the next one starts without keys".to_owned(),
            (Some(_), true) => "the daemon has dropped its keys".to_owned(),
            (Some(process), false) => {
                format!("the daemon (process {process}) has not said that it dropped its keys: end it")
            }
        });
        page.line(format!("everything is halted by switch `{}`", latch.id));
        page.next_steps(
            "Later",
            [
                ("bursar keystore unseal", "the store may be unlocked again"),
                ("bursar release SWITCH", "only then is anything traded"),
            ],
        );
        let document = Sealed {
            sealed: SealingDocument::of(&sealing),
            daemon,
            latch: view::latch_json(&latch),
        };
        session.console.answer(&page, &document);
        Ok(if has_obeyed { Exit::Done } else { Exit::Partial })
    }
}

/// Returns when no order of ours works anywhere.
async fn halted(opened: &Opened) {
    while !matches!(not_halted(opened).await.as_deref(), Ok([])) {
        tokio::time::sleep(LOOK).await;
    }
}

/// The accounts of which it is not proved that a switch stopped them.
async fn not_halted(opened: &Opened) -> Result<Vec<AccountId>, Failure> {
    let mut left = Vec::new();
    for account in opened.store.accounts().await? {
        if account.is_open() && !opened.store.unproved_halts(account.id()).await?.is_empty() {
            left.push(account.id().clone());
        }
    }
    Ok(left)
}

async fn obeyed(store: &SqliteStore) -> Result<Sealing, Failure> {
    loop {
        if let Some(sealing) = store.sealing().await?
            && sealing.obeyed_at.is_some()
        {
            return Ok(sealing);
        }
        tokio::time::sleep(LOOK).await;
    }
}

pub(super) async fn unseal(session: &mut Session<'_>) -> Result<Exit, Failure> {
    let reason = prompt::reason(
        session.console,
        session.global.reason.as_deref(),
        "the key store may be unlocked again",
    )?;
    let opened = session.open().await?;
    let unlocked = session.proved(&opened).await?;
    let act = session.act().because(reason);
    let was_sealed = opened.store.unseal_keys(&act).await?;
    let mut page = Page::new();
    page.line(if was_sealed {
        format!(
            "the key store may be unlocked again; slot `{}` opens it",
            unlocked.slot
        )
    } else {
        "the key store was not sealed".to_owned()
    });
    if was_sealed {
        page.next_steps(
            "Next",
            [("bursar latches", "the switch that sealing turned on is still on")],
        );
    }
    let document = Unsealed {
        was_sealed,
        slot: unlocked.slot,
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

/// What to do about a store that is sealed.
pub(crate) const HINT: &str = "when it may be used again, run `bursar keystore unseal`";

pub(crate) fn told(sealing: &Sealing) -> String {
    format!(
        "the key store is sealed since {} by {}: {}",
        moment(sealing.at),
        sealing.actor,
        sealing.reason
    )
}

/// A key store that was sealed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeyStoreSealed")]
pub(crate) struct Sealed<'a> {
    sealed: SealingDocument<'a>,
    /// The process of the daemon; `null` where none runs.
    daemon: Option<u32>,
    /// The switch that halts everything.
    latch: LatchDocument<'a>,
}

/// A key store that may be unlocked again.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeyStoreUnsealed")]
pub(crate) struct Unsealed {
    was_sealed: bool,
    /// What it was proved with that the store can be unlocked.
    slot: SlotId,
}

/// Since when a key store is sealed, by whom and why.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Sealing")]
pub(crate) struct SealingDocument<'a> {
    at: Timestamp,
    actor: &'a str,
    reason: &'a str,
    /// When the daemon had dropped its keys; `null` while none has.
    obeyed_at: Option<Timestamp>,
}

impl<'a> SealingDocument<'a> {
    pub(super) fn of(sealing: &'a Sealing) -> Self {
        Self {
            at: sealing.at,
            actor: &sealing.actor,
            reason: &sealing.reason,
            obeyed_at: sealing.obeyed_at,
        }
    }
}
