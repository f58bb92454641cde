use bursar_auth::{Directory, DirectoryError, NewUser, UserChange};
use bursar_config::Preferences;
use bursar_execution::Conditions;
use bursar_model::{AccountMode, Tier, UserId};
use bursar_permissions::UserPermissions;
use bursar_store_sqlite::{KnownUser, Onboarding, OnboardingError};

use crate::support::{World, actions, new_account, trading, world};

fn new(id: &str) -> Onboarding {
    Onboarding {
        known: None,
        user: NewUser {
            id: id.parse().unwrap(),
            email: format!("{id}@example.com").parse().unwrap(),
            name: None,
            tier: Tier::Basic,
            account_type: Default::default(),
        },
        enable: true,
        known_account: None,
        account: new_account(&format!("kraken-{id}"), id, "kraken", AccountMode::Paper),
        permissions: UserPermissions::new(trading::limits("50", "25", 2)),
        preferences: Preferences::default(),
    }
}

/// What is asked of a user who is there, as they are now.
async fn known(world: &World, id: &str) -> Onboarding {
    let user_id: UserId = id.parse().unwrap();
    let store = &world.store;
    let account = format!("kraken-{id}").parse().unwrap();
    Onboarding {
        known: Some(KnownUser {
            user: store.user(&user_id).await.unwrap(),
            permissions: store.permissions(&user_id).await.unwrap(),
            preferences: store.preferences(&user_id).await.unwrap(),
        }),
        known_account: Some(store.account(&account).await.unwrap()),
        ..new(id)
    }
}

fn refused(result: Result<(), OnboardingError>) -> Vec<(usize, DirectoryError)> {
    match result {
        Err(OnboardingError::Refused(refused)) => refused,
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
    taken.account.id = "kraken-mara_ilves".parse().unwrap();
    let wrong = vec![new("mara_ilves"), same_address, taken];

    let told = refused(world.store.onboard(wrong, &world.act()).await);

    let indices: Vec<usize> = told.iter().map(|(index, _)| *index).collect();
    assert_eq!(indices, [1, 2], "{told:?}");
    assert!(world.store.users().await.unwrap().is_empty());
    assert_eq!(actions(&world.store).await, before);

    let right = vec![new("mara_ilves"), new("tomas_brandt")];
    world.store.onboard(right, &world.act()).await.unwrap();

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
    store.rehearse_onboarding(right, &act).await.unwrap();
    let told = refused(store.rehearse_onboarding(twice, &act).await);

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
    world.store.onboard(list, &world.act()).await.unwrap();
    let before = actions(&world.store).await;

    let again = vec![known(&world, "mara_ilves").await];
    world.store.onboard(again, &world.act()).await.unwrap();

    assert_eq!(actions(&world.store).await, before);
}

#[tokio::test]
async fn a_user_whom_somebody_changed_meanwhile_is_not_written_over() {
    let world = world();
    let list = vec![new("mara_ilves")];
    world.store.onboard(list, &world.act()).await.unwrap();
    let seen = known(&world, "mara_ilves").await;
    let id = seen.user.id.clone();
    let off = UserChange::Enabled(false);
    world.store.update_user(&id, off, &world.act()).await.unwrap();

    let told = refused(world.store.onboard(vec![seen], &world.act()).await);

    assert!(
        matches!(told.as_slice(), [(0, DirectoryError::Conflict { .. })]),
        "{told:?}"
    );
    assert!(!world.store.user(&id).await.unwrap().enabled);
}
