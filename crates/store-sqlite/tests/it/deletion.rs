//! A user who goes for good.

use bursar_audit::Action;
use bursar_auth::{Directory, DirectoryError, UserChange};
use bursar_keystore::Vault;
use bursar_model::UserId;

use crate::support::trading::{buy, ready};
use crate::support::{World, trail};
use crate::vault::{record, with_account};

fn mara() -> UserId {
    "mara_ilves".parse().unwrap()
}

async fn with_key() -> World {
    let world = with_account().await;
    world
        .store
        .put_credential(&record(1, 1), None, &world.act())
        .await
        .unwrap();
    world
}

#[tokio::test]
async fn name_address_and_keys_go_and_what_the_books_name_stays() {
    let world = with_key().await;
    let before = world.store.user(&mara()).await.unwrap();

    let deleted = world.store.delete_user(&mara(), &world.act()).await.unwrap();

    assert_eq!(deleted.user, before);
    assert_eq!(deleted.closed.len(), 1);
    assert_eq!(deleted.erased, [record(1, 1).facts]);
    assert_eq!(world.store.users().await.unwrap(), []);
    assert_eq!(world.store.list().await.unwrap(), []);
    let after = world.store.user(&mara()).await.unwrap();
    assert_eq!(after.deleted_at, Some(world.act().at));
    let file = std::fs::read(world.folder().join("bursar.db")).unwrap();
    let address = before.email.as_str().as_bytes();
    assert!(!file.windows(address.len()).any(|bytes| bytes == address));
    let account = world
        .store
        .account(&"kraken-ilves".parse().unwrap())
        .await
        .unwrap();
    assert!(!account.is_open());
    assert_eq!(account.owner(), &mara());
    let last = trail(&world.store).await.pop().unwrap();
    assert_eq!(last.action, Action::UserDeleted);
}

#[tokio::test]
async fn who_is_deleted_stays_so() {
    let world = with_key().await;
    world.store.delete_user(&mara(), &world.act()).await.unwrap();
    let act = world.act();

    let again = world.store.delete_user(&mara(), &act).await.map(drop);
    let enabled = world
        .store
        .update_user(&mara(), UserChange::Enabled(true), &act)
        .await;
    let default = world.store.set_default_account(&mara(), None, &act).await;

    for refused in [again, enabled.map(drop), default.map(drop)] {
        let error = refused.unwrap_err();
        assert!(matches!(error, DirectoryError::Conflict { .. }), "{error}");
        assert!(error.to_string().contains("is deleted, for ever"), "{error}");
    }
}

#[tokio::test]
async fn whoever_has_orders_is_not_deleted_and_nothing_is_lost() {
    let world = ready().await;
    let owner = crate::support::trading::user();
    world.approved(buy("1", "BTC-USD", "100")).await;
    let before = world.store.user(&owner).await.unwrap();
    let records = trail(&world.store).await.len();

    let refused = world.store.delete_user(&owner, &world.act()).await;

    let error = refused.unwrap_err();
    assert!(error.to_string().contains("orders that are not over"), "{error}");
    assert_eq!(world.store.user(&owner).await.unwrap(), before);
    assert_eq!(trail(&world.store).await.len(), records);
    assert!(
        world
            .store
            .accounts()
            .await
            .unwrap()
            .iter()
            .all(bursar_auth::Account::is_open)
    );
}
