//! Records that Kafka keeps for itself, as JSON: commits, transactions, the cluster's metadata.
//!
//! Knows nothing about batches. `schemas.txt` has one message after the other, as Kafka's own
//! schemas describe them: a line `realm number name versions flexible-versions`, then a line
//! `name type versions [null versions] [tag number]` for every field, those of a structure two
//! spaces further in. Invariant: no length is believed that the bytes do not have.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::cursor::Cursor;

const SCHEMAS: &str = include_str!("schemas.txt");

/// From the first version to the last.
#[derive(Clone, Copy, Debug)]
struct Versions(i16, i16);

impl Versions {
    const NONE: Self = Self(1, 0);

    fn read(text: &str) -> Option<Self> {
        if text == "none" {
            return Some(Self::NONE);
        }
        let (from, to) = match text.strip_suffix('+') {
            Some(from) => (from, None),
            None => text
                .split_once('-')
                .map_or((text, Some(text)), |(from, to)| (from, Some(to))),
        };
        let to = to.map_or(Some(i16::MAX), |to| to.parse().ok())?;
        Some(Self(from.parse().ok()?, to))
    }

    fn has(self, version: i16) -> bool {
        (self.0..=self.1).contains(&version)
    }
}

/// A field, with those of its structure.
#[derive(Debug)]
struct Field {
    name: &'static str,
    kind: &'static str,
    versions: Versions,
    nullable: Versions,
    tag: Option<u64>,
    inner: Vec<Field>,
}

/// The description of a message.
#[derive(Debug)]
pub(super) struct Schema {
    /// What it is called.
    pub(super) name: &'static str,
    versions: Versions,
    flexible: Versions,
    fields: Vec<Field>,
}

impl Schema {
    /// The message of this number in a realm such as `group-key`.
    pub(super) fn of(realm: &'static str, number: i64) -> Option<&'static Self> {
        ALL.get(&(realm, number))
    }

    /// The message that some bytes are, read in a version of it.
    pub(super) fn decode(&self, version: i16, from: &mut Cursor<'_>) -> Option<Value> {
        let reader = Reader {
            version,
            flexible: self.flexible.has(version),
        };
        reader.structure(&self.fields, from)
    }

    /// Whether this version of the message is described.
    pub(super) fn knows(&self, version: i16) -> bool {
        self.versions.has(version)
    }
}

/// Every message by its realm and number, read when the first is asked for.
static ALL: LazyLock<BTreeMap<(&str, i64), Schema>> = LazyLock::new(|| {
    let mut all = BTreeMap::new();
    let lines: Vec<_> = SCHEMAS.lines().collect();
    let mut lines = lines.as_slice();
    while let Some((head, rest)) = lines.split_first() {
        lines = rest;
        all.extend(schema(head, &mut lines));
    }
    all
});

/// The message that a line begins.
fn schema(
    head: &'static str,
    lines: &mut &[&'static str],
) -> Option<((&'static str, i64), Schema)> {
    let mut head = head.split(' ');
    let place = (head.next()?, head.next()?.parse().ok()?);
    let schema = Schema {
        name: head.next()?,
        versions: Versions::read(head.next()?)?,
        flexible: Versions::read(head.next()?)?,
        fields: fields(lines, 1)?,
    };
    Some((place, schema))
}

/// The fields of one depth, up to the first line that is further out.
fn fields(lines: &mut &[&'static str], depth: usize) -> Option<Vec<Field>> {
    let mut fields: Vec<Field> = Vec::new();
    while let Some((line, rest)) = lines.split_first() {
        let text = line.trim_start();
        match (line.len() - text.len()).cmp(&(depth * 2)) {
            std::cmp::Ordering::Less => break,
            std::cmp::Ordering::Equal => {
                fields.push(field(text)?);
                *lines = rest;
            }
            std::cmp::Ordering::Greater => {
                fields.last_mut()?.inner = self::fields(lines, depth + 1)?;
            }
        }
    }
    Some(fields)
}

fn field(text: &'static str) -> Option<Field> {
    let mut words = text.split(' ');
    let mut field = Field {
        name: words.next()?,
        kind: words.next()?,
        versions: Versions::read(words.next()?)?,
        nullable: Versions::NONE,
        tag: None,
        inner: Vec::new(),
    };
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word {
            "null" => field.nullable = Versions::read(value)?,
            _ => field.tag = Some(value.parse().ok()?),
        }
    }
    Some(field)
}

/// How a message is read.
#[derive(Clone, Copy, Debug)]
struct Reader {
    version: i16,
    /// Lengths are short, and fields may stand behind tags.
    flexible: bool,
}

impl Reader {
    fn structure(self, fields: &[Field], from: &mut Cursor<'_>) -> Option<Value> {
        let here = || {
            fields
                .iter()
                .filter(|field| field.versions.has(self.version))
        };
        let mut values = BTreeMap::new();
        for field in here().filter(|field| field.tag.is_none()) {
            values.insert(field.name, self.value(field, from)?);
        }
        if self.flexible {
            for _ in 0..from.uvarint()? {
                let (tag, size) = (from.uvarint()?, from.uvarint()?);
                let mut inside = Cursor(from.take(usize::try_from(size).ok()?)?);
                if let Some(field) = here().find(|field| field.tag == Some(tag)) {
                    values.insert(field.name, self.value(field, &mut inside)?);
                }
            }
        }
        // In the order of the description, as Kafka prints them.
        let mut shown = Map::new();
        for field in here() {
            if let Some(value) = values.remove(field.name) {
                shown.insert(field.name.to_owned(), value);
            }
        }
        Some(Value::Object(shown))
    }

    fn value(self, field: &Field, from: &mut Cursor<'_>) -> Option<Value> {
        if let Some(kind) = field.kind.strip_prefix("[]") {
            let Some(count) = self.length(from, 4)? else {
                return Some(Value::Null);
            };
            let mut list = Vec::new();
            for _ in 0..count {
                list.push(self.one(kind, field, from)?);
            }
            return Some(Value::Array(list));
        }
        if field.kind == "{}" && field.nullable.has(self.version) && from.i8()? < 0 {
            return Some(Value::Null);
        }
        self.one(field.kind, field, from)
    }

    fn one(self, kind: &str, field: &Field, from: &mut Cursor<'_>) -> Option<Value> {
        Some(match kind {
            "{}" => self.structure(&field.inner, from)?,
            "bool" => (from.i8()? != 0).into(),
            "int8" => from.i8()?.into(),
            "int16" => from.i16()?.into(),
            "uint16" => from.u16()?.into(),
            "int32" => from.i32()?.into(),
            "int64" => from.i64()?.into(),
            "float64" => f64::from_bits(from.u64()?).into(),
            "uuid" => uuid(from.take(16)?).into(),
            "string" => match self.length(from, 2)? {
                None => Value::Null,
                Some(length) => String::from_utf8_lossy(from.take(length)?).into(),
            },
            "bytes" => match self.length(from, 4)? {
                None => Value::Null,
                Some(length) => crate::bytes::base64(from.take(length)?).into(),
            },
            _ => return None,
        })
    }

    /// How many there are of something; null is `Some(None)`.
    #[expect(clippy::option_option, reason = "too short is one thing, null another")]
    fn length(self, from: &mut Cursor<'_>, width: usize) -> Option<Option<usize>> {
        if self.flexible {
            return Some(usize::try_from(from.uvarint()?).ok()?.checked_sub(1));
        }
        let length = if width == 2 {
            i32::from(from.i16()?)
        } else {
            from.i32()?
        };
        match length {
            -1 => Some(None),
            length => Some(Some(usize::try_from(length).ok()?)),
        }
    }
}

/// An id as Kafka prints it: base 64 for addresses, without padding.
pub(super) fn uuid(bytes: &[u8]) -> String {
    let text = crate::bytes::base64(bytes);
    text.trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_")
}

/// What stands behind a number of its version.
fn versioned(realm: &'static str, number: i64, bytes: &[u8]) -> Option<(i16, Value)> {
    let mut cursor = Cursor(bytes);
    let version = cursor.i16()?;
    let schema = Schema::of(realm, number)?;
    let known = schema.knows(version) || realm == "protocol";
    Some((
        version,
        known.then(|| schema.decode(version, &mut cursor))??,
    ))
}

/// What a coordinator keeps, key and value; the key is a sentence where it cannot be read.
fn coordinated(
    realms: (&'static str, &'static str),
    offset: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> (String, Option<String>) {
    let problem = |what: &str| (format!("Error at offset {offset}, skipping. {what}"), None);
    let mut cursor = Cursor(key.unwrap_or_default());
    let Some(number) = cursor.i16() else {
        return problem("The record has no key.");
    };
    let Some(schema) = Schema::of(realms.0, number.into()) else {
        return (
            format!("Unknown record type {number} at offset {offset}, skipping."),
            None,
        );
    };
    let Some(data) = schema.decode(0, &mut cursor) else {
        return problem("The key is cut short.");
    };
    let key = json!({ "type": number.to_string(), "data": data }).to_string();
    let Some(value) = value else {
        return (key, Some("<DELETE>".to_owned()));
    };
    let Some((version, mut data)) = versioned(realms.1, number.into(), value) else {
        return problem("The value is cut short, or of an unknown version.");
    };
    if realms.1 == "group-value" {
        unpack_members(&mut data);
    }
    let value = json!({ "version": version.to_string(), "data": data });
    (key, Some(value.to_string()))
}

/// What consumers told their group is a message in a message.
fn unpack_members(data: &mut Value) {
    if data.get("protocolType").and_then(Value::as_str) != Some("consumer") {
        return;
    }
    let Some(members) = data.get_mut("members").and_then(Value::as_array_mut) else {
        return;
    };
    for member in members {
        for (number, name) in [(0, "subscription"), (1, "assignment")] {
            let Some(field) = member.get_mut(name) else {
                continue;
            };
            let bytes = field.as_str().and_then(crate::bytes::from_base64);
            if let Some((_, shown)) = bytes.and_then(|bytes| versioned("protocol", number, &bytes))
            {
                *field = shown;
            }
        }
    }
}

/// A record of the cluster's metadata.
fn metadata(offset: i64, value: Option<&[u8]>) -> String {
    let read = || -> Option<String> {
        let mut cursor = Cursor(value?);
        let frame = cursor.uvarint()?;
        let number = i64::try_from(cursor.uvarint()?).ok()?;
        let version = i16::try_from(cursor.uvarint()?).ok()?;
        let schema = Schema::of("metadata", number).filter(|schema| schema.knows(version))?;
        let data = schema.decode(version, &mut cursor).filter(|_| frame == 1)?;
        let kind = upper(schema.name);
        Some(json!({ "type": kind, "version": version, "data": data }).to_string())
    };
    read().unwrap_or_else(|| format!("Error at {offset}, skipping. It cannot be decoded."))
}

/// `TopicRecord` as `TOPIC_RECORD`.
fn upper(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

/// What a control record of a log of metadata says, as JSON.
pub(super) fn control(number: i64, value: &[u8]) -> Option<String> {
    let schema = Schema::of("control", number)?;
    // The first field is the version that the rest is written in.
    let version = Cursor(value)
        .i16()
        .filter(|version| schema.knows(*version))?;
    Some(schema.decode(version, &mut Cursor(value))?.to_string())
}

/// Which records a log has, beside those that are text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoder {
    Offsets,
    Transactions,
    ShareGroups,
    Metadata,
}

impl Decoder {
    /// Key and value as Kafka's tool prints them.
    pub(super) fn decoded(
        self,
        offset: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> (Option<String>, Option<String>) {
        let realms = match self {
            Self::Offsets => ("group-key", "group-value"),
            Self::Transactions => ("transaction-key", "transaction-value"),
            Self::ShareGroups => ("share-key", "share-value"),
            Self::Metadata => return (None, Some(metadata(offset, value))),
        };
        let (key, value) = coordinated(realms, offset, key, value);
        (Some(key), value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(fields: &[Field]) -> usize {
        fields.iter().map(|field| 1 + count(&field.inner)).sum()
    }

    #[test]
    fn every_description_is_read_whole() {
        assert!(ALL.len() > 70, "{}", ALL.len());
        let lines: usize = ALL.values().map(|schema| 1 + count(&schema.fields)).sum();
        assert_eq!(lines, SCHEMAS.lines().count());
    }

    /// The value is in version 1, put together by hand.
    #[test]
    fn a_transaction_is_decoded_with_what_follows_tags() {
        let key = b"\0\0\0\x02tx";
        let mut value = vec![0, 1];
        value.extend(7_i64.to_be_bytes());
        value.extend(3_i16.to_be_bytes());
        value.extend(60_000_i32.to_be_bytes());
        value.push(1);
        // Two partitions of one topic.
        value.extend([2, 2, b't', 3, 0, 0, 0, 0, 0, 0, 0, 4, 0]);
        value.extend(1000_i64.to_be_bytes());
        value.extend(900_i64.to_be_bytes());
        // A tag that is known, and one that is not.
        value.extend([2, 2, 2, 0, 2, 9, 1, 5]);
        let (key, shown) = Decoder::Transactions.decoded(0, Some(key), Some(&value));
        let expected = r#"{"type":"0","data":{"transactionalId":"tx"}}"#;
        assert_eq!(key.as_deref(), Some(expected));
        let expected = concat!(
            r#"{"version":"1","data":{"producerId":7,"producerEpoch":3,"#,
            r#""transactionTimeoutMs":60000,"transactionStatus":1,"transactionPartitions":"#,
            r#"[{"topic":"t","partitionIds":[0,4]}],"transactionLastUpdateTimestampMs":1000,"#,
            r#""transactionStartTimestampMs":900,"clientTransactionVersion":2}}"#
        );
        assert_eq!(shown.as_deref(), Some(expected));
        let (_, gone) = Decoder::Transactions.decoded(0, Some(b"\0\0\0\x02tx"), None);
        assert_eq!(gone.as_deref(), Some("<DELETE>"));
        let (unknown, _) = Decoder::Offsets.decoded(5, Some(b"\0\x63"), None);
        let expected = "Unknown record type 99 at offset 5, skipping.";
        assert_eq!(unknown.as_deref(), Some(expected));
    }

    /// Lengths that promise more than there is are believed by nobody.
    #[test]
    fn bytes_that_are_no_message_are_an_answer_and_no_panic() {
        for schema in ALL.values() {
            for fill in [0, 1, 2, 0x7f, 0x80, 0xff_u8] {
                for length in 0..40 {
                    let bytes = vec![fill; length];
                    for version in 0..5 {
                        schema.decode(version, &mut Cursor(&bytes));
                    }
                }
            }
        }
        let (key, value) = Decoder::Offsets.decoded(3, None, None);
        assert!(key.unwrap().starts_with("Error at offset 3") && value.is_none());
    }
}
