//! `bursar keystore`: how the store is unlocked, and new keys in the place of old ones.

pub(crate) mod rotate;
pub(crate) mod seal;
pub(crate) mod slot;

use bursar_keystore::{
    Fingerprint, Header, KeyId, KeysError, Proof, SealedSlot, SlotId, SlotKind, SlotsFound, StoreId, Vault,
};
use bursar_model::CredentialId;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::render::{Cell, Page, Table, Tone, bad, count, moment};
use crate::session::{Opened, Session};
use crate::unlock::{SYSTEMD_CREDENTIAL, UNLOCK_VARIABLE};
use crate::{Exit, Failure};

#[derive(Debug, Subcommand)]
pub enum Keystore {
    /// The slots that unlock the store; with --prove every sealed thing is opened once
    Status(Status),
    /// Add, remove or prove a way to unlock the store
    #[command(subcommand)]
    Slot(slot::Slot),
    /// Replace keys of the store; a running daemon takes them over and goes on
    #[command(subcommand)]
    Rotate(rotate::Rotate),
    /// Halt everything, and take the keys out of the daemon's memory
    Seal(seal::Seal),
    /// Let the store be unlocked again; the halt stays on
    #[command(after_help = "\
The store is unlocked once, which proves that it can be. A daemon that runs unlocks itself with what it was
started with; one whose passphrase was typed has to be started anew. Nothing trades before the switch that
sealing turned on is released.

Example:
  bursar keystore unseal --reason \"the machine was looked at\"")]
    Unseal,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bursar keystore status
  bursar keystore status --prove")]
pub struct Status {
    /// Unlock the store, and open every credential with it
    #[arg(long)]
    prove: bool,
}

impl Keystore {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Status(command) => command.run(session).await,
            Self::Slot(command) => command.run(session).await,
            Self::Rotate(command) => command.run(session).await,
            Self::Seal(command) => command.run(session).await,
            Self::Unseal => seal::unseal(session).await,
        }
    }
}

/// What opened with the keys of the store.
struct Proved {
    keys: Vec<KeyId>,
    proof: Proof,
}

impl Status {
    async fn run(&self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        let header = header(&opened).await?;
        let proved = if self.prove {
            let (store, _) = session.unlocked(&opened).await?;
            let proof = store
                .prove()
                .await
                .map_err(|error| Failure::of(Exit::Unavailable, &error, error.hint()))?;
            Some(Proved {
                keys: store.key_ids()?,
                proof,
            })
        } else {
            None
        };
        let sealing = opened.store.sealing().await?;
        let mut page = Page::new();
        if let Some(sealing) = &sealing {
            page.line(bad(&seal::told(sealing)));
        }
        page.facts([
            ("store id", Cell::new(header.store)),
            (
                "header",
                Cell::new(format!("version {}, sealed with {}", header.version, header.root)),
            ),
        ]);
        page.table(&slot_table(&header.slots), "");
        if let Some(proved) = &proved {
            tell(&mut page, proved);
        }
        let document = Shown {
            store: header.store,
            sealed: sealing.as_ref().map(seal::SealingDocument::of),
            version: header.version,
            root: header.root,
            slots: slots_json(&header),
            keys: proved.as_ref().map(|proved| proved.keys.as_slice()),
            proof: proved.as_ref().map(|proved| ProofDocument {
                opened: proved.proof.opened,
                damaged: proved.proof.damaged.iter().map(|facts| facts.id).collect(),
                slots_whole: proved.proof.slots == SlotsFound::Whole,
            }),
        };
        session.console.answer(&page, &document);
        let is_whole = proved.is_none_or(|proved| proved.proof.is_whole());
        Ok(if is_whole { Exit::Done } else { Exit::Failed })
    }
}

fn tell(page: &mut Page, proved: &Proved) {
    let keys: Vec<String> = proved.keys.iter().map(ToString::to_string).collect();
    let opened = count(proved.proof.opened, "credential opens", "credentials open");
    page.blank();
    page.facts([
        ("keys", Cell::new(keys.join(", "))),
        ("proved", Cell::new(opened).tone(Tone::Good)),
    ]);
    if proved.proof.slots == SlotsFound::Damaged {
        page.line(bad(&format!(
            "{}: {}",
            KeysError::SlotDamaged,
            KeysError::SlotDamaged.hint()
        )));
    }
    for facts in &proved.proof.damaged {
        page.line(format!(
            "credential `{}` of `{}` does not open: enter it anew with `bursar credentials set {}`",
            facts.id, facts.place.account, facts.place.account
        ));
    }
}

async fn header(opened: &Opened) -> Result<Header, Failure> {
    let header = opened.store.load_header().await?;
    header.ok_or_else(|| bursar_keystore::UnlockError::NoHeader.into())
}

fn slot_table(slots: &[SealedSlot]) -> Table {
    let mut table = Table::new(&["SLOT", "UNLOCKED BY", "SINCE", "KEY FINGERPRINT"]);
    for slot in slots {
        table.row([
            Cell::new(&slot.id),
            Cell::new(unlocked_by(&slot.kind)),
            Cell::new(moment(slot.created_at)),
            Cell::new(slot.fingerprint).tone(Tone::Dim),
        ]);
    }
    table
}

fn unlocked_by(kind: &SlotKind) -> String {
    match kind {
        SlotKind::File => "the unlock key's file".to_owned(),
        SlotKind::Passphrase { .. } => "a passphrase".to_owned(),
        SlotKind::SystemdCredential => format!("the credential {SYSTEMD_CREDENTIAL} of systemd"),
        SlotKind::Env => format!("the variable {UNLOCK_VARIABLE}"),
        SlotKind::Recovery => "the recovery code".to_owned(),
    }
}

/// How the store is unlocked.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeyStore")]
pub(crate) struct Shown<'a> {
    store: StoreId,
    /// Who sealed it; `null` while it may be unlocked.
    sealed: Option<seal::SealingDocument<'a>>,
    version: u64,
    root: KeyId,
    slots: Vec<SlotDocument<'a>>,
    /// The keys of the store; `null` without `--prove`.
    keys: Option<&'a [KeyId]>,
    /// What opened with them; `null` without `--prove`.
    proof: Option<ProofDocument>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeyStoreProof")]
struct ProofDocument {
    /// How many credentials opened.
    opened: usize,
    damaged: Vec<CredentialId>,
    /// Whether each slot is what it was when it was made, used or not.
    slots_whole: bool,
}

/// A way to unlock the store.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Slot")]
pub(crate) struct SlotDocument<'a> {
    id: &'a SlotId,
    kind: &'static str,
    created_at: Timestamp,
    fingerprint: Fingerprint,
}

fn slot_json(slot: &SealedSlot) -> SlotDocument<'_> {
    SlotDocument {
        id: &slot.id,
        kind: slot.kind.name(),
        created_at: slot.created_at,
        fingerprint: slot.fingerprint,
    }
}

fn slots_json(header: &Header) -> Vec<SlotDocument<'_>> {
    header.slots.iter().map(slot_json).collect()
}
