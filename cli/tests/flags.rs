//! The command lines of Kafka's scripts, flag by flag: each is done, done without what means
//! nothing here, or refused in one sentence.
//!
//! Knows nothing about the inside of the program. The flags are those that the scripts of Kafka 4.3
//! and 3.6 print with `--help`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use rig::Root;

/// What becomes of a command line.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It is done, and nothing is left out.
    Done,
    /// It is done, and this flag or property is ignored with a note.
    Noted(&'static str),
    /// One sentence has these words.
    Refused(&'static str),
}

use Fate::{Done, Noted, Refused};

/// A script, the flags that its help has, and command lines that use every one of them.
type Script = (&'static str, &'static str, &'static [(&'static str, Fate)]);

const TOPICS: Script = (
    "kafka-topics.sh",
    "alter at-min-isr-partitions bootstrap-server command-config config create delete \
     delete-config describe exclude-internal help if-exists if-not-exists list \
     partition-size-limit-per-response partitions replica-assignment replication-factor topic \
     topic-id topics-with-overrides unavailable-partitions under-min-isr-partitions \
     under-replicated-partitions version",
    &[
        ("--help", Done),
        ("--version", Done),
        (
            "--create --topic a --partitions 2 --replication-factor 1 --if-not-exists \
             --config retention.ms=1000 --bootstrap-server localhost:9092",
            Noted("--bootstrap-server"),
        ),
        (
            "--create --topic b --replication-factor 3",
            Refused("one copy"),
        ),
        (
            "--create --topic b --replica-assignment 1:2,3:4",
            Refused("--partitions COUNT"),
        ),
        ("--list --exclude-internal", Done),
        (
            "--list --command-config client.properties",
            Noted("--command-config"),
        ),
        ("--describe --topic t --unavailable-partitions", Done),
        ("--describe --under-replicated-partitions", Done),
        ("--describe --under-min-isr-partitions", Done),
        ("--describe --at-min-isr-partitions", Done),
        ("--describe --topics-with-overrides", Done),
        (
            "--describe --topic-id AAAAAAAAAAAAAAAAAAAAAA",
            Refused("there is no topic with the id"),
        ),
        (
            "--describe --partition-size-limit-per-response=5",
            Noted("--partition-size-limit-per-response"),
        ),
        ("--alter --topic a --partitions 3", Done),
        ("--alter --topic a --delete-config retention.ms", Done),
        ("--delete --topic a", Done),
        ("--delete --topic a --if-exists", Done),
    ],
);

const PRODUCER: Script = (
    "kafka-console-producer.sh",
    "batch-size bootstrap-server broker-list command-config command-property compression-codec help \
     line-reader max-block-ms max-memory-bytes max-partition-memory-bytes message-send-max-retries \
     metadata-expiry-ms producer-property producer.config property reader-config reader-property \
     request-required-acks request-timeout-ms retry-backoff-ms socket-buffer-size sync timeout \
     topic version",
    &[
        ("--help", Done),
        ("--version", Done),
        (
            "--topic t --broker-list localhost:9092",
            Noted("--broker-list"),
        ),
        (
            "--topic t --bootstrap-server=localhost:9092",
            Noted("--bootstrap-server"),
        ),
        (
            "--topic t --batch-size 1000 --max-partition-memory-bytes 2000 --sync",
            Done,
        ),
        ("--topic t --compression-codec", Done),
        (
            "--topic t --compression-codec zstd --request-required-acks all",
            Done,
        ),
        ("--topic t --request-required-acks -1", Done),
        (
            "--topic t --request-required-acks 7",
            Refused("expected 0, 1 or all"),
        ),
        (
            "--topic t --command-config client.properties",
            Noted("property ssl.protocol"),
        ),
        (
            "--topic t --producer.config client.properties",
            Noted("property ssl.protocol"),
        ),
        (
            "--topic t --producer.config nowhere",
            Refused("cannot read nowhere"),
        ),
        (
            "--topic t --producer-property client.id=me",
            Noted("property client.id"),
        ),
        ("--topic t --command-property acks=all", Done),
        (
            "--topic t --command-property ack=all",
            Refused("there is no property ack"),
        ),
        (
            "--topic t --command-property transactional.id=x",
            Refused("transactional.id"),
        ),
        ("--topic t --property parse.key=false", Done),
        ("--topic t --reader-property parse.key=false", Done),
        ("--topic t --reader-config reader.properties", Done),
        (
            "--topic t --line-reader org.apache.kafka.tools.LineMessageReader",
            Done,
        ),
        (
            "--topic t --line-reader com.example.Reader",
            Refused("classes of Java"),
        ),
        ("--topic t --max-block-ms 5", Noted("--max-block-ms")),
        (
            "--topic t --max-memory-bytes 5",
            Noted("--max-memory-bytes"),
        ),
        (
            "--topic t --message-send-max-retries 5",
            Noted("--message-send-max-retries"),
        ),
        (
            "--topic t --metadata-expiry-ms 5",
            Noted("--metadata-expiry-ms"),
        ),
        (
            "--topic t --request-timeout-ms 5",
            Noted("--request-timeout-ms"),
        ),
        (
            "--topic t --retry-backoff-ms 5",
            Noted("--retry-backoff-ms"),
        ),
        (
            "--topic t --socket-buffer-size 5",
            Noted("--socket-buffer-size"),
        ),
        ("--topic t --timeout 5", Noted("--timeout")),
    ],
);

const CONSUMER: Script = (
    "kafka-console-consumer.sh",
    "bootstrap-server command-config command-property consumer-property consumer.config \
     enable-systest-events formatter formatter-config formatter-property from-beginning group help \
     include isolation-level key-deserializer max-messages offset partition property \
     skip-message-on-error timeout-ms topic value-deserializer version whitelist",
    &[
        ("--help", Done),
        ("--version", Done),
        (
            "--bootstrap-server localhost:9092 --topic t --from-beginning --max-messages 1",
            Noted("--bootstrap-server"),
        ),
        (
            "--topic t --partition 0 --offset earliest --max-messages 1",
            Done,
        ),
        ("--topic t --group g --timeout-ms 1", Done),
        ("--include t.* --from-beginning --max-messages 1", Done),
        ("--whitelist t.* --from-beginning --max-messages 1", Done),
        (
            "--topic t --timeout-ms 1 --isolation-level read_committed",
            Done,
        ),
        (
            "--topic t --timeout-ms 1 --isolation-level dirty",
            Refused("read_uncommitted"),
        ),
        (
            "--topic t --timeout-ms 1 --command-config client.properties",
            Noted("ssl.protocol"),
        ),
        (
            "--topic t --timeout-ms 1 --consumer.config client.properties",
            Noted("ssl.protocol"),
        ),
        (
            "--topic t --timeout-ms 1 --consumer-property fetch.min.bytes=1",
            Noted("fetch.min.bytes"),
        ),
        (
            "--topic t --timeout-ms 1 --command-property group.id=g",
            Done,
        ),
        (
            "--topic t --timeout-ms 1 --command-property group=g",
            Refused("there is no property"),
        ),
        (
            "--topic t --timeout-ms 1 --enable-systest-events",
            Noted("--enable-systest-events"),
        ),
        (
            "--topic t --timeout-ms 1 --skip-message-on-error",
            Noted("--skip-message-on-error"),
        ),
        (
            "--topic t --timeout-ms 1 --formatter org.apache.kafka.tools.consumer.DefaultMessageFormatter",
            Done,
        ),
        (
            "--topic t --formatter org.apache.kafka.tools.consumer.OffsetsMessageFormatter",
            Refused("--offsets-decoder"),
        ),
        (
            "--topic t --formatter org.apache.kafka.tools.consumer.TransactionLogMessageFormatter",
            Refused("--transaction-log-decoder"),
        ),
        ("--topic t --timeout-ms 1 --property print.key=true", Done),
        (
            "--topic t --timeout-ms 1 --formatter-property print.key=true",
            Done,
        ),
        (
            "--topic t --timeout-ms 1 --formatter-config formatter.properties",
            Done,
        ),
        (
            "--topic t --timeout-ms 1 --key-deserializer \
             org.apache.kafka.common.serialization.StringDeserializer --value-deserializer \
             org.apache.kafka.common.serialization.ByteArrayDeserializer",
            Done,
        ),
        (
            "--topic t --value-deserializer org.apache.kafka.common.serialization.LongDeserializer",
            Refused("--formatter hex"),
        ),
        (
            "--topic t --property \
             key.deserializer=org.apache.kafka.common.serialization.LongDeserializer",
            Refused("--formatter hex"),
        ),
    ],
);

const GROUPS: Script = (
    "kafka-consumer-groups.sh",
    "all-groups all-topics bootstrap-server by-duration command-config delete delete-offsets \
     describe dry-run execute export from-file group help list members offsets reset-offsets \
     shift-by state timeout to-current to-datetime to-earliest to-latest to-offset topic type \
     validate-regex verbose version",
    &[
        ("--help", Done),
        ("--version", Done),
        (
            "--list --bootstrap-server localhost:9092",
            Noted("--bootstrap-server"),
        ),
        (
            "--list --command-config client.properties",
            Noted("--command-config"),
        ),
        ("--list --state", Done),
        ("--list --state empty,stable --type", Done),
        ("--list --type classic", Done),
        ("--describe --group kept --offsets --verbose", Done),
        ("--describe --all-groups --members --verbose", Done),
        (
            "--describe --group kept --state --verbose --timeout 5000",
            Noted("--timeout"),
        ),
        ("--validate-regex a.*b", Done),
        ("--validate-regex a(b", Refused("is not a pattern")),
        (
            "--reset-offsets --group kept --topic t --to-earliest --dry-run",
            Done,
        ),
        (
            "--reset-offsets --group kept --all-topics --to-latest --execute",
            Done,
        ),
        (
            "--reset-offsets --group kept --topic t:0 --to-offset 0 --export --execute",
            Done,
        ),
        (
            "--reset-offsets --group kept --topic t --shift-by -1 --execute",
            Done,
        ),
        (
            "--reset-offsets --group kept --topic t --to-current --execute",
            Done,
        ),
        (
            "--reset-offsets --group kept --topic t --by-duration P1D --execute",
            Done,
        ),
        (
            "--reset-offsets --group kept --topic t --to-datetime 2013-06-01T00:00:00.000",
            Done,
        ),
        (
            "--reset-offsets --group kept --from-file offsets.csv --execute",
            Done,
        ),
        ("--delete-offsets --group kept --topic t", Done),
        (
            "--reset-offsets --group kept --topic t --to-earliest --execute",
            Done,
        ),
        ("--delete --group kept", Done),
    ],
);

const CONFIGS: Script = (
    "kafka-configs.sh",
    "add-config add-config-file all alter bootstrap-controller bootstrap-server broker \
     broker-defaults broker-logger client client-defaults client-metrics command-config \
     delete-config describe entity-default entity-name entity-type force group help ip ip-defaults \
     topic user user-defaults version zk-tls-config-file zookeeper",
    &[
        ("--help", Done),
        ("--version", Done),
        (
            "--describe --topic t --bootstrap-server localhost:9092",
            Noted("--bootstrap-server"),
        ),
        (
            "--describe --topic t --bootstrap-controller localhost:9093",
            Noted("--bootstrap-controller"),
        ),
        (
            "--describe --topic t --zookeeper z:2181 --zk-tls-config-file f",
            Noted("--zookeeper"),
        ),
        (
            "--describe --entity-type topics --entity-name t --all",
            Done,
        ),
        (
            "--describe --topic t --command-config client.properties --force",
            Noted("--force"),
        ),
        (
            "--alter --topic t --add-config retention.ms=1000,cleanup.policy=[delete]",
            Done,
        ),
        ("--alter --topic t --add-config-file topic.properties", Done),
        ("--alter --topic t --delete-config retention.ms", Done),
        (
            "--describe --entity-type brokers --entity-name 1",
            Refused("BrokerConfig"),
        ),
        (
            "--describe --entity-type users --entity-default",
            Refused("BrokerConfig"),
        ),
        ("--describe --broker 1", Refused("BrokerConfig")),
        ("--describe --broker-defaults", Refused("BrokerConfig")),
        ("--describe --broker-logger 1", Refused("BrokerConfig")),
        ("--describe --client c", Refused("BrokerConfig")),
        ("--describe --client-defaults", Refused("BrokerConfig")),
        ("--describe --client-metrics c", Refused("BrokerConfig")),
        ("--describe --group g", Refused("BrokerConfig")),
        ("--describe --ip 127.0.0.1", Refused("BrokerConfig")),
        ("--describe --ip-defaults", Refused("BrokerConfig")),
        ("--describe --user u", Refused("BrokerConfig")),
        ("--describe --user-defaults", Refused("BrokerConfig")),
    ],
);

const OFFSETS: Script = (
    "kafka-get-offsets.sh",
    "bootstrap-server broker-list command-config exclude-internal-topics help partitions time topic \
     topic-partitions version",
    &[
        ("--help", Done),
        ("--version", Done),
        (
            "--bootstrap-server localhost:9092 --topic t",
            Noted("--bootstrap-server"),
        ),
        (
            "--broker-list localhost:9092 --topic t --time -1",
            Noted("--broker-list"),
        ),
        (
            "--topic t --partitions 0 --time -2 --exclude-internal-topics",
            Done,
        ),
        ("--topic-partitions t:0 --time earliest", Done),
        ("--topic t --time -5", Refused("tiered storage")),
        (
            "--topic t --command-config client.properties",
            Noted("--command-config"),
        ),
    ],
);

const RECORDS: Script = (
    "kafka-delete-records.sh",
    "bootstrap-server command-config help offset-json-file version",
    &[
        ("--help", Done),
        ("--version", Done),
        (
            "--bootstrap-server localhost:9092 --command-config client.properties \
             --offset-json-file offsets.json",
            Noted("--command-config"),
        ),
    ],
);

const LOG_DIRS: Script = (
    "kafka-log-dirs.sh",
    "bootstrap-server broker-list command-config describe help topic-list version",
    &[
        ("--help", Done),
        ("--version", Done),
        (
            "--describe --bootstrap-server localhost:9092",
            Noted("--bootstrap-server"),
        ),
        (
            "--describe --broker-list 0,1 --topic-list t",
            Noted("--broker-list"),
        ),
        (
            "--describe --command-config client.properties",
            Noted("--command-config"),
        ),
    ],
);

const DUMP: Script = (
    "kafka-dump-log.sh",
    "cluster-metadata-decoder deep-iteration files help index-sanity-check key-decoder-class \
     max-bytes max-message-size offsets-decoder print-data-log remote-log-metadata-decoder \
     share-group-state-decoder skip-record-metadata transaction-log-decoder value-decoder-class \
     verify-index-only version",
    &[
        ("--help", Done),
        ("--version", Done),
        (
            "--files data/t-0/00000000000000000000.log --print-data-log --max-bytes 100",
            Done,
        ),
        (
            "--files data/t-0/00000000000000000000.log --deep-iteration --skip-record-metadata",
            Done,
        ),
        (
            "--files data/t-0/00000000000000000000.log --max-message-size 9",
            Noted("--max-message-size"),
        ),
        (
            "--files data/t-0/00000000000000000000.index --index-sanity-check",
            Done,
        ),
        (
            "--files data/t-0/00000000000000000000.timeindex --verify-index-only",
            Done,
        ),
        (
            "--files data/t-0/00000000000000000000.log --offsets-decoder",
            Done,
        ),
        (
            "--files data/t-0/00000000000000000000.log --transaction-log-decoder",
            Done,
        ),
        (
            "--files data/t-0/00000000000000000000.log --cluster-metadata-decoder",
            Done,
        ),
        (
            "--files data/t-0/00000000000000000000.log --share-group-state-decoder",
            Done,
        ),
        (
            "--files x.log --remote-log-metadata-decoder",
            Refused("tiered storage"),
        ),
        (
            "--files data/t-0/00000000000000000000.log --value-decoder-class --key-decoder-class \
             kafka.serializer.StringDecoder",
            Done,
        ),
        (
            "--files x.log --value-decoder-class com.example.Decoder",
            Refused("classes of Java"),
        ),
    ],
);

const PERF_PRODUCER: Script = (
    "kafka-producer-perf-test.sh",
    "bootstrap-server command-config command-property help num-records payload-delimiter \
     payload-file payload-monotonic print-metrics producer-props producer.config record-size \
     reporting-interval throughput topic transaction-duration-ms transactional-id warmup-records",
    &[
        ("--help", Done),
        (
            "--topic t --num-records 10 --record-size 10 --throughput -1 --bootstrap-server x:1 \
             --producer-props acks=1 bootstrap.servers=x:1",
            Noted("property bootstrap.servers"),
        ),
        (
            "--topic t --num-records 10 --throughput 1000 --payload-file payloads \
             --payload-delimiter ; --command-property acks=all --print-metrics",
            Noted("--print-metrics"),
        ),
        (
            "--topic t --num-records 10 --throughput -1 --payload-monotonic --warmup-records 5 \
             --reporting-interval 1000",
            Done,
        ),
        (
            "--topic t --num-records 1 --throughput -1 --record-size 1 --command-config c",
            Noted("--command-config"),
        ),
        (
            "--topic t --num-records 1 --throughput -1 --record-size 1 --producer.config c",
            Noted("--producer.config"),
        ),
        (
            "--topic t --num-records 1 --throughput -1 --transactional-id x",
            Refused("transactions"),
        ),
        (
            "--topic t --num-records 1 --throughput -1 --transaction-duration-ms 5",
            Refused("transactions"),
        ),
    ],
);

const PERF_CONSUMER: Script = (
    "kafka-consumer-perf-test.sh",
    "bootstrap-server broker-list command-config command-property consumer.config date-format \
     fetch-size from-latest group help hide-header include messages num-fetch-threads num-records \
     print-metrics reporting-interval show-detailed-stats socket-buffer-size threads timeout topic \
     version",
    &[
        ("--help", Done),
        ("--version", Done),
        (
            "--topic t --messages 1 --bootstrap-server x:1",
            Noted("--bootstrap-server"),
        ),
        (
            "--topic t --num-records 1 --broker-list x:1 --hide-header",
            Noted("--broker-list"),
        ),
        (
            "--topic t --messages 1 --command-config c",
            Noted("--command-config"),
        ),
        (
            "--topic t --messages 1 --command-property a=b",
            Noted("--command-property"),
        ),
        (
            "--topic t --messages 1 --consumer.config c",
            Noted("--consumer.config"),
        ),
        (
            "--topic t --messages 1 --date-format yyyy",
            Noted("--date-format"),
        ),
        (
            "--topic t --messages 1 --fetch-size 5",
            Noted("--fetch-size"),
        ),
        ("--topic t --messages 1 --group g", Noted("--group")),
        (
            "--topic t --messages 1 --threads 2 --num-fetch-threads 2",
            Noted("--num-fetch-threads"),
        ),
        (
            "--topic t --messages 1 --print-metrics",
            Noted("--print-metrics"),
        ),
        (
            "--topic t --messages 1 --reporting-interval 5",
            Noted("--reporting-interval"),
        ),
        (
            "--topic t --messages 1 --show-detailed-stats",
            Noted("--show-detailed-stats"),
        ),
        (
            "--topic t --messages 1 --socket-buffer-size 5",
            Noted("--socket-buffer-size"),
        ),
        ("--topic t --messages 1 --timeout", Noted("--timeout")),
        ("--include t --messages 1", Refused("--topic NAME")),
        (
            "--topic t --messages 1 --from-latest",
            Refused("begins with the first record"),
        ),
    ],
);

/// A directory with a topic, a group, and the files that the command lines name.
fn root() -> Root {
    let root = Root::new();
    root.ok("topics --create --topic t");
    root.feed("produce --topic t", "one\ntwo\n");
    root.ok("consume --topic t --group kept --from-beginning --exit-at-end");
    for (name, text) in [
        ("client.properties", "# TLS\nssl.protocol = TLSv1.3\n"),
        ("reader.properties", "parse.key=false\n"),
        ("formatter.properties", "print.key: true\n"),
        ("topic.properties", "retention.ms=1000\n"),
        ("offsets.csv", "t,0,1\n"),
        ("payloads", "a;bb;ccc"),
        (
            "offsets.json",
            "{\"partitions\":[{\"topic\":\"t\",\"partition\":0,\"offset\":1}],\"version\":1}",
        ),
    ] {
        std::fs::write(root.scratch().join(name), text).unwrap();
    }
    root
}

fn check(script: Script) {
    let (name, flags, lines) = script;
    let root = root();
    for (line, fate) in lines {
        let ran = root.run_fed(&format!("{name} {line}"), "three\n");
        let told = &ran.err;
        assert!(!told.contains("unexpected argument"), "{line}: {told}");
        match fate {
            Done => {
                assert_eq!(ran.code, 0, "{line}: {told}");
                assert!(!told.contains("is ignored"), "{line}: {told}");
            }
            Noted(what) => {
                assert_eq!(ran.code, 0, "{line}: {told}");
                assert!(
                    told.contains(&format!("{what} is ignored: ")),
                    "{line}: {told}"
                );
            }
            Refused(words) => {
                assert!((1..=2).contains(&ran.code), "{line}: {told}");
                ran.fails(ran.code, words);
            }
        }
    }
    let words = lines.iter().flat_map(|(line, _)| line.split([' ', '=']));
    let used: Vec<_> = words.filter_map(|word| word.strip_prefix("--")).collect();
    let unused = flags.split_whitespace().find(|flag| !used.contains(flag));
    assert_eq!(unused, None, "{name} has a flag that no command line uses");
}

#[test]
fn every_flag_of_kafka_topics_is_answered() {
    check(TOPICS);
}

#[test]
fn every_flag_of_the_console_producer_is_answered() {
    check(PRODUCER);
}

#[test]
fn every_flag_of_the_console_consumer_is_answered() {
    check(CONSUMER);
}

#[test]
fn every_flag_of_kafka_consumer_groups_is_answered() {
    check(GROUPS);
}

#[test]
fn every_flag_of_kafka_configs_is_answered() {
    check(CONFIGS);
}

#[test]
fn every_flag_of_the_small_scripts_is_answered() {
    for script in [OFFSETS, RECORDS, LOG_DIRS] {
        check(script);
    }
}

#[test]
fn every_flag_of_the_dump_tool_is_answered() {
    check(DUMP);
}

#[test]
fn every_flag_of_the_performance_tests_is_answered() {
    check(PERF_PRODUCER);
    check(PERF_CONSUMER);
}

#[test]
fn what_stands_before_the_scripts_name_is_answered_too() {
    let root = root();
    let ran =
        root.ok("--bootstrap-server x:1 kafka-run-class.sh kafka.tools.GetOffsetShell --topic t");
    ran.says("t:0:2\n");
    assert!(
        ran.err.contains("--bootstrap-server is ignored"),
        "{}",
        ran.err
    );
    root.run("topics --list --zookeeper")
        .fails(2, "a value is required");
    root.run("topics --list --colour").fails(2, "--colour");
}
