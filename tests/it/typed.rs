//! Typed topics: values go in, values come out, and a record that is not one is an error with its
//! place.

use std::time::Duration;

use ottla::{
    Broker, Codec, CodecError, ConsumerRecord, Error, ErrorKind, Header, Keyed, Record, Result,
    Start, TopicConfig, TypedTopic,
};

#[derive(Debug, PartialEq)]
struct Number(u32);

impl Keyed for Number {
    fn key(&self) -> impl AsRef<[u8]> {
        self.0.to_be_bytes()
    }
}

/// Numbers as text; version 1 wrote them with a sign in front.
struct Text {
    version: u32,
}

impl Codec<Number> for Text {
    fn name(&self) -> &'static str {
        "number"
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn encode(&self, value: &Number, into: &mut Vec<u8>) -> std::result::Result<(), CodecError> {
        if value.0 == 13 {
            return Err("13 brings bad luck".into());
        }
        into.extend_from_slice(value.0.to_string().as_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8], version: u32) -> std::result::Result<Number, CodecError> {
        let text = std::str::from_utf8(bytes)?;
        let text = if version == 1 {
            text.trim_start_matches('+')
        } else {
            text
        };
        if text.starts_with('+') {
            return Err("a sign".into());
        }
        Ok(Number(text.parse()?))
    }
}

fn v2() -> Text {
    Text { version: 2 }
}

/// The numbers that were read, and the places of what cannot be decoded.
fn seen(read: impl IntoIterator<Item = Result<(Number, ConsumerRecord)>>) -> Vec<String> {
    let seen = read.into_iter().map(|read| match read {
        Ok((number, record)) => format!("{} at {}", number.0, record.offset),
        Err(Error::Undecodable {
            topic,
            partition,
            offset,
            ..
        }) => format!("none at {topic}-{partition}@{offset}"),
        Err(error) => panic!("{error}"),
    });
    seen.collect()
}

#[test]
fn a_record_that_cannot_be_decoded_names_its_place_and_reading_goes_on() {
    let broker = Broker::temporary().unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let numbers = topic.typed::<Number>(v2());
    assert_eq!(numbers.append(&Number(7)).unwrap().offset, 0);
    topic.append("poison").unwrap();
    let typed = |says: &'static str, value: &'static str| {
        let headers = [Header::new("other", "x"), Header::new("ottla.type", says)];
        topic
            .append(Record::new(value).with_headers(&headers))
            .unwrap();
    };
    typed("number/1", "+8");
    typed("number/2", "+9");
    typed("number/3", "10");
    typed("letter/2", "11");
    typed("number", "12");
    typed("number/2", "14");
    topic.append("15").unwrap();
    let expected = [
        "7 at 0",
        "none at t-0@1",
        "8 at 2",
        "none at t-0@3",
        "none at t-0@4",
        "none at t-0@5",
        "none at t-0@6",
        "14 at 7",
        "15 at 8",
    ];
    let mut reader = numbers.reader(Start::Earliest).unwrap();
    assert_eq!(seen(reader.by_ref()), expected);
    assert_eq!(reader.positions()[&0], 9);
    assert!(!reader.wait(Duration::ZERO).unwrap());
    reader.seek(0, 8).unwrap();
    assert_eq!(seen(reader), ["15 at 8"]);

    let group = broker.group("g").unwrap();
    let mut consumer = group.join(["t"]).unwrap().typed::<Number>(v2());
    assert_eq!(seen(consumer.poll(Duration::ZERO).unwrap()), expected);
    consumer.commit().unwrap();
    assert_eq!(group.committed("t", 0).unwrap(), Some(9));
}

#[test]
fn keys_come_from_the_values_or_from_a_closure() {
    let broker = Broker::temporary().unwrap();
    let config = TopicConfig::default().partitions(8);
    let topic = broker.create_topic("t", config).unwrap();
    let numbers = topic.typed::<Number>(v2());
    let key = 7_u32.to_be_bytes();
    let own = numbers.append(&Number(7)).unwrap();
    assert_eq!(own.partition, topic.partition_for_key(&key));
    let parity = numbers.keyed_by(|number| Some(vec![u8::from(number.0 % 2 == 1)]));
    let odd = parity.append(&Number(9)).unwrap();
    assert_eq!(odd.partition, topic.partition_for_key(&[1]));
    let none = parity
        .clone()
        .keyed_by(|_| None)
        .append(&Number(11))
        .unwrap();
    let record = topic
        .partition(none.partition)
        .unwrap()
        .read(none.offset)
        .unwrap()
        .unwrap();
    assert_eq!(record.key(), None);
    let header = record.headers().next().unwrap();
    assert_eq!(
        (header.name, header.value),
        (&b"ottla.type"[..], Some(&b"number/2"[..]))
    );
}

#[test]
fn a_value_that_the_codec_refuses_is_not_appended() {
    let broker = Broker::temporary().unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let error = topic.typed::<Number>(v2()).append(&Number(13)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unencodable);
    assert!(error.to_string().contains("13 brings bad luck"), "{error}");
    assert_eq!(topic.partition(0).unwrap().end_offset(), 0);
}

/// What a program keeps: the type of the codec is known, or any codec will do.
struct Shelf {
    known: TypedTopic<Number, Text>,
    any: TypedTopic<Number>,
}

fn append_by<C: Codec<Number>>(topic: &TypedTopic<Number, C>, number: u32) -> u64 {
    topic.append(&Number(number)).unwrap().offset
}

#[test]
fn a_typed_topic_can_be_kept_with_its_codec_or_with_any() {
    let broker = Broker::temporary().unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let shelf = Shelf {
        known: TypedTopic::new(&topic, v2()),
        any: topic.typed(v2()),
    };
    assert_eq!(append_by(&shelf.known, 1), 0);
    assert_eq!(append_by(&shelf.any, 2), 1);
    let read = shelf.any.reader(0).unwrap();
    assert_eq!(seen(read), ["1 at 0", "2 at 1"]);
}

#[test]
fn an_error_of_the_codec_is_the_source_of_the_error_with_the_place() {
    let broker = Broker::temporary().unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    topic.append("twelve").unwrap();
    let mut reader = topic.typed::<Number>(v2()).reader(0).unwrap();
    let error = reader.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Undecodable);
    assert!(!error.is_transient());
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "invalid digit found in string");
    let says = "the record at offset 0 of t-0 cannot be decoded: invalid digit found in string";
    assert_eq!(error.to_string(), says);
}

#[cfg(feature = "json")]
#[test]
fn json_writes_its_name_and_reads_earlier_versions() {
    use ottla::Json;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Departure {
        tail: String,
        #[serde(default)]
        minutes_late: i32,
    }

    let broker = Broker::temporary().unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let typed = topic.typed::<Departure>(Json::named("departure", 2));
    let typed = typed.keyed_by(|event| Some(event.tail.clone().into_bytes()));
    let late = Departure {
        tail: "N14228".to_owned(),
        minutes_late: 2,
    };
    typed.append(&late).unwrap();
    let old = [Header::new("ottla.type", "departure/1")];
    let record = Record::new(r#"{"tail":"N24211","gate":"A1"}"#).with_headers(&old);
    topic.append(record).unwrap();
    topic.append(r#"{"tail":1}"#).unwrap();
    let read: Vec<_> = typed.reader(0).unwrap().collect();
    let (value, record) = read[0].as_ref().unwrap();
    assert_eq!(value, &late);
    assert_eq!(record.key(), Some(&b"N14228"[..]));
    let header = record.headers().next().unwrap();
    assert_eq!(header.value, Some(&b"departure/2"[..]));
    assert_eq!(read[1].as_ref().unwrap().0.minutes_late, 0);
    let error = read[2].as_ref().unwrap_err();
    assert!(matches!(error, Error::Undecodable { offset: 2, .. }));

    let plain = topic.typed::<Departure>(Json);
    let first = plain.reader(0).unwrap().next().unwrap().unwrap_err();
    assert!(first.to_string().contains("not json"), "{first}");
}
