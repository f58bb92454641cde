//! What custody costs: a signature with a stored key against the bare code under it, and sealing, opening and
//! wrapping anew: `just key-figures`.
#![expect(clippy::unwrap_used, reason = "a benchmark ends where its own world is wrong")]

use std::hint::black_box;
use std::sync::Arc;

use bursar_keystore::{
    CredentialMaterial, CredentialPlace, KeyStore, MemoryVault, NewSlot, PassphraseCost, Secret,
    SecretEncoding, Vault,
};
use bursar_model::{AccountMode, Entropy};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::{Digest, Sha256, Sha512};
use tokio::runtime::Runtime;

/// The shape of a secret that Kraken gives out, and of an order that is signed with it.
const SECRET: [u8; 64] = [7; 64];
const PATH: &str = "/0/private/AddOrder";
const NONCE: u64 = 1_767_225_600_000_000;
const BODY: &str = "nonce=1767225600000000&ordertype=limit&pair=XBTUSD&price=37500.1&type=buy&volume=1.25&\
                    cl_ord_id=6d1b345e2821440eb9a0b0f0c8b0d2d0&deadline=2026-11-20T12%3A00%3A05.000Z";

struct Random;

impl Entropy for Random {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).unwrap();
    }
}

fn secret(text: impl Into<String>) -> Secret {
    Secret::from_text(text.into())
}

async fn key_store(vault: Arc<MemoryVault>) -> KeyStore {
    let slot = NewSlot::Passphrase {
        passphrase: secret("walnut harbour violin eleven"),
        cost: PassphraseCost::FLOOR,
    };
    let now = Timestamp::UNIX_EPOCH;
    let new = KeyStore::init(vault, Arc::new(Random), now, vec![slot])
        .await
        .unwrap();
    let code = new.recovery_code().reveal().to_string();
    let mut groups = code.split('-').map(secret);
    let (first, second) = (groups.next().unwrap(), groups.next().unwrap());
    let confirmed = new.recovery_code().confirm([(1, &first), (2, &second)]).unwrap();
    new.finish(confirmed).await.unwrap()
}

fn place() -> CredentialPlace {
    CredentialPlace {
        account: "kraken-ilves".parse().unwrap(),
        broker: "kraken".parse().unwrap(),
        mode: AccountMode::Live,
    }
}

fn material() -> CredentialMaterial {
    CredentialMaterial::new(
        secret("KrakenPublicKeyId0123wxyz"),
        secret(BASE64.encode(&SECRET)),
    )
}

/// What is signed of a request: its path, and the hash of number and body.
fn message() -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(NONCE.to_string());
    hash.update(BODY);
    hash.finalize().into()
}

fn custody(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let vault = Arc::new(MemoryVault::new());
    let keys = runtime.block_on(key_store(vault.clone()));
    let seal = || {
        let staged = keys.stage(&material()).unwrap();
        keys.seal(staged, place(), "trade", Timestamp::UNIX_EPOCH)
            .unwrap()
    };
    let signer = keys.signer(seal(), &place()).unwrap();

    criterion.bench_function("sign an order, bare", |bencher| {
        bencher.iter(|| {
            let mut mac = Hmac::<Sha512>::new_from_slice(black_box(&SECRET)).unwrap();
            mac.update(PATH.as_bytes());
            mac.update(&message());
            black_box(BASE64.encode(&mac.finalize().into_bytes()))
        });
    });
    criterion.bench_function("sign an order, with a stored key", |bencher| {
        bencher.iter(|| {
            let signed = signer.hmac_sha512(SecretEncoding::Base64, &[PATH.as_bytes(), &message()]);
            black_box(BASE64.encode(&signed.unwrap()))
        });
    });
    criterion.bench_function("seal a key", |bencher| bencher.iter(|| black_box(seal())));
    criterion.bench_function("open a sealed key", |bencher| {
        bencher.iter_batched(
            seal,
            |record| black_box(keys.signer(record, &place()).unwrap()),
            BatchSize::SmallInput,
        );
    });
    runtime.block_on(async {
        for _ in 0..1_000 {
            vault.put(&seal(), None).await.unwrap();
        }
    });
    let mut group = criterion.benchmark_group("wrap 1,000 keys anew");
    group.sample_size(10);
    group.bench_function("in memory", |bencher| {
        bencher.iter(|| runtime.block_on(keys.rotate_wrapping_key(|_| {})).unwrap());
    });
    group.finish();
}

criterion_group!(benches, custody);
criterion_main!(benches);
