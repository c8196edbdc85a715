//! What Kafka's own scripts print about a directory, and what `ottla` prints about the same.
//!
//! Runs with `OTTLA_KAFKA` set, over the versions whose jars the library's own Kafka tests have
//! fetched (`tests/kafka/jars.rs`). Knows nothing about how either finds it out.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use rig::Root;

/// The class paths of the versions that are there.
fn versions() -> Vec<(String, String)> {
    if std::env::var_os("OTTLA_KAFKA").is_none_or(|value| value.is_empty()) {
        eprintln!("kafka: SKIPPED: set OTTLA_KAFKA=1 to run it");
        return Vec::new();
    }
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or(home)
        .unwrap();
    let mut versions = Vec::new();
    for version in ["3.9.2", "4.3.1"] {
        let jars = cache.join(format!("ottla/kafka-{version}/jars"));
        if jars.join("complete").exists() {
            versions.push((version.to_owned(), format!("{}/*", jars.display())));
        }
    }
    assert!(
        !versions.is_empty(),
        "run the library's tests of Kafka first: they fetch the jars"
    );
    versions
}

/// What the tool prints on standard output; the class has moved between the versions.
fn dumped_by_kafka(class_path: &str, words: &str) -> String {
    for class in [
        "org.apache.kafka.tools.DumpLogSegments",
        "kafka.tools.DumpLogSegments",
    ] {
        let mut java = Command::new("java");
        java.args(["-cp", class_path, class])
            .args(words.split_whitespace());
        let done = java.output().unwrap();
        if done.status.success() {
            return String::from_utf8(done.stdout).unwrap();
        }
    }
    panic!("Kafka's tool does not run: {words}");
}

/// Kafka's tool and ours print the same.
fn dumps_agree(root: &Root, version: &str, class_path: &str, way: &str) {
    let theirs = dumped_by_kafka(class_path, way);
    let ours = root.ok(&format!("dump {way}")).out;
    let differs = theirs.lines().zip(ours.lines()).find(|(a, b)| a != b);
    assert_eq!(differs, None, "{version}: {way}");
    assert_eq!(ours, theirs, "{version}: {way}");
    let lines = ours.lines().count();
    eprintln!("kafka: {version}: {lines} lines of dump agree");
}

#[test]
fn dump_prints_what_kafkas_tool_prints() {
    let root = Root::new();
    let versions = versions();
    if versions.is_empty() {
        return;
    }
    root.ok("topics --create --topic t --config segment.bytes=20000");
    let lines = "h:1\tk1\tv1\n\tk2\tNULL\nb:2,c:3\tk3\tw\n";
    root.feed(
        "produce --topic t --property parse.key=true --property parse.headers=true \
         --property null.marker=NULL",
        lines,
    );
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let mut many = String::new();
        for n in 0..1_000 {
            many.push_str(&format!("{codec} {n}\n"));
        }
        root.feed(&format!("produce --topic t --compression {codec}"), &many);
    }
    root.ok("consume --topic t --group g --from-beginning --exit-at-end");
    root.ok("groups --delete-offsets --group g --topic t");
    let suffixes = ["log", "index", "timeindex"];
    let records = files_of(&root, "t", &suffixes);
    let commits = files_of(&root, "__consumer_offsets", &suffixes);
    let ways = [
        format!("--files {records},{commits}"),
        format!("--files {records} --print-data-log"),
        format!("--files {commits} --offsets-decoder"),
        format!("--files {records} --index-sanity-check"),
        format!("--files {records} --verify-index-only --max-bytes 30000"),
        format!(
            "--files {records} --deep-iteration --value-decoder-class --max-message-size 9999999"
        ),
    ];
    for (version, class_path) in &versions {
        for way in &ways {
            dumps_agree(&root, version, class_path, way);
        }
    }
}

/// Where Kafka's tools are.
const TOOLS: &str = "org.apache.kafka.tools";

/// A broker in a process of its own, which ends with the test.
struct Server {
    process: Child,
    /// The flag that names it.
    address: String,
}

impl Server {
    /// Starts it on a directory, with what `to-kafka` says.
    fn on(root: &Root, class_path: &str) -> Self {
        let port = free_port();
        let properties = root.scratch().join("server.properties");
        std::fs::write(&properties, root.ok(&format!("to-kafka --port {port}")).out).unwrap();
        let mut java = Command::new("java");
        java.args(["-Xmx512m", "-cp", class_path, "kafka.Kafka"])
            .arg(&properties)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self {
            process: java.spawn().unwrap(),
            address: format!("--bootstrap-server localhost:{port}"),
        }
    }

    /// Has it leave the directory as a broker at rest does.
    fn shut_down(mut self) {
        let id = self.process.id().to_string();
        let told = Command::new("kill").arg(&id).status().unwrap();
        assert!(told.success());
        self.process.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A port that is free, with the next one.
fn free_port() -> u16 {
    let bound = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).ok();
    let found = (0..100).find_map(|_| {
        let port = bound(0)?.local_addr().ok()?.port();
        bound(port.checked_add(1)?).map(|_| port)
    });
    found.unwrap()
}

/// What a tool of Kafka prints; tried again while the broker is starting.
fn told_by_kafka(class_path: &str, words: &str) -> String {
    let mut last = String::new();
    for _ in 0..20 {
        let done = told_with_input(class_path, words, "");
        if done.status.success() && !done.stdout.is_empty() {
            return String::from_utf8(done.stdout).unwrap();
        }
        last = String::from_utf8_lossy(&done.stderr).into_owned();
    }
    panic!("{words}: {last}");
}

/// The same once, with something to read.
fn told_with_input(class_path: &str, words: &str, input: &str) -> Output {
    let mut java = Command::new("java");
    java.args(["-cp", class_path])
        .args(words.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut tool = java.spawn().unwrap();
    // Closed by the end of this line: some tools read until then.
    tool.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    tool.wait_with_output().unwrap()
}

/// The lines as fields, in one order, without what Kafka says about its own flags.
fn fields(text: &str) -> Vec<Vec<String>> {
    let told = |line: &&str| !line.trim().is_empty() && !line.starts_with("Option --");
    let lines = text.lines().filter(told);
    let mut lines: Vec<Vec<String>> = lines
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect();
    lines.sort();
    lines
}

#[test]
fn offsets_groups_and_records_are_printed_as_kafkas_scripts_print_them_under_a_broker() {
    let Some((version, class_path)) = versions().pop() else {
        return;
    };
    let root = Root::new();
    root.ok("topics --create --topic t --partitions 3");
    let lines = "h:1\tk1\tone\n\tk2\tNULL\nb:2,c:3\tk3\tthree\n\tk4\tfour\n";
    root.feed(
        "produce --topic t --property parse.key=true --property parse.headers=true \
         --property null.marker=NULL",
        lines,
    );
    root.ok("consume --topic t --group g --from-beginning --max-messages 2");
    let print = "--topic t --from-beginning --max-messages 4 --property print.key=true \
                 --property print.timestamp=true --property print.offset=true \
                 --property print.partition=true --property print.headers=true";
    let ours = [
        root.ok("get-offsets --topic t").out,
        root.ok("groups --describe --group g").out,
        root.ok(&format!("consume {print}")).out,
    ];
    let server = Server::on(&root, &class_path);
    let to = &server.address;
    let ways = [
        format!("{TOOLS}.GetOffsetShell {to} --topic t"),
        format!("{TOOLS}.consumer.group.ConsumerGroupCommand {to} --describe --group g"),
        format!("{TOOLS}.consumer.ConsoleConsumer {to} {print}"),
    ];
    for (way, ours) in ways.iter().zip(&ours) {
        let theirs = told_by_kafka(&class_path, way);
        assert_eq!(fields(ours), fields(&theirs), "{version}: {way}");
        eprintln!(
            "kafka: {version}: {} lines of {way} agree",
            fields(ours).len()
        );
    }
    drop(server);
}

/// The files with these suffixes in the directories of a topic, with commas between them.
fn files_of(root: &Root, topic: &str, suffixes: &[&str]) -> String {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root.dir()).unwrap() {
        let dir = entry.unwrap().path();
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        let of_topic = name
            .rsplit_once('-')
            .is_some_and(|(named, _)| named == topic);
        if of_topic {
            for file in std::fs::read_dir(&dir).unwrap() {
                files.push(file.unwrap().path());
            }
        }
    }
    files.retain(|path| {
        let suffix = path.extension().unwrap_or_default().to_string_lossy();
        suffixes.contains(&suffix.as_ref())
    });
    files.sort();
    let names: Vec<_> = files
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    names.join(",")
}

/// A broker makes a topic, takes lines and a few transactions, and a group commits. Returns what
/// Kafka's tools print about it, beside the verb that is to print the same.
fn written_by_a_broker(root: &Root, class_path: &str) -> Vec<(&'static str, String)> {
    root.ok("topics --create --topic ours");
    let server = Server::on(root, class_path);
    let to = &server.address;
    let port = to.rsplit(':').next().unwrap();
    told_by_kafka(
        class_path,
        &format!(
            "{TOOLS}.TopicCommand {to} --create --if-not-exists --topic theirs --partitions 2 \
             --config retention.ms=86400000"
        ),
    );
    let fed = told_with_input(
        class_path,
        &format!("{TOOLS}.ConsoleProducer {to} --topic theirs"),
        "one\ntwo\nthree\n",
    );
    assert!(fed.status.success(), "{fed:?}");
    told_by_kafka(
        class_path,
        &format!(
            "{TOOLS}.ProducerPerformance --topic theirs --num-records 200 --record-size 20 \
             --throughput 2000 --transactional-id tx --transaction-duration-ms 20 \
             --producer-props bootstrap.servers=localhost:{port}"
        ),
    );
    let consumer = format!("{TOOLS}.consumer.ConsoleConsumer {to} --topic theirs --from-beginning");
    told_by_kafka(
        class_path,
        &format!("{consumer} --group g --max-messages 2"),
    );
    let asked = [
        (
            "get-offsets --topic theirs",
            format!("{TOOLS}.GetOffsetShell {to} --topic theirs"),
        ),
        (
            "groups --describe --group g",
            format!("{TOOLS}.consumer.group.ConsumerGroupCommand {to} --describe --group g"),
        ),
        (
            "groups --list --state --type",
            format!("{TOOLS}.consumer.group.ConsumerGroupCommand {to} --list --state --type"),
        ),
        (
            "consume --topic theirs --from-beginning --exit-at-end --isolation-level \
             read_committed --property print.offset=true --property print.partition=true \
             --property print.timestamp=true",
            format!(
                "{consumer} --isolation-level read_committed --max-messages 203 --property \
                 print.offset=true --property print.partition=true --property print.timestamp=true"
            ),
        ),
    ];
    let told = asked.map(|(verb, words)| (verb, told_by_kafka(class_path, &words)));
    server.shut_down();
    told.to_vec()
}

#[test]
fn every_verb_works_on_a_directory_that_a_broker_wrote() {
    let Some((version, class_path)) = versions().pop() else {
        return;
    };
    let root = Root::new();
    for (verb, theirs) in written_by_a_broker(&root, &class_path) {
        let ours = root.ok(verb).out;
        assert_eq!(fields(&ours), fields(&theirs), "{version}: {verb}");
    }
    // The verbs that read.
    assert_eq!(root.ok("from-kafka --json").json()["clean"], true);
    let listed = root.ok("topics --list").out;
    assert!(
        listed.contains("ours\n") && listed.contains("theirs\n"),
        "{listed}"
    );
    let described = root.ok("topics --describe --topic theirs").out;
    assert!(described.contains("PartitionCount: 2"), "{described}");
    root.ok("configs --describe --topic theirs --json")
        .says("{\"theirs\":{\"retention.ms\":\"86400000\"}}\n");
    let groups = root.ok("groups --list").out;
    assert!(groups.contains("g\n"), "{groups}");
    let sizes = root.ok("log-dirs --json").out;
    assert!(sizes.contains("theirs-1"), "{sizes}");
    let sound = root.ok("verify --json").json();
    assert_eq!(sound["sound"], true, "{sound}");
    assert!(root.ok("stats").out.contains("theirs"));
    assert!(root.ok("plot").out.contains(">theirs-0</text>"));
    root.ok("perf consume --topic theirs --messages 203");
    let dest = root.scratch().join("backup");
    let backup = format!("backup {}", dest.display());
    root.run(&backup).fails(1, "a Kafka broker has used");
    // The verbs that write: the first takes over what the broker left.
    root.ok("repair").says("There was nothing to repair.\n");
    root.feed("produce --topic theirs", "four\n");
    root.ok(&backup);
    root.ok("consume --topic theirs --group g --timeout-ms 1000 --max-messages 500");
    root.ok("groups --reset-offsets --to-earliest --all-topics --group g --execute");
    root.ok("groups --delete-offsets --group g --topic theirs");
    // A group without commits and members is no group here: it commits once more.
    root.ok("consume --topic theirs --group g --from-beginning --max-messages 1");
    root.ok("groups --delete --group g");
    root.ok("configs --alter --topic theirs --delete-config retention.ms");
    root.ok("delete-records --topic theirs --partition 0 --offset 1");
    root.ok("topics --alter --topic theirs --partitions 3");
    root.ok("topics --create --topic latest --config cleanup.policy=compact");
    root.ok("compact --topic latest");
    root.ok("retain --topic theirs");
    root.ok("perf produce --topic theirs --num-records 10 --record-size 10 --throughput -1");
    root.ok("topics --delete --topic ours");
    root.ok("to-kafka");
}

#[test]
fn what_a_broker_keeps_for_itself_is_dumped_as_by_kafkas_tool() {
    let Some((version, class_path)) = versions().pop() else {
        return;
    };
    let root = Root::new();
    written_by_a_broker(&root, &class_path);
    // Nothing of Kafka's shell aborts a transaction: its index is of two entries made here.
    let aborted = root.scratch().join("00000000000000000100.txnindex");
    let mut bytes = Vec::new();
    for [id, first, last, stable] in [[7_i64, 100, 120, 90], [8, 101, 130, 131]] {
        bytes.extend(0_i16.to_be_bytes());
        for number in [id, first, last, stable] {
            bytes.extend(number.to_be_bytes());
        }
    }
    std::fs::write(&aborted, bytes).unwrap();
    let snapshots = files_of(&root, "theirs", &["snapshot"]);
    assert!(!snapshots.is_empty(), "the broker left none");
    let everything = files_of(&root, "theirs", &["log", "index", "timeindex", "snapshot"]);
    let logs = |topic: &str| files_of(&root, topic, &["log", "checkpoint"]);
    let (transactions, commits) = (logs("__transaction_state"), logs("__consumer_offsets"));
    let metadata = logs("__cluster_metadata");
    let kept = root.ok(&format!("dump --files {commits} --offsets-decoder"));
    assert!(kept.out.contains("\"subscription\":{"), "no members");
    let kept = root.ok(&format!(
        "dump --files {transactions} --transaction-log-decoder"
    ));
    assert!(
        kept.out.contains("\"transactionalId\":\"tx\""),
        "no transactions"
    );
    assert!(!metadata.is_empty(), "no metadata");
    for way in [
        format!("--files {snapshots}"),
        format!("--files {}", aborted.display()),
        format!("--files {everything} --print-data-log"),
        format!("--files {everything} --print-data-log --skip-record-metadata"),
        format!("--files {transactions} --transaction-log-decoder"),
        format!("--files {commits} --offsets-decoder"),
        format!("--files {metadata} --cluster-metadata-decoder"),
    ] {
        dumps_agree(&root, &version, &class_path, &way);
    }
}
