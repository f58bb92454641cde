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
            /// Every action, in the order of this page.
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
    /// A store was made; the first record of every trail.
    StoreInitialised = "store.initialised",
    /// A newer version opened the store and changed its schema; with both numbers of it.
    StoreMigrated = "store.migrated",
    /// Put back from a backup; trading starts latched.
    StoreRestored = "store.restored",
    /// A setting that could lose data was allowed by name. Reserved: nothing writes it.
    StoreUnsafeAllowed = "store.unsafe-allowed",
    /// A backup was sealed; it gets its name right after.
    BackupCreated = "backup.created",
    /// Reserved: nothing writes it.
    BackupVerified = "backup.verified",
    /// Reserved: nothing writes it.
    SettingsLoaded = "settings.loaded",
    /// The daemon began, before it connects anything.
    DaemonStarted = "daemon.started",
    /// The daemon was asked to end and did; not written by one that crashed.
    DaemonStopped = "daemon.stopped",
    /// Acts that could not be recorded at once, from the emergency file.
    EmergencyFolded = "emergency.folded",
    /// The gateway found one of its own promises broken.
    InvariantBroken = "invariant.broken",

    // users
    /// With the tier.
    UserAdded = "user.added",
    /// The accounts of the user may be traded again.
    UserEnabled = "user.enabled",
    /// The accounts of the user take only orders that reduce.
    UserDisabled = "user.disabled",
    /// With the tier before and after.
    UserTierSet = "user.tier-set",
    /// Without the address: only the hashes tell that it is another.
    UserEmailSet = "user.email-set",
    /// Without the name: only the hashes tell that it is another.
    UserNameSet = "user.name-set",
    /// With the kind before and after.
    UserAccountTypeSet = "user.account-type-set",
    /// With the account before and after.
    UserDefaultAccountSet = "user.default-account-set",
    /// What was known of the user was erased, but for the id.
    UserDeleted = "user.deleted",
    /// What an operator allows a user, limits included.
    PermissionsSet = "permissions.set",
    /// What a user wishes.
    PreferencesSet = "preferences.set",
    /// Reserved: nothing writes it.
    PreferencesDeleted = "preferences.deleted",

    // accounts and members
    /// With what is fixed from then on.
    AccountAdded = "account.added",
    /// For ever.
    AccountClosed = "account.closed",
    /// Its nickname is another.
    AccountRenamed = "account.renamed",
    /// From then on it takes only orders that reduce.
    AccountSuspended = "account.suspended",
    /// It is active again.
    AccountResumed = "account.resumed",
    /// The venue said what it calls the account.
    AccountIdentified = "account.identified",
    /// The connection became ready: from then on it may trade.
    AccountConnected = "account.connected",
    /// The connection failed or was stopped; with the cause.
    AccountDisconnected = "account.disconnected",
    /// The connection is in another state than ready, failed or stopped; with the cause.
    AccountState = "account.state",
    /// A user account connected while its broker's master account was not connected. Reserved: nothing writes it.
    AccountWithoutMaster = "account.without-master",
    /// The limits of the installation, or the time at which trading days change.
    LimitsSet = "limits.set",
    /// Reserved: nothing writes it.
    MemberAdded = "member.added",
    /// Reserved: nothing writes it.
    MemberChanged = "member.changed",
    /// Reserved: nothing writes it.
    MemberRemoved = "member.removed",

    // exchange keys
    /// The first key of an account was sealed.
    CredentialStored = "credential.stored",
    /// The venue said that the key is fit for trading; with the rights that it named.
    CredentialChecked = "credential.checked",
    /// The venue said that the key may do too much, too little, or nothing.
    CredentialRefused = "credential.refused",
    /// A key took the place of another, or was sealed again.
    CredentialRotated = "credential.rotated",
    /// The key was erased from the store. Copies of the store may have it.
    CredentialDeleted = "credential.deleted",
    /// The keys that were sealed by hand may be used again.
    KeystoreUnlocked = "keystore.unlocked",
    /// Somebody asked every process to forget the keys.
    KeystoreSealed = "keystore.sealed",
    /// A key of the hierarchy was added, replaced or retired; with which.
    KeystoreRotated = "keystore.rotated",
    /// There is one more way to unlock; also of the first header, with all its slots.
    SlotAdded = "keystore.slot-added",
    /// There is one way less to unlock.
    SlotRemoved = "keystore.slot-removed",

    // who may call
    /// Reserved: nothing writes it.
    ApiKeyCreated = "api-key.created",
    /// Reserved: nothing writes it.
    ApiKeyRevoked = "api-key.revoked",
    /// Reserved: nothing writes it.
    SessionOpened = "session.opened",
    /// Reserved: nothing writes it.
    SessionClosed = "session.closed",
    /// Reserved: nothing writes it.
    RoleSet = "role.set",
    /// Somebody asked for what takes another: one's own proposal approved, a switch of others released. Nothing changed.
    AccessDenied = "access.denied",
    /// The same caller turned to another account. Reserved: nothing writes it.
    AccountSelected = "access.account-selected",

    // orders
    /// An order was admitted and holds its part of the limits.
    IntentApproved = "intent.approved",
    /// An order broke rules; with their names.
    IntentDenied = "intent.denied",
    /// It was too old before it could be sent.
    IntentExpired = "intent.expired",
    /// It was taken back before it was sent, by a person or by a rule that came in between.
    IntentWithdrawn = "intent.withdrawn",
    /// Committed to be sent: from then on it may be at the venue.
    IntentDispatched = "intent.dispatched",
    /// Proved that not one byte was sent: approved again.
    IntentNotSent = "intent.not-sent",
    /// The venue proved that it refused it; with its code.
    IntentRejected = "intent.rejected",
    /// It may or may not be at the venue.
    IntentUnknown = "intent.unknown",
    /// Proved that it is not at the venue; with both looks.
    IntentAbsent = "intent.absent",
    /// The venue has it; with its id there.
    IntentOpen = "intent.open",
    /// Over: executed, and all of it booked.
    IntentFilled = "intent.filled",
    /// Over: ended at the venue before it was filled.
    IntentCancelled = "intent.cancelled",
    /// Over: ended by the venue because its time was over.
    IntentVenueExpired = "intent.venue-expired",
    /// The facts contradict each other; with them. A person has to resolve it.
    IntentIncident = "intent.incident",
    /// People resolved what the gateway could not.
    IntentResolved = "intent.resolved",
    /// In shadow mode: what would have been sent.
    IntentShadowed = "intent.shadowed",
    /// The venue will not tell what became of an order that may be there. A person has to resolve it.
    SearchEnded = "search.ended",
    /// Somebody wants an order back; with who and why.
    CancelRequested = "cancel.requested",
    /// The venue answered the first request to cancel.
    CancelSent = "cancel.sent",
    /// The order ended by being cancelled or withdrawn.
    CancelDone = "cancel.done",
    /// The order ended in another way before the cancel took hold.
    CancelMoot = "cancel.moot",
    /// An execution was booked, with everything that its worth depends on.
    FillBooked = "fill.booked",
    /// An order that is not ours was seen at the venue for the first time.
    ExternalOrder = "external.order",
    /// Two people said that what the ledger holds is not there any more.
    PositionWrittenOff = "position.written-off",
    /// The venue holds what the ledger says.
    ReconcileCompleted = "reconcile.completed",
    /// The venue holds something else; with what.
    ReconcileDiffers = "reconcile.differs",

    // what takes two people
    /// One person proposed what takes two.
    ApprovalProposed = "approval.proposed",
    /// Another person agreed, and it was done in the same transaction.
    ApprovalApproved = "approval.approved",
    /// Somebody refused it.
    ApprovalRejected = "approval.rejected",
    /// From now on one person may do what takes two, or not any more.
    PeopleAloneSet = "people.alone-set",

    // limits and switches
    /// A switch went on; with what it stops, why and until when.
    LatchTripped = "latch.tripped",
    /// A switch went off, by itself or by a person.
    LatchCleared = "latch.cleared",
    /// Proved that an account has nothing working under a switch that halts it.
    LatchVerified = "latch.verified",
    /// The day's loss came near its limit; once per day and limit.
    LossWarned = "loss.warned",
    /// Somebody raised the limit of a user for one trading day.
    LossAllowed = "loss.allowed",
    /// A trading day began; with its bounds.
    DayOpened = "day.opened",
    /// An error of a class that can stop the account.
    ErrorsCounted = "errors.counted",
    /// A person set the counted errors of an account back to none.
    ErrorsReset = "errors.reset",
    /// The exchange refuses many orders of an account. Stops nothing.
    ErrorsAlarmed = "errors.alarmed",
    /// Reserved: nothing writes it.
    FlattenStarted = "flatten.started",
    /// Reserved: nothing writes it.
    FlattenStep = "flatten.step",
    /// Reserved: nothing writes it.
    FlattenEnded = "flatten.ended",

    // strategies
    /// Reserved: nothing writes it.
    StrategyAssigned = "strategy.assigned",
    /// Reserved: nothing writes it.
    StrategyStarted = "strategy.started",
    /// Reserved: nothing writes it.
    StrategyStopped = "strategy.stopped",
    /// Reserved: nothing writes it.
    StrategySet = "strategy.set",

    // the trail itself
    /// Somebody looked at the last records.
    AuditRead = "audit.read",
    /// Somebody took the trail away, or a part of it; recorded before they have it.
    AuditExported = "audit.exported",
    /// Reserved: nothing writes it.
    AuditVerified = "audit.verified",
    /// Reserved: nothing writes it.
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
