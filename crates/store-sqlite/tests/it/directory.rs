use bursar_auth::{AccountChange, Directory, DirectoryError, NewUser, Record, UserChange};
use bursar_model::{AccountMode, AccountStatus, Tier};

use crate::support::{actions, new_account, trail, world};
use crate::vault::store_key;

#[tokio::test]
async fn d9_adding_what_exists_is_refused() {
    let world = world();
    world.add_user("mara_ilves").await;
    world.add_user("tomas_brandt").await;
    world
        .add_account("kraken-ilves", "mara_ilves", "kraken", AccountMode::Paper)
        .await;
    let new = |id: &str, email: &str| NewUser {
        id: id.parse().unwrap(),
        email: email.parse().unwrap(),
        name: None,
        tier: Tier::Basic,
        account_type: Default::default(),
    };

    let same_id = world
        .store
        .add_user(new("mara_ilves", "other@example.com"), &world.act())
        .await;
    let same_email = world
        .store
        .add_user(new("somebody", "MARA_ILVES@example.com"), &world.act())
        .await;
    let change = UserChange::Email("tomas_brandt@example.com".parse().unwrap());
    let taken = world
        .store
        .update_user(&"mara_ilves".parse().unwrap(), change, &world.act())
        .await;

    assert!(matches!(
        same_id,
        Err(DirectoryError::Exists {
            record: Record::User,
            ..
        })
    ));
    assert!(matches!(
        same_email,
        Err(DirectoryError::Exists {
            record: Record::Email,
            ..
        })
    ));
    assert!(matches!(
        taken,
        Err(DirectoryError::Exists {
            record: Record::Email,
            ..
        })
    ));
    assert_eq!(world.store.users().await.unwrap().len(), 2);
}

#[tokio::test]
async fn every_change_is_recorded_once_and_no_change_is_not() {
    let world = world();
    world.add_user("mara_ilves").await;
    world
        .add_account("kraken-ilves", "mara_ilves", "kraken", AccountMode::Live)
        .await;
    let (user, account) = ("mara_ilves".parse().unwrap(), "kraken-ilves".parse().unwrap());
    let store = &world.store;

    for _ in 0..2 {
        store
            .update_user(&user, UserChange::Tier(Tier::Basic), &world.act())
            .await
            .unwrap();
        store
            .update_user(&user, UserChange::Enabled(false), &world.act())
            .await
            .unwrap();
        store
            .set_default_account(&user, Some(&account), &world.act())
            .await
            .unwrap();
        store
            .update_account(&account, AccountChange::Suspended(true), &world.act())
            .await
            .unwrap();
        store
            .update_account(
                &account,
                AccountChange::Nickname(Some("Savings".parse().unwrap())),
                &world.act(),
            )
            .await
            .unwrap();
        store
            .update_account(
                &account,
                AccountChange::VenueAccountId(Some("AA12".to_owned())),
                &world.act(),
            )
            .await
            .unwrap();
    }

    assert_eq!(
        actions(store).await,
        [
            "store.initialised",
            "user.added",
            "user.enabled",
            "account.added",
            "user.tier-set",
            "user.disabled",
            "user.default-account-set",
            "account.suspended",
            "account.renamed",
            "account.identified",
        ]
    );
    let user = store.user(&user).await.unwrap();
    assert_eq!(
        (user.tier, user.enabled, user.default_account),
        (Tier::Basic, false, Some(account.clone()))
    );
    let account = store.account(&account).await.unwrap();
    assert_eq!(account.status, AccountStatus::Suspended);
    assert_eq!(account.shown_name(), "Savings");
    assert_eq!(account.venue_account_id.as_deref(), Some("AA12"));
    assert_eq!(account.mode(), AccountMode::Live);
}

#[tokio::test]
async fn people_are_not_named_in_the_trail() {
    let world = world();
    world.add_user("mara_ilves").await;
    let user = "mara_ilves".parse().unwrap();
    world
        .store
        .update_user(
            &user,
            UserChange::Name(Some("Mara Ilves".parse().unwrap())),
            &world.act(),
        )
        .await
        .unwrap();

    for record in trail(&world.store).await {
        let shown = serde_json::to_string(&record).unwrap();
        assert!(
            !shown.contains("example.com") && !shown.contains("Mara"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_closed_account_stays_closed_and_keeps_its_name() {
    let world = world();
    world.add_user("mara_ilves").await;
    let made = world
        .add_account("kraken-ilves", "mara_ilves", "kraken", AccountMode::Paper)
        .await;
    let id = made.id();

    let before = world.store.close_account(id, &world.act()).await.unwrap();

    assert_eq!(before.status, AccountStatus::Active);
    assert_eq!(
        world.store.account(id).await.unwrap().status,
        AccountStatus::Closed
    );
    let again = world.store.close_account(id, &world.act()).await;
    let changed = world
        .store
        .update_account(id, AccountChange::Suspended(false), &world.act())
        .await;
    let default = world
        .store
        .set_default_account(made.owner(), Some(id), &world.act())
        .await;
    for refused in [again.err(), changed.err()] {
        assert!(matches!(refused, Some(DirectoryError::Conflict { .. })));
    }
    assert!(default.is_err());
}

#[tokio::test]
async fn d18_an_account_of_somebody_else_does_not_exist_as_a_default() {
    let world = world();
    world.add_user("mara_ilves").await;
    world.add_user("tomas_brandt").await;
    world
        .add_account("coinbase-brandt", "tomas_brandt", "coinbase", AccountMode::Paper)
        .await;
    let mara = "mara_ilves".parse().unwrap();

    let theirs = world
        .store
        .set_default_account(&mara, Some(&"coinbase-brandt".parse().unwrap()), &world.act())
        .await;
    let nobodys = world
        .store
        .set_default_account(&mara, Some(&"no-such".parse().unwrap()), &world.act())
        .await;

    let text =
        |result: Result<_, DirectoryError>| result.map(|_: bursar_auth::User| ()).unwrap_err().to_string();
    assert_eq!(
        text(theirs).replace("coinbase-brandt", "X"),
        text(nobodys).replace("no-such", "X")
    );
}

#[tokio::test]
async fn an_account_needs_an_owner() {
    let world = world();

    let new = new_account("kraken-ilves", "mara_ilves", "kraken", AccountMode::Paper);
    let orphan = world.store.add_account(new, &world.act()).await;

    assert!(matches!(
        orphan,
        Err(DirectoryError::NotFound {
            record: Record::User,
            ..
        })
    ));
    assert_eq!(actions(&world.store).await, ["store.initialised"]);
}

#[tokio::test]
async fn d28_not_even_sql_changes_the_mode_of_an_account() {
    let world = world();
    world.add_user("mara_ilves").await;
    world
        .add_account("kraken-ilves", "mara_ilves", "kraken", AccountMode::Paper)
        .await;

    let connection = rusqlite::Connection::open(world.path()).unwrap();
    for forbidden in [
        "UPDATE account SET mode = 'live'",
        "UPDATE audit_record SET hash = zeroblob(32)",
        "DELETE FROM audit_record",
    ] {
        assert!(connection.execute(forbidden, []).is_err(), "{forbidden}");
    }
}

#[tokio::test]
async fn i21_a_user_trades_paper_or_real_money() {
    let world = world();
    world.add_user("mara_ilves").await;
    world.add_user("tomas_brandt").await;
    world
        .add_account("mara-paper", "mara_ilves", "kraken", AccountMode::Paper)
        .await;
    world
        .add_account("tomas-live", "tomas_brandt", "kraken", AccountMode::Live)
        .await;
    let add = async |id: &str, owner: &str, mode| {
        let added = world
            .store
            .add_account(new_account(id, owner, "kraken", mode), &world.act())
            .await;
        added.map(drop).map_err(|error| error.to_string())
    };

    let live = add("mara-live", "mara_ilves", AccountMode::Live)
        .await
        .unwrap_err();
    let paper = add("tomas-paper", "tomas_brandt", AccountMode::Paper)
        .await
        .unwrap_err();

    assert!(
        live.contains("account `mara-paper`") && live.contains("trades paper"),
        "{live}"
    );
    assert!(
        paper.contains("account `tomas-live`") && paper.contains("trades real money"),
        "{paper}"
    );
    assert_eq!(add("mara-too", "mara_ilves", AccountMode::Paper).await, Ok(()));
    for closed in ["mara-paper", "mara-too"] {
        let closed = closed.parse().unwrap();
        world.store.close_account(&closed, &world.act()).await.unwrap();
    }
    assert_eq!(add("mara-live", "mara_ilves", AccountMode::Live).await, Ok(()));
}

#[tokio::test]
async fn an_account_is_one_account_at_its_exchange_and_no_other_is_the_same() {
    let world = world();
    for (user, id) in [("mara_ilves", "kraken-ilves"), ("tomas_brandt", "kraken-brandt")] {
        world.add_user(user).await;
        world.add_account(id, user, "kraken", AccountMode::Live).await;
    }
    store_key(&world, "kraken-ilves", AccountMode::Live).await;
    let identify = async |id: &str, venue: &str| {
        let change = AccountChange::VenueAccountId(Some(venue.to_owned()));
        let identified = world
            .store
            .update_account(&id.parse().unwrap(), change, &world.act())
            .await;
        identified.map(drop).map_err(|error| error.to_string())
    };

    assert_eq!(identify("kraken-ilves", "AA01").await, Ok(()));
    assert_eq!(identify("kraken-ilves", "AA01").await, Ok(()), "said again");
    let other = identify("kraken-ilves", "AA02").await.unwrap_err();
    let taken = identify("kraken-brandt", "AA01").await.unwrap_err();

    assert!(
        other.contains("`AA01`") && other.contains("belongs to `AA02`"),
        "{other}"
    );
    assert!(
        taken.contains("account `kraken-ilves` is that already"),
        "{taken}"
    );
    assert_eq!(identify("kraken-brandt", "AA02").await, Ok(()));
}
