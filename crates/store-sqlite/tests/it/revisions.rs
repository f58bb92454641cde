use bursar_auth::{Directory, DirectoryError, NewUser, UserChange};
use bursar_config::Preferences;
use bursar_controls::{ClearRule, LatchCause, LatchMode, Scope};
use bursar_execution::Conditions;
use bursar_execution::{Journal, NewLatch};
use bursar_model::{AccountMode, Tier, UserId};
use bursar_permissions::UserPermissions;
use bursar_store_sqlite::{AccountRevision, Revision, RevisionError};

use crate::support::{World, actions, new_account, trading, world};

fn new(id: &str) -> Revision {
    Revision {
        known: None,
        user: NewUser {
            id: id.parse().unwrap(),
            email: format!("{id}@example.com").parse().unwrap(),
            name: None,
            tier: Tier::Basic,
            account_type: Default::default(),
        },
        enabled: Some(true),
        account: Some(AccountRevision {
            known: None,
            account: new_account(&format!("kraken-{id}"), id, "kraken", AccountMode::Paper),
        }),
        permissions: UserPermissions::new(trading::limits("50", "25", 2)),
        preferences: Preferences::default(),
    }
}

/// What is asked of a user who is there, as they are now.
async fn known(world: &World, id: &str) -> Revision {
    let user_id: UserId = id.parse().unwrap();
    let account = format!("kraken-{id}").parse().unwrap();
    let mut seen = new(id);
    seen.known = Some(world.store.known_user(&user_id).await.unwrap());
    let known = world.store.account(&account).await.unwrap();
    if let Some(account) = &mut seen.account {
        account.known = Some(known);
    }
    seen
}

fn refused(result: Result<(), RevisionError>) -> Vec<(usize, DirectoryError)> {
    match result {
        Err(RevisionError::Refused(refused)) => refused,
        other => panic!("the list is wrong: {other:?}"),
    }
}

#[tokio::test]
async fn d3_a_list_is_taken_over_as_a_whole_or_not_at_all() {
    let world = world();
    let before = actions(&world.store).await;
    let mut same_address = new("tomas_brandt");
    same_address.user.email = "mara_ilves@example.com".parse().unwrap();
    let mut taken = new("ops_desk");
    taken.account.as_mut().unwrap().account.id = "kraken-mara_ilves".parse().unwrap();
    let wrong = vec![new("mara_ilves"), same_address, taken];

    let told = refused(world.store.revise(wrong, &world.act()).await);

    let indices: Vec<usize> = told.iter().map(|(index, _)| *index).collect();
    assert_eq!(indices, [1, 2], "{told:?}");
    assert!(world.store.users().await.unwrap().is_empty());
    assert_eq!(actions(&world.store).await, before);

    let right = vec![new("mara_ilves"), new("tomas_brandt")];
    world.store.revise(right, &world.act()).await.unwrap();

    let users = world.store.users().await.unwrap();
    assert!(
        users.len() == 2 && users.iter().all(|user| user.enabled),
        "{users:?}"
    );
    assert_eq!(world.store.accounts().await.unwrap().len(), 2);
    let limits = world.store.permissions(&users[0].id).await.unwrap().limits;
    assert_eq!(limits, trading::limits("50", "25", 2));
}

#[tokio::test]
async fn d3_a_rehearsal_tells_the_same_and_writes_nothing() {
    let world = world();
    let before = actions(&world.store).await;
    let twice = vec![new("mara_ilves"), new("mara_ilves")];

    let (store, act) = (&world.store, world.act());
    let right = vec![new("mara_ilves")];
    store.rehearse_revisions(right, &act).await.unwrap();
    let told = refused(store.rehearse_revisions(twice, &act).await);

    assert!(
        matches!(told.as_slice(), [(1, DirectoryError::Exists { .. })]),
        "{told:?}"
    );
    assert!(world.store.users().await.unwrap().is_empty());
    assert_eq!(actions(&world.store).await, before);
}

#[tokio::test]
async fn c23_what_is_so_already_is_not_recorded_again() {
    let world = world();
    let list = vec![new("mara_ilves")];
    world.store.revise(list, &world.act()).await.unwrap();
    let before = actions(&world.store).await;

    let again = vec![known(&world, "mara_ilves").await];
    world.store.revise(again, &world.act()).await.unwrap();

    assert_eq!(actions(&world.store).await, before);
}

#[tokio::test]
async fn a_user_whom_somebody_changed_meanwhile_is_not_written_over() {
    let world = world();
    let list = vec![new("mara_ilves")];
    world.store.revise(list, &world.act()).await.unwrap();
    let seen = known(&world, "mara_ilves").await;
    let id = seen.user.id.clone();
    let off = UserChange::Enabled(false);
    world.store.update_user(&id, off, &world.act()).await.unwrap();

    let told = refused(world.store.revise(vec![seen], &world.act()).await);

    assert!(
        matches!(told.as_slice(), [(0, DirectoryError::Conflict { .. })]),
        "{told:?}"
    );
    assert!(!world.store.user(&id).await.unwrap().enabled);
}

#[tokio::test]
async fn e9_an_answer_that_comes_late_raises_nothing_that_was_lowered_meanwhile() {
    let world = trading::ready().await;
    let (store, act, id) = (&world.store, world.act(), trading::user());
    let seen = store.known_user(&id).await.unwrap();
    let lower = UserPermissions::new(trading::limits("10", "5", 1));
    let lowered = seen.revised(lower.clone(), seen.preferences.clone());
    store.revise(vec![lowered], &act).await.unwrap();

    let late = seen.revised(seen.permissions.clone(), seen.preferences.clone());
    let told = refused(store.revise(vec![late], &act).await);

    assert!(
        matches!(told.as_slice(), [(0, DirectoryError::Conflict { .. })]),
        "{told:?}"
    );
    assert_eq!(store.permissions(&id).await.unwrap(), lower);
}

#[tokio::test]
async fn nobody_may_do_more_while_a_switch_is_on_and_less_at_any_time() {
    let world = trading::ready().await;
    let (store, act, id) = (&world.store, world.act(), trading::user());
    let latch = NewLatch {
        scope: Scope::Account(trading::account()),
        mode: LatchMode::ReduceOnly,
        cause: LatchCause::Manual,
        reason: "looked odd".to_owned(),
        clear_rule: ClearRule::Manual,
    };
    let latch = store.trip(latch, &act).await.unwrap();
    let seen = store.known_user(&id).await.unwrap();
    let with_loss = |usd: &str| {
        let mut allowed = seen.permissions.clone();
        allowed.limits.max_daily_loss = usd.parse().unwrap();
        seen.revised(allowed, seen.preferences.clone())
    };

    let told = refused(store.revise(vec![with_loss("1000000")], &act).await);
    let said = told[0].1.to_string();
    assert!(
        said.contains(&latch.id.to_string()) && said.contains("max daily loss"),
        "{said}"
    );
    let louder = Preferences {
        risk_level: bursar_model::RiskLevel::High,
        ..seen.preferences.clone()
    };
    let wished = seen.revised(seen.permissions.clone(), louder);
    assert_eq!(refused(store.revise(vec![wished], &act).await).len(), 1);
    let elsewhere = vec![new("tomas_brandt")];
    store.revise(elsewhere, &act).await.unwrap();

    store.revise(vec![with_loss("1")], &act).await.unwrap();
    assert_eq!(
        store
            .known_user(&id)
            .await
            .unwrap()
            .permissions
            .limits
            .max_daily_loss,
        "1".parse().unwrap()
    );
}
