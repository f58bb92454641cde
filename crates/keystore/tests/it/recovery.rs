//! The recovery code: shown once, written down, typed back.

use bursar_keystore::{
    InitError, NewSlot, NotConfirmed, RecoveryCode, RecoveryCodeError, UnlockError, UnlockMaterial,
};

use crate::world::{World, confirm, secret};

fn parse(text: &str) -> Result<RecoveryCode, RecoveryCodeError> {
    RecoveryCode::parse(&secret(text))
}

#[tokio::test]
async fn a_recovery_code_unlocks_however_it_is_typed() {
    let world = World::new(1);
    let (_, code) = world.init().await;
    let store = world.reopened().await;

    for text in [
        code.clone(),
        code.to_lowercase(),
        code.replace('-', " "),
        format!("  {}\n", code.replace('-', "")),
        code.replace('0', "O").replace('1', "l"),
    ] {
        let slot = store
            .prove_slot(&UnlockMaterial::Recovery(parse(&text).unwrap()))
            .await;
        assert_eq!(slot.unwrap().as_str(), "recovery-2");
    }
}

#[tokio::test]
async fn a_code_is_eight_groups_of_eight_characters_with_256_bits() {
    let world = World::new(2);
    let (_, code) = world.init().await;

    let groups: Vec<&str> = code.split('-').collect();

    assert_eq!(groups.len(), RecoveryCode::GROUPS);
    for group in groups {
        assert_eq!(group.len(), 8);
        assert!(
            group
                .chars()
                .all(|c| "0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(c)),
            "{group}"
        );
    }
}

#[tokio::test]
async fn a_mistyped_group_is_named_and_what_slips_through_unlocks_nothing() {
    let world = World::new(3);
    let (_, code) = world.init().await;
    let store = world.reopened().await;
    let (mut named, mut slipped) = (0, 0);

    for position in (0..code.len()).filter(|position| position % 9 != 8) {
        for other in "0123456789ABCDEFGHJKMNPQRSTVWXYZ".chars() {
            let mut typed: Vec<char> = code.chars().collect();
            if typed[position] == other {
                continue;
            }
            typed[position] = other;
            match parse(&typed.iter().collect::<String>()) {
                Err(RecoveryCodeError::Group { number }) => {
                    assert_eq!(number, position / 9 + 1);
                    named += 1;
                }
                Err(error) => panic!("{error:?}"),
                Ok(code) => {
                    slipped += 1;
                    let error = store
                        .prove_slot(&UnlockMaterial::Recovery(code))
                        .await
                        .unwrap_err();
                    assert!(matches!(error, UnlockError::WrongKey { .. }));
                }
            }
        }
    }

    assert_eq!(named + slipped, 64 * 31);
    assert!(
        slipped * 50 < named,
        "{slipped} of {} typing errors were not found",
        named + slipped
    );
}

#[tokio::test]
async fn groups_in_the_wrong_order_or_number_are_refused() {
    let world = World::new(4);
    let (_, code) = world.init().await;
    let mut groups: Vec<&str> = code.split('-').collect();

    assert!(matches!(
        parse(&groups[..7].join("-")),
        Err(RecoveryCodeError::Length)
    ));
    assert!(matches!(
        parse(&format!("{code}-0")),
        Err(RecoveryCodeError::Length)
    ));
    assert!(matches!(
        parse(&code.replace(groups[2], "UUUUUUUU")),
        Err(RecoveryCodeError::Group { number: 3 })
    ));
    groups.swap(0, 1);
    assert!(matches!(
        parse(&groups.join("-")),
        Err(RecoveryCodeError::Group { .. })
    ));
}

#[tokio::test]
async fn init_is_not_finished_before_two_groups_are_typed_back() {
    let world = World::new(5);
    let new = world.begin(vec![NewSlot::File(world.key_file())]).await.unwrap();
    let code = new.recovery_code();
    let text = code.reveal().to_string();
    let groups: Vec<_> = text.split('-').map(secret).collect();

    let wrong = code.confirm([(1, &groups[0]), (4, &groups[4])]);
    let twice = code.confirm([(3, &groups[2]), (3, &groups[2])]);
    let outside = code.confirm([(1, &groups[0]), (9, &groups[7])]);
    let empty = code.confirm([(1, &groups[0]), (2, &secret(""))]);
    let lower = secret(&text[9..17].to_lowercase());
    let right = code.confirm([(8, &groups[7]), (2, &lower)]);

    assert_eq!(wrong.err(), Some(NotConfirmed::Group { number: 4 }));
    assert_eq!(twice.err(), Some(NotConfirmed::SameGroup));
    assert_eq!(outside.err(), Some(NotConfirmed::Group { number: 9 }));
    assert_eq!(empty.err(), Some(NotConfirmed::Group { number: 2 }));
    new.finish(right.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_code_that_was_kept_whole_confirms_itself_and_no_other() {
    let world = World::new(9);
    let new = world.begin(vec![NewSlot::File(world.key_file())]).await.unwrap();
    let code = new.recovery_code();
    let text = code.reveal().to_string();
    let mut groups: Vec<&str> = text.split('-').collect();

    let short = code.confirm_whole(&secret(&text[..70]));
    let long = code.confirm_whole(&secret(&format!("{text}-0")));
    let right = code.confirm_whole(&secret(&text.replace('-', " ").to_lowercase()));
    groups.swap(2, 5);
    let swapped = code.confirm_whole(&secret(&groups.join("-")));

    assert_eq!(short.err(), Some(NotConfirmed::Group { number: 8 }));
    assert_eq!(long.err(), Some(NotConfirmed::Group { number: 8 }));
    assert_eq!(swapped.err(), Some(NotConfirmed::Group { number: 3 }));
    new.finish(right.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_confirmation_of_another_code_makes_no_store() {
    let (world, other) = (World::new(6), World::new(7));
    let new = world.begin(vec![NewSlot::File(world.key_file())]).await.unwrap();
    let stranger = other.begin(vec![NewSlot::File(other.key_file())]).await.unwrap();

    let finished = new.finish(confirm(stranger.recovery_code())).await;

    assert!(matches!(finished, Err(InitError::NotConfirmed)));
    assert!(!world.path("config/unlock.key").exists());
}

#[test]
fn the_groups_asked_for_are_two_different_ones() {
    let world = World::new(8);
    let mut asked = std::collections::BTreeSet::new();
    for _ in 0..2000 {
        let [first, second] = RecoveryCode::pick_groups(world.entropy.as_ref());
        assert!(1 <= first && first < second && second <= 8);
        asked.insert((first, second));
    }

    assert_eq!(asked.len(), 28, "every pair comes up");
}
