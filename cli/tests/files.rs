//! The verbs that look into files and keep them in order, and those that measure and draw.
//!
//! Knows nothing about the inside of the program.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ottla::{Broker, Topic, TopicConfig};

use rig::Root;

/// Nobody waits longer than this for something that must come.
const PATIENCE: Duration = Duration::from_secs(600);

fn segment(root: &Root) -> PathBuf {
    root.dir().join("t-0/00000000000000000000.log")
}

#[test]
fn a_log_is_dumped_in_kafkas_words() {
    let root = Root::new();
    root.ok("topics --create --topic t");
    let lines = "{\"key\":\"k\",\"value\":\"v\",\"timestamp\":1000,\"headers\":{\"h\":\"1\"}}\n\
                 {\"value\":null,\"timestamp\":2000}\n";
    root.feed("produce --topic t --format json", lines);
    let log = segment(&root).display().to_string();
    let shown = root.ok(&format!("dump --files {log} --print-data-log")).out;
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines[0], format!("Dumping {log}"));
    assert_eq!(lines[1], "Log starting offset: 0");
    let head = "baseOffset: 0 lastOffset: 1 count: 2 baseSequence: -1 lastSequence: -1 \
                producerId: -1 producerEpoch: -1 partitionLeaderEpoch: 0 isTransactional: false \
                isControl: false deleteHorizonMs: OptionalLong.empty position: 0 CreateTime: 2000 size: ";
    assert!(lines[2].starts_with(head), "{}", lines[2]);
    assert!(lines[2].ends_with("isvalid: true"), "{}", lines[2]);
    assert_eq!(
        lines[3],
        "| offset: 0 CreateTime: 1000 keySize: 1 valueSize: 1 sequence: -1 headerKeys: [h] key: k \
         payload: v"
    );
    assert_eq!(
        lines[4],
        "| offset: 1 CreateTime: 2000 keySize: -1 valueSize: -1 sequence: -1 headerKeys: []"
    );
    let json = root
        .ok(&format!("dump --files {log} --deep-iteration --json"))
        .json();
    assert_eq!(
        (&json["count"], &json["records"][1]["offset"]),
        (&2.into(), &1.into())
    );

    // A flipped bit is shown, and bytes that are no batch are counted.
    let mut bytes = fs::read(segment(&root)).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    bytes.extend([0; 10]);
    fs::write(segment(&root), bytes).unwrap();
    let shown = root.ok(&format!("dump --files {log}")).out;
    assert!(shown.contains("isvalid: false"), "{shown}");
    assert!(
        shown.ends_with("Found 10 invalid bytes at the end of 00000000000000000000.log\n"),
        "{shown}"
    );
}

#[test]
fn every_file_of_a_directory_is_dumped_in_words() {
    let root = Root::new();
    root.ok("topics --create --topic t --partitions 2");
    root.feed("produce --topic t --partition 0", "one\ntwo\n");
    root.ok("consume --topic t --group g --from-beginning --exit-at-end");
    let topic = root.ok("dump --topic t").out;
    for words in ["/t-1/", "nextOffset: 2", "topic_id: ", "timestamp: "] {
        assert!(topic.contains(words), "{words}: {topic}");
    }
    let own = root.ok("dump").out;
    for words in [
        "ottla.marks",
        "flushedOffset: 2",
        "ottla.catalog",
        "isvalid: true",
        "cluster.id=",
    ] {
        assert!(own.contains(words), "{words}: {own}");
    }
    let commits = fs::read_dir(root.dir())
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let commits = commits.filter(|path| path.display().to_string().contains("__consumer_offsets"));
    let commits = commits.last().unwrap().join("00000000000000000000.log");
    let shown = root
        .ok(&format!(
            "dump --files {} --offsets-decoder",
            commits.display()
        ))
        .out;
    let key = "key: {\"type\":\"1\",\"data\":{\"group\":\"g\",\"topic\":\"t\",\"partition\":0}}";
    assert!(shown.contains(key), "{shown}");
    assert!(
        shown.contains("\"data\":{\"offset\":2,\"leaderEpoch\":-1,"),
        "{shown}"
    );
    root.run("dump --topic nope")
        .fails(1, "there are no files of topic nope");
    root.run("dump --files /nope.log")
        .fails(1, "cannot open /nope.log");
}

#[test]
fn damage_is_found_and_repaired_and_the_code_says_so() {
    let root = Root::new();
    root.ok("topics --create --topic t");
    root.feed("produce --topic t", "one\n");
    root.feed("produce --topic t", "two\n");
    let sound = root.ok("verify");
    assert!(
        sound.out.ends_with("No record is damaged.\n"),
        "{}",
        sound.out
    );
    assert_eq!(root.ok("verify --json").json()["sound"], true);
    let mut bytes = fs::read(segment(&root)).unwrap();
    bytes[65] ^= 1;
    fs::write(segment(&root), bytes).unwrap();
    let found = root.run("verify");
    assert_eq!(found.code, 4, "{}{}", found.out, found.err);
    assert!(found.out.contains("There is damage."), "{}", found.out);
    let repaired = root.ok("repair --json").json();
    assert_eq!(
        repaired["setAside"].as_array().unwrap().len(),
        1,
        "{repaired}"
    );
    root.ok("verify");
    root.ok("repair").says("There was nothing to repair.\n");
    root.ok("consume --topic t --from-beginning --exit-at-end")
        .says("two\n");
}

#[test]
fn old_records_are_compacted_and_retained_by_hand() {
    let root = Root::new();
    root.ok(
        "topics --create --topic t --config cleanup.policy=compact --config segment.bytes=1024",
    );
    let mut lines = String::new();
    for n in 0..400 {
        lines.push_str(&format!("k{}:v{n}\n", n % 4));
    }
    let keyed =
        "produce --topic t --property parse.key=true --property key.separator=: --batch-size 200";
    root.feed(keyed, &lines);
    let done = root.ok("compact --topic t --json").json();
    assert!(
        done[0]["done"]["recordsDropped"].as_u64().unwrap() > 300,
        "{done}"
    );
    let left = root
        .ok("consume --topic t --from-beginning --exit-at-end")
        .out;
    assert!(left.ends_with("v396\nv397\nv398\nv399\n"), "{left}");
    root.ok("topics --create --topic u --config segment.bytes=1024 --config retention.bytes=1024");
    root.feed("produce --topic u --batch-size 200", &lines);
    let done = root.ok("retain --topic u");
    assert!(done.out.starts_with("u-0: "), "{}", done.out);
    assert_ne!(
        root.ok("get-offsets --topic u --time earliest").out,
        "u:0:0\n"
    );
}

#[test]
fn speed_is_reported_in_the_words_of_kafkas_scripts() {
    let root = Root::new();
    root.ok("topics --create --topic t");
    let sent = root.ok(
        "kafka-producer-perf-test.sh --topic t --num-records 5000 --record-size 50 --throughput -1 \
         --producer-props acks=1 batch.size=16384",
    );
    for words in [
        "5000 records sent, ",
        " records/sec (",
        " ms avg latency",
        " ms 99.9th.",
    ] {
        assert!(sent.out.contains(words), "{words}: {}", sent.out);
    }
    let read = root.ok("perf consume --topic t --messages 5000").out;
    assert!(
        read.starts_with("start.time, end.time, data.consumed.in.MB, "),
        "{read}"
    );
    assert_eq!(
        read.lines().nth(1).unwrap().split(", ").nth(4),
        Some("5000")
    );
}

#[test]
fn what_goes_on_is_shown_and_drawn() {
    let root = Root::new();
    root.ok("topics --create --topic t");
    root.feed("produce --topic t", "one\ntwo\n");
    root.ok("consume --topic t --group g --from-beginning --max-messages 1");
    let shown = root.ok("stats").out;
    for words in ["open nowhere", "RECORDS/S", "GROUP", "LAG"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let twice = root.ok("stats --count 2 --interval 50ms --json");
    assert_eq!(twice.out.lines().count(), 2);
    let picture = root.ok("plot").out;
    assert!(
        picture.starts_with("<svg ") && picture.contains(">t-0</text>"),
        "{picture}"
    );
    root.run("plot --what colours").fails(2, "records or bytes");
}

#[test]
fn a_closed_directory_is_ready_for_a_broker_and_a_written_one_is_not() {
    let root = Root::new();
    root.ok("topics --create --topic t");
    let shown = root.ok("to-kafka").out;
    for words in [
        "process.roles=broker,controller\n",
        "log.dirs=/",
        "kafka-server-start.sh",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    root.feed("produce --topic t", "one\n");
    let found = root.ok("from-kafka --json").json();
    assert_eq!(
        (&found["clean"], &found["offsets"]),
        (&true.into(), &1.into())
    );
    let mut writer = root.start("produce --topic t");
    writer.feed("two\n");
    root.ok("consume --topic t --partition 0 --offset 1 --max-messages 1")
        .says("two\n");
    root.run("to-kafka").fails(3, "is open in another process");
    assert_eq!(root.ok("stats --json").json()["written"], true);
    writer.end();
}

#[test]
fn a_backup_is_made_and_made_again_and_is_a_directory_like_the_first() {
    let root = Root::new();
    root.ok("topics --create --topic t");
    root.feed("produce --topic t", "one\n");
    let dest = root.scratch().join("backup");
    let dest = dest.display();
    let first = root.ok(&format!("backup {dest} --json")).json();
    assert_eq!(first["bytes"], first["bytesCopied"], "{first}");
    root.feed("produce --topic t", "two\n");
    let second = root.ok(&format!("backup {dest} --json")).json();
    assert!(
        second["bytesCopied"].as_u64() < second["bytes"].as_u64(),
        "{second}"
    );
    let third = root.ok(&format!("backup {dest}"));
    assert!(
        third.out.starts_with("1 partitions, 1 segments, "),
        "{}",
        third.out
    );
    root.ok(&format!(
        "consume --dir {dest} --topic t --from-beginning --exit-at-end"
    ))
    .says("one\ntwo\n");
    let inside = root.dir().join("inside");
    root.run(&format!("backup {}", inside.display()))
        .fails(1, "choose a directory outside of it");
}

#[test]
fn an_index_that_does_not_match_its_log_is_reported_and_one_that_is_cut_fails_the_sanity_check() {
    let root = Root::new();
    root.ok("topics --create --topic t --config index.interval.bytes=1000");
    let line = format!("{}\n", "x".repeat(50));
    root.feed("produce --topic t --batch-size 2000", &line.repeat(400));
    let index = segment(&root).with_extension("index");
    let times = segment(&root).with_extension("timeindex");
    let files = format!("--files {},{}", index.display(), times.display());
    let heads = format!("Dumping {}\nDumping {}\n", index.display(), times.display());
    let verified = root.ok(&format!("dump {files} --verify-index-only"));
    verified.says(&heads);
    assert_eq!(verified.err, "");
    root.ok(&format!("dump {files} --index-sanity-check"));

    // Another place, and another time.
    let whole = [fs::read(&index).unwrap(), fs::read(&times).unwrap()];
    for (path, bytes) in [&index, &times].into_iter().zip(&whole) {
        let mut bytes = bytes.clone();
        *bytes.get_mut(7).unwrap() ^= 1;
        fs::write(path, bytes).unwrap();
    }
    let wrong = root.run(&format!("dump {files} --verify-index-only"));
    assert_eq!((wrong.code, wrong.out.as_str()), (4, heads.as_str()));
    for words in ["Mismatches in :", "Found timestamp mismatch in :"] {
        assert!(wrong.err.contains(words), "{}", wrong.err);
    }
    assert_eq!(root.run(&format!("dump {files}")).code, 0);
    fs::write(&index, whole[0].get(..whole[0].len() - 1).unwrap()).unwrap();
    root.run(&format!("dump {files} --index-sanity-check"))
        .fails(4, "no multiple of 8");
}

#[test]
fn a_dump_leaves_out_batches_that_end_behind_the_bytes_that_are_asked_for() {
    let root = Root::new();
    root.ok("topics --create --topic t");
    root.feed("produce --topic t --sync", "one\ntwo\nthree\n");
    let log = segment(&root).display().to_string();
    let batches = |words: &str| {
        let shown = root.ok(&format!("dump --files {log} {words}")).out;
        assert!(!shown.contains("invalid bytes"), "{shown}");
        shown.matches("baseOffset").count()
    };
    let second = fs::read(segment(&root)).unwrap().len() - 1;
    assert_eq!(batches(""), 3);
    assert_eq!(batches(&format!("--max-bytes {second}")), 2);
    let bare = root
        .ok(&format!(
            "dump --files {log} --print-data-log --skip-record-metadata"
        ))
        .out;
    assert!(bare.contains("\n| payload: two\n"), "{bare}");
    let bare = root
        .ok(&format!("dump --files {log} --skip-record-metadata"))
        .out;
    assert!(!bare.contains('|'), "{bare}");
}

#[test]
fn the_lines_of_a_file_are_settled_before_the_wait_for_standard_input() {
    let root = Root::new();
    root.ok("topics --create --topic t");
    let file = root.scratch().join("lines");
    fs::write(&file, "one\ntwo\n").unwrap();
    let words = format!("produce --topic t --acks all {} -", file.display());
    let mut producer = root.start(&words);
    let marks = root.dir().join("ottla.marks").display().to_string();
    let is_synced = || {
        let shown = root.run(&format!("dump --files {marks}")).out;
        let synced = "partition: 0 sequence: 2 flushedOffset: 2 ";
        shown.contains(synced)
    };
    let until = Instant::now() + PATIENCE;
    while !is_synced() {
        assert!(Instant::now() < until, "nothing was synced");
    }
    producer.feed("three\n");
    assert_eq!(producer.end().code, 0);
    let read = root.ok("consume --topic t --from-beginning --exit-at-end");
    assert!(read.out.starts_with("one\ntwo\nthree\n"), "{}", read.out);
}

#[test]
fn a_topic_of_a_user_is_listed_whatever_its_name_begins_with() {
    let root = Root::new();
    root.ok("topics --create --topic __mine");
    assert_eq!(root.ok("topics --list --exclude-internal").out, "__mine\n");
}

#[test]
fn a_consumer_goes_on_with_a_topic_that_was_made_again_and_with_a_log_that_was_cut() {
    let root = Root::new();
    let broker = Broker::open(root.dir()).unwrap();
    let create = || broker.create_topic("t", TopicConfig::default()).unwrap();
    let append = |topic: &Topic, word: &str, count: u64| {
        for number in 0..count {
            topic.append(&format!("{word} {number}.")).unwrap();
        }
    };
    let topic = create();
    append(&topic, "old", 100);
    let mut consumer = root.start("consume --topic t --from-beginning");
    consumer.wait_for("old 99.");
    broker.delete_topic("t").unwrap();
    let topic = create();
    append(&topic, "new", 150);
    consumer.wait_for("new 149.");
    topic.partition(0).unwrap().truncate(145).unwrap();
    append(&topic, "other", 10);
    consumer.wait_for("other 9.");
    consumer.interrupt();
    let ran = consumer.end();
    let count = |word: &str| {
        ran.out
            .lines()
            .filter(|line| line.starts_with(word))
            .count()
    };
    assert_eq!(
        (count("old"), count("new"), count("other")),
        (100, 150, 10),
        "{}",
        ran.out
    );
    assert!(ran.err.contains("made again"), "{}", ran.err);
    assert!(
        ran.err.contains("the log was cut to offset 145"),
        "{}",
        ran.err
    );
}

#[test]
fn a_group_whose_records_are_gone_goes_on_at_what_is_left_and_a_wrong_offset_is_refused() {
    let root = Root::new();
    let broker = Broker::open(root.dir()).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    for number in 0..10 {
        topic.append(&format!("{number}.")).unwrap();
    }
    broker.group("g").unwrap().commit_to("t", 0, 3, "").unwrap();
    topic.partition(0).unwrap().truncate_prefix(6).unwrap();
    let read = root.ok("consume --topic t --group g --exit-at-end");
    assert_eq!(read.out, "6.\n7.\n8.\n9.\n");
    assert!(
        read.err.contains("records 3 to 5 were deleted unread"),
        "{}",
        read.err
    );
    let refused = root.run("consume --topic t --partition 0 --offset 1000 --exit-at-end");
    assert!(
        refused.code != 0 && refused.out.is_empty(),
        "{}",
        refused.out
    );
}
