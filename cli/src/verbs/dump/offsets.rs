//! Keys and values of `__consumer_offsets`, as Kafka's tool prints them with `--offsets-decoder`.
//!
//! Knows nothing about batches.

use serde_json::{Value, json};

use super::cursor::Cursor;

/// A key and a value in JSON; `None` when the key is of another kind. A tombstone has no value.
pub(super) fn decoded(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Option<(String, Option<String>)> {
    let mut cursor = Cursor(key?);
    let kind = cursor.i16()?;
    let (key, value) = match kind {
        0 | 1 => {
            let group = cursor.text()??;
            let topic = cursor.text()??;
            let data = json!({ "group": group, "topic": topic, "partition": cursor.i32()? });
            (data, value.map(commit))
        }
        2 => (json!({ "group": cursor.text()?? }), value.map(group)),
        _ => return None,
    };
    let key = json!({ "type": kind.to_string(), "data": key });
    let value = value.map(|shown| shown.unwrap_or_else(|| "<DAMAGED>".into()).to_string());
    Some((key.to_string(), value))
}

fn commit(value: &[u8]) -> Option<Value> {
    let mut cursor = Cursor(value);
    let version = cursor.i16()?;
    let offset = cursor.i64()?;
    let mut data = json!({ "offset": offset });
    let fields = data.as_object_mut()?;
    if version >= 3 {
        fields.insert("leaderEpoch".to_owned(), cursor.i32()?.into());
    }
    fields.insert("metadata".to_owned(), cursor.text()?.into());
    fields.insert("commitTimestamp".to_owned(), cursor.i64()?.into());
    if version == 1 {
        fields.insert("expireTimestamp".to_owned(), cursor.i64()?.into());
    }
    Some(json!({ "version": version.to_string(), "data": data }))
}

fn group(value: &[u8]) -> Option<Value> {
    let mut cursor = Cursor(value);
    let version = cursor.i16()?;
    let protocol_type = cursor.text()?;
    let generation = cursor.i32()?;
    let protocol = cursor.text()?;
    let leader = cursor.text()?;
    let mut data = json!({
        "protocolType": protocol_type,
        "generation": generation,
        "protocol": protocol,
        "leader": leader,
    });
    let fields = data.as_object_mut()?;
    if version >= 2 {
        fields.insert("currentStateTimestamp".to_owned(), cursor.i64()?.into());
    }
    let members = cursor.i32()?;
    fields.insert(
        "members".to_owned(),
        match members {
            0 => Value::Array(Vec::new()),
            count => json!(format!("{count} members")),
        },
    );
    Some(json!({ "version": version.to_string(), "data": data }))
}
