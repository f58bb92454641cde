//! Everything that can be recorded, by a name that never changes its meaning.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// What was done. A closed list: a new action is a new line here, a name is never used again
        /// for something else.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        pub enum Action { $($(#[$doc])* $variant),+ }

        impl Action {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The stable name, for example `intent.approved`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl FromStr for Action {
            type Err = UnknownAction;
            fn from_str(text: &str) -> Result<Self, UnknownAction> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(UnknownAction { name: text.chars().take(60).collect() }),
                }
            }
        }
    };
}

actions! {
    // the store and the daemon
    StoreInitialised = "store.initialised",
    StoreMigrated = "store.migrated",
    /// Put back from a backup; trading starts latched.
    StoreRestored = "store.restored",
    /// A setting that could lose data was allowed by name.
    StoreUnsafeAllowed = "store.unsafe-allowed",
    BackupCreated = "backup.created",
    BackupVerified = "backup.verified",
    SettingsLoaded = "settings.loaded",
    DaemonStarted = "daemon.started",
    DaemonStopped = "daemon.stopped",
    /// Acts that could not be recorded at once, from the emergency file.
    EmergencyFolded = "emergency.folded",
    /// The gateway found one of its own promises broken.
    InvariantBroken = "invariant.broken",

    // users
    UserAdded = "user.added",
    UserEnabled = "user.enabled",
    UserDisabled = "user.disabled",
    UserTierSet = "user.tier-set",
    UserEmailSet = "user.email-set",
    UserNameSet = "user.name-set",
    UserAccountTypeSet = "user.account-type-set",
    UserDefaultAccountSet = "user.default-account-set",
    UserDeleted = "user.deleted",
    PermissionsSet = "permissions.set",
    PreferencesSet = "preferences.set",
    PreferencesDeleted = "preferences.deleted",

    // accounts and members
    AccountAdded = "account.added",
    AccountClosed = "account.closed",
    AccountRenamed = "account.renamed",
    AccountSuspended = "account.suspended",
    AccountResumed = "account.resumed",
    /// The venue said what it calls the account.
    AccountIdentified = "account.identified",
    AccountConnected = "account.connected",
    AccountDisconnected = "account.disconnected",
    AccountState = "account.state",
    /// A user account connected while its broker's master account was not connected.
    AccountWithoutMaster = "account.without-master",
    LimitsSet = "limits.set",
    MemberAdded = "member.added",
    MemberChanged = "member.changed",
    MemberRemoved = "member.removed",

    // exchange keys
    CredentialStored = "credential.stored",
    CredentialChecked = "credential.checked",
    /// The venue said that the key may do too much, too little, or nothing.
    CredentialRefused = "credential.refused",
    CredentialRotated = "credential.rotated",
    CredentialDeleted = "credential.deleted",
    KeystoreUnlocked = "keystore.unlocked",
    KeystoreSealed = "keystore.sealed",
    KeystoreRotated = "keystore.rotated",
    SlotAdded = "keystore.slot-added",
    SlotRemoved = "keystore.slot-removed",

    // who may call
    ApiKeyCreated = "api-key.created",
    ApiKeyRevoked = "api-key.revoked",
    SessionOpened = "session.opened",
    SessionClosed = "session.closed",
    RoleSet = "role.set",
    AccessDenied = "access.denied",
    /// The same caller turned to another account.
    AccountSelected = "access.account-selected",

    // orders
    IntentApproved = "intent.approved",
    IntentDenied = "intent.denied",
    IntentExpired = "intent.expired",
    IntentWithdrawn = "intent.withdrawn",
    IntentDispatched = "intent.dispatched",
    /// Proved that not one byte was sent: approved again.
    IntentNotSent = "intent.not-sent",
    IntentRejected = "intent.rejected",
    IntentUnknown = "intent.unknown",
    IntentAbsent = "intent.absent",
    IntentOpen = "intent.open",
    IntentFilled = "intent.filled",
    IntentCancelled = "intent.cancelled",
    IntentVenueExpired = "intent.venue-expired",
    IntentIncident = "intent.incident",
    /// People resolved what the gateway could not.
    IntentResolved = "intent.resolved",
    /// In shadow mode: what would have been sent.
    IntentShadowed = "intent.shadowed",
    CancelRequested = "cancel.requested",
    CancelSent = "cancel.sent",
    CancelDone = "cancel.done",
    CancelMoot = "cancel.moot",
    FillBooked = "fill.booked",
    ExternalOrder = "external.order",
    /// Two people said that what the ledger holds is not there any more.
    PositionWrittenOff = "position.written-off",
    ReconcileCompleted = "reconcile.completed",
    ReconcileDiffers = "reconcile.differs",

    // what takes two people
    ApprovalProposed = "approval.proposed",
    ApprovalApproved = "approval.approved",
    ApprovalRejected = "approval.rejected",
    /// From now on one person may do what takes two, or not any more.
    PeopleAloneSet = "people.alone-set",

    // limits and switches
    LatchTripped = "latch.tripped",
    LatchCleared = "latch.cleared",
    LatchVerified = "latch.verified",
    LossWarned = "loss.warned",
    LossAllowed = "loss.allowed",
    DayOpened = "day.opened",
    ErrorsCounted = "errors.counted",
    ErrorsReset = "errors.reset",
    /// The exchange refuses many orders of an account. Stops nothing.
    ErrorsAlarmed = "errors.alarmed",
    FlattenStarted = "flatten.started",
    FlattenStep = "flatten.step",
    FlattenEnded = "flatten.ended",

    // strategies
    StrategyAssigned = "strategy.assigned",
    StrategyStarted = "strategy.started",
    StrategyStopped = "strategy.stopped",
    StrategySet = "strategy.set",

    // the trail itself
    AuditRead = "audit.read",
    AuditExported = "audit.exported",
    AuditVerified = "audit.verified",
    CheckpointSigned = "audit.checkpoint-signed",
    /// The next key that signs checkpoints, certified by the one before it, which is erased with this.
    CheckpointKeyCertified = "audit.key-certified",
}

/// A name that is no action of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not an action that this version knows")]
pub struct UnknownAction {
    name: String,
}

impl TryFrom<String> for Action {
    type Error = UnknownAction;
    fn try_from(text: String) -> Result<Self, UnknownAction> {
        text.parse()
    }
}

impl From<Action> for String {
    fn from(action: Action) -> Self {
        action.name().to_owned()
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_dotted_and_reads_back() {
        for action in Action::ALL {
            let name = action.to_string();
            assert_eq!(name.parse::<Action>().unwrap(), *action);
            let (subject, done) = name.split_once('.').unwrap();
            let fits =
                |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            assert!(fits(subject) && fits(done), "`{name}`");
        }
    }

    #[test]
    fn no_name_is_used_twice() {
        let names: BTreeSet<&str> = Action::ALL.iter().map(|action| action.name()).collect();

        assert_eq!(names.len(), Action::ALL.len());
    }

    #[test]
    fn a_name_of_no_action_is_refused() {
        assert!("intent.exploded".parse::<Action>().is_err());
        assert!("INTENT.APPROVED".parse::<Action>().is_err());
    }
}
