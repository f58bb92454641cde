//! The list of keys that were erased, outside the store: a backup that is put back does not bring them back.

use bursar_store_sqlite::{ErasedKeys, Listed, SqliteStore};

use crate::{Exit, Failure, Installation};

/// The list: beside the store, and in no backup of it.
pub fn list(installation: &Installation) -> ErasedKeys {
    ErasedKeys::at(installation.data_dir.join("erased-keys"))
}

/// Adds what the store knows to have been erased: a list that was lost, or is of an older release, is whole again.
///
/// # Errors
///
/// When the list or the store cannot be used.
pub async fn fold(store: &SqliteStore, list: &ErasedKeys) -> Result<(), Failure> {
    read(list)?;
    list.add(&store.tombstones().await?).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!(
                "the list of erased keys `{}` cannot be written: {error}",
                list.path().display()
            ),
            "make room in the data folder, or make it writable, then try again",
        )
    })
}

/// Everything on a list; nothing where there is none.
pub(crate) fn read(list: &ErasedKeys) -> Result<Listed, Failure> {
    list.read().map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!(
                "the list of erased keys `{}` cannot be used: {error}",
                list.path().display()
            ),
            "put the file back from a copy; without it, keys that were erased come back with a backup",
        )
    })
}
