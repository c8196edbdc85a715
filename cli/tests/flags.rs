//! The command lines of Kafka's scripts, flag by flag: each is done, done without what means
//! nothing here, or refused in one sentence.
//!
//! Knows nothing about the inside of the program. The flags are those that the scripts of Kafka 4.3
//! and 3.6 print with `--help`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use rig::Root;

/// A script, the flags that its help has, and command lines that use every one of them. A line is
/// done, and nothing is left out; `-> ignores X`: it is done, and X is ignored with a note;
/// `-> refuses: words`: one sentence has these words.
type Script = (&'static str, &'static str, &'static str);

const TOPICS: Script = (
    "kafka-topics.sh",
    "alter at-min-isr-partitions bootstrap-server command-config config create delete \
     delete-config describe exclude-internal help if-exists if-not-exists list \
     partition-size-limit-per-response partitions replica-assignment replication-factor topic \
     topic-id topics-with-overrides unavailable-partitions under-min-isr-partitions \
     under-replicated-partitions version",
    "\
        --help
        --version
        --create --topic a --partitions 2 --replication-factor 1 --if-not-exists --config \
         retention.ms=1000 --bootstrap-server localhost:9092 -> ignores --bootstrap-server
        --create --topic b --replication-factor 3 -> refuses: one copy
        --create --topic b --replica-assignment 1:2,3:4 -> refuses: --partitions COUNT
        --list --exclude-internal
        --list --command-config client.properties -> ignores --command-config
        --describe --topic t --unavailable-partitions
        --describe --under-replicated-partitions
        --describe --under-min-isr-partitions
        --describe --at-min-isr-partitions
        --describe --topics-with-overrides
        --describe --topic-id AAAAAAAAAAAAAAAAAAAAAA -> refuses: there is no topic with the \
         id
        --describe --partition-size-limit-per-response=5 -> ignores \
         --partition-size-limit-per-response
        --alter --topic a --partitions 3
        --alter --topic a --delete-config retention.ms
        --delete --topic a
        --delete --topic a --if-exists",
);

const PRODUCER: Script = (
    "kafka-console-producer.sh",
    "batch-size bootstrap-server broker-list command-config command-property \
     compression-codec help line-reader max-block-ms max-memory-bytes \
     max-partition-memory-bytes message-send-max-retries metadata-expiry-ms producer-property \
     producer.config property reader-config reader-property request-required-acks \
     request-timeout-ms retry-backoff-ms socket-buffer-size sync timeout topic version",
    "\
        --help
        --version
        --topic t --broker-list localhost:9092 -> ignores --broker-list
        --topic t --bootstrap-server=localhost:9092 -> ignores --bootstrap-server
        --topic t --batch-size 1000 --max-partition-memory-bytes 2000 --sync
        --topic t --compression-codec
        --topic t --compression-codec zstd --request-required-acks all
        --topic t --request-required-acks -1
        --topic t --request-required-acks 7 -> refuses: expected 0, 1 or all
        --topic t --command-config client.properties -> ignores property ssl.protocol
        --topic t --producer.config client.properties -> ignores property ssl.protocol
        --topic t --producer.config nowhere -> refuses: cannot read nowhere
        --topic t --producer-property client.id=me -> ignores property client.id
        --topic t --command-property acks=all
        --topic t --command-property ack=all -> refuses: there is no property ack
        --topic t --command-property transactional.id=x -> refuses: transactional.id
        --topic t --property parse.key=false
        --topic t --reader-property parse.key=false
        --topic t --reader-config reader.properties
        --topic t --line-reader org.apache.kafka.tools.LineMessageReader
        --topic t --line-reader com.example.Reader -> refuses: classes of Java
        --topic t --max-block-ms 5 -> ignores --max-block-ms
        --topic t --max-memory-bytes 5 -> ignores --max-memory-bytes
        --topic t --message-send-max-retries 5 -> ignores --message-send-max-retries
        --topic t --metadata-expiry-ms 5 -> ignores --metadata-expiry-ms
        --topic t --request-timeout-ms 5 -> ignores --request-timeout-ms
        --topic t --retry-backoff-ms 5 -> ignores --retry-backoff-ms
        --topic t --socket-buffer-size 5 -> ignores --socket-buffer-size
        --topic t --timeout 5 -> ignores --timeout",
);

const CONSUMER: Script = (
    "kafka-console-consumer.sh",
    "bootstrap-server command-config command-property consumer-property consumer.config \
     enable-systest-events formatter formatter-config formatter-property from-beginning group \
     help include isolation-level key-deserializer max-messages offset partition property \
     skip-message-on-error timeout-ms topic value-deserializer version whitelist",
    "\
        --help
        --version
        --bootstrap-server localhost:9092 --topic t --from-beginning --max-messages 1 -> \
         ignores --bootstrap-server
        --topic t --partition 0 --offset earliest --max-messages 1
        --topic t --group g --timeout-ms 1
        --include t.* --from-beginning --max-messages 1
        --whitelist t.* --from-beginning --max-messages 1
        --topic t --timeout-ms 1 --isolation-level read_committed
        --topic t --timeout-ms 1 --isolation-level dirty -> refuses: read_uncommitted
        --topic t --timeout-ms 1 --command-config client.properties -> ignores ssl.protocol
        --topic t --timeout-ms 1 --consumer.config client.properties -> ignores ssl.protocol
        --topic t --timeout-ms 1 --consumer-property fetch.min.bytes=1 -> ignores \
         fetch.min.bytes
        --topic t --timeout-ms 1 --command-property group.id=g
        --topic t --timeout-ms 1 --command-property group=g -> refuses: there is no property
        --topic t --timeout-ms 1 --enable-systest-events -> ignores --enable-systest-events
        --topic t --timeout-ms 1 --skip-message-on-error -> ignores --skip-message-on-error
        --topic t --timeout-ms 1 --formatter \
         org.apache.kafka.tools.consumer.DefaultMessageFormatter
        --topic t --formatter org.apache.kafka.tools.consumer.OffsetsMessageFormatter -> \
         refuses: --offsets-decoder
        --topic t --formatter org.apache.kafka.tools.consumer.TransactionLogMessageFormatter \
         -> refuses: --transaction-log-decoder
        --topic t --timeout-ms 1 --property print.key=true
        --topic t --timeout-ms 1 --formatter-property print.key=true
        --topic t --timeout-ms 1 --formatter-config formatter.properties
        --topic t --timeout-ms 1 --key-deserializer \
         org.apache.kafka.common.serialization.StringDeserializer --value-deserializer \
         org.apache.kafka.common.serialization.ByteArrayDeserializer
        --topic t --value-deserializer org.apache.kafka.common.serialization.LongDeserializer \
         -> refuses: --formatter hex
        --topic t --property \
         key.deserializer=org.apache.kafka.common.serialization.LongDeserializer -> refuses: \
         --formatter hex",
);

const GROUPS: Script = (
    "kafka-consumer-groups.sh",
    "all-groups all-topics bootstrap-server by-duration command-config delete delete-offsets \
     describe dry-run execute export from-file group help list members offsets reset-offsets \
     shift-by state timeout to-current to-datetime to-earliest to-latest to-offset topic type \
     validate-regex verbose version",
    "\
        --help
        --version
        --list --bootstrap-server localhost:9092 -> ignores --bootstrap-server
        --list --command-config client.properties -> ignores --command-config
        --list --state
        --list --state empty,stable --type
        --list --type classic
        --describe --group kept --offsets --verbose
        --describe --all-groups --members --verbose
        --describe --group kept --state --verbose --timeout 5000 -> ignores --timeout
        --validate-regex a.*b
        --validate-regex a(b -> refuses: is not a pattern
        --reset-offsets --group kept --topic t --to-earliest --dry-run
        --reset-offsets --group kept --all-topics --to-latest --execute
        --reset-offsets --group kept --topic t:0 --to-offset 0 --export --execute
        --reset-offsets --group kept --topic t --shift-by -1 --execute
        --reset-offsets --group kept --topic t --to-current --execute
        --reset-offsets --group kept --topic t --by-duration P1D --execute
        --reset-offsets --group kept --topic t --to-datetime 2013-06-01T00:00:00.000
        --reset-offsets --group kept --from-file offsets.csv --execute
        --delete-offsets --group kept --topic t
        --reset-offsets --group kept --topic t --to-earliest --execute
        --delete --group kept",
);

const CONFIGS: Script = (
    "kafka-configs.sh",
    "add-config add-config-file all alter bootstrap-controller bootstrap-server broker \
     broker-defaults broker-logger client client-defaults client-metrics command-config \
     delete-config describe entity-default entity-name entity-type force group help ip \
     ip-defaults topic user user-defaults version zk-tls-config-file zookeeper",
    "\
        --help
        --version
        --describe --topic t --bootstrap-server localhost:9092 -> ignores --bootstrap-server
        --describe --topic t --bootstrap-controller localhost:9093 -> ignores \
         --bootstrap-controller
        --describe --topic t --zookeeper z:2181 --zk-tls-config-file f -> ignores --zookeeper
        --describe --entity-type topics --entity-name t --all
        --describe --topic t --command-config client.properties --force -> ignores --force
        --alter --topic t --add-config retention.ms=1000,cleanup.policy=[delete]
        --alter --topic t --add-config-file topic.properties
        --alter --topic t --delete-config retention.ms
        --describe --entity-type brokers --entity-name 1 -> refuses: BrokerConfig
        --describe --entity-type users --entity-default -> refuses: BrokerConfig
        --describe --broker 1 -> refuses: BrokerConfig
        --describe --broker-defaults -> refuses: BrokerConfig
        --describe --broker-logger 1 -> refuses: BrokerConfig
        --describe --client c -> refuses: BrokerConfig
        --describe --client-defaults -> refuses: BrokerConfig
        --describe --client-metrics c -> refuses: BrokerConfig
        --describe --group g -> refuses: BrokerConfig
        --describe --ip 127.0.0.1 -> refuses: BrokerConfig
        --describe --ip-defaults -> refuses: BrokerConfig
        --describe --user u -> refuses: BrokerConfig
        --describe --user-defaults -> refuses: BrokerConfig",
);

const OFFSETS: Script = (
    "kafka-get-offsets.sh",
    "bootstrap-server broker-list command-config exclude-internal-topics help partitions time \
     topic topic-partitions version",
    "\
        --help
        --version
        --bootstrap-server localhost:9092 --topic t -> ignores --bootstrap-server
        --broker-list localhost:9092 --topic t --time -1 -> ignores --broker-list
        --topic t --partitions 0 --time -2 --exclude-internal-topics
        --topic-partitions t:0 --time earliest
        --topic t --time -5 -> refuses: tiered storage
        --topic t --command-config client.properties -> ignores --command-config",
);

const RECORDS: Script = (
    "kafka-delete-records.sh",
    "bootstrap-server command-config help offset-json-file version",
    "\
        --help
        --version
        --bootstrap-server localhost:9092 --command-config client.properties \
         --offset-json-file offsets.json -> ignores --command-config",
);

const LOG_DIRS: Script = (
    "kafka-log-dirs.sh",
    "bootstrap-server broker-list command-config describe help topic-list version",
    "\
        --help
        --version
        --describe --bootstrap-server localhost:9092 -> ignores --bootstrap-server
        --describe --broker-list 0,1 --topic-list t -> ignores --broker-list
        --describe --command-config client.properties -> ignores --command-config",
);

const DUMP: Script = (
    "kafka-dump-log.sh",
    "cluster-metadata-decoder deep-iteration files help index-sanity-check key-decoder-class \
     max-bytes max-message-size offsets-decoder print-data-log remote-log-metadata-decoder \
     share-group-state-decoder skip-record-metadata transaction-log-decoder \
     value-decoder-class verify-index-only version",
    "\
        --help
        --version
        --files data/t-0/00000000000000000000.log --print-data-log --max-bytes 100
        --files data/t-0/00000000000000000000.log --deep-iteration --skip-record-metadata
        --files data/t-0/00000000000000000000.log --max-message-size 9 -> ignores \
         --max-message-size
        --files data/t-0/00000000000000000000.index --index-sanity-check
        --files data/t-0/00000000000000000000.timeindex --verify-index-only
        --files data/t-0/00000000000000000000.log --offsets-decoder
        --files data/t-0/00000000000000000000.log --transaction-log-decoder
        --files data/t-0/00000000000000000000.log --cluster-metadata-decoder
        --files data/t-0/00000000000000000000.log --share-group-state-decoder
        --files x.log --remote-log-metadata-decoder -> refuses: tiered storage
        --files data/t-0/00000000000000000000.log --value-decoder-class --key-decoder-class \
         kafka.serializer.StringDecoder
        --files x.log --value-decoder-class com.example.Decoder -> refuses: classes of Java",
);

const PERF_PRODUCER: Script = (
    "kafka-producer-perf-test.sh",
    "bootstrap-server command-config command-property help num-records payload-delimiter \
     payload-file payload-monotonic print-metrics producer-props producer.config record-size \
     reporting-interval throughput topic transaction-duration-ms transactional-id \
     warmup-records",
    "\
        --help
        --topic t --num-records 10 --record-size 10 --throughput -1 --bootstrap-server x:1 \
         --producer-props acks=1 bootstrap.servers=x:1 -> ignores property bootstrap.servers
        --topic t --num-records 10 --throughput 1000 --payload-file payloads \
         --payload-delimiter ; --command-property acks=all --print-metrics -> ignores \
         --print-metrics
        --topic t --num-records 10 --throughput -1 --payload-monotonic --warmup-records 5 \
         --reporting-interval 1000
        --topic t --num-records 1 --throughput -1 --record-size 1 --command-config c -> \
         ignores --command-config
        --topic t --num-records 1 --throughput -1 --record-size 1 --producer.config c -> \
         ignores --producer.config
        --topic t --num-records 1 --throughput -1 --warmup-records 1 -> refuses: fewer than \
         --num-records
        --topic t --num-records 1 --throughput -1 --producer-props compression.type=lz4 -> \
         refuses: compression.type
        --topic t --num-records 1 --throughput -1 --producer-props compression.lz4.level=9 -> \
         ignores property compression.lz4.level
        --topic t --num-records 1 --throughput -1 --transactional-id x -> refuses: \
         transactions
        --topic t --num-records 1 --throughput -1 --transaction-duration-ms 5 -> refuses: \
         transactions",
);

const PERF_CONSUMER: Script = (
    "kafka-consumer-perf-test.sh",
    "bootstrap-server broker-list command-config command-property consumer.config date-format \
     fetch-size from-latest group help hide-header include messages num-fetch-threads \
     num-records print-metrics reporting-interval show-detailed-stats socket-buffer-size \
     threads timeout topic version",
    "\
        --help
        --version
        --topic t --messages 1 --bootstrap-server x:1 -> ignores --bootstrap-server
        --topic t --num-records 1 --broker-list x:1 --hide-header -> ignores --broker-list
        --topic t --messages 1 --command-config c -> ignores --command-config
        --topic t --messages 1 --command-property a=b -> ignores --command-property
        --topic t --messages 1 --consumer.config c -> ignores --consumer.config
        --topic t --messages 1 --date-format yyyy -> ignores --date-format
        --topic t --messages 1 --fetch-size 5 -> ignores --fetch-size
        --topic t --messages 1 --group g -> ignores --group
        --topic t --messages 1 --threads 2 --num-fetch-threads 2 -> ignores \
         --num-fetch-threads
        --topic t --messages 1 --print-metrics -> ignores --print-metrics
        --topic t --messages 1 --reporting-interval 5 -> ignores --reporting-interval
        --topic t --messages 1 --show-detailed-stats -> ignores --show-detailed-stats
        --topic t --messages 1 --socket-buffer-size 5 -> ignores --socket-buffer-size
        --topic t --messages 1 --timeout -> ignores --timeout
        --include t --messages 1 -> refuses: --topic NAME
        --topic t --messages 1 --from-latest -> refuses: begins with the first record",
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
    let lines = lines.lines().map(str::trim);
    for row in lines.clone() {
        let (line, fate) = row.split_once(" -> ").unwrap_or((row, ""));
        let ran = root.run_fed(&format!("{name} {line}"), "three\n");
        let told = &ran.err;
        assert!(!told.contains("unexpected argument"), "{line}: {told}");
        if let Some(words) = fate.strip_prefix("refuses: ") {
            assert!((1..=2).contains(&ran.code), "{line}: {told}");
            ran.fails(ran.code, words);
            continue;
        }
        assert_eq!(ran.code, 0, "{line}: {told}");
        let ignored = fate.strip_prefix("ignores ");
        assert_eq!(ignored.is_none(), fate.is_empty(), "{row}");
        assert_eq!(
            ignored.is_some(),
            told.contains("is ignored"),
            "{line}: {told}"
        );
        let note = format!("{} is ignored: ", ignored.unwrap_or_default());
        assert!(ignored.is_none() || told.contains(&note), "{line}: {told}");
    }
    let words = lines.flat_map(|line| line.split([' ', '=']));
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
fn what_precedes_the_scripts_name_is_answered_too() {
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
