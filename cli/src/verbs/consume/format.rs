//! A record as a line: Kafka's own text, the same in hexadecimal, or JSON.
//!
//! Knows nothing about where records come from. The text is that of Kafka's
//! `DefaultMessageFormatter`, byte by byte.

use std::io::Write as _;

use ottla::{HeaderIter, Offset, PartitionId, Timestamp};

use crate::bytes;
use crate::failure::{Failure, Result};
use crate::kafka_flags;
use crate::props::Props;

const KNOWN: &str = "print.timestamp, print.key, print.offset, print.partition, print.headers, \
                     print.value, key.separator, line.separator, headers.separator, null.literal";

/// A record and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Shown<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: PartitionId,
    pub(super) offset: Offset,
    pub(super) timestamp: Timestamp,
    /// The topic's records carry the time of their append.
    pub(super) append_time: bool,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: HeaderIter<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Hex,
    Json,
    Nothing,
}

/// How records are printed.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "Kafka's properties are so many switches"
)]
pub(super) struct Format {
    kind: Kind,
    timestamp: bool,
    partition: bool,
    offset: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: Vec<u8>,
    line_separator: Vec<u8>,
    headers_separator: Vec<u8>,
    null: Vec<u8>,
}

impl Format {
    /// Reads the flags of the command line.
    pub(super) fn read(kind: Option<&str>, mut props: Props) -> Result<Self> {
        for name in [
            "key.deserializer",
            "value.deserializer",
            "headers.deserializer",
        ] {
            check_class(name, props.take(name).as_deref())?;
        }
        let format = Self {
            kind: kind_of(kind.unwrap_or("text"))?,
            timestamp: props.take_flag("print.timestamp", false)?,
            partition: props.take_flag("print.partition", false)?,
            offset: props.take_flag("print.offset", false)?,
            headers: props.take_flag("print.headers", false)?,
            key: props.take_flag("print.key", false)?,
            value: props.take_flag("print.value", true)?,
            key_separator: props.take_text("key.separator", "\t"),
            line_separator: props.take_text("line.separator", "\n"),
            headers_separator: props.take_text("headers.separator", ","),
            null: props.take_text("null.literal", "null"),
        };
        props.check_empty(KNOWN)?;
        Ok(format)
    }

    /// Prints a record.
    #[inline]
    pub(super) fn print(&self, record: &Shown<'_>, out: &mut Vec<u8>) {
        match self.kind {
            Kind::Text | Kind::Hex => self.print_text(record, out),
            Kind::Json => print_json(record, out),
            Kind::Nothing => {}
        }
    }

    #[inline]
    fn print_text(&self, record: &Shown<'_>, out: &mut Vec<u8>) {
        if self.timestamp || self.partition || self.offset || self.headers {
            self.print_place(record, out);
        }
        if self.key {
            self.push(record.key, out);
            out.extend_from_slice(self.after(self.value));
        }
        if self.value {
            self.push(record.value, out);
            out.extend_from_slice(&self.line_separator);
        }
    }

    fn print_place(&self, record: &Shown<'_>, out: &mut Vec<u8>) {
        let payload = self.key || self.value;
        if self.timestamp {
            let kind = if record.append_time {
                "LogAppendTime"
            } else {
                "CreateTime"
            };
            match record.timestamp {
                Timestamp::NONE => push(out, format_args!("NO_TIMESTAMP")),
                at => push(out, format_args!("{kind}:{}", at.as_millis())),
            }
            let more = self.offset || self.partition || self.headers || payload;
            out.extend_from_slice(self.after(more));
        }
        if self.partition {
            push(out, format_args!("Partition:{}", record.partition));
            out.extend_from_slice(self.after(self.offset || self.headers || payload));
        }
        if self.offset {
            push(out, format_args!("Offset:{}", record.offset));
            out.extend_from_slice(self.after(self.headers || payload));
        }
        if self.headers {
            self.print_headers(record, out);
            out.extend_from_slice(self.after(payload));
        }
    }

    fn print_headers(&self, record: &Shown<'_>, out: &mut Vec<u8>) {
        let mut headers = record.headers.clone().peekable();
        if headers.peek().is_none() {
            out.extend_from_slice(b"NO_HEADERS");
        }
        while let Some(header) = headers.next() {
            out.extend_from_slice(header.name);
            out.push(b':');
            self.push(header.value, out);
            if headers.peek().is_some() {
                out.extend_from_slice(&self.headers_separator);
            }
        }
    }

    /// What stands behind a part.
    fn after(&self, more: bool) -> &[u8] {
        if more {
            &self.key_separator
        } else {
            &self.line_separator
        }
    }

    #[inline]
    fn push(&self, bytes: Option<&[u8]>, out: &mut Vec<u8>) {
        match bytes {
            None => out.extend_from_slice(&self.null),
            Some(bytes) if self.kind == Kind::Hex => bytes::push_hex(out, bytes),
            Some(bytes) => out.extend_from_slice(bytes),
        }
    }
}

/// The formatters, and the classes of Kafka's.
fn kind_of(name: &str) -> Result<Kind> {
    let class = name.rsplit('.').next().unwrap_or(name);
    match class {
        "text" | "DefaultMessageFormatter" => Ok(Kind::Text),
        "hex" => Ok(Kind::Hex),
        "json" => Ok(Kind::Json),
        "none" | "NoOpMessageFormatter" => Ok(Kind::Nothing),
        "OffsetsMessageFormatter" | "GroupMetadataMessageFormatter" => {
            Err(Failure::usage(format!(
                "--formatter cannot be {name}: say `ottla dump --topic __consumer_offsets \
                 --offsets-decoder`"
            )))
        }
        "TransactionLogMessageFormatter" => Err(Failure::usage(format!(
            "--formatter cannot be {name}: say `ottla dump --topic __transaction_state \
             --transaction-log-decoder`"
        ))),
        _ => Err(Failure::usage(format!(
            "--formatter cannot be {name}: expected text, hex, json or none"
        ))),
    }
}

/// Keys and values are bytes: a class of Java that makes text of them is their text, others cannot
/// be loaded.
pub(super) fn check_class(flag: &str, class: Option<&str>) -> Result<()> {
    let of_bytes = [
        "StringDeserializer",
        "ByteArrayDeserializer",
        "ByteBufferDeserializer",
        "BytesDeserializer",
    ];
    let instead = "bytes that are no text are printed with --formatter hex or json";
    kafka_flags::check_class(flag, class, &of_bytes, instead)
}

fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _always = out.write_fmt(text);
}

/// A line of JSON, put together by hand: a value in between would cost more than the record.
fn print_json(record: &Shown<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"topic\":");
    push_json(Some(record.topic.as_bytes()), out);
    push(
        out,
        format_args!(
            ",\"partition\":{},\"offset\":{},\"timestamp\":{},\"key\":",
            record.partition,
            record.offset,
            record.timestamp.as_millis()
        ),
    );
    push_json(record.key, out);
    out.extend_from_slice(b",\"value\":");
    push_json(record.value, out);
    out.extend_from_slice(b",\"headers\":[");
    for (number, header) in record.headers.clone().enumerate() {
        out.extend_from_slice(if number == 0 {
            b"{\"key\":"
        } else {
            b",{\"key\":"
        });
        push_json(Some(header.name), out);
        out.extend_from_slice(b",\"value\":");
        push_json(header.value, out);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}\n");
}

/// Bytes as [`bytes::to_json`] has them.
fn push_json(part: Option<&[u8]>, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _always = match part.map(std::str::from_utf8) {
        Some(Ok(text)) => serde_json::to_writer(&mut *out, text),
        _ => serde_json::to_writer(&mut *out, &bytes::to_json(part)),
    };
}

#[cfg(test)]
mod tests {
    use ottla::{Header, Record};

    use super::*;

    fn printed(kind: &str, properties: &[&str], headers: &[Header<'_>]) -> String {
        let properties: Vec<_> = properties.iter().map(|&text| text.to_owned()).collect();
        let format = Format::read(Some(kind), Props::read(&properties).unwrap()).unwrap();
        let record = Record::new("v").with_headers(headers);
        let shown = Shown {
            topic: "t",
            partition: 3,
            offset: 7,
            timestamp: Timestamp::from_millis(5),
            append_time: false,
            key: None,
            value: Some(b"\xffv"),
            headers: record.headers(),
        };
        let mut out = Vec::new();
        format.print(&shown, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn every_part_is_printed_as_kafka_prints_it() {
        let all = [
            "print.key=true",
            "print.timestamp=true",
            "print.offset=true",
            "print.partition=true",
            "print.headers=true",
        ];
        assert_eq!(
            printed("text", &all, &[Header::new("a", "1"), Header::null("b")]),
            "CreateTime:5\tPartition:3\tOffset:7\ta:1,b:null\tnull\t\u{fffd}v\n"
        );
        assert_eq!(
            printed("hex", &["print.headers=true", "key.separator=|"], &[]),
            "NO_HEADERS|ff76\n"
        );
        assert_eq!(
            printed("text", &["print.offset=true", "print.value=false"], &[]),
            "Offset:7\n"
        );
        assert_eq!(
            printed("json", &[], &[Header::new("a", "1")]),
            "{\"topic\":\"t\",\"partition\":3,\"offset\":7,\"timestamp\":5,\"key\":null,\
             \"value\":{\"base64\":\"/3Y=\"},\"headers\":[{\"key\":\"a\",\"value\":\"1\"}]}\n"
        );
        assert!(Format::read(Some("xml"), Props::default()).is_err());
        let unknown = Props::read(&["print.colour=true".to_owned()]).unwrap();
        assert!(Format::read(None, unknown).is_err());
    }
}
