//! Public vectors, and what opens and what does not.

use data_encoding::HEXLOWER;

use super::*;
use crate::test_entropy::Seeded;

fn hex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn binding(store: StoreId) -> Binding<'static> {
    Binding {
        purpose: "credential",
        store,
        table: "credential",
        row: "r1",
        account: "kraken-main",
        broker: "kraken",
        fields: 1,
        version: 7,
        wrapping_key: "kek#1",
        facts: &[b"live"],
    }
}

/// draft-irtf-cfrg-xchacha-03, A.3.1.
#[test]
fn i16_xchacha20_poly1305_agrees_with_the_draft() {
    let key = Key::copied(&(0x80..=0x9f).collect::<Vec<u8>>()).unwrap();
    let nonce: [u8; NONCE] = (0x40..=0x57).collect::<Vec<u8>>().try_into().unwrap();
    let data = hex("50515253c0c1c2c3c4c5c6c7");
    let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip \
        for the future, sunscreen would be it.";
    let ciphertext = hex("bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb\
         731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452\
         2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9\
         21f9664c97637da9768812f615c68b13b52e");
    let tag: [u8; TAG] = hex("c0875924c1c7987947deafd8780acf49").try_into().unwrap();

    let mut buffer = plain.to_vec();
    assert_eq!(encrypt(&key, &nonce, &data, &mut buffer).unwrap(), tag);
    assert_eq!(buffer, ciphertext);

    decrypt(&key, &nonce, &data, &mut buffer, &tag).unwrap();
    assert_eq!(buffer, plain);
    for bit in 0..128 {
        let mut wrong = tag;
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(decrypt(&key, &nonce, &data, &mut ciphertext.clone(), &wrong).is_err());
    }
    assert!(decrypt(&key, &nonce, &data[1..], &mut ciphertext.clone(), &tag).is_err());
}

/// RFC 4231, cases 1, 2, 3, 4, 6 and 7 (keys longer than a block).
#[test]
fn hmac_sha512_agrees_with_rfc_4231() {
    let fourth: Vec<u8> = (1..=25).collect();
    let cases: [(&[u8], &[u8], &str); 6] = [
        (
            &[0x0b; 20],
            b"Hi There",
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde\
             daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
        ),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
             9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
        (
            &[0xaa; 20],
            &[0xdd; 50],
            "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39\
             bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb",
        ),
        (
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352\
             6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
        ),
        (
            &fourth,
            &[0xcd; 50],
            "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3db\
             a91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd",
        ),
        (
            &[0xaa; 131],
            b"This is a test using a larger than block-size key and a larger than block-size data. \
              The key needs to be hashed before being used by the HMAC algorithm.",
            "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944\
             b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58",
        ),
    ];
    for (key, message, expected) in cases {
        assert_eq!(HEXLOWER.encode(&hmac_sha512(key, &[message])), expected);
        // In parts it is the same message.
        let (head, tail) = message.split_at(3);
        assert_eq!(HEXLOWER.encode(&hmac_sha512(key, &[head, b"", tail])), expected);
    }
}

/// With a zero behind it a key means the same, up to one block; beyond that it is hashed.
#[test]
fn hmac_sha512_takes_a_key_of_a_whole_block_as_it_is() {
    let key = [[0xaa_u8; 127].as_slice(), &[0, 0]].concat();
    let tag = |length: usize| hmac_sha512(&key[..length], &[b"message"]);

    assert_eq!(tag(128), tag(127));
    assert_ne!(tag(129), tag(128));
}

/// RFC 4231, cases 1 to 4. Our keys have 32 bytes: a shorter one means the same with zeros behind it.
#[test]
fn hmac_sha256_agrees_with_rfc_4231() {
    let fourth: Vec<u8> = (1..=25).collect();
    let cases: [(&[u8], &[u8], &str); 4] = [
        (
            &[0x0b; 20],
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            &[0xaa; 20],
            &[0xdd; 50],
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        ),
        (
            &fourth,
            &[0xcd; 50],
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        ),
    ];
    for (key, message, expected) in cases {
        let mut padded = key.to_vec();
        padded.resize(32, 0);
        let key = Key::copied(&padded).unwrap();
        assert_eq!(HEXLOWER.encode(&hmac_sha256(&key, &[message])), expected);
    }
}

/// HMAC of the same input by another implementation.
#[test]
fn hmac_sha256_agrees_with_another_implementation() {
    let key = Key::copied(&(0..32).collect::<Vec<u8>>()).unwrap();

    assert_eq!(
        HEXLOWER.encode(&hmac_sha256(&key, &[b"a", b"b"])),
        "2e2f68fb95e31672b7a745ed580c12454641604e37fc2f1867fb34fae4a03973"
    );
}

/// RFC 5869, case 3: no salt, no info.
#[test]
fn hkdf_agrees_with_rfc_5869() {
    let output: [u8; 42] = hkdf_sha256(&[0x0b; 22], &[]);

    assert_eq!(
        HEXLOWER.encode(&output),
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    );
}

/// RFC 9106, 5.3. It has a secret and associated data, which our slots do not use.
#[test]
fn argon2id_agrees_with_rfc_9106() {
    let params = argon2::ParamsBuilder::new()
        .m_cost(32)
        .t_cost(3)
        .p_cost(4)
        .data(argon2::AssociatedData::new(&[4; 12]).unwrap())
        .output_len(32)
        .build()
        .unwrap();
    let mut tag = [0; 32];
    Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params)
        .unwrap()
        .hash_password_into(&[1; 32], &[2; 16], &mut tag)
        .unwrap();

    assert_eq!(
        HEXLOWER.encode(&tag),
        "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
    );
}

/// Each of these needs a feature of its crate to be switched on.
#[test]
fn i5_the_libraries_wipe_their_state() {
    fn wiped_on_drop<T: zeroize::ZeroizeOnDrop>() {}

    wiped_on_drop::<XChaCha20Poly1305>();
    wiped_on_drop::<Sha256>();
    wiped_on_drop::<Sha512>();
}

/// From the reference implementation's own tests: Argon2id, 64 MiB, two passes, one lane.
#[test]
fn a_passphrase_is_stretched_as_the_reference_implementation_does() {
    let cost = PassphraseCost {
        memory_kib: 65536,
        passes: 2,
        lanes: 1,
    };
    let key = stretch(&Secret::from_text("password".to_owned()), b"somesalt", cost).unwrap();

    assert_eq!(
        HEXLOWER.encode(key.expose()),
        "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"
    );
}

#[test]
fn a_passphrase_is_never_stretched_below_the_floor() {
    let passphrase = Secret::from_text("walnut harbour violin".to_owned());
    for (memory_kib, passes, lanes) in [
        (19 * 1024 - 1, 2, 1),
        (19 * 1024, 1, 1),
        (19 * 1024, 2, 0),
        (2 * 1024 * 1024, 3, 1),
    ] {
        let cost = PassphraseCost {
            memory_kib,
            passes,
            lanes,
        };
        assert!(stretch(&passphrase, &[0; 16], cost).is_none(), "{cost:?}");
    }
}

#[test]
fn a_passphrase_costs_from_the_floor_to_the_ceiling() {
    let (floor, ceiling) = (PassphraseCost::FLOOR, PassphraseCost::CEILING);
    assert!(floor.is_allowed() && ceiling.is_allowed());

    for (memory_kib, passes, lanes) in [(1, 0, 0), (0, 1, 0), (0, 0, 1)] {
        let cheaper = PassphraseCost {
            memory_kib: floor.memory_kib - memory_kib,
            passes: floor.passes - passes,
            lanes: floor.lanes - lanes,
        };
        let dearer = PassphraseCost {
            memory_kib: ceiling.memory_kib + memory_kib,
            passes: ceiling.passes + passes,
            lanes: ceiling.lanes + lanes,
        };
        assert!(
            !cheaper.is_allowed() && !dearer.is_allowed(),
            "{cheaper:?} {dearer:?}"
        );
    }
}

/// The bytes are laid down: a store sealed today is opened by every later release.
#[test]
fn associated_data_is_the_ten_fields_in_order_each_with_its_length() {
    let store = StoreId::from_uuid("6f1d0c66-2f9b-4c39-9d0f-2f6a3f0a9d11".parse().unwrap());

    let data = binding(store).associated_data();

    let mut expected = Vec::new();
    for field in [
        b"gw1".as_slice(),
        b"credential",
        b"6f1d0c66-2f9b-4c39-9d0f-2f6a3f0a9d11",
        b"credential",
        b"r1",
        b"kraken-main",
        b"kraken",
        &[0, 0, 0, 0, 0, 0, 0, 1],
        &[0, 0, 0, 0, 0, 0, 0, 7],
        b"kek#1",
        b"live",
    ] {
        expected.extend_from_slice(&[0, 0, 0, u8::try_from(field.len()).unwrap()]);
        expected.extend_from_slice(field);
    }
    assert_eq!(data, expected);

    let empty = Binding {
        account: "",
        broker: "",
        facts: &[],
        ..binding(store)
    };
    assert_eq!(
        empty.associated_data().len(),
        expected.len() - "kraken-mainkraken".len() - 8
    );
}

#[test]
fn i16_moving_letters_between_fields_changes_what_is_bound() {
    let store = StoreId::random(&Seeded::new(1));
    let one = Binding {
        account: "ab",
        broker: "c",
        ..binding(store)
    };
    let other = Binding {
        account: "a",
        broker: "bc",
        ..binding(store)
    };

    assert_ne!(one.associated_data(), other.associated_data());
}

#[test]
fn i16_every_field_of_the_place_is_bound() {
    let entropy = Seeded::new(2);
    let (store, key) = (StoreId::random(&entropy), Key::random(&entropy));
    let sealed = seal(&key, &binding(store), b"canary", &entropy).unwrap();
    assert_eq!(open(&key, &binding(store), &sealed).unwrap().expose(), b"canary");

    let elsewhere = [
        Binding {
            purpose: "dek",
            ..binding(store)
        },
        Binding {
            store: StoreId::random(&entropy),
            ..binding(store)
        },
        Binding {
            table: "other",
            ..binding(store)
        },
        Binding {
            row: "r2",
            ..binding(store)
        },
        Binding {
            account: "kraken-ilves",
            ..binding(store)
        },
        Binding {
            broker: "coinbase",
            ..binding(store)
        },
        Binding {
            fields: 2,
            ..binding(store)
        },
        Binding {
            version: 8,
            ..binding(store)
        },
        Binding {
            wrapping_key: "kek#2",
            ..binding(store)
        },
        Binding {
            facts: &[b"paper"],
            ..binding(store)
        },
        Binding {
            facts: &[],
            ..binding(store)
        },
    ];
    for place in elsewhere {
        assert!(
            open(&key, &place, &sealed).is_err(),
            "opened in another {}",
            place.purpose
        );
    }
    assert!(open(&Key::random(&entropy), &binding(store), &sealed).is_err());
}

/// XChaCha20-Poly1305 itself would open these bytes: only the commitment stands in the way.
#[test]
fn i16_a_wrong_commitment_does_not_open() {
    let entropy = Seeded::new(3);
    let (store, key) = (StoreId::random(&entropy), Key::random(&entropy));
    let mut bytes = seal(&key, &binding(store), b"canary", &entropy)
        .unwrap()
        .into_bytes();
    bytes[1 + NONCE] ^= 1;

    assert!(open(&key, &binding(store), &SealedBytes::from_bytes(bytes)).is_err());
}

/// A constant in its place would agree with itself under every key, and commit to none.
#[test]
fn i16_the_commitment_is_made_of_the_key_the_place_and_the_nonce() {
    let entropy = Seeded::new(5);
    let (store, key) = (StoreId::random(&entropy), Key::random(&entropy));
    let data = binding(store).associated_data();

    let sealed = seal(&key, &binding(store), b"canary", &entropy)
        .unwrap()
        .into_bytes();

    let (nonce, rest) = sealed[1..].split_first_chunk::<NONCE>().unwrap();
    let expected: [u8; COMMITMENT] = hkdf_sha256(key.expose(), &[b"commit", &data, nonce]);
    assert_eq!(rest[..COMMITMENT], expected);
}

/// The room is made before anything secret lies in it: a vector that grows leaves a copy behind.
#[test]
fn what_is_sealed_is_as_long_as_the_room_that_was_made() {
    let entropy = Seeded::new(6);
    let (store, key) = (StoreId::random(&entropy), Key::random(&entropy));

    let sealed = seal(&key, &binding(store), b"canary", &entropy).unwrap();

    assert_eq!(sealed.as_bytes().len(), b"canary".len() + OVERHEAD);
    assert_eq!(format!("{sealed:?}"), "SealedBytes(79 bytes)");
}

#[test]
fn sealing_twice_never_gives_the_same_bytes() {
    let entropy = Seeded::new(4);
    let (store, key) = (StoreId::random(&entropy), Key::random(&entropy));
    let nonces: std::collections::BTreeSet<Vec<u8>> = (0..1000)
        .map(|_| seal(&key, &binding(store), b"same", &entropy).unwrap().0[1..=NONCE].to_vec())
        .collect();

    assert_eq!(nonces.len(), 1000);
}
