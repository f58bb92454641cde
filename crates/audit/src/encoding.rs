//! The one byte string of a record, and the way back.
//!
//! Deterministic CBOR: map keys shortest first and then bytewise, shortest integers, no floats, no
//! indefinite lengths. The reader is strict in one stroke: what it read is written again, and any
//! difference is refused. So nothing can be hidden in a second spelling of the same record.

mod scan;

use std::convert::Infallible;
use std::str::FromStr;

use bursar_model::canonical::Encoder;
use bursar_model::text::is_shown;
use jiff::Timestamp;
use minicbor::Decoder;
use minicbor::data::Type;
use uuid::Uuid;

use crate::data::{ENTRY_LIMIT, Key, TEXT_LIMIT};
use crate::record::VERSION;
use crate::{Action, Actor, Data, Entry, Hash, StoreId, Subject, Value};

pub(crate) use scan::{Facts, scan};

/// More than the longest record that can be written.
const BODY_LIMIT: usize = 2 * 1024 * 1024;

/// Why stored bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// What stands where something else belongs, for people.
    #[error("the bytes are not a record: {0}")]
    Malformed(String),
    /// Read and written again they would be other bytes: two forms of one record cannot both be true.
    #[error("the bytes are not the canonical form of the record in them")]
    NotCanonical,
    /// Written by a newer release, or no record at all.
    #[error("version {0} of the record format is not known to this program")]
    Version(u64),
    /// The bytes or the hash were changed.
    #[error("the hash is not that of the bytes")]
    Hash,
    /// The record was moved, or its number changed.
    #[error("the record is stored as number {stored}, but says that it is number {inside}")]
    Number {
        /// The number under which it was kept.
        stored: u64,
        /// The number that the hash covers.
        inside: u64,
    },
}

fn malformed(what: impl std::fmt::Display) -> DecodeError {
    DecodeError::Malformed(what.to_string())
}

impl From<minicbor::decode::Error> for DecodeError {
    fn from(error: minicbor::decode::Error) -> Self {
        malformed(error)
    }
}

impl From<Infallible> for DecodeError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// The canonical bytes of `entry`: everything that its hash covers.
pub(crate) fn encode(entry: &Entry) -> Vec<u8> {
    let mut cbor = Encoder::new();
    cbor.map(17);
    cbor.text("v").unsigned(VERSION);
    cbor.text("ts").integer(entry.at.as_microsecond());
    cbor.text("req").optional_text(entry.request.as_deref());
    cbor.text("seq").unsigned(entry.seq);
    cbor.text("data");
    encode_data(&mut cbor, &entry.data);
    cbor.text("node").text(&entry.node);
    cbor.text("prev").bytes(entry.prev.as_bytes());
    cbor.text("actor");
    encode_actor(&mut cbor, &entry.actor);
    cbor.text("after");
    encode_hash(&mut cbor, entry.after.as_ref());
    cbor.text("epoch").unsigned(entry.epoch);
    cbor.text("store").bytes(entry.store.as_uuid().as_bytes());
    cbor.text("action").text(entry.action.name());
    cbor.text("before");
    encode_hash(&mut cbor, entry.before.as_ref());
    cbor.text("parent").optional_text(entry.parent.as_deref());
    cbor.text("reason").optional_text(entry.reason.as_deref());
    cbor.text("outcome").text(entry.outcome.into());
    cbor.text("subject");
    encode_subject(&mut cbor, &entry.subject);
    cbor.finish()
}

fn encode_hash(cbor: &mut Encoder, hash: Option<&Hash>) {
    match hash {
        Some(hash) => cbor.bytes(hash.as_bytes()),
        None => cbor.null(),
    };
}

fn encode_actor(cbor: &mut Encoder, actor: &Actor) {
    cbor.map(5);
    cbor.text("id").optional_text(actor.id.as_deref());
    cbor.text("kind").text(actor.kind.into());
    cbor.text("source").optional_text(actor.source.as_deref());
    cbor.text("session").optional_text(actor.session.as_deref());
    cbor.text("credential").optional_text(actor.credential.as_deref());
}

fn encode_subject(cbor: &mut Encoder, subject: &Subject) {
    let intent = subject.intent.map(|id| id.to_string());
    let credential = subject.credential.map(|id| id.to_string());
    let latch = subject.latch.map(|id| id.to_string());
    cbor.map(7);
    cbor.text("fill")
        .optional_text(subject.fill.as_ref().map(|id| id.as_str()));
    cbor.text("user")
        .optional_text(subject.user.as_ref().map(|id| id.as_str()));
    cbor.text("latch").optional_text(latch.as_deref());
    cbor.text("broker")
        .optional_text(subject.broker.as_ref().map(|id| id.as_str()));
    cbor.text("intent").optional_text(intent.as_deref());
    cbor.text("account")
        .optional_text(subject.account.as_ref().map(|id| id.as_str()));
    cbor.text("credential").optional_text(credential.as_deref());
}

fn encode_data(cbor: &mut Encoder, data: &Data) {
    cbor.map(length(data.entries.len()));
    for (key, value) in &data.entries {
        cbor.text(&key.0);
        match value {
            Value::Text(text) => cbor.text(text),
            Value::Integer(number) => cbor.integer(*number),
            Value::Bool(value) => cbor.bool(*value),
            Value::Texts(texts) => {
                let list = cbor.array(length(texts.len()));
                texts.iter().fold(list, |list, text| list.text(text))
            }
        };
    }
}

fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Reads the canonical bytes of an entry, and nothing but canonical bytes.
pub(crate) fn decode(body: &[u8]) -> Result<Entry, DecodeError> {
    if body.len() > BODY_LIMIT {
        return Err(malformed(format!("{} bytes are too many", body.len())));
    }
    let mut reader = Reader {
        cbor: Decoder::new(body),
    };
    let entry = reader.entry()?;
    if encode(&entry) == body {
        Ok(entry)
    } else {
        Err(DecodeError::NotCanonical)
    }
}

struct Reader<'a> {
    cbor: Decoder<'a>,
}

impl Reader<'_> {
    fn entry(&mut self) -> Result<Entry, DecodeError> {
        self.map(17)?;
        self.key("v")?;
        let version = self.cbor.u64()?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        self.key("ts")?;
        let at = Timestamp::from_microsecond(self.cbor.i64()?).map_err(malformed)?;
        self.key("req")?;
        let request = self.optional()?;
        self.key("seq")?;
        let seq = self.cbor.u64()?;
        self.key("data")?;
        let data = self.data()?;
        self.key("node")?;
        let node = self.text()?;
        self.key("prev")?;
        let prev = Hash::try_from(self.cbor.bytes()?).map_err(malformed)?;
        self.key("actor")?;
        let actor = self.actor()?;
        self.key("after")?;
        let after = self.hash()?;
        self.key("epoch")?;
        let epoch = self.cbor.u64()?;
        self.key("store")?;
        let store = StoreId::from_uuid(Uuid::from_slice(self.cbor.bytes()?).map_err(malformed)?);
        self.key("action")?;
        let action: Action = self.word()?;
        self.key("before")?;
        let before = self.hash()?;
        self.key("parent")?;
        let parent = self.optional()?;
        self.key("reason")?;
        let reason = self.optional()?;
        self.key("outcome")?;
        let outcome = self.word()?;
        self.key("subject")?;
        let subject = self.subject()?;
        Ok(Entry {
            store,
            seq,
            at,
            node,
            epoch,
            actor,
            request,
            parent,
            subject,
            action,
            outcome,
            reason,
            before,
            after,
            data,
            prev,
        })
    }

    fn actor(&mut self) -> Result<Actor, DecodeError> {
        self.map(5)?;
        self.key("id")?;
        let id = self.optional()?;
        self.key("kind")?;
        let kind = self.word()?;
        self.key("source")?;
        let source = self.optional()?;
        self.key("session")?;
        let session = self.optional()?;
        self.key("credential")?;
        let credential = self.optional()?;
        Ok(Actor {
            kind,
            id,
            credential,
            session,
            source,
        })
    }

    fn subject(&mut self) -> Result<Subject, DecodeError> {
        self.map(7)?;
        self.key("fill")?;
        let fill = self.optional_word()?;
        self.key("user")?;
        let user = self.optional_word()?;
        self.key("latch")?;
        let latch = self.optional_word()?;
        self.key("broker")?;
        let broker = self.optional_word()?;
        self.key("intent")?;
        let intent = self.optional_word()?;
        self.key("account")?;
        let account = self.optional_word()?;
        self.key("credential")?;
        let credential = self.optional_word()?;
        Ok(Subject {
            account,
            user,
            broker,
            intent,
            credential,
            latch,
            fill,
        })
    }

    fn data(&mut self) -> Result<Data, DecodeError> {
        let entries = self
            .cbor
            .map()?
            .ok_or_else(|| malformed("a map without a length"))?;
        if entries > length(ENTRY_LIMIT) {
            return Err(malformed("data with too many entries"));
        }
        let mut data = Data::new();
        for _ in 0..entries {
            let key = self.text()?;
            let value = self.value()?;
            if data.entries.insert(Key(key), value).is_some() {
                return Err(malformed("data with a key twice"));
            }
        }
        Ok(data)
    }

    fn value(&mut self) -> Result<Value, DecodeError> {
        match self.cbor.datatype()? {
            Type::String => self.text().map(Value::Text),
            Type::Bool => Ok(Value::Bool(self.cbor.bool()?)),
            Type::Array => self.texts().map(Value::Texts),
            _ => Ok(Value::Integer(self.cbor.i64()?)),
        }
    }

    fn texts(&mut self) -> Result<Vec<String>, DecodeError> {
        let items = self
            .cbor
            .array()?
            .ok_or_else(|| malformed("a list without a length"))?;
        if items > length(ENTRY_LIMIT) {
            return Err(malformed("a list that is too long"));
        }
        (0..items).map(|_| self.text()).collect()
    }

    fn map(&mut self, entries: u64) -> Result<(), DecodeError> {
        if self.cbor.map()? == Some(entries) {
            Ok(())
        } else {
            Err(malformed(format!(
                "no map of {entries} entries where one belongs"
            )))
        }
    }

    fn key(&mut self, name: &str) -> Result<(), DecodeError> {
        if self.cbor.str()? == name {
            Ok(())
        } else {
            Err(malformed(format!("no `{name}` where it belongs")))
        }
    }

    fn text(&mut self) -> Result<String, DecodeError> {
        let text = self.cbor.str()?;
        if text.chars().count() > TEXT_LIMIT || !text.chars().all(is_shown) {
            return Err(malformed("a text that no record could hold"));
        }
        Ok(text.to_owned())
    }

    fn optional(&mut self) -> Result<Option<String>, DecodeError> {
        if self.cbor.datatype()? == Type::Null {
            self.cbor.null()?;
            return Ok(None);
        }
        self.text().map(Some)
    }

    fn word<T: FromStr<Err: std::fmt::Display>>(&mut self) -> Result<T, DecodeError> {
        self.text()?.parse().map_err(malformed)
    }

    fn optional_word<T: FromStr<Err: std::fmt::Display>>(&mut self) -> Result<Option<T>, DecodeError> {
        self.optional()?
            .map(|text| text.parse().map_err(malformed))
            .transpose()
    }

    fn hash(&mut self) -> Result<Option<Hash>, DecodeError> {
        if self.cbor.datatype()? == Type::Null {
            self.cbor.null()?;
            return Ok(None);
        }
        Hash::try_from(self.cbor.bytes()?).map(Some).map_err(malformed)
    }
}

#[cfg(test)]
mod tests;
