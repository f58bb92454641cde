//! One exchange key as it is stored: fields under a data key of their own, the data key under a key
//! of the keyring. Pure: nothing here stores or remembers.

use bursar_model::Entropy;

use crate::cipher::{Binding, CannotOpen, open, seal};
use crate::credential::{FIELDS, OpenCredential, StagedCredential};
use crate::errors::SealError;
use crate::keyring::Keyring;
use crate::names::{KeyId, KeyPurpose, StoreId};
use crate::secret::Key;
use crate::vault::{CredentialFacts, SealedRecord};

pub(crate) fn seal_record(
    store: StoreId,
    keyring: &Keyring,
    staged: &StagedCredential,
    facts: CredentialFacts,
    entropy: &dyn Entropy,
) -> Result<SealedRecord, SealError> {
    let (kek_id, kek) = keyring.newest(KeyPurpose::Kek).ok_or(SealError::NoKey)?;
    let plain = Key::random(entropy);
    let data_key = bound(store, &facts, FIELDS, Layer::DataKey(kek_id), |binding| {
        seal(kek, binding, plain.expose(), entropy)
    })?;
    let ciphertext = bound(store, &facts, FIELDS, Layer::Fields, |binding| {
        seal(&plain, binding, staged.plain.expose(), entropy)
    })?;
    Ok(SealedRecord {
        facts,
        fields: FIELDS,
        kek: kek_id,
        data_key,
        ciphertext,
    })
}

/// The same record, its data key wrapped with the newest key. It was opened before it is given out.
pub(crate) fn rewrap(
    store: StoreId,
    keyring: &Keyring,
    record: &SealedRecord,
    entropy: &dyn Entropy,
) -> Result<SealedRecord, CannotOpen> {
    let facts = &record.facts;
    let old = keyring.key(record.kek).ok_or(CannotOpen)?;
    let data_key = bound(
        store,
        facts,
        record.fields,
        Layer::DataKey(record.kek),
        |binding| open(old, binding, &record.data_key),
    )?;
    let (kek, key) = keyring.newest(KeyPurpose::Kek).ok_or(CannotOpen)?;
    let data_key = bound(store, facts, record.fields, Layer::DataKey(kek), |binding| {
        seal(key, binding, data_key.expose(), entropy)
    });
    let wrapped = SealedRecord {
        kek,
        data_key: data_key.map_err(|_| CannotOpen)?,
        ..record.clone()
    };
    open_record(store, keyring, &wrapped).map(|_| wrapped)
}

pub(crate) fn open_record(
    store: StoreId,
    keyring: &Keyring,
    record: &SealedRecord,
) -> Result<OpenCredential, CannotOpen> {
    let facts = &record.facts;
    if record.fields != FIELDS || record.kek.purpose != KeyPurpose::Kek {
        return Err(CannotOpen);
    }
    let kek = keyring.key(record.kek).ok_or(CannotOpen)?;
    let data_key = bound(
        store,
        facts,
        record.fields,
        Layer::DataKey(record.kek),
        |binding| open(kek, binding, &record.data_key),
    )?;
    let data_key = Key::copied(data_key.expose()).ok_or(CannotOpen)?;
    let plain = bound(store, facts, record.fields, Layer::Fields, |binding| {
        open(&data_key, binding, &record.ciphertext)
    })?;
    OpenCredential::parse(plain)
}

/// The two layers of a credential.
enum Layer {
    /// The data key, wrapped with a key of the keyring.
    DataKey(KeyId),
    /// The fields, sealed with the data key.
    Fields,
}

/// What a layer of a credential is bound to: its whole place and every public fact.
fn bound<T>(
    store: StoreId,
    facts: &CredentialFacts,
    fields: u16,
    layer: Layer,
    then: impl FnOnce(&Binding<'_>) -> T,
) -> T {
    let (purpose, wrapping_key) = match layer {
        Layer::DataKey(kek) => ("dek", kek.to_string()),
        Layer::Fields => ("credential", format!("dek#{}", facts.version)),
    };
    let created_at = facts.created_at.to_string();
    then(&Binding {
        purpose,
        store,
        table: "credential",
        row: &facts.id.to_string(),
        account: facts.place.account.as_str(),
        broker: facts.place.broker.as_str(),
        fields,
        version: facts.version,
        wrapping_key: &wrapping_key,
        facts: &[
            <&str>::from(facts.place.mode).as_bytes(),
            created_at.as_bytes(),
            facts.public_key_hint.as_bytes(),
            facts.key_rights.as_bytes(),
        ],
    })
}

#[cfg(test)]
mod tests {
    use bursar_model::{AccountMode, CredentialId};
    use jiff::Timestamp;

    use super::*;
    use crate::credential::CredentialMaterial;
    use crate::secret::Secret;
    use crate::test_entropy::Seeded;
    use crate::vault::CredentialPlace;

    const STORE: StoreId = StoreId::from_uuid(uuid::Uuid::from_u128(7));

    /// Sealed right, in this form and with this key.
    fn sealed(ring: &Keyring, fields: u16, kek: KeyId) -> SealedRecord {
        let entropy = Seeded::new(1);
        let facts = CredentialFacts {
            id: CredentialId::random(&entropy),
            place: CredentialPlace {
                account: "kraken-main".parse().unwrap(),
                broker: "kraken".parse().unwrap(),
                mode: AccountMode::Live,
            },
            version: 1,
            created_at: Timestamp::UNIX_EPOCH,
            public_key_hint: String::new(),
            key_rights: "trade".to_owned(),
        };
        let entered = ["public-key-id", "secret"].map(|text| Secret::from_text(text.to_owned()));
        let [api_key, api_secret] = entered;
        let staged = StagedCredential::new(&CredentialMaterial::new(api_key, api_secret)).unwrap();
        let plain = Key::random(&entropy);
        let data_key = bound(STORE, &facts, fields, Layer::DataKey(kek), |binding| {
            seal(ring.key(kek).unwrap(), binding, plain.expose(), &entropy)
        });
        let ciphertext = bound(STORE, &facts, fields, Layer::Fields, |binding| {
            seal(&plain, binding, staged.plain.expose(), &entropy)
        });
        SealedRecord {
            facts,
            fields,
            kek,
            data_key: data_key.unwrap(),
            ciphertext: ciphertext.unwrap(),
        }
    }

    /// Nothing was changed in it: it is the one who sealed it that is not known here.
    #[test]
    fn i16_a_record_of_a_newer_form_or_under_a_key_for_something_else_does_not_open() {
        let ring = Keyring::generate(&Seeded::new(2));
        for (fields, purpose, is_opened) in [
            (FIELDS, KeyPurpose::Kek, true),
            (FIELDS + 1, KeyPurpose::Kek, false),
            (FIELDS, KeyPurpose::Backup, false),
        ] {
            let kek = KeyId {
                purpose,
                generation: 1,
            };
            let record = sealed(&ring, fields, kek);

            let opened = open_record(STORE, &ring, &record);

            assert_eq!(opened.is_ok(), is_opened, "form {fields}, {kek}");
        }
    }
}
