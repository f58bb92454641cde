//! Whether bytes are the canonical form of a record, without making the record: what a verification
//! does with each of a million of them.
//!
//! Accepts exactly what [`super::decode`] accepts; a test holds the two against each other.

use bursar_model::text::is_shown;
use bursar_model::{AccountId, BrokerId, FillId, UserId};
use jiff::Timestamp;
use uuid::Uuid;

use super::BODY_LIMIT;
use crate::data::{ENTRY_LIMIT, TEXT_LIMIT};
use crate::record::VERSION;
use crate::{Action, ActorKind, Hash, Outcome, StoreId};

/// What verification needs of every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) store: StoreId,
    pub(crate) seq: u64,
    pub(crate) prev: Hash,
    pub(crate) action: Action,
}

/// `None` for bytes that are not a canonical record of this version; [`super::decode`] says why.
pub(crate) fn scan(body: &[u8]) -> Option<Facts> {
    if body.len() > BODY_LIMIT {
        return None;
    }
    let mut bytes = Bytes(body);
    bytes.count(MAP, 17)?;
    bytes.key("v")?;
    if bytes.head(UNSIGNED)? != VERSION {
        return None;
    }
    bytes.key("ts")?;
    Timestamp::from_microsecond(bytes.integer()?).ok()?;
    bytes.key("req")?;
    bytes.optional()?;
    bytes.key("seq")?;
    let seq = bytes.head(UNSIGNED)?;
    bytes.key("data")?;
    bytes.data()?;
    bytes.key("node")?;
    bytes.text()?;
    bytes.key("prev")?;
    let prev = bytes.hash()?;
    bytes.key("actor")?;
    bytes.actor()?;
    bytes.key("after")?;
    bytes.optional_hash()?;
    bytes.key("epoch")?;
    bytes.head(UNSIGNED)?;
    bytes.key("store")?;
    let store = StoreId::from_uuid(Uuid::from_bytes(bytes.array()?));
    bytes.key("action")?;
    let action = bytes.text()?.parse().ok()?;
    bytes.key("before")?;
    bytes.optional_hash()?;
    bytes.key("parent")?;
    bytes.optional()?;
    bytes.key("reason")?;
    bytes.optional()?;
    bytes.key("outcome")?;
    bytes.text()?.parse::<Outcome>().ok()?;
    bytes.key("subject")?;
    bytes.subject()?;
    bytes.0.is_empty().then_some(Facts {
        store,
        seq,
        prev,
        action,
    })
}

/// The kinds of CBOR that occur, by the number in the first three bits.
const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number<const LENGTH: usize>(&mut self) -> Option<u64> {
        let (taken, rest) = self.0.split_first_chunk::<LENGTH>()?;
        self.0 = rest;
        let number = taken
            .iter()
            .fold(0, |number: u64, byte| (number << 8) | u64::from(*byte));
        Some(number)
    }

    /// The number with which an item of this kind begins, in its shortest form.
    fn head(&mut self, kind: u8) -> Option<u64> {
        let first = self.number::<1>()?;
        if first >> 5 != u64::from(kind) {
            return None;
        }
        match first & 31 {
            small @ 0..24 => Some(small),
            24 => self.number::<1>().filter(|number| *number >= 24),
            25 => self.number::<2>().filter(|number| *number > 0xff),
            26 => self.number::<4>().filter(|number| *number > 0xffff),
            27 => self.number::<8>().filter(|number| *number > 0xffff_ffff),
            _ => None,
        }
    }

    fn count(&mut self, kind: u8, count: u64) -> Option<()> {
        (self.head(kind)? == count).then_some(())
    }

    fn integer(&mut self) -> Option<i64> {
        match self.peek()? >> 5 {
            NEGATIVE => i64::try_from(self.head(NEGATIVE)?).ok().map(|number| -1 - number),
            _ => i64::try_from(self.head(UNSIGNED)?).ok(),
        }
    }

    fn text_of_any_kind(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.head(TEXT)?).ok()?;
        self.take(length)
    }

    fn key(&mut self, name: &str) -> Option<()> {
        (self.text_of_any_kind()? == name.as_bytes()).then_some(())
    }

    fn text(&mut self) -> Option<&'a str> {
        let bytes = self.text_of_any_kind()?;
        let text = std::str::from_utf8(bytes).ok()?;
        let is_plain = bytes.len() <= TEXT_LIMIT && bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
        let fits = is_plain || (text.chars().count() <= TEXT_LIMIT && text.chars().all(is_shown));
        fits.then_some(text)
    }

    fn is_null(&mut self) -> bool {
        let is_null = self.peek() == Some(NULL);
        if is_null {
            self.0 = self.0.get(1..).unwrap_or_default();
        }
        is_null
    }

    fn optional(&mut self) -> Option<Option<&'a str>> {
        if self.is_null() {
            return Some(None);
        }
        self.text().map(Some)
    }

    /// A name that is there, if any, and that is one.
    fn optional_name(&mut self, is_name: impl FnOnce(&str) -> bool) -> Option<()> {
        self.optional()?.is_none_or(is_name).then_some(())
    }

    fn array<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let length = usize::try_from(self.head(BYTES)?).ok()?;
        self.take(length)?.try_into().ok()
    }

    fn hash(&mut self) -> Option<Hash> {
        self.array().map(Hash::from_bytes)
    }

    fn optional_hash(&mut self) -> Option<()> {
        if self.is_null() {
            return Some(());
        }
        self.hash().map(drop)
    }

    fn actor(&mut self) -> Option<()> {
        self.count(MAP, 5)?;
        self.key("id")?;
        self.optional()?;
        self.key("kind")?;
        self.text()?.parse::<ActorKind>().ok()?;
        for key in ["source", "session", "credential"] {
            self.key(key)?;
            self.optional()?;
        }
        Some(())
    }

    fn subject(&mut self) -> Option<()> {
        self.count(MAP, 7)?;
        self.key("fill")?;
        self.optional_name(|text| text.parse::<FillId>().is_ok())?;
        self.key("user")?;
        self.optional_name(|text| text.parse::<UserId>().is_ok())?;
        self.key("latch")?;
        self.optional_name(is_uuid)?;
        self.key("broker")?;
        self.optional_name(|text| text.parse::<BrokerId>().is_ok())?;
        self.key("intent")?;
        self.optional_name(is_uuid)?;
        self.key("account")?;
        self.optional_name(|text| text.parse::<AccountId>().is_ok())?;
        self.key("credential")?;
        self.optional_name(is_uuid)
    }

    fn data(&mut self) -> Option<()> {
        let entries = self.head(MAP)?;
        let mut last: Option<&str> = None;
        if entries > u64::try_from(ENTRY_LIMIT).ok()? {
            return None;
        }
        for _ in 0..entries {
            let key = self.text()?;
            let rises = last.is_none_or(|last| (last.len(), last) < (key.len(), key));
            if !rises {
                return None;
            }
            last = Some(key);
            self.value()?;
        }
        Some(())
    }

    fn value(&mut self) -> Option<()> {
        let first = self.peek()?;
        match first >> 5 {
            TEXT => self.text().map(drop),
            ARRAY => {
                let items = self.head(ARRAY)?;
                if items > u64::try_from(ENTRY_LIMIT).ok()? {
                    return None;
                }
                (0..items).try_for_each(|_| self.text().map(drop))
            }
            _ if matches!(first, FALSE | TRUE) => self.take(1).map(drop),
            _ => self.integer().map(drop),
        }
    }
}

/// As our ids are written: in lower case, with hyphens.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}
