//! I16 on the real store: whoever changes what is sealed, in whatever way, is found out, and nothing
//! opens to what it was not.
//!
//! `BURSAR_MUTATIONS` says how many changes are tried (some hundred when unset), `BURSAR_SEED`
//! replays a run.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use bursar_keystore::{
    CredentialMaterial, CredentialPlace, KeyFile, KeyStore, NewSlot, SealedRecord, Secret, SecretEncoding,
    Signer, UnlockMaterial, Vault,
};
use bursar_model::{AccountMode, CredentialId};
use bursar_store_sqlite::{SqliteStore, Verification};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::support::{Counting, World, environment, world};

const COLUMNS: [&str; 12] = [
    "id",
    "account",
    "broker",
    "mode",
    "version",
    "created_at",
    "public_key_hint",
    "key_rights",
    "fields",
    "kek",
    "data_key",
    "ciphertext",
];
const DATA_KEY: usize = 10;
const CIPHERTEXT: usize = 11;

type Row = Vec<Value>;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Numbers that a seed decides.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        let bit = self.below(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }

    fn two(&mut self, bound: usize) -> (usize, usize) {
        let first = self.below(bound);
        (first, (first + 1 + self.below(bound - 1)) % bound)
    }
}

/// A store with keys of its own, as it lies on disk.
struct Sealed {
    world: World,
    unlock: KeyFile,
    raw: Connection,
    places: BTreeMap<CredentialId, CredentialPlace>,
    /// What each credential signs, so that a wrong plaintext is seen.
    signs: BTreeMap<CredentialId, String>,
    records: Vec<SealedRecord>,
    rows: Vec<Row>,
    /// The same credentials before they were replaced.
    old_rows: Vec<Row>,
    header: (Value, Value),
}

fn secret(text: String) -> Secret {
    Secret::from_text(text)
}

fn place(account: &str) -> CredentialPlace {
    CredentialPlace {
        account: account.parse().unwrap(),
        broker: "kraken".parse().unwrap(),
        mode: AccountMode::Live,
    }
}

fn signature(signer: &dyn Signer) -> String {
    let signed = signer
        .hmac_sha512(SecretEncoding::Text, &[b"corruption"])
        .unwrap();
    format!("{} {:?}", signer.public_key(), &signed[..8])
}

fn rows(raw: &Connection) -> Vec<Row> {
    let sql = format!("SELECT {} FROM credential ORDER BY id", COLUMNS.join(", "));
    let mut statement = raw.prepare(&sql).unwrap();
    statement
        .query_map([], |row| {
            (0..COLUMNS.len()).map(|column| row.get(column)).collect()
        })
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap()
}

fn put(raw: &Connection, row: &Row) {
    let sql = format!(
        "INSERT OR REPLACE INTO credential ({}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        COLUMNS.join(", ")
    );
    raw.execute(&sql, params_from_iter(row)).unwrap();
}

impl Sealed {
    async fn new(name: &str) -> Self {
        let world = world();
        // Another store has other keys.
        let seed: u64 = name.bytes().map(u64::from).sum();
        let entropy = Arc::new(Counting::from(seed << 32));
        world.add_user("mara_ilves").await;
        let accounts = ["kraken-ilves", "kraken-main", "kraken-brandt"];
        for account in accounts {
            world
                .add_account(account, "mara_ilves", "kraken", AccountMode::Live)
                .await;
        }
        let home = world.folder().join("home");
        std::fs::create_dir(&home).unwrap();
        let unlock = KeyFile::new(home.join(format!("{name}.key")), Vec::new());
        let vault: Arc<dyn Vault> = Arc::new(world.store.clone());
        let slots = vec![NewSlot::File(unlock.clone())];
        let new = KeyStore::init(vault, entropy, world.now(), slots).await.unwrap();
        let code = new.recovery_code().reveal().to_string();
        let groups: Vec<Secret> = code.split('-').map(|group| secret(group.to_owned())).collect();
        let confirmed = new
            .recovery_code()
            .confirm([(1, &groups[0]), (2, &groups[1])])
            .unwrap();
        let keys = new.finish(confirmed).await.unwrap();
        let material = |account: &str, version: u8| {
            CredentialMaterial::new(
                secret(format!("public-{name}-{account}-{version}")),
                secret(format!("secret-{name}-{account}-{version}")),
            )
        };
        let mut first = Vec::new();
        for account in accounts {
            let staged = keys.stage(&material(account, 1)).unwrap();
            let record = keys.seal(staged, place(account), "trade", world.now()).unwrap();
            world.store.put(&record, None).await.unwrap();
            first.push(record);
        }
        let raw = Connection::open(world.path()).unwrap();
        raw.execute_batch("PRAGMA synchronous = OFF").unwrap();
        let old_rows = rows(&raw);
        let (mut places, mut signs, mut records) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (account, old) in accounts.into_iter().zip(first) {
            let staged = keys.stage(&material(account, 2)).unwrap();
            let next = keys.seal_next(staged, &old.facts, "trade", world.now()).unwrap();
            world.store.put(&next, Some(1)).await.unwrap();
            let signer = keys.load_signer(next.facts.id, &place(account)).await.unwrap();
            places.insert(next.facts.id, place(account));
            signs.insert(next.facts.id, signature(signer.as_ref()));
            records.push(next);
        }
        records.sort_by_key(|record| record.facts.id.to_string());
        let header = raw
            .query_row("SELECT version, body FROM keystore_header", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        Self {
            rows: rows(&raw),
            world,
            unlock,
            raw,
            places,
            signs,
            records,
            old_rows,
            header,
        }
    }

    fn put_header(&self, (version, body): &(Value, Value)) {
        self.raw
            .execute(
                "UPDATE keystore_header SET version = ?1, body = ?2",
                [version, body],
            )
            .unwrap();
    }

    fn restore(&self) {
        self.raw.execute("DELETE FROM credential", []).unwrap();
        for row in &self.rows {
            put(&self.raw, row);
        }
        self.put_header(&self.header);
    }

    /// Whether what the store tells is what was sealed: then nothing was changed that counts.
    async fn is_unchanged(&self) -> bool {
        let mut told = Vec::new();
        for record in &self.records {
            told.push(self.world.store.get(record.facts.id).await.ok().flatten());
        }
        let header = self.world.store.load_header().await.ok().flatten();
        let body = header.map(|header| serde_json::to_value(header).unwrap());
        let Value::Text(kept) = &self.header.1 else {
            panic!("the header is text");
        };
        told.into_iter().flatten().collect::<Vec<_>>() == self.records
            && body == Some(serde_json::from_str(kept).unwrap())
    }

    /// What a process finds that starts on `store` now.
    async fn look(&self, store: &SqliteStore) -> Look {
        let vault: Arc<dyn Vault> = Arc::new(store.clone());
        let Ok(keys) = KeyStore::open(vault, self.world.entropy.clone()).await else {
            return Look::default().found();
        };
        if keys
            .unlock(&UnlockMaterial::File(self.unlock.clone()))
            .await
            .is_err()
        {
            return Look::default().found();
        }
        let mut look = Look::default();
        for (id, place) in &self.places {
            match keys.load_signer(*id, place).await {
                Err(_) => look = look.found(),
                Ok(signer) if signature(signer.as_ref()) == self.signs[id] => {}
                Ok(signer) => look.wrong.push(signature(signer.as_ref())),
            }
        }
        match keys.prove().await {
            Ok(proof) if proof.is_whole() => look,
            _ => look.found(),
        }
    }
}

#[derive(Debug, Default)]
struct Look {
    is_found: bool,
    /// What opened and is not what was sealed last.
    wrong: Vec<String>,
}

impl Look {
    fn found(mut self) -> Self {
        self.is_found = true;
        self
    }
}

fn blob(row: &mut Row, column: usize) -> &mut Vec<u8> {
    match &mut row[column] {
        Value::Blob(bytes) => bytes,
        other => panic!("{other:?} is no ciphertext"),
    }
}

/// Changes one or two rows, or the header. The name of the kind, for the count.
fn change(sealed: &Sealed, foreign: &Sealed, dice: &mut Dice) -> &'static str {
    let raw = &sealed.raw;
    let (one, other) = dice.two(sealed.rows.len());
    let column = [DATA_KEY, CIPHERTEXT][dice.below(2)];
    let mut row = sealed.rows[one].clone();
    let kind = match dice.below(12) {
        0 => {
            dice.flip(blob(&mut row, column));
            "a bit of a sealed column"
        }
        1 => {
            let bytes = blob(&mut row, column);
            bytes.truncate(dice.below(bytes.len()));
            "a sealed column cut"
        }
        2 => {
            let tail = vec![0; 1 + dice.below(40)];
            blob(&mut row, column).extend(tail);
            "a sealed column lengthened"
        }
        3 => {
            row[column] = sealed.rows[other][column].clone();
            "a sealed column of another row"
        }
        4 => {
            let mut exchanged = sealed.rows[other].clone();
            std::mem::swap(&mut row[0], &mut exchanged[0]);
            put(raw, &exchanged);
            "two rows exchanged"
        }
        5 => {
            // As if it belonged to another account: the account's own place is asked for.
            row = sealed.rows[other].clone();
            row[0] = sealed.rows[one][0].clone();
            row[1] = sealed.rows[one][1].clone();
            "the row of another account"
        }
        6 => {
            row = foreign.rows[one].clone();
            row[0] = sealed.rows[one][0].clone();
            row[1] = sealed.rows[one][1].clone();
            "the row of another store"
        }
        7 => {
            let version = row[4].clone();
            row = sealed.old_rows[one].clone();
            row[4] = version;
            "an old row under the new number"
        }
        8 => {
            row[column] = sealed.old_rows[one][column].clone();
            "a sealed column of an old row"
        }
        9 => {
            let column = 2 + dice.below(8);
            row[column] = match &row[column] {
                Value::Integer(number) => Value::Integer(number + 1 + i64::try_from(dice.below(9)).unwrap()),
                Value::Text(text) => Value::Text(format!("{text}1")),
                other => panic!("{other:?} is no fact"),
            };
            "a fact beside the ciphertext"
        }
        10 => {
            let Value::Text(body) = &sealed.header.1 else {
                panic!("the header is text");
            };
            let mut bytes = body.clone().into_bytes();
            if dice.below(4) == 0 {
                bytes.truncate(dice.below(bytes.len()));
            } else {
                dice.flip(&mut bytes);
            }
            let body = String::from_utf8_lossy(&bytes).into_owned();
            sealed.put_header(&(sealed.header.0.clone(), Value::Text(body)));
            "the header"
        }
        _ => {
            sealed.put_header(&foreign.header);
            "the header of another store"
        }
    };
    put(raw, &row);
    kind
}

#[tokio::test]
async fn i16_whatever_is_changed_in_the_store_is_found_and_opens_nothing_wrong() {
    let (seed, mutations) = (number("BURSAR_SEED", 20_261_128), number("BURSAR_MUTATIONS", 300));
    println!("BURSAR_SEED={seed} BURSAR_MUTATIONS={mutations}");
    let (sealed, foreign) = (Sealed::new("ours").await, Sealed::new("theirs").await);
    let mut dice = Dice(seed);
    let store = sealed.world.store.clone();
    let untouched = sealed.look(&store).await;
    assert!(!untouched.is_found && untouched.wrong.is_empty(), "{untouched:?}");
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    let mut tried = 0;

    while tried < mutations {
        let kind = change(&sealed, &foreign, &mut dice);
        // Another spelling of the same header is the same header.
        if !sealed.is_unchanged().await {
            tried += 1;
            *kinds.entry(kind).or_default() += 1;
            let look = sealed.look(&store).await;
            assert!(
                look.wrong.is_empty(),
                "seed {seed}, change {tried} ({kind}): {look:?}"
            );
            assert!(
                look.is_found,
                "seed {seed}, change {tried} ({kind}) was not found"
            );
        }
        sealed.restore();
    }

    println!("{tried} changes, all found, 0 opened wrong: {kinds:#?}");
    assert_eq!(kinds.len(), 12, "{kinds:?}");
    let untouched = sealed.look(&store).await;
    assert!(!untouched.is_found && untouched.wrong.is_empty(), "{untouched:?}");
}

/// The seal cannot know that a newer version was there. The trail knows it: `audit verify --deep`.
#[tokio::test]
async fn i16_a_whole_old_row_put_back_opens_as_what_it_was_and_nothing_else() {
    let sealed = Sealed::new("ours").await;
    let store = sealed.world.store.clone();

    put(&sealed.raw, &sealed.old_rows[0]);
    let look = sealed.look(&store).await;

    assert_eq!(look.wrong.len(), 1, "{look:?}");
    assert!(
        look.wrong[0].contains("-1 "),
        "it opens as the first version: {look:?}"
    );
    let deep = Verification {
        deep: true,
        ..Verification::default()
    };
    let found = store.verify_trail(deep).await.unwrap();
    let credential = sealed.rows[0][0].clone();
    let Value::Text(id) = credential else {
        panic!("an id is text");
    };
    assert!(
        found.orphans.iter().any(|orphan| orphan.detail.contains(&id)),
        "the trail names the version that must be there: {:?}",
        found.orphans
    );
}

#[tokio::test]
async fn i16_a_file_that_is_cut_or_flipped_opens_nothing_wrong() {
    let (seed, mutations) = (
        number("BURSAR_SEED", 20_261_128),
        number("BURSAR_MUTATIONS", 300) / 5,
    );
    println!("BURSAR_SEED={seed}");
    let sealed = Sealed::new("ours").await;
    sealed
        .raw
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    let bytes = std::fs::read(sealed.world.path()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bursar.db");
    let mut dice = Dice(seed);
    let (mut refused, mut opened) = (0, 0);

    let entropy = Arc::new(Counting::from(1 << 40));
    let open = |copy: &[u8]| {
        for name in ["bursar.db", "bursar.db-wal", "bursar.db-shm"] {
            drop(std::fs::remove_file(folder.path().join(name)));
        }
        std::fs::write(&path, copy).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        SqliteStore::open(&path, environment(&sealed.world.clock, &entropy))
    };
    assert!(open(&bytes).is_ok(), "not even an unchanged copy opens");

    for number in 0..mutations {
        let mut copy = bytes.clone();
        if number % 2 == 0 {
            copy.truncate(dice.below(copy.len()));
        } else {
            dice.flip(&mut copy);
        }
        match open(&copy) {
            Err(_) => refused += 1,
            Ok(store) => {
                opened += 1;
                let look = sealed.look(&store).await;
                assert!(look.wrong.is_empty(), "seed {seed}, change {number}: {look:?}");
            }
        }
    }

    println!("{refused} refused, {opened} opened with nothing wrong");
    assert!(refused >= mutations / 3 && opened > 0);
}
