//! The versions of Kafka that the tests run, their jars, and whether they run at all.
//!
//! Knows nothing about what is done with them. The jars lie in `~/.cache/ottla/kafka-VERSION`
//! (`XDG_CACHE_HOME` is honoured), beside the compiled `Driver.java`.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The versions that are run when none are named: the last line that still knew `ZooKeeper`, and
/// the newest one.
const VERSIONS: &str = "3.9.2,4.3.1";

const SWITCH: &str = "OTTLA_KAFKA";

/// The value of the switch with which tests run that take minutes.
const ALL: &str = "all";

/// One version of Kafka, ready to run.
#[derive(Debug)]
pub(crate) struct Kafka {
    pub(crate) version: String,
    pub(crate) class_path: String,
}

/// Only one test at a time: two brokers on a small machine time out on each other.
static TURN: Mutex<()> = Mutex::new(());

/// Runs a test against every version, or says aloud that it does not.
pub(crate) fn with_each_kafka(test: &str, check: impl Fn(&Kafka)) {
    with_kafkas(test, usize::MAX, check);
}

/// Runs a test that takes long against the newest version alone.
pub(crate) fn with_newest_kafka(test: &str, check: impl Fn(&Kafka)) {
    with_kafkas(test, 1, check);
}

/// Runs a test that takes minutes, where every one is to run; says aloud where it does not.
pub(crate) fn with_each_kafka_if_all(test: &str, check: impl Fn(&Kafka)) {
    if env::var(SWITCH).is_ok_and(|value| value == "1") {
        tell(&format!(
            "kafka: SKIPPED {test}: set {SWITCH}={ALL}, or to a version, to run it"
        ));
    } else {
        with_kafkas(test, usize::MAX, check);
    }
}

/// Runs a test against so many versions, the newest first.
fn with_kafkas(test: &str, count: usize, check: impl Fn(&Kafka)) {
    let Some(versions) = env::var(SWITCH).ok().filter(|value| !value.is_empty()) else {
        tell(&format!("kafka: SKIPPED {test}: set {SWITCH}=1 to run it"));
        return;
    };
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let versions = match versions.as_str() {
        "1" | ALL => VERSIONS,
        named => named,
    };
    for version in versions.rsplit(',').take(count) {
        let kafka = gather(version);
        check(&kafka);
    }
}

/// Prints a line that the test runner does not swallow.
pub(crate) fn tell(line: &str) {
    let mut errors = std::io::stderr().lock();
    writeln!(errors, "{line}").unwrap();
}

fn gather(version: &str) -> Kafka {
    let home = cache().join(format!("kafka-{version}"));
    let jars = home.join("jars");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka");
    if !jars.join("complete").exists() {
        fs::create_dir_all(&jars).unwrap();
        run(Command::new("mvn")
            .args(["-q", "-B", "-f"])
            .arg(sources.join("pom.xml"))
            .arg(format!("-Dkafka.version={version}"))
            .arg("dependency:copy-dependencies")
            .arg("-DincludeScope=runtime")
            .arg(format!("-DoutputDirectory={}", jars.display())));
        fs::write(jars.join("complete"), "").unwrap();
    }
    let classes = home.join("classes");
    let class_path = class_path(&classes, &jars);
    compile(&sources.join("Driver.java"), &classes, &class_path);
    Kafka {
        version: version.to_owned(),
        class_path,
    }
}

/// The compiled driver and every jar, named one by one: the compiler knows no wildcards.
fn class_path(classes: &Path, jars: &Path) -> String {
    let entries = fs::read_dir(jars).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|suffix| suffix == "jar"));
    paths.sort();
    paths.insert(0, classes.to_path_buf());
    let names = paths.iter().map(|path| path.to_str().unwrap());
    names.collect::<Vec<_>>().join(":")
}

/// Compiles the driver, unless it is the one that was compiled last.
fn compile(source: &Path, classes: &Path, class_path: &str) {
    let text = fs::read(source).unwrap();
    let compiled = classes.join("Driver.java");
    if fs::read(&compiled).is_ok_and(|old| old == text) {
        return;
    }
    fs::create_dir_all(classes).unwrap();
    run(Command::new("java")
        .args(["--module", "jdk.compiler/com.sun.tools.javac.Main"])
        .args(["-proc:none", "-nowarn", "-cp", class_path, "-d"])
        .arg(classes)
        .arg(source));
    fs::write(compiled, text).unwrap();
}

fn cache() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap()).join(".cache");
    let base = env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    base.join("ottla")
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}
