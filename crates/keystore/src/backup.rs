//! The sealed form of a backup: one file that opens with what the store opened with when it was made.
//!
//! `BRSRBKP1 | length (4) | header, as JSON | { last (1) | length (4) | sealed chunk }`, numbers
//! big-endian. The header is public. It holds the key store's header of that moment, so that an unlock key
//! opens the backup where the store is lost, and a key of its own, wrapped with the keyring's key for
//! backups and bound to every other byte of it. Each chunk is bound to that header, to its number, and to
//! whether it is the last: a backup that was cut, lengthened or put in another order does not open.
//!
//! What is in a backup is not this crate's business: bytes go in, and come out.

use std::fmt;
use std::io::{self, Read, Write};

use bursar_model::Entropy;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::cipher::{Binding, CannotOpen, SealedBytes, open, seal};
use crate::header::OpenKeys;
use crate::init::whole_milliseconds;
use crate::key_store::KeyStore;
use crate::names::{KeyId, KeyPurpose, SlotId, StoreId};
use crate::next_keys::KeysError;
use crate::secret::{Key, Secret};
use crate::unlock::{UnlockError, UnlockMaterial, unlock};
use crate::vault::Header;

const MAGIC: &[u8; 8] = b"BRSRBKP1";
const FORMAT: u16 = 1;
/// So much is sealed at once. A reader takes no more into memory, whatever a file says.
const CHUNK: usize = 1024 * 1024;
const LONGEST_CHUNK: usize = CHUNK + 1024;
const LONGEST_HEADER: usize = 1024 * 1024;

/// What anybody may know of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupHeader {
    /// The number of this form of backup.
    pub format: u16,
    /// Random, one for each backup that is made.
    pub id: Uuid,
    /// The store that it is of.
    pub store: StoreId,
    /// In whole milliseconds.
    pub created_at: Timestamp,
    /// What whoever made it says of the contents, in a form of its own.
    pub about: String,
    /// The key store as it was: what unlocked it then unlocks the backup.
    pub keys: Header,
    /// The key of the keyring that the backup's own key is wrapped with.
    pub key: KeyId,
    data_key: SealedBytes,
}

impl BackupHeader {
    /// Everything but the wrapped key, which is bound to this.
    fn digest(&self) -> Result<[u8; 32], serde_json::Error> {
        let unwrapped = Self {
            data_key: SealedBytes::from_bytes(Vec::new()),
            ..self.clone()
        };
        Ok(Sha256::digest(serde_json::to_vec(&unwrapped)?).into())
    }

    fn bound<T>(&self, part: Part, digest: &[u8; 32], then: impl FnOnce(&Binding<'_>) -> T) -> T {
        let key = self.key.to_string();
        let (purpose, wrapping_key, version, is_last) = match part {
            Part::Key => ("backup-key", key.as_str(), 0, false),
            Part::Chunk { number, is_last } => ("backup-chunk", "backup-key", number, is_last),
        };
        then(&Binding {
            purpose,
            store: self.store,
            table: "backup",
            row: &self.id.to_string(),
            account: "",
            broker: "",
            fields: self.format,
            version,
            wrapping_key,
            facts: &[digest, &[u8::from(is_last)]],
        })
    }
}

#[derive(Clone, Copy)]
enum Part {
    Key,
    Chunk { number: u64, is_last: bool },
}

/// Why there is no backup, or why one was not opened.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It does not begin as one does.
    #[error("this is no backup of Bursar")]
    NotABackup,
    /// A newer release made it.
    #[error("the backup has form {found}; this release reads form {known}")]
    Format {
        /// The number that the backup names.
        found: u16,
        /// The only number that this release reads.
        known: u16,
    },
    /// Whatever was changed, all of it or a part.
    #[error("the backup was changed or damaged in {part}")]
    Damaged {
        /// For people: its header, or the number of the sealed part.
        part: String,
    },
    /// The file was cut off, or was not written to its end.
    #[error("the backup ends in the middle: {chunks} parts are there, and the last is missing")]
    Cut {
        /// Whole parts that were read.
        chunks: u64,
    },
    /// Something was added to the file.
    #[error("the backup goes on after its end")]
    Lengthened,
    /// The cipher refused; nothing of it was written that opens.
    #[error("the backup could not be sealed")]
    CannotSeal,
    /// The keys of the store are not at hand: it is sealed, or they are damaged.
    #[error("the keys of the store cannot be used")]
    Keys {
        /// What is the matter with them.
        #[from]
        source: KeysError,
    },
    /// The backup itself may be sound.
    #[error("the backup cannot be unlocked")]
    Unlock {
        /// Why none of its slots opened.
        #[from]
        source: UnlockError,
    },
    /// The disk, or whatever the backup is read from or written to.
    #[error("the backup cannot be read or written")]
    File {
        /// What the system said.
        #[from]
        source: io::Error,
    },
}

impl BackupError {
    /// What the operator can do now.
    pub fn hint(&self) -> String {
        match self {
            Self::NotABackup => "name a file that `bursar backup create` made".to_owned(),
            Self::Format { .. } => "run the release that made this backup, or a newer one".to_owned(),
            Self::Damaged { .. } | Self::Cut { .. } | Self::Lengthened => {
                "copy it again from where it was kept, or take another backup".to_owned()
            }
            Self::CannotSeal => "keep the store as it is and report this".to_owned(),
            Self::Keys { source } => source.hint(),
            Self::Unlock { source } => source.hint(),
            Self::File { .. } => "check that the disk has room and that the file can be reached".to_owned(),
        }
    }
}

impl From<serde_json::Error> for BackupError {
    fn from(_: serde_json::Error) -> Self {
        Self::CannotSeal
    }
}

impl KeyStore {
    /// Seals all of `contents` into `target`, and tells how many bytes are done. What is written is not
    /// made to last: whoever opened `target` syncs it.
    ///
    /// # Errors
    ///
    /// See [`BackupError`]; `target` then holds a part of a backup, which does not open.
    pub async fn seal_backup(
        &self,
        about: String,
        now: Timestamp,
        contents: &mut (dyn Read + Send),
        target: &mut (dyn Write + Send),
        mut told: impl FnMut(u64) + Send,
    ) -> Result<BackupHeader, BackupError> {
        let (keys, opened) = self.stored_keys().await?;
        let entropy = self.entropy();
        let (key, wrapping) = opened
            .keyring
            .newest(KeyPurpose::Backup)
            .ok_or(BackupError::CannotSeal)?;
        let mut header = BackupHeader {
            format: FORMAT,
            id: uuid::Builder::from_random_bytes(entropy.bytes()).into_uuid(),
            store: keys.store,
            created_at: whole_milliseconds(now),
            about,
            keys,
            key,
            data_key: SealedBytes::from_bytes(Vec::new()),
        };
        let digest = header.digest()?;
        let data_key = Key::random(entropy);
        header.data_key = header
            .bound(Part::Key, &digest, |binding| {
                seal(wrapping, binding, data_key.expose(), entropy)
            })
            .map_err(|_| BackupError::CannotSeal)?;
        let text = serde_json::to_vec(&header)?;
        target.write_all(MAGIC)?;
        write_part(target, &text)?;
        let sealer = Sealer {
            header: &header,
            digest,
            data_key,
            entropy,
        };
        sealer.chunks(contents, target, &mut told)?;
        Ok(header)
    }
}

struct Sealer<'a> {
    header: &'a BackupHeader,
    digest: [u8; 32],
    data_key: Key,
    entropy: &'a dyn Entropy,
}

impl Sealer<'_> {
    fn chunks(
        &self,
        contents: &mut dyn Read,
        target: &mut dyn Write,
        told: &mut dyn FnMut(u64),
    ) -> Result<(), BackupError> {
        let mut done = 0_u64;
        let mut chunk = read_up_to(contents, CHUNK)?;
        let mut number = 0_u64;
        loop {
            // Read ahead: a chunk says of itself whether it is the last.
            let next = read_up_to(contents, CHUNK)?;
            let is_last = next.is_empty();
            let sealed = self
                .header
                .bound(Part::Chunk { number, is_last }, &self.digest, |binding| {
                    seal(&self.data_key, binding, &chunk, self.entropy)
                })
                .map_err(|_| BackupError::CannotSeal)?;
            target.write_all(&[u8::from(is_last)])?;
            write_part(target, sealed.as_bytes())?;
            done = done.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
            told(done);
            if is_last {
                return Ok(());
            }
            chunk = next;
            number = number.checked_add(1).ok_or(BackupError::CannotSeal)?;
        }
    }
}

/// A backup whose header was read and whose contents are still sealed.
pub struct SealedBackup<R> {
    header: BackupHeader,
    digest: [u8; 32],
    source: R,
}

impl<R: Read> SealedBackup<R> {
    /// Reads the header, which anybody may.
    ///
    /// # Errors
    ///
    /// [`BackupError::NotABackup`], [`BackupError::Format`], and [`BackupError::Damaged`] for a header that
    /// is not written as it would be written here.
    pub fn read(mut source: R) -> Result<Self, BackupError> {
        let mut magic = [0; MAGIC.len()];
        if !fill(&mut source, &mut magic)? || magic != *MAGIC {
            return Err(BackupError::NotABackup);
        }
        let damaged = || BackupError::Damaged {
            part: "its header".to_owned(),
        };
        let text = read_part(&mut source, LONGEST_HEADER)?.ok_or_else(damaged)?;
        #[derive(Deserialize)]
        struct Form {
            format: u16,
        }
        let form: Form = serde_json::from_slice(&text).map_err(|_| damaged())?;
        if form.format != FORMAT {
            return Err(BackupError::Format {
                found: form.format,
                known: FORMAT,
            });
        }
        let header: BackupHeader = serde_json::from_slice(&text).map_err(|_| damaged())?;
        // One spelling, so that every byte of it is bound.
        if serde_json::to_vec(&header)? != text {
            return Err(damaged());
        }
        let digest = header.digest()?;
        Ok(Self {
            header,
            digest,
            source,
        })
    }

    /// Not proved before it is unlocked: until then it says what the file says.
    pub const fn header(&self) -> &BackupHeader {
        &self.header
    }

    /// Unlocks the backup with one of the slots that the store had when it was made, and tells which.
    ///
    /// # Errors
    ///
    /// [`BackupError::Unlock`] as for a store; [`BackupError::Damaged`] where the key is right and the
    /// header is not.
    pub fn unlock(self, material: &UnlockMaterial) -> Result<(SlotId, OpenBackup<R>), BackupError> {
        let (slot, keys) = unlock(&self.header.keys, material)?;
        let data_key = self.data_key(&keys).map_err(|CannotOpen| BackupError::Damaged {
            part: "its header".to_owned(),
        })?;
        let opened = OpenBackup {
            sealed: self,
            data_key,
        };
        Ok((slot, opened))
    }

    fn data_key(&self, keys: &OpenKeys) -> Result<Key, CannotOpen> {
        let header = &self.header;
        if header.key.purpose != KeyPurpose::Backup || header.store != header.keys.store {
            return Err(CannotOpen);
        }
        let wrapping = keys.keyring.key(header.key).ok_or(CannotOpen)?;
        let data_key = header.bound(Part::Key, &self.digest, |binding| {
            open(wrapping, binding, &header.data_key)
        })?;
        Key::copied(data_key.expose()).ok_or(CannotOpen)
    }
}

/// A backup that was unlocked.
pub struct OpenBackup<R> {
    sealed: SealedBackup<R>,
    data_key: Key,
}

impl<R: Read> OpenBackup<R> {
    /// Proved: the key that opened the backup is bound to it.
    pub const fn header(&self) -> &BackupHeader {
        &self.sealed.header
    }

    /// Writes the contents to `target`, and tells how many bytes are done. They are whole only when this
    /// returns: until then nothing of them may be used.
    ///
    /// # Errors
    ///
    /// [`BackupError::Damaged`], [`BackupError::Cut`] and [`BackupError::Lengthened`].
    pub fn copy_to(&mut self, target: &mut dyn Write, mut told: impl FnMut(u64)) -> Result<u64, BackupError> {
        let sealed = &mut self.sealed;
        let (mut number, mut done) = (0_u64, 0_u64);
        loop {
            let mut last = [0_u8; 1];
            if !fill(&mut sealed.source, &mut last)? {
                return Err(BackupError::Cut { chunks: number });
            }
            let damaged = || BackupError::Damaged {
                part: format!("part {}", number.saturating_add(1)),
            };
            let is_last = match last {
                [0] => false,
                [1] => true,
                _ => return Err(damaged()),
            };
            let chunk = read_part(&mut sealed.source, LONGEST_CHUNK)?;
            let chunk = SealedBytes::from_bytes(chunk.ok_or(BackupError::Cut { chunks: number })?);
            let plain = sealed
                .header
                .bound(Part::Chunk { number, is_last }, &sealed.digest, |binding| {
                    open(&self.data_key, binding, &chunk)
                })
                .map_err(|CannotOpen| damaged())?;
            write_plain(target, &plain)?;
            done = done.saturating_add(u64::try_from(plain.expose().len()).unwrap_or(u64::MAX));
            told(done);
            number = number.checked_add(1).ok_or_else(damaged)?;
            if is_last {
                break;
            }
        }
        let mut more = [0_u8; 1];
        if sealed.source.read(&mut more)? != 0 {
            return Err(BackupError::Lengthened);
        }
        Ok(done)
    }
}

/// The one place where something that was sealed leaves this crate: the contents of a backup are those of
/// a store, whose own secrets are sealed in it.
fn write_plain(target: &mut dyn Write, plain: &Secret) -> io::Result<()> {
    target.write_all(plain.expose())
}

impl<R> fmt::Debug for SealedBackup<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedBackup")
            .field("id", &self.header.id)
            .finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for OpenBackup<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenBackup")
            .field("id", &self.sealed.header.id)
            .finish_non_exhaustive()
    }
}

fn write_part(target: &mut dyn Write, part: &[u8]) -> Result<(), BackupError> {
    let length = u32::try_from(part.len()).map_err(|_| BackupError::CannotSeal)?;
    target.write_all(&length.to_be_bytes())?;
    Ok(target.write_all(part)?)
}

/// `None` where the source ends before the part does, or the part is longer than any that is written.
fn read_part(source: &mut dyn Read, longest: usize) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    if !fill(source, &mut length)? {
        return Ok(None);
    }
    let Ok(length) = usize::try_from(u32::from_be_bytes(length)) else {
        return Ok(None);
    };
    if length > longest {
        return Ok(None);
    }
    let part = read_up_to(source, length)?;
    Ok((part.len() == length).then_some(part))
}

/// Whether the source held enough to fill the buffer.
fn fill(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<bool> {
    match source.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn read_up_to(source: &mut dyn Read, length: usize) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    let limit = u64::try_from(length).unwrap_or(u64::MAX);
    source.take(limit).read_to_end(&mut read)?;
    Ok(read)
}
