//! Every verb on a directory of ours, run as a process, as a person runs it.
//!
//! Knows nothing about the inside of the program: words go in; lines and exit codes come out.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use rig::{Ran, Root};

/// So many lines, each its own.
fn numbered(count: u32) -> String {
    use std::fmt::Write as _;
    (0..count).fold(String::new(), |mut lines, n| {
        writeln!(lines, "line {n}").unwrap();
        lines
    })
}

#[test]
fn topics_are_made_listed_described_altered_and_deleted() {
    let root = Root::new();
    root.ok("topics --create --topic messages --partitions 2")
        .says("Created topic messages.\n");
    let again = root.run("topics --create --topic messages");
    again.fails(1, "topic messages exists");
    root.ok("topics --create --topic messages --if-not-exists")
        .says("Topic messages exists already.\n");
    root.ok("topics --create --topic other --config segment.bytes=2048");
    root.ok("topics --list").says("messages\nother\n");
    let shown = root.ok("topics --describe --topic other").out;
    assert!(shown.starts_with("Topic: other\tTopicId: "), "{shown}");
    assert!(
        shown.contains("\tPartitionCount: 1\tReplicationFactor: 1\tConfigs: segment.bytes=2048\n")
    );
    root.ok("topics --alter --topic messages --partitions 3")
        .says("Altered topic messages.\n");
    root.run("topics --alter --topic messages --partitions 1")
        .fails(2, "partitions");
    let json = root.ok("topics --describe --topic messages --json").json();
    assert_eq!(json[0]["partitions"].as_array().unwrap().len(), 3);
    root.ok("topics --delete --topic other")
        .says("Deleted topic other.\n");
    root.run("topics --delete --topic other")
        .fails(1, "there is no topic other");
    root.ok("topics --delete --topic other --if-exists")
        .says("");
    root.ok("topics --list --json").says("[\"messages\"]\n");
}

#[test]
fn a_script_of_kafka_is_a_verb_and_a_server_is_ignored_with_a_note() {
    let root = Root::new();
    let made = root.ok(
        "kafka-topics.sh --create --topic t --partitions 4 --replication-factor 1 \
         --bootstrap-server localhost:9092",
    );
    made.says("Created topic t.\n");
    assert!(
        made.err.contains("--bootstrap-server is ignored"),
        "{}",
        made.err
    );
    root.ok("bin/kafka-topics.sh --list --zookeeper z:2181")
        .says("t\n");
    let refused = root.run("topics --create --topic u --replication-factor 3");
    refused.fails(2, "one copy of every record");
    root.ok("kafka-run-class.sh kafka.tools.GetOffsetShell --broker-list x:1 --topic t")
        .says("t:0:0\nt:1:0\nt:2:0\nt:3:0\n");
}

#[test]
fn lines_go_in_and_come_out_with_key_headers_and_place() {
    let root = Root::new();
    root.ok("topics --create --topic t");
    let lines = "a:1\tk1\tv1\n\tk2\tv2\nb:2,c:3\tk3\tNULL\n";
    root.feed(
        "produce --topic t --property parse.key=true --property parse.headers=true \
         --property null.marker=NULL",
        lines,
    );
    let all = "consume --topic t --from-beginning --max-messages 3 --property print.key=true \
               --property print.headers=true --property print.offset=true \
               --property print.partition=true --property key.separator=|";
    root.ok(all).says(
        "Partition:0|Offset:0|a:1|k1|v1\nPartition:0|Offset:1|NO_HEADERS|k2|v2\n\
         Partition:0|Offset:2|b:2,c:3|k3|null\n",
    );
    root.ok("consume --topic t --partition 0 --offset 1 --max-messages 1 --formatter hex")
        .says("7632\n");
    let read = root.ok("consume --topic t --from-beginning --timeout-ms 10 --json");
    assert!(
        read.err.contains("Processed a total of 3 messages"),
        "{}",
        read.err
    );
    let first: serde_json::Value = serde_json::from_str(read.out.lines().next().unwrap()).unwrap();
    assert_eq!((&first["key"], &first["offset"]), (&"k1".into(), &0.into()));

    // What JSON printed is read again as the same records.
    root.ok("topics --create --topic copy");
    root.feed("produce --topic copy --format json", &read.out);
    let copy = root.ok("consume --topic copy --from-beginning --exit-at-end --json");
    assert_eq!(
        copy.out,
        read.out.replace("\"topic\":\"t\"", "\"topic\":\"copy\"")
    );
}

#[test]
fn a_line_without_a_key_ends_the_input_and_the_lines_before_it_are_stored() {
    let root = Root::new();
    root.ok("topics --create --topic t");
    let keyed = "produce --topic t --property parse.key=true --property key.separator=:";
    root.run_fed(keyed, "a:1\nb:2\nnone\nc:3\n")
        .fails(1, "line 3 has no key.separator");
    root.ok("get-offsets --topic t").says("t:0:2\n");
    root.run_fed("produce --topic nope", "x\n")
        .fails(1, "there is no topic nope: there is t");
    root.run_fed("produce --topic t --partition 9", "x\n")
        .fails(1, "partition 9");
}

#[test]
fn every_codec_and_every_kind_of_acknowledgement_stores_the_same_lines() {
    let root = Root::new();
    let ways = [
        "",
        "--compression gzip",
        "--compression snappy",
        "--compression lz4",
        "--compression zstd",
        "--acks all",
        "--batch-size 100",
        "--sync",
    ];
    for (number, way) in ways.iter().enumerate() {
        let few = numbered(if *way == "--sync" { 20 } else { 2_000 });
        root.ok(&format!("topics --create --topic t{number}"));
        root.feed(&format!("produce --topic t{number} {way}"), &few);
        let read = root.ok(&format!(
            "consume --topic t{number} --from-beginning --exit-at-end"
        ));
        assert!(read.out == few, "{way}: {} bytes", read.out.len());
    }
}

#[test]
fn a_group_reads_on_where_it_was_and_is_moved() {
    let root = Root::new();
    root.ok("topics --create --topic t");
    root.feed("produce --topic t", "one\ntwo\nthree\n");
    let read = "consume --topic t --group g --from-beginning --exit-at-end";
    root.ok(&format!("{read} --max-messages 1")).says("one\n");
    root.ok(read).says("two\nthree\n");
    root.ok(read).says("");
    root.ok("groups --list").says("g\n");
    let plan = "groups --reset-offsets --group g --topic t";
    let dry = root.ok(&format!("{plan} --to-earliest"));
    assert!(dry.err.contains("nothing was committed"), "{}", dry.err);
    assert_eq!(dry.fields(2), ["g", "t", "0", "0"]);
    root.ok(read).says("");
    for (target, place) in [
        ("--to-earliest", "0"),
        ("--to-latest", "3"),
        ("--to-offset 2", "2"),
        ("--shift-by -1", "1"),
        ("--to-current", "1"),
        ("--to-datetime 2000-01-01", "0"),
        ("--by-duration PT0S", "3"),
        ("--by-duration P1D", "0"),
        ("--to-offset 9", "3"),
    ] {
        let moved = root.ok(&format!("{plan} {target} --execute"));
        assert_eq!(moved.fields(2), ["g", "t", "0", place], "{target}");
        let shown = root.ok("groups --describe --group g");
        assert_eq!(shown.fields(2)[3], place, "{target}");
    }
    root.ok("groups --delete-offsets --group g --topic t:1");
    root.ok("groups --list").says("g\n");
    let deleted = root.ok("groups --delete-offsets --group g --topic t:0");
    assert_eq!(deleted.fields(1), ["TOPIC", "PARTITION", "STATUS"]);
    assert_eq!(deleted.fields(2), ["t", "0", "Successful"]);
    root.ok("groups --list").says("");
    root.ok(&format!("{plan} --to-earliest --execute"));
    root.ok("groups --delete --group g")
        .says("Deletion of requested consumer groups ('g') was successful.\n");
    root.run("groups --describe --group g")
        .fails(1, "there is no group g");
}

#[test]
fn a_group_is_described_in_kafkas_columns() {
    let root = Root::new();
    root.ok("topics --create --topic t --partitions 2");
    root.feed("produce --topic t --partition 1", "one\ntwo\n");
    root.ok("consume --topic t --group g --from-beginning --max-messages 1");
    let shown = root.ok("groups --describe --group g");
    assert!(
        shown
            .err
            .contains("Consumer group 'g' has no active members."),
        "{}",
        shown.err
    );
    assert_eq!(
        shown.fields(1).join(" "),
        "GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID"
    );
    assert_eq!(
        shown.fields(2),
        ["g", "t", "0", "0", "0", "0", "-", "-", "-"]
    );
    assert_eq!(
        shown.fields(3),
        ["g", "t", "1", "1", "2", "1", "-", "-", "-"]
    );
    let json = root.ok("groups --describe --group g --json").json();
    assert_eq!(json[0]["partitions"][1]["lag"], 1);
}

#[test]
fn offsets_are_those_of_the_start_the_end_and_a_time() {
    let root = Root::new();
    root.ok("topics --create --topic t");
    let lines = r#"{"value":"a","timestamp":1000}
{"value":"b","timestamp":3000}
{"value":"c","timestamp":2000}
"#;
    root.feed("produce --topic t --format json", lines);
    for (time, expected) in [
        ("", "t:0:3\n"),
        ("--time -1", "t:0:3\n"),
        ("--time -2", "t:0:0\n"),
        ("--time 1500", "t:0:1\n"),
        ("--time max-timestamp", "t:0:1\n"),
        ("--time 9000", ""),
    ] {
        root.ok(&format!("get-offsets --topic t {time}"))
            .says(expected);
    }
    root.ok("delete-records --topic t --partition 0 --offset 2");
    root.ok("get-offsets --time earliest").says("t:0:2\n");
    root.run("delete-records --topic t --offset 9")
        .fails(1, "outside");
    let file = root.scratch().join("cuts.json");
    std::fs::write(
        &file,
        r#"{"partitions":[{"topic":"t","partition":0,"offset":-1}]}"#,
    )
    .unwrap();
    let done = root.ok(&format!(
        "delete-records --offset-json-file {}",
        file.display()
    ));
    assert!(
        done.out.ends_with("partition: t-0\tlow_watermark: 3\n"),
        "{}",
        done.out
    );
}

#[test]
fn settings_are_shown_changed_and_set_back() {
    let root = Root::new();
    root.ok("topics --create --topic t");
    root.ok("configs --alter --entity-type topics --entity-name t \
             --add-config segment.bytes=2048,cleanup.policy=[compact,delete]");
    root.ok("configs --describe --topic t").says(
        "Dynamic configs for topic t are:\n  segment.bytes=2048\n  cleanup.policy=compact,delete\n",
    );
    root.ok("configs --alter --topic t --delete-config cleanup.policy");
    root.ok("configs --describe --topic t --json")
        .says("{\"t\":{\"segment.bytes\":\"2048\"}}\n");
    root.run("configs --alter --topic t --add-config segment.bytes=1")
        .fails(2, "1024 to");
    root.run("configs --alter --topic t --add-config colour=red")
        .fails(2, "colour");
    let sizes = root.ok("log-dirs --json").json();
    assert_eq!(
        sizes["brokers"][0]["logDirs"][0]["partitions"][0]["partition"],
        "t-0"
    );
}

#[test]
fn beside_a_writer_reading_goes_on_and_writing_says_who_holds_the_lock() {
    let root = Root::new();
    root.ok("topics --create --topic t");
    let mut writer = root.start("produce --topic t");
    writer.feed("one\n");
    root.ok("consume --topic t --from-beginning --max-messages 1")
        .says("one\n");
    let refused = root.run_fed("produce --topic t", "x\n");
    refused.fails(3, "is in use by");
    assert!(
        refused.err.contains(&writer.id().to_string()),
        "{}",
        refused.err
    );
    let mut reader = root.start("consume --topic t --from-beginning --max-messages 3");
    writer.feed("two\n");
    writer.feed("three\n");
    assert_eq!(reader.end().out, "one\ntwo\nthree\n");
    let grouped = root.ok("consume --topic t --group g --from-beginning --max-messages 1");
    grouped.says("one\n");
    assert!(
        grouped.err.contains("committing nothing"),
        "{}",
        grouped.err
    );
    root.ok("groups --list").says("");
    let done: Ran = writer.end();
    assert_eq!(done.code, 0, "{}", done.err);
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_members_of_a_writers_group_make_it_is_said_to_be_unseen() {
    let root = Root::new();
    root.ok("topics --create --topic t");
    root.feed("produce --topic t", "one\n");
    let group = "consume --topic t --group g --from-beginning";
    root.ok(&format!("{group} --exit-at-end"));
    let describe = |words: &str| root.ok(&format!("groups --describe --group g {words}"));
    assert_eq!(describe("--state").fields(2), ["g", "-", "-", "Empty", "0"]);
    assert_eq!(describe("--members").out, "");
    assert_eq!(root.ok("groups --list --state").fields(1), ["g", "Empty"]);
    let verbose = describe("--verbose");
    assert_eq!(verbose.fields(1)[3], "LEADER-EPOCH");

    // This one is a member, in a memory that nobody else sees.
    root.feed("produce --topic t", "two\n");
    let mut reader = root.start("consume --topic t --group g");
    reader.wait_for("two\n");
    let unseen = "in-writer";
    let state = describe("--state --verbose");
    assert_eq!(
        state.fields(2),
        ["g", "-", unseen, unseen, unseen, unseen, unseen]
    );
    assert!(
        state.err.contains("live in the memory of the process"),
        "{}",
        state.err
    );
    let members = describe("--members --verbose");
    assert_eq!(
        members.fields(2),
        ["g", unseen, unseen, unseen, unseen, unseen]
    );
    assert_eq!(describe("").fields(2)[6..], [unseen; 3]);
    assert_eq!(root.ok("groups --list --state").fields(1), ["g", unseen]);
    let json = describe("--json").json();
    assert_eq!(
        (&json[0]["state"], &json[0]["membersAreSeen"]),
        (&unseen.into(), &false.into())
    );
    reader.interrupt();
    let done = reader.end();
    assert_eq!(done.code, 0, "{}", done.err);
}

#[test]
fn what_makes_no_sense_is_one_sentence_and_a_code() {
    let root = Root::new();
    let dir = root.scratch();
    for (words, code, sentence) in [
        ("topics --list --wrong", 2, "--wrong"),
        ("topics", 2, "--create|--list"),
        ("teleport", 2, "teleport"),
        ("topics --list", 1, "there is no directory"),
        ("dump", 1, "there is no directory"),
        ("topics --create --topic a/b", 2, "a topic name is made of"),
        ("topics --create --topic t --config colour=red", 2, "colour"),
        (
            "topics --create --topic t --config nothing",
            2,
            "name=value",
        ),
        ("consume --topic t --offset 1", 2, "--partition"),
        (
            "topics --create --topic t --partitions -3",
            2,
            "'-3' for '--partitions",
        ),
        (
            "consume --topic t --partition -1",
            2,
            "'-1' for '--partition",
        ),
        ("dump --files nowhere", 1, "cannot open nowhere"),
        ("dump --files .", 1, ". is a directory"),
    ] {
        root.run(words).fails(code, sentence);
    }
    let elsewhere = |path: &std::path::Path, words: &str| {
        root.run(&format!("--dir {} {words}", path.display()))
    };
    let file = dir.join("file");
    std::fs::write(&file, "x").unwrap();
    elsewhere(&file, "topics --list").fails(1, "is not a directory");
    let other = dir.join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("letter.txt"), "x").unwrap();
    elsewhere(&other, "topics --list").fails(1, "holds no topics");
    elsewhere(&other, "topics --create --topic t").fails(1, "other things");
    root.ok("topics --create --topic t");
    let unknown = root.run("consume --topic u");
    unknown.fails(1, "there is no topic u: there is t");
    assert_eq!(unknown.err.lines().count(), 1, "{}", unknown.err);
    root.run("consume --topic t --partition 4")
        .fails(1, "has no partition 4");
    root.run("consume --topic t --property print.colour=true")
        .fails(2, "print.colour");
    root.run("get-offsets --time yesterday")
        .fails(2, "is not a time");
}

/// A limit on the size of files stands for a full disk, which only the superuser can make.
#[cfg(target_os = "linux")]
#[test]
fn how_many_lines_are_stored_is_reported_when_the_next_cannot_be() {
    let root = Root::new();
    root.ok("topics --create --topic t");
    let lines = numbered(100_000);
    std::fs::write(root.scratch().join("lines"), &lines).unwrap();
    let program = root.command("");
    let program = program.get_program().to_str().unwrap();
    let script = format!(
        "trap '' XFSZ; ulimit -f 500; exec {program} produce --topic t {}",
        root.scratch().join("lines").display()
    );
    let mut shell = std::process::Command::new("bash");
    let done = shell
        .args(["-c", &script])
        .env("OTTLA_DIR", root.dir())
        .output()
        .unwrap();
    let told = String::from_utf8(done.stderr).unwrap();
    assert_eq!(
        (done.status.code(), told.lines().count()),
        (Some(1), 1),
        "{told}"
    );
    let read = root.ok("consume --topic t --from-beginning --max-messages -1 --timeout-ms 1");
    let stored = read.out.lines().count();
    assert!(stored > 0 && lines.starts_with(&read.out), "{stored}");
    assert!(
        told.contains(&format!("the first {stored} records are stored")),
        "{told}"
    );
}

#[test]
fn help_for_a_verb_is_found_where_one_looks_for_it() {
    let root = Root::new();
    for words in ["help topics", "topics --help", "help kafka-topics.sh"] {
        let shown = root.ok(words).out;
        assert!(shown.contains("--create"), "{words}: {shown}");
    }
    assert!(root.ok("help").out.contains("get-offsets"));
}

#[cfg(unix)]
#[test]
fn a_directory_that_may_not_be_read_or_written_is_one_sentence() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = Root::new();
    root.ok("topics --create --topic t");
    root.feed("produce --topic t", "one\n");
    let allow = |path: &std::path::Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // The superuser may do everything, and so tells nothing here.
    allow(&root.dir(), 0o000);
    if std::fs::read_dir(root.dir()).is_err() {
        for words in [
            "topics --list",
            "produce --topic t",
            "dump --topic t",
            "verify",
            "repair",
        ] {
            let ran = root.run(words);
            ran.fails(1, "ermission denied");
            assert_eq!(ran.err.lines().count(), 1, "{words}: {}", ran.err);
        }
    }
    allow(&root.dir(), 0o755);
    root.ok("get-offsets").says("t:0:1\n");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let root = Root::new();
    root.ok("topics --create --topic t");
    let lines = numbered(50_000);
    root.feed("produce --topic t", &lines);
    let head = root.with_closed_pipe("consume --topic t --from-beginning");
    assert_eq!((head.code, head.err.as_str()), (0, ""));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_consumer_with_what_was_read_committed() {
    let root = Root::new();
    root.ok("topics --create --topic t");
    root.feed("produce --topic t", "one\ntwo\n");
    let mut reader = root.start("consume --topic t --group g --from-beginning");
    reader.wait_for("two\n");
    reader.interrupt();
    let done = reader.end();
    assert_eq!(done.code, 0, "{}", done.err);
    let shown = root.ok("groups --describe --group g");
    assert_eq!(shown.fields(2)[3], "2");
    let mut writer = root.start("produce --topic t");
    writer.feed("three\n");
    root.ok("consume --topic t --partition 0 --offset 2 --max-messages 1")
        .says("three\n");
    writer.interrupt();
    // An end of its input might come before the signal.
    assert_eq!(writer.wait().code, 130);
    root.ok("get-offsets").says("t:0:3\n");
}

#[test]
fn shells_and_manuals_know_the_verbs() {
    let root = Root::new();
    let script = root.ok("completions bash").out;
    assert!(script.contains("get-offsets"), "{}", script.len());
    assert!(root.ok("man").out.contains("ottla"));
    let pages = root.scratch().join("man");
    root.ok(&format!("man --out {}", pages.display()));
    assert!(pages.join("ottla-topics.1").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_is_full_is_reported_and_nothing_unprinted_is_committed() {
    let root = Root::new();
    root.ok("topics --create --topic t");
    root.feed("produce --topic t", &numbered(30_000));
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut command = root.command("consume --topic t --group g --from-beginning --exit-at-end");
    let done = command.stdout(full).output().unwrap();
    let told = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(5), "{told}");
    assert!(
        told.contains("ottla: cannot write the output: no space left"),
        "{told}"
    );
    let read = root.ok("consume --topic t --group g --from-beginning --exit-at-end");
    assert_eq!(read.out.lines().count(), 30_000);
}
