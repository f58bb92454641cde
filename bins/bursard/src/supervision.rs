//! What the service manager is told: that the daemon works, that it still does, and that it stops.
//!
//! Without a service manager that asks (`NOTIFY_SOCKET`, `WATCHDOG_USEC`) nothing is said to anybody.

use std::sync::Arc;
use std::time::Duration;

use bursar_accounts::{AccountEntry, AccountManager};
use bursar_audit::Log;
use bursar_store_sqlite::SqliteStore;
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

/// Says that the daemon works from here on: the store is open and everything that trades is about to run.
/// Accounts connect afterwards: an exchange that is away is no reason to call the start failed.
pub fn ready() {
    say(&[NotifyState::Ready, NotifyState::Status("connecting accounts")]);
}

/// Says that the daemon is about to end by itself.
pub fn stopping() {
    say(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Says how many accounts are connected once each was tried, and anew whenever that changes, until `stop`.
pub async fn tell_accounts(manager: &AccountManager, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => return,
        () = manager.reported() => {}
    }
    let mut entries = manager.entries();
    let mut said = String::new();
    loop {
        let status = accounts_status(&entries);
        if status != said {
            say(&[NotifyState::Status(&status)]);
            said = status;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            others = manager.entries_other_than(&entries) => entries = others,
        }
    }
}

/// For one line in the service manager's overview. Accounts that are switched off are not missed.
fn accounts_status(entries: &[AccountEntry]) -> String {
    let on = || entries.iter().filter(|entry| entry.enabled);
    match (on().count(), on().filter(|entry| entry.is_connected()).count()) {
        (0, _) => "no account to connect".to_owned(),
        (1, 1) => "the account is connected".to_owned(),
        (all, connected) if connected == all => format!("all {all} accounts are connected"),
        (all, connected) => format!("{connected} of {all} accounts connected"),
    }
}

/// Says again and again that the daemon is alive, until `stop`: as long as tasks get their turn and the store
/// answers. One that does neither is killed by the service manager and started anew, which is safe at any moment.
pub async fn stay_alive(store: &Arc<SqliteStore>, stop: &CancellationToken) {
    match sd_notify::watchdog_enabled() {
        Some(limit) => {
            info!(
                limit_s = limit.as_secs(),
                "the service manager watches over the daemon"
            );
            let works = || async {
                let answered = store.head().await;
                answered.map(drop).map_err(|error| error.to_string())
            };
            while_it_works(limit, works, stop, say).await;
        }
        None => stop.cancelled().await,
    }
}

async fn while_it_works(
    limit: Duration,
    works: impl AsyncFn() -> Result<(), String>,
    stop: &CancellationToken,
    say: impl Fn(&[NotifyState<'_>]),
) {
    // Twice in its time, so that one that comes late does no harm.
    let pause = limit / 2;
    while !stop.is_cancelled() {
        match tokio::time::timeout(pause, works()).await {
            Ok(Ok(())) => say(&[NotifyState::Watchdog]),
            Ok(Err(error)) => error!(
                error,
                "the store does not answer; without it the daemon is started anew"
            ),
            Err(_) => error!("the store does not answer in time; without it the daemon is started anew"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn say(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "the service manager was not told");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use bursar_execution::ConnectionState;
    use bursar_model::AccountRole;

    use super::*;

    /// How often something was said in a minute, with a limit of ten seconds.
    async fn said(works: impl AsyncFn() -> Result<(), String>) -> u32 {
        let stop = CancellationToken::new();
        let count = AtomicU32::new(0);
        let say = |_: &[NotifyState<'_>]| {
            count.fetch_add(1, Ordering::Relaxed);
        };
        tokio::select! {
            () = while_it_works(Duration::from_secs(10), works, &stop, say) => {}
            () = tokio::time::sleep(Duration::from_millis(60_100)) => {}
        }
        count.into_inner()
    }

    #[test]
    fn the_status_counts_the_accounts_that_are_on() {
        let entry = |name: &str, enabled, state| AccountEntry {
            account: name.parse().unwrap(),
            broker: "kraken".parse().unwrap(),
            role: AccountRole::User,
            user: "mira_ilves".parse().unwrap(),
            user_name: "Mira Ilves".to_owned(),
            enabled,
            state,
            cause: String::new(),
        };
        let off = entry("kraken-main", false, ConnectionState::Stopped);
        assert_eq!(
            accounts_status(std::slice::from_ref(&off)),
            "no account to connect"
        );
        let failed = entry("kraken-ilves", true, ConnectionState::Failed);
        let mut entries = vec![off, entry("paper-ilves", true, ConnectionState::Ready)];
        assert_eq!(accounts_status(&entries), "the account is connected");
        entries.push(failed);
        assert_eq!(accounts_status(&entries), "1 of 2 accounts connected");
        // It is a connection, although nothing new is sent.
        entries[2].state = ConnectionState::Degraded;
        assert_eq!(accounts_status(&entries), "all 2 accounts are connected");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_said_while_the_store_does_not_answer() {
        assert_eq!(said(async || Ok(())).await, 13);
        assert_eq!(said(async || Err("the disk is gone".to_owned())).await, 0);
        let hangs = async || {
            std::future::pending::<()>().await;
            Ok(())
        };
        assert_eq!(said(hangs).await, 0);
    }
}
