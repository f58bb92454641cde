//! Which files an unlock key is read from: rule K4, modes, owners, links, contents.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use bursar_keystore::{InitError, KeyFile, KeyFileError, NewSlot, UnlockError};

use crate::world::{World, confirm};

fn set_mode(path: &Path, mode: u32) {
    set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn write_key(path: &Path, contents: &[u8]) {
    std::fs::write(path, contents).unwrap();
    set_mode(path, 0o600);
}

#[tokio::test]
async fn k4_a_key_inside_the_data_or_backup_directory_is_refused() {
    let world = World::new(1);
    std::fs::create_dir(world.path("data/keys")).unwrap();
    symlink(world.path("data"), world.path("config/shortcut")).unwrap();
    for place in [
        "data/unlock.key",
        "data/keys/unlock.key",
        "data/not/yet/there/unlock.key",
        "backup/unlock.key",
        "config/../data/unlock.key",
        "config/shortcut/unlock.key",
    ] {
        let new = world
            .begin(vec![NewSlot::File(world.key_file_at(place))])
            .await
            .unwrap();
        let confirmed = confirm(new.recovery_code());

        let error = new.finish(confirmed).await.unwrap_err();

        assert!(
            matches!(
                error,
                InitError::KeyFile {
                    source: KeyFileError::Inside { .. }
                }
            ),
            "{place}: {error:?}"
        );
        assert!(!world.path(place).exists(), "{place} was written");
    }
}

#[tokio::test]
async fn k4_a_key_that_came_to_lie_in_the_data_directory_unlocks_nothing() {
    let world = World::new(2);
    let _made = world.init().await;
    let inside = world.path("data/unlock.key");
    std::fs::rename(world.path("config/unlock.key"), &inside).unwrap();
    symlink(world.path("data"), world.path("link")).unwrap();
    let store = world.reopened().await;

    for place in ["data/unlock.key", "link/unlock.key", "config/../data/unlock.key"] {
        let file = world.key_file_at(place);

        assert!(
            matches!(file.check(), Err(KeyFileError::Inside { .. })),
            "{place}: {:?}",
            file.check()
        );
        let error = store
            .unlock(&bursar_keystore::UnlockMaterial::File(file))
            .await
            .unwrap_err();
        assert!(matches!(error, UnlockError::KeyFile { .. }));
    }
}

#[tokio::test]
async fn k4_a_key_right_beside_the_data_directory_is_not_written() {
    let world = World::new(3);
    let new = world
        .begin(vec![NewSlot::File(world.key_file_at("unlock.key"))])
        .await
        .unwrap();
    let confirmed = confirm(new.recovery_code());

    let error = new.finish(confirmed).await.unwrap_err();

    assert!(matches!(
        error,
        InitError::KeyFile {
            source: KeyFileError::Beside { .. }
        }
    ));
    assert!(!world.path("unlock.key").exists());
}

#[tokio::test]
async fn k4_a_data_directory_that_does_not_exist_yet_is_kept_free_too() {
    let world = World::new(4);
    let file = KeyFile::new(
        world.path("later/data/unlock.key"),
        vec![world.path("later/data")],
    );
    let new = world.begin(vec![NewSlot::File(file)]).await.unwrap();
    let confirmed = confirm(new.recovery_code());

    let error = new.finish(confirmed).await.unwrap_err();

    assert!(matches!(
        error,
        InitError::KeyFile {
            source: KeyFileError::Inside { .. }
        }
    ));
}

#[test]
fn k4_no_key_is_read_while_it_cannot_be_told_where_the_data_lies() {
    let world = World::new(11);
    let key: Vec<u8> = (0..32).collect();
    write_key(&world.path("config/unlock.key"), &key);
    symlink(world.path("loop"), world.path("loop")).unwrap();
    let file_kept_out_of = |name| KeyFile::new(world.path("config/unlock.key"), vec![world.path(name)]);

    assert!(file_kept_out_of("data").check().is_ok());
    let error = file_kept_out_of("loop").check().unwrap_err();

    assert!(matches!(error, KeyFileError::Unusable { .. }), "{error:?}");
}

#[tokio::test]
async fn only_modes_0400_and_0600_are_read() {
    let world = World::new(5);
    let _made = world.init().await;
    let path = world.path("config/unlock.key");

    for mode in 0..=0o7777 {
        set_mode(&path, mode);
        match world.key_file().check() {
            Ok(()) => assert!(mode == 0o400 || mode == 0o600, "mode {mode:04o} was read"),
            Err(KeyFileError::Mode { mode: found, .. }) => assert_eq!(found, mode),
            // A mode without the owner's right to read stops everybody but root earlier.
            Err(KeyFileError::Unusable { .. }) => assert_eq!(mode & 0o400, 0),
            Err(error) => panic!("mode {mode:04o}: {error:?}"),
        }
    }
    set_mode(&path, 0o640);
    let hint = world.key_file().check().unwrap_err().hint();
    assert_eq!(hint, format!("run `chmod 0400 {}`", path.display()));
}

#[tokio::test]
async fn a_symbolic_link_is_not_followed() {
    let world = World::new(6);
    let _made = world.init().await;
    symlink(world.path("config/unlock.key"), world.path("config/link.key")).unwrap();

    let error = world.key_file_at("config/link.key").check().unwrap_err();

    assert!(matches!(error, KeyFileError::Symlink { .. }), "{error:?}");
}

#[tokio::test]
async fn a_file_of_another_user_is_not_read() {
    let world = World::new(7);
    let file = if rustix::process::geteuid().is_root() {
        let _made = world.init().await;
        chown(world.path("config/unlock.key"), Some(65534), None).unwrap();
        world.key_file()
    } else {
        // The one file that belongs to root on every machine.
        KeyFile::new("/etc/passwd", Vec::new())
    };

    let error = file.check().unwrap_err();

    assert!(matches!(error, KeyFileError::Owner { .. }), "{error:?}");
}

#[test]
fn a_directory_or_a_pipe_is_no_key() {
    let world = World::new(8);
    std::fs::create_dir(world.path("config/folder.key")).unwrap();
    let pipe = world.path("config/pipe.key");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());

    for name in ["config/folder.key", "config/pipe.key"] {
        let error = world.key_file_at(name).check().unwrap_err();
        assert!(
            matches!(error, KeyFileError::NotAFile { .. }),
            "{name}: {error:?}"
        );
    }
    assert!(matches!(
        world.key_file_at("config/none.key").check(),
        Err(KeyFileError::Missing { .. })
    ));
    // Opened as a directory it is refused; opened as what it is, it would wait for a writer.
    assert!(matches!(
        world.key_file_at("config/pipe.key/unlock.key").check(),
        Err(KeyFileError::Unusable { .. })
    ));
}

#[tokio::test]
async fn a_key_is_read_raw_and_in_base64() {
    let world = World::new(9);
    let _made = world.init().await;
    let text = std::fs::read(world.path("config/unlock.key")).unwrap();
    let raw = data_encoding::BASE64.decode(text.trim_ascii()).unwrap();
    let store = world.reopened().await;

    for contents in [
        raw.clone(),
        text.trim_ascii().to_vec(),
        [text.as_slice(), b"\r\n"].concat(),
    ] {
        write_key(&world.path("config/other.key"), &contents);
        let file = world.key_file_at("config/other.key");

        let slot = store
            .prove_slot(&bursar_keystore::UnlockMaterial::File(file))
            .await;

        assert_eq!(slot.unwrap().as_str(), "file-1");
    }
}

#[test]
fn k2_what_is_not_32_random_bytes_is_no_key() {
    let world = World::new(10);
    let (short, long) = ([7; 31], [7; 33]);
    let cases: [&[u8]; 8] = [
        b"",
        b"changeme",
        &short,
        &long,
        // The default key of whoever typed it: one byte, 32 times.
        &[0; 32],
        &[b'a'; 32],
        b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        &[b'A'; 100_000],
    ];
    for contents in cases {
        write_key(&world.path("config/unlock.key"), contents);

        let error = world.key_file().check().unwrap_err();

        assert!(matches!(error, KeyFileError::Contents { .. }), "{error:?}");
    }
}
