//! I5: nothing that is printed, described or stored shows a secret in any writing.

use std::fmt::{Debug, Display};
use std::os::unix::fs::PermissionsExt;

use bursar_keystore::{
    CredentialMaterial, KeyFile, NewSlot, RecoveryCode, SecretEncoding, UnlockMaterial, Vault,
};
use data_encoding::{BASE64, BASE64URL, HEXLOWER, HEXUPPER};

use crate::world::{COST, World, confirm, material, now, place, secret};

const API_KEY: &str = "canary/api+key-9b1e0c77";
const API_SECRET: &str = "canary/api+secret-51d3aa02";
const EXCHANGE_PASSPHRASE: &str = "canary exchange passphrase 7c44";
const ORGANISATION: &str = "canary-organisation-0e91";
const KEY_ID: &str = "canary-keyid-6ab2";
const PASSPHRASE: &str = "canary walnut \"harbour\" violin e3f8";

/// Everything that could be seen, and what must not be found in it.
#[derive(Default)]
struct Watch {
    seen: Vec<String>,
    canaries: Vec<Vec<u8>>,
}

impl Watch {
    fn debug(&mut self, value: &dyn Debug) {
        self.seen.push(format!("{value:?}"));
        self.seen.push(format!("{value:#?}"));
    }

    fn error<E: std::error::Error>(&mut self, error: &E) {
        self.debug(error);
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = cause {
            self.shown(error);
            cause = error.source();
        }
    }

    fn shown<T: Display + ?Sized>(&mut self, value: &T) {
        self.seen.push(value.to_string());
    }

    fn hidden(&mut self, secret: impl AsRef<[u8]>) {
        self.canaries.push(secret.as_ref().to_vec());
    }

    /// All the ways in which a careless line could write it.
    fn writings(secret: &[u8]) -> Vec<String> {
        let text = String::from_utf8_lossy(secret).into_owned();
        let url: String = secret
            .iter()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    char::from(*byte).to_string()
                }
                other => format!("%{other:02X}"),
            })
            .collect();
        vec![
            serde_json::to_string(&text).unwrap().trim_matches('"').to_owned(),
            text,
            url,
            BASE64.encode(secret),
            BASE64.encode(secret).trim_end_matches('=').to_owned(),
            BASE64URL.encode(secret).trim_end_matches('=').to_owned(),
            HEXLOWER.encode(secret),
            HEXUPPER.encode(secret),
            format!("{secret:?}"),
        ]
    }

    fn found(&self) -> Option<(String, String)> {
        let writings: Vec<String> = self
            .canaries
            .iter()
            .flat_map(|secret| Self::writings(secret))
            .collect();
        self.seen.iter().find_map(|text| {
            let hit = writings.iter().find(|writing| text.contains(writing.as_str()))?;
            Some((hit.clone(), text.clone()))
        })
    }
}

#[tokio::test]
async fn i5_no_public_type_or_error_shows_a_secret() {
    let mut watch = Watch::default();
    for canary in [
        API_KEY,
        API_SECRET,
        EXCHANGE_PASSPHRASE,
        ORGANISATION,
        KEY_ID,
        PASSPHRASE,
    ] {
        watch.hidden(canary);
    }
    let world = World::new(1);

    // Making a store.
    let slots = vec![
        NewSlot::File(world.key_file()),
        NewSlot::Passphrase {
            passphrase: secret(PASSPHRASE),
            cost: COST,
        },
    ];
    watch.debug(&slots);
    watch.error(&world.begin(vec![]).await.unwrap_err());
    let weak = vec![NewSlot::Passphrase {
        passphrase: secret("canary-7c4"),
        cost: COST,
    }];
    watch.hidden("canary-7c4");
    watch.error(&world.begin(weak).await.unwrap_err());
    let new = world.begin(slots).await.unwrap();
    watch.debug(&new);
    watch.debug(new.recovery_code());
    watch.debug(&new.recovery_code().reveal());
    let code = new.recovery_code().reveal().to_string();
    watch.hidden(&code);
    code.split('-').for_each(|group| watch.hidden(group));
    let typed = secret("canary99");
    watch.hidden("canary99");
    watch.error(
        &new.recovery_code()
            .confirm([(1, &typed), (2, &typed)])
            .unwrap_err(),
    );
    let confirmed = confirm(new.recovery_code());
    watch.debug(&confirmed);
    let store = new.finish(confirmed).await.unwrap();
    watch.debug(&store);
    let key = std::fs::read_to_string(world.path("config/unlock.key")).unwrap();
    watch.hidden(BASE64.decode(key.trim_end().as_bytes()).unwrap());
    watch.error(
        &world
            .begin(vec![NewSlot::File(world.key_file())])
            .await
            .unwrap_err(),
    );

    // Unlocking, in all the ways that fail.
    let wrong_key = [0x5a, 0x3c].repeat(16);
    std::fs::write(world.path("config/wrong.key"), &wrong_key).unwrap();
    std::fs::write(world.path("config/text.key"), "canary-in-a-file-55").unwrap();
    watch.hidden(wrong_key);
    watch.hidden("canary-in-a-file-55");
    for name in ["wrong", "text"] {
        let path = world.path(&format!("config/{name}.key"));
        watch.error(&KeyFile::new(&path, Vec::new()).check().err().unwrap());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
    }
    let other_code = World::new(2).init().await.1;
    watch.hidden(&other_code);
    let materials = [
        UnlockMaterial::File(world.key_file_at("config/wrong.key")),
        UnlockMaterial::File(world.key_file_at("config/text.key")),
        UnlockMaterial::File(world.key_file_at("config/missing.key")),
        UnlockMaterial::File(world.key_file_at("data/inside.key")),
        UnlockMaterial::Passphrase(secret("canary wrong passphrase 21")),
        UnlockMaterial::Recovery(RecoveryCode::parse(&secret(&other_code)).unwrap()),
    ];
    watch.hidden("canary wrong passphrase 21");
    for material in materials {
        watch.debug(&material);
        let error = store.unlock(&material).await.unwrap_err();
        watch.shown(&error.hint());
        watch.error(&error);
    }
    watch.hidden("canary-code-77");
    watch.error(&RecoveryCode::parse(&secret("canary-code-77")).unwrap_err());

    // An exchange key, from its entry to its end.
    let entered = CredentialMaterial::new(secret(API_KEY), secret(API_SECRET))
        .with_passphrase(secret(EXCHANGE_PASSPHRASE))
        .with_organisation(secret(ORGANISATION))
        .with_key_id(secret(KEY_ID));
    watch.debug(&entered);
    for broken in [
        CredentialMaterial::new(secret("canary key with spaces"), secret(API_SECRET)),
        CredentialMaterial::new(secret(API_KEY), secret("")),
        CredentialMaterial::new(secret(API_KEY), secret(&API_SECRET.repeat(1000))),
    ] {
        watch.error(&store.stage(&broken).unwrap_err());
    }
    watch.hidden("canary key with spaces");
    let staged = store.stage(&entered).unwrap();
    watch.debug(&staged);
    let signer = staged.signer();
    watch.debug(&signer);
    watch.error(&signer.hmac_sha512(SecretEncoding::Base64, &[b"x"]).unwrap_err());
    let record = store.seal(staged, place("kraken-main"), "trade", now()).unwrap();
    watch.debug(&record);
    watch.seen.push(serde_json::to_string(&record).unwrap());
    world.vault.put(&record, None).await.unwrap();
    watch.debug(&world.vault);
    watch.error(&world.vault.put(&record, None).await.unwrap_err());
    let stored = store
        .load_signer(record.facts.id, &place("kraken-main"))
        .await
        .unwrap();
    watch.debug(&stored);
    watch.error(&stored.hmac_sha512(SecretEncoding::Base64, &[b"x"]).unwrap_err());
    let elsewhere = store.load_signer(record.facts.id, &place("kraken-ilves")).await;
    watch.error(&elsewhere.unwrap_err());
    watch.debug(&store.prove().await.unwrap());
    let header = world.vault.load_header().await.unwrap().unwrap();
    watch.debug(&header);
    watch.seen.push(serde_json::to_string_pretty(&header).unwrap());
    store.delete(record.facts.id, 1).await.unwrap();
    watch.error(&stored.hmac_sha512(SecretEncoding::Base64, &[b"x"]).unwrap_err());
    watch.error(
        &store
            .load_signer(record.facts.id, &place("kraken-main"))
            .await
            .unwrap_err(),
    );

    assert!(
        watch.seen.len() > 80,
        "only {} texts were looked at",
        watch.seen.len()
    );
    assert_eq!(watch.found(), None);
    // The scanner itself sees a canary in each of its writings.
    for writing in Watch::writings(PASSPHRASE.as_bytes()) {
        watch.seen.push(format!("prefix {writing} suffix"));
        assert!(watch.found().is_some(), "`{writing}` was overlooked");
        watch.seen.pop();
    }
}

#[tokio::test]
async fn i5_debug_names_what_it_is_and_what_everybody_may_see() {
    let world = World::new(3);
    let new = world.begin(vec![NewSlot::File(world.key_file())]).await.unwrap();
    let (code, id) = (new.recovery_code(), new.store_id());
    let printed = format!("{new:?}");
    assert!(
        printed.starts_with("Initialisation { header: Header { ") && printed.ends_with(" }, .. }"),
        "{printed}"
    );
    assert_eq!(
        format!("{code:?} {:?}", code.reveal()),
        "RecoveryCode(..) RevealedCode(..)"
    );
    let confirmed = confirm(code);
    let store = new.finish(confirmed).await.unwrap();
    let staged = store.stage(&material()).unwrap();
    let next = store.next_checkpoint_key().await.unwrap();

    assert_eq!(
        format!("{store:?}"),
        format!("KeyStore {{ store: StoreId({id}), state: Unsealed, .. }}")
    );
    assert_eq!(format!("{staged:?}"), "StagedCredential(..)");
    assert_eq!(
        format!("{next:?}"),
        format!("NextCheckpointKey {{ key: {:?}, .. }}", next.key())
    );
}
