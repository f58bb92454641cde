//! Seals an exchange key into a file of one's own and signs with it, without Bursar's store.
//!
//! ```sh
//! cargo run -p bursar-keystore --example seal_and_sign
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod file_vault;

use std::error::Error;
use std::fs;
use std::sync::Arc;

use bursar_keystore::{
    CredentialMaterial, CredentialPlace, KeyFile, KeyStore, NewSlot, Secret, SecretEncoding, SignError,
    Signer, SystemEntropy, UnlockMaterial, check_vault,
};
use bursar_model::AccountMode;
use data_encoding::BASE64;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::file_vault::FileVault;

/// The key of the example in Kraken's documentation; it opens nothing. A program takes a key from a
/// prompt or a pipe, never from its source, its arguments or its environment.
const API_KEY: &str = "jYwEd5cHQ8Kx3nV7uTzA1bLmP0sRfGtE";
const API_SECRET: &str =
    "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg==";
/// What it signs there, and what comes out.
const NONCE: &str = "1616492376594";
const BODY: &str = "nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25";
const SIGNATURE: &str =
    "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ==";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    fs::create_dir(&data)?;

    // A vault of one's own keeps the promises of every vault.
    check_vault(&FileVault::at(data.join("checked.json"))).await?;
    println!("the vault keeps its promises");

    // Once: the keys of a new store. The unlock key may not lie where the sealed keys lie.
    let vault = Arc::new(FileVault::at(data.join("keys.json")));
    let unlock_key = || KeyFile::new(folder.path().join("config/unlock.key"), vec![data.clone()]);
    let slots = vec![NewSlot::File(unlock_key())];
    let new = KeyStore::init(vault.clone(), Arc::new(SystemEntropy), now(), slots).await?;
    // Shown to the operator once. Whoever has no operator keeps it elsewhere, as this example would.
    let written_down = Secret::from_text(new.recovery_code().reveal().to_string());
    let confirmed = new.recovery_code().confirm_whole(&written_down)?;
    let keys = new.finish(confirmed).await?;
    println!("made the key store {}", keys.store_id());

    // Once per exchange key: staged, so that the exchange can be asked what it may do, then sealed for
    // the one place where it may be used.
    let material = CredentialMaterial::new(secret(API_KEY), secret(API_SECRET));
    let staged = keys.stage(&material)?;
    assert_eq!(sign(staged.signer().as_ref())?, SIGNATURE);
    let place = CredentialPlace {
        account: "kraken-ilves".parse()?,
        broker: "kraken".parse()?,
        mode: AccountMode::Live,
    };
    let record = keys.seal(staged, place.clone(), "query funds, trade", now())?;
    let id = record.facts.id;
    bursar_keystore::Vault::put(vault.as_ref(), &record, None).await?;
    println!("sealed the key that ends in {}", record.facts.public_key_hint);

    // What lies on the disk says whose key it is and what it may do, and nothing that signs.
    let stored = fs::read_to_string(data.join("keys.json"))?;
    assert!(stored.contains("kraken-ilves") && stored.contains("query funds, trade"));
    for hidden in [API_KEY, API_SECRET] {
        assert!(!stored.contains(hidden) && !stored.contains(&BASE64.encode(hidden.as_bytes())));
    }
    println!("no secret is in the file");

    // A new process: sealed until it is unlocked.
    drop(keys);
    let vault = Arc::new(FileVault::at(data.join("keys.json")));
    let keys = KeyStore::open(vault, Arc::new(SystemEntropy)).await?;
    assert!(keys.load_signer(id, &place).await.is_err());
    keys.unlock(&UnlockMaterial::File(unlock_key())).await?;
    let signer = keys.load_signer(id, &place).await?;
    assert_eq!(sign(signer.as_ref())?, SIGNATURE);
    println!("signed: {SIGNATURE}");

    // Moved to another account it does not open, and a locked store signs nothing.
    let elsewhere = CredentialPlace {
        account: "kraken-brandt".parse()?,
        ..place
    };
    let moved = keys.load_signer(id, &elsewhere).await;
    println!(
        "for another account: {}",
        chain(&moved.err().ok_or("it opened elsewhere")?)
    );
    keys.lock();
    let locked = sign(signer.as_ref()).err().ok_or("a locked store signed")?;
    assert_eq!(locked, SignError::Sealed);
    println!("locked: {locked}; hint: {}", locked.hint());
    Ok(())
}

/// A request as Kraken wants it signed: the path and a hash of number and body.
fn sign(signer: &dyn Signer) -> Result<String, SignError> {
    let hash = Sha256::digest([NONCE, BODY].concat());
    let signature = signer.hmac_sha512(SecretEncoding::Base64, &[b"/0/private/AddOrder", &hash])?;
    Ok(BASE64.encode(&signature))
}

fn secret(text: &str) -> Secret {
    Secret::from_text(text.to_owned())
}

#[expect(
    clippy::disallowed_methods,
    reason = "this program is the one that knows the time"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

fn chain(error: &dyn Error) -> String {
    let cause = error.source().map(|source| format!(": {source}"));
    format!("{error}{}", cause.unwrap_or_default())
}

#[cfg(test)]
#[test]
fn the_example_holds() -> Result<(), Box<dyn Error>> {
    main()
}
