//! What Kafka's own scripts print about a directory, and what `ottla` prints about the same.
//!
//! Runs with `OTTLA_KAFKA` set, over the versions whose jars the library's own Kafka tests have
//! fetched (`tests/kafka/jars.rs`). Knows nothing about how either finds it out.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use std::path::PathBuf;
use std::process::Command;

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
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root.dir()).unwrap() {
        let dir = entry.unwrap().path();
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        if !(name.starts_with("t-") || name.starts_with("__consumer_offsets-")) {
            continue;
        }
        for file in std::fs::read_dir(&dir).unwrap() {
            let path = file.unwrap().path();
            let suffix = path
                .extension()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if ["log", "index", "timeindex"].contains(&suffix.as_str()) {
                files.push((suffix, path.display().to_string()));
            }
        }
    }
    files.sort();
    let names = |wanted: &str| {
        let chosen = files.iter().filter(|(_, path)| path.contains(wanted));
        chosen
            .map(|(_, path)| path.clone())
            .collect::<Vec<_>>()
            .join(",")
    };
    let ways = [
        format!("--files {}", names("")),
        format!("--files {} --print-data-log", names("/t-0/")),
        format!("--files {} --offsets-decoder", names("__consumer_offsets")),
        format!("--files {} --index-sanity-check", names("/t-0/")),
    ];
    for (version, class_path) in &versions {
        for way in &ways {
            let theirs = dumped_by_kafka(class_path, way);
            let ours = root.ok(&format!("dump {way}")).out;
            let differs = theirs.lines().zip(ours.lines()).find(|(a, b)| a != b);
            assert_eq!(differs, None, "{version}: {way}");
            assert_eq!(
                theirs.lines().count(),
                ours.lines().count(),
                "{version}: {way}"
            );
            eprintln!(
                "kafka: {version}: {} lines of dump agree",
                ours.lines().count()
            );
        }
    }
}

/// A broker in a process of its own, which ends with the test.
struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
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
        let mut java = Command::new("java");
        java.args(["-cp", class_path])
            .args(words.split_whitespace());
        let done = java.output().unwrap();
        if done.status.success() && !done.stdout.is_empty() {
            return String::from_utf8(done.stdout).unwrap();
        }
        last = String::from_utf8_lossy(&done.stderr).into_owned();
    }
    panic!("{words}: {last}");
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
    let port = free_port();
    let properties = root.scratch().join("server.properties");
    std::fs::write(&properties, root.ok(&format!("to-kafka --port {port}")).out).unwrap();
    let mut java = Command::new("java");
    java.args(["-Xmx512m", "-cp", &class_path, "kafka.Kafka"])
        .arg(&properties);
    java.stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let server = Server(java.spawn().unwrap());
    let to = format!("--bootstrap-server localhost:{port}");
    let tools = "org.apache.kafka.tools";
    let ways = [
        format!("{tools}.GetOffsetShell {to} --topic t"),
        format!("{tools}.consumer.group.ConsumerGroupCommand {to} --describe --group g"),
        format!("{tools}.consumer.ConsoleConsumer {to} {print}"),
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
