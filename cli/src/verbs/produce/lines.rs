//! What a line means: a value, maybe with a key and headers before it, or a JSON object.
//!
//! Knows nothing about topics. The rules are those of Kafka's `LineMessageReader`: headers, key and
//! value with separators between them, in this order.

use ottla::{Header, OwnedRecord, PartitionId, Record, Timestamp};
use serde_json::{Map, Value};

use crate::bytes;
use crate::failure::{Failure, Result};
use crate::props::{self, Props};

const KNOWN: &str = "parse.key, key.separator, parse.headers, headers.delimiter, \
                     headers.separator, headers.key.separator, null.marker, ignore.error";

/// How lines are read.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "Kafka's properties are so many switches"
)]
pub(super) struct Shape {
    json: bool,
    parse_key: bool,
    key_separator: Vec<u8>,
    parse_headers: bool,
    headers_delimiter: Vec<u8>,
    headers_separator: Vec<u8>,
    header_key_separator: Vec<u8>,
    null_marker: Option<Vec<u8>>,
    ignore_error: bool,
    /// Headers of every record.
    fixed: Vec<(String, String)>,
}

/// A record to append.
#[derive(Debug)]
pub(super) enum Item<'a> {
    /// A slice of the input.
    Line {
        key: Option<&'a [u8]>,
        value: Option<&'a [u8]>,
        headers: Vec<Header<'a>>,
    },
    /// One that was decoded.
    Owned {
        record: Box<OwnedRecord>,
        partition: Option<PartitionId>,
    },
}

impl Item<'_> {
    pub(super) fn record(&self) -> Record<'_> {
        match self {
            Self::Line {
                key,
                value,
                headers,
            } => Record::from_parts(*key, *value).with_headers(headers),
            Self::Owned { record, .. } => record.as_record(),
        }
    }

    /// The partition that the record itself names.
    pub(super) fn partition(&self) -> Option<PartitionId> {
        match self {
            Self::Line { .. } => None,
            Self::Owned { partition, .. } => *partition,
        }
    }

    /// Bytes that it takes in a batch, at most.
    pub(super) fn bytes_max(&self) -> usize {
        let record = self.record();
        let part = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let fixed = 36 + part(record.key()) + part(record.value());
        let headers = record.headers();
        headers.fold(fixed, |sum, header| {
            sum + 10 + header.name.len() + part(header.value)
        })
    }
}

impl Shape {
    /// Reads the properties of the command line.
    pub(super) fn read(mut props: Props, format: &str, headers: &[String]) -> Result<Self> {
        let shape = Self {
            json: match format {
                "text" => false,
                "json" => true,
                other => {
                    return Err(Failure::usage(format!(
                        "--format cannot be {other}: expected text or json"
                    )));
                }
            },
            parse_key: props.take_flag("parse.key", false)?,
            key_separator: props.take_text("key.separator", "\t"),
            parse_headers: props.take_flag("parse.headers", false)?,
            headers_delimiter: props.take_text("headers.delimiter", "\t"),
            headers_separator: props.take_text("headers.separator", ","),
            header_key_separator: props.take_text("headers.key.separator", ":"),
            null_marker: props
                .take("null.marker")
                .map(|text| props::unescaped(&text).into_bytes()),
            ignore_error: props.take_flag("ignore.error", false)?,
            fixed: headers
                .iter()
                .map(|text| props::pair(text))
                .collect::<Result<_>>()?,
        };
        props.check_empty(KNOWN)?;
        let separators = [
            ("key.separator", &shape.key_separator),
            ("headers.delimiter", &shape.headers_delimiter),
            ("headers.separator", &shape.headers_separator),
            ("headers.key.separator", &shape.header_key_separator),
        ];
        for (name, separator) in separators {
            if separator.is_empty() {
                return Err(Failure::usage(format!("property {name} cannot be empty")));
            }
        }
        Ok(shape)
    }

    /// The record of a line.
    pub(super) fn item<'a>(&'a self, line: &'a [u8], number: u64) -> Result<Item<'a>> {
        if self.json {
            return self.decoded(line, number);
        }
        let mut headers = self.fixed_headers();
        let mut rest = line;
        if self.parse_headers {
            match cut(rest, &self.headers_delimiter) {
                Some((text, behind)) => {
                    self.add_headers(text, number, &mut headers)?;
                    rest = behind;
                }
                None if self.ignore_error => {}
                None => {
                    return Err(missing(
                        "headers.delimiter",
                        &self.headers_delimiter,
                        line,
                        number,
                    ));
                }
            }
        }
        let mut key = None;
        if self.parse_key {
            match cut(rest, &self.key_separator) {
                Some((before, behind)) => (key, rest) = (self.unless_null(before), behind),
                None if self.ignore_error => {}
                None => return Err(missing("key.separator", &self.key_separator, line, number)),
            }
        }
        let value = self.unless_null(rest);
        Ok(Item::Line {
            key,
            value,
            headers,
        })
    }

    fn fixed_headers(&self) -> Vec<Header<'_>> {
        let fixed = self.fixed.iter();
        fixed
            .map(|(name, value)| Header::new(name, value.as_bytes()))
            .collect()
    }

    fn unless_null<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        (self.null_marker.as_deref() != Some(bytes)).then_some(bytes)
    }

    fn add_headers<'a>(
        &'a self,
        text: &'a [u8],
        number: u64,
        headers: &mut Vec<Header<'a>>,
    ) -> Result<()> {
        if text.is_empty() || self.unless_null(text).is_none() {
            return Ok(());
        }
        let mut rest = Some(text);
        while let Some(here) = rest {
            let (one, behind) = match cut(here, &self.headers_separator) {
                Some((one, behind)) => (one, Some(behind)),
                None => (here, None),
            };
            rest = behind;
            match cut(one, &self.header_key_separator) {
                Some((name, value)) => headers.push(Header {
                    name,
                    value: self.unless_null(value),
                }),
                None if self.ignore_error => headers.push(Header {
                    name: one,
                    value: None,
                }),
                None => {
                    let separator = &self.header_key_separator;
                    return Err(missing("headers.key.separator", separator, one, number));
                }
            }
        }
        Ok(())
    }

    /// The record of a JSON object.
    fn decoded(&self, line: &[u8], number: u64) -> Result<Item<'static>> {
        let bad = |what: &str| Failure::new(format!("line {number} is not a record: {what}"));
        let value: Value = serde_json::from_slice(line).map_err(|error| bad(&error.to_string()))?;
        let Value::Object(fields) = value else {
            return Err(bad("it is not an object"));
        };
        let part = |name: &str| fields.get(name).and_then(bytes::from_json);
        let mut record = OwnedRecord::from_parts(part("key"), part("value"));
        for header in self.fixed_headers() {
            record = record.with_header(header);
        }
        for (name, value) in headers_of(&fields).ok_or_else(|| bad("its headers are no list"))? {
            record = record.with_header(Header {
                name: &name,
                value: value.as_deref(),
            });
        }
        let partition = match fields.get("partition") {
            None | Some(Value::Null) => None,
            Some(number) => {
                let number = number.as_u64().and_then(|number| number.try_into().ok());
                Some(number.ok_or_else(|| bad("its partition is no number"))?)
            }
        };
        match fields.get("timestamp") {
            None | Some(Value::Null) => {}
            Some(millis) => {
                let millis = millis
                    .as_i64()
                    .ok_or_else(|| bad("its timestamp is no number"))?;
                record = record.with_timestamp(Timestamp::from_millis(millis));
            }
        }
        Ok(Item::Owned {
            record: Box::new(record),
            partition,
        })
    }
}

type NamedBytes = (Vec<u8>, Option<Vec<u8>>);

/// Headers as `consume --formatter json` prints them, or as an object.
fn headers_of(fields: &Map<String, Value>) -> Option<Vec<NamedBytes>> {
    match fields.get("headers") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Object(map)) => {
            let pairs = map.iter();
            Some(
                pairs
                    .map(|(name, value)| (name.clone().into_bytes(), bytes::from_json(value)))
                    .collect(),
            )
        }
        Some(Value::Array(list)) => {
            let pair = |header: &Value| {
                let name = bytes::from_json(header.get("key")?)?;
                Some((name, header.get("value").and_then(bytes::from_json)))
            };
            list.iter().map(pair).collect()
        }
        Some(_) => None,
    }
}

/// What stands before and behind the first separator.
fn cut<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = match separator {
        [one] => memchr::memchr(*one, text)?,
        _ => memchr::memmem::find(text, separator)?,
    };
    Some((text.get(..at)?, text.get(at + separator.len()..)?))
}

fn missing(name: &str, separator: &[u8], line: &[u8], number: u64) -> Failure {
    let shown: String = String::from_utf8_lossy(line).chars().take(60).collect();
    Failure::new(format!(
        "line {number} has no {name} {:?}: {shown:?}; the lines before it are stored",
        String::from_utf8_lossy(separator)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(properties: &[&str]) -> Shape {
        let properties: Vec<_> = properties.iter().map(|&text| text.to_owned()).collect();
        Shape::read(Props::read(&properties).unwrap(), "text", &[]).unwrap()
    }

    type Parts = (
        Option<String>,
        Option<String>,
        Vec<(String, Option<String>)>,
    );

    fn parts(item: &Item<'_>) -> Parts {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let record = item.record();
        let headers = record.headers();
        let headers = headers
            .map(|header| (text(header.name), header.value.map(text)))
            .collect();
        (record.key().map(text), record.value().map(text), headers)
    }

    #[test]
    fn a_line_is_headers_key_and_value_in_kafkas_order() {
        let some = |text: &str| Some(text.to_owned());
        let plain = shape(&[]);
        assert_eq!(
            parts(&plain.item(b"a:b", 1).unwrap()),
            (None, some("a:b"), vec![])
        );
        let keyed = shape(&["parse.key=true", "key.separator=:", "null.marker=NULL"]);
        assert_eq!(
            parts(&keyed.item(b"a:b:c", 1).unwrap()),
            (some("a"), some("b:c"), vec![])
        );
        assert_eq!(
            parts(&keyed.item(b"a:NULL", 1).unwrap()),
            (some("a"), None, vec![])
        );
        let refused = keyed.item(b"no key", 7).unwrap_err().to_string();
        assert!(
            refused.contains("line 7 has no key.separator \":\""),
            "{refused}"
        );
        let all = shape(&["parse.key=true", "parse.headers=true"]);
        let headers = vec![("h1".to_owned(), some("v1")), ("h2".to_owned(), some(""))];
        assert_eq!(
            parts(&all.item(b"h1:v1,h2:\tk\tv", 1).unwrap()),
            (some("k"), some("v"), headers)
        );
        let lenient = shape(&["parse.key=true", "ignore.error=true"]);
        assert_eq!(
            parts(&lenient.item(b"no key", 1).unwrap()),
            (None, some("no key"), vec![])
        );
        let unknown = Props::read(&["parse.keys=true".to_owned()]).unwrap();
        assert!(Shape::read(unknown, "text", &[]).is_err());
    }

    #[test]
    fn a_json_line_is_a_record_with_any_bytes() {
        let shape = Shape::read(Props::default(), "json", &["all=1".to_owned()]).unwrap();
        let line = br#"{"key":"k","value":{"base64":"/w=="},"headers":[{"key":"h","value":null}],
            "timestamp":5,"partition":3}"#;
        let item = shape.item(line, 1).unwrap();
        assert_eq!(item.partition(), Some(3));
        let record = item.record();
        assert_eq!(
            (record.key(), record.value()),
            (Some(&b"k"[..]), Some(&[255][..]))
        );
        assert_eq!(record.timestamp(), Some(Timestamp::from_millis(5)));
        assert_eq!(record.headers().count(), 2);
        for bad in [
            "[]",
            "{",
            r#"{"partition":"x"}"#,
            r#"{"timestamp":"x"}"#,
            r#"{"headers":5}"#,
        ] {
            assert!(shape.item(bad.as_bytes(), 1).is_err(), "{bad}");
        }
    }
}
