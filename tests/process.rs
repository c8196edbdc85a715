//! What belongs to a process as a whole: its working directory, and which process it is.
//!
//! A test binary of its own. A test that changes the working directory runs in a process of its
//! own, in which this binary is started again for that test alone; the others fork really.
//!
//! Knows nothing about the crate's inside.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    clippy::disallowed_methods,
    unsafe_code,
    reason = "a test fails by panicking, takes answers as they come, and sleeps until threads \
              rest; only libc can fork"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Debug;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ottla::{
    Broker, BrokerConfig, Durability, Error, Log, LogConfig, ProducerConfig, Result, TopicConfig,
    WriteMode, repair, verify,
};
use tempfile::TempDir;

const ALONE: &str = "OTTLA_PROCESS_ALONE";

/// A child that hangs is killed after so many seconds.
const CHILD_SECONDS: libc::c_uint = 100;

fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Runs a test in a process of its own: one that it has to itself.
fn alone(test: &str, run: impl FnOnce()) {
    if env::var_os(ALONE).is_some() {
        return run();
    }
    let done = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let says = String::from_utf8_lossy(&done.stdout).into_owned();
    let complains = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{says}{complains}");
    assert!(says.contains("1 passed"), "{says}");
}

/// Every file below a directory, with its bytes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Every file below a directory is as it was, and no other one is there.
#[track_caller]
fn assert_unchanged(dir: &Path, before: &BTreeMap<PathBuf, Vec<u8>>) {
    let after = files(dir);
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differ = |name: &&PathBuf| before.get(*name) != after.get(*name);
    let changed: Vec<_> = names.into_iter().filter(differ).collect();
    assert!(changed.is_empty(), "changed: {changed:?}");
}

/// Waits until no thread of the crate has done anything for a while: what one of them holds at a
/// fork stays open in the child.
fn let_threads_rest() {
    let mut quiet = 0;
    while quiet < 5 {
        thread::sleep(Duration::from_millis(10));
        quiet = if is_one_at_work() { 0 } else { quiet + 1 };
    }
}

/// Whether a thread of the crate does not sleep; never elsewhere than on Linux.
fn is_one_at_work() -> bool {
    let Ok(threads) = fs::read_dir("/proc/self/task") else {
        return false;
    };
    threads.flatten().any(|thread| {
        // A thread may end meanwhile. Its state follows its name, which is in parentheses.
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let is_ours = stat.contains("(ottla");
        is_ours && !stat.contains(") S ")
    })
}

/// Forks, runs something in the child, and fails when that panics or hangs.
fn in_a_fork(child: impl FnOnce()) {
    // SAFETY: the child runs with what `fork` gives it and ends without returning from here.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "{}", std::io::Error::last_os_error());
    if pid == 0 {
        // SAFETY: neither call passes memory.
        unsafe { libc::alarm(CHILD_SECONDS) };
        let done = catch_unwind(AssertUnwindSafe(child));
        if let Err(panic) = &done {
            let says = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            let says = format!("the child: {says}\n");
            // SAFETY: the buffer is there for the length of the call.
            unsafe { libc::write(2, says.as_ptr().cast(), says.len()) };
        }
        // SAFETY: it does not return, and runs nothing of the parent's.
        unsafe { libc::_exit(i32::from(done.is_err())) };
    }
    let mut status = 0;
    // SAFETY: `status` is there for the length of the call.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!((waited, status), (pid, 0), "the child failed or hung");
}

fn is_forked<T: Debug>(answer: Result<T>) {
    assert!(matches!(answer, Err(Error::Forked)), "{answer:?}");
}

fn is_locked<T: Debug>(answer: Result<T>) {
    assert!(matches!(answer, Err(Error::Locked { .. })), "{answer:?}");
}

/// No descriptor of this process leads below a directory.
fn assert_none_open(dir: &Path) {
    if !cfg!(target_os = "linux") {
        return;
    }
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let target = fs::read_link(entry.unwrap().path()).unwrap_or_default();
        assert!(!target.starts_with(dir), "{} is open", target.display());
    }
}

fn values(log: &Log) -> usize {
    log.reader(log.start_offset())
        .unwrap()
        .map(Result::unwrap)
        .count()
}

fn small() -> LogConfig {
    LogConfig::default()
        .segment_bytes(2048)
        .retention_bytes(Some(10_000))
}

fn fill(log: &Log, count: usize) {
    for number in 0..count {
        log.append(&format!("record {number} of this log and of no other"))
            .unwrap();
    }
}

/// Two directories that hold a log and a broker under the same names, all closed.
fn twins(base: &Path) -> [PathBuf; 2] {
    ["a", "b"].map(|name| {
        let dir = base.join(name);
        fs::create_dir(&dir).unwrap();
        let log = Log::open(dir.join("data"), small()).unwrap();
        fill(&log, 300);
        log.close().unwrap();
        let broker = Broker::open(dir.join("root")).unwrap();
        let config = TopicConfig::default().partitions(4).segment_bytes(1024);
        let topic = broker.create_topic("t", config).unwrap();
        for partition in 0..4 {
            for _ in 0..50 {
                topic.append_to(partition, "a record").unwrap();
            }
        }
        broker.close().unwrap();
        dir
    })
}

#[test]
fn a_log_stays_where_it_was_opened_whatever_the_working_directory_becomes() {
    let test = "a_log_stays_where_it_was_opened_whatever_the_working_directory_becomes";
    alone(test, || {
        let base = scratch();
        let [ours, theirs] = twins(base.path());
        let before = files(&theirs);
        env::set_current_dir(&ours).unwrap();
        let log = Log::open("data", small()).unwrap();
        let mut reader = log.reader(0).unwrap();
        env::set_current_dir(&theirs).unwrap();
        fill(&log, 300);
        assert_eq!(reader.by_ref().map(Result::unwrap).count(), 600);
        assert!(log.apply_retention().unwrap().segments_deleted > 5);
        log.truncate_prefix(log.end_offset() - 20).unwrap();
        log.truncate(log.end_offset() - 10).unwrap();
        fill(&log, 100);
        log.flush().unwrap();
        assert_eq!(values(&log), 110);
        log.close().unwrap();
        assert_unchanged(&theirs, &before);

        env::set_current_dir(&ours).unwrap();
        let read_only = Log::open_read_only("data").unwrap();
        env::set_current_dir(&theirs).unwrap();
        assert_eq!(values(&read_only), 110);
        assert_unchanged(&theirs, &before);

        env::set_current_dir(&ours).unwrap();
        for report in [verify("data").unwrap(), verify("./root").unwrap()] {
            assert!(report.is_spotless(), "{report}");
            assert!(report.dir.starts_with(&ours), "{}", report.dir.display());
        }
        assert!(repair("data").unwrap().dir.starts_with(&ours));
        assert!(Log::open("", small()).is_err());
    });
}

#[test]
fn a_broker_stays_where_it_was_opened_also_for_partitions_first_used_later() {
    let test = "a_broker_stays_where_it_was_opened_also_for_partitions_first_used_later";
    alone(test, || {
        let base = scratch();
        let [ours, theirs] = twins(base.path());
        let before = files(&theirs);
        env::set_current_dir(&ours).unwrap();
        let broker = Broker::open("root").unwrap();
        let topic = broker.topic("t").unwrap();
        topic.append_to(0, "before").unwrap();
        env::set_current_dir(&theirs).unwrap();
        for partition in 0..4 {
            topic.append_to(partition, "after").unwrap();
        }
        broker.create_topic("new", TopicConfig::default()).unwrap();
        broker.create_topic("old", TopicConfig::default()).unwrap();
        broker.delete_topic("old").unwrap();
        let wish = |config: TopicConfig| config.partitions(6).retention_bytes(Some(1));
        broker.alter_topic("t", wish).unwrap();
        topic.append_to(5, "in a new partition").unwrap();
        let mut consumer = broker.group("g").unwrap().join(["t"]).unwrap();
        assert!(!consumer.poll(Duration::ZERO).unwrap().is_empty());
        consumer.commit().unwrap();
        assert!(broker.upkeep().unwrap().segments_deleted > 0);
        drop(consumer);
        broker.close().unwrap();
        assert_unchanged(&theirs, &before);

        env::set_current_dir(&ours).unwrap();
        let read_only = Broker::open_read_only("root").unwrap();
        // In the directory of a partition: it is a part of its root, whose lock counts.
        let broker = Broker::open("root").unwrap();
        env::set_current_dir(ours.join("root/t-0")).unwrap();
        is_locked(Log::open(".", small()));
        env::set_current_dir(&theirs).unwrap();
        let topic = read_only.topic("t").unwrap();
        assert_eq!(topic.partition_count(), 6);
        assert_eq!(topic.partition(5).unwrap().end_offset(), 1);
        broker.close().unwrap();
        assert_unchanged(&theirs, &before);
        assert!(verify(ours.join("root")).unwrap().is_spotless());
    });
}

#[test]
fn a_backup_copies_what_was_opened_whatever_the_working_directory_became() {
    let test = "a_backup_copies_what_was_opened_whatever_the_working_directory_became";
    alone(test, || {
        let base = scratch();
        let [ours, theirs] = twins(base.path());
        fs::create_dir(base.path().join("copies")).unwrap();
        env::set_current_dir(&ours).unwrap();
        let broker = Broker::open("root").unwrap();
        let log = Log::open("data", small()).unwrap();
        let topic = broker.topic("t").unwrap();
        topic.append_to(0, "of this root alone").unwrap();
        fill(&log, 7);
        env::set_current_dir(&theirs).unwrap();
        let before = files(&theirs);
        // The place of a copy is relative to the working directory of the call.
        broker.backup("../copies/root").unwrap();
        log.backup("../copies/data").unwrap();
        env::set_current_dir(&ours).unwrap();
        let copies = base.path().join("copies");
        let copy = Broker::open_read_only(copies.join("root")).unwrap();
        let topic = copy.topic("t").unwrap();
        assert_eq!(topic.partition(0).unwrap().end_offset(), 51);
        let copy = Log::open_read_only(copies.join("data")).unwrap();
        assert_eq!(copy.end_offset(), 307);
        assert_unchanged(&theirs, &before);
    });
}

#[test]
fn a_forked_child_that_drops_a_log_leaves_it_to_its_parent() {
    for (durability, write_mode) in [
        (Durability::Always, WriteMode::Mapped),
        (Durability::Os, WriteMode::Pwrite),
        (
            Durability::Interval(Duration::from_secs(3000)),
            WriteMode::Auto,
        ),
    ] {
        let base = scratch();
        let dir = base.path().join("log");
        // One segment, so that the flusher has nothing to do when the log is forked.
        let config = LogConfig::default()
            .durability(durability)
            .write_mode(write_mode);
        let log = Log::open(&dir, config.clone()).unwrap();
        fill(&log, 200);
        log.flush().unwrap();
        let mut reader = log.reader(0).unwrap();
        assert!(reader.next().is_some());
        let mut all = Some((log, reader));
        let_threads_rest();
        let before = files(&dir);
        in_a_fork(|| {
            let (log, mut reader) = all.take().unwrap();
            every_call_is_an_error(&log);
            is_forked(reader.seek(0));
            is_forked(reader.wait(Duration::ZERO));
            is_forked(reader.next().unwrap());
            assert!(reader.next().is_none());
            drop((log, reader));
            assert_none_open(&dir);
            is_locked(Log::open(&dir, small()));
        });
        assert_unchanged(&dir, &before);
        is_locked(Log::open(&dir, small()));
        let (log, reader) = all.take().unwrap();
        assert_eq!(log.append("and on").unwrap(), 200);
        assert_eq!(reader.map(Result::unwrap).count(), 200);
        log.close().unwrap();
        let log = Log::open(&dir, config).unwrap();
        assert!(log.open_report().clean);
        assert_eq!(log.end_offset(), 201);
    }
}

fn every_call_is_an_error(log: &Log) {
    is_forked(log.append("not here"));
    is_forked(log.append_batch(["not", "here"]));
    is_forked(log.append_batch::<&str>([]));
    is_forked(log.reader(0));
    is_forked(log.read(0));
    is_forked(log.offset_for_time(ottla::Timestamp::now()));
    is_forked(log.flush());
    is_forked(log.wait_for(0, Duration::ZERO));
    is_forked(log.truncate_prefix(1));
    is_forked(log.truncate(1));
    is_forked(log.apply_retention());
    is_forked(log.compact());
    is_forked(log.close());
    assert!(log.segments().is_empty());
    assert_eq!(log.config(), LogConfig::default());
}

#[test]
fn a_forked_child_that_drops_a_broker_leaves_groups_and_producers_to_its_parent() {
    let base = scratch();
    let dir = base.path().join("root");
    // Its upkeep would change files at a time of its own.
    let config = BrokerConfig::default().upkeep_interval(Duration::from_secs(3000));
    let broker = Broker::open_with(&dir, config).unwrap();
    let topic = broker
        .create_topic("t", TopicConfig::default().partitions(2))
        .unwrap();
    topic.append_to(0, "polled").unwrap();
    let group = broker.group("g").unwrap();
    let mut consumer = group.join(["t"]).unwrap();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 1);
    let config = ProducerConfig::default().linger(Duration::from_secs(3000));
    let producer = topic.producer(config).unwrap();
    let delivery = producer.send("waits").unwrap();
    broker.flush().unwrap();
    let_threads_rest();
    let before = files(&dir);
    let mut all = Some((broker, topic, group, consumer, producer, delivery));
    in_a_fork(|| {
        let (broker, topic, group, mut consumer, producer, delivery) = all.take().unwrap();
        is_forked(topic.append("not here"));
        is_forked(topic.append_to(1, "not here"));
        is_forked(topic.append_batch(["not here"]));
        is_forked(topic.partition(0));
        is_forked(topic.describe());
        is_forked(topic.producer(ProducerConfig::default()));
        assert_eq!(topic.config(), TopicConfig::default());
        is_forked(producer.send("not here"));
        is_forked(producer.flush());
        is_forked(delivery.wait());
        assert!(delivery.is_settled());
        is_forked(consumer.poll(Duration::from_secs(3000)));
        is_forked(consumer.commit());
        is_forked(consumer.commit_to("t", 0, 0));
        is_forked(consumer.position("t", 0));
        is_forked(consumer.seek("t", 0, 0));
        is_forked(consumer.pause("t", 0));
        is_forked(consumer.resume("t", 0));
        is_forked(consumer.lag());
        assert!(consumer.assignment().is_empty());
        is_forked(consumer.leave());
        is_forked(group.join(["t"]));
        is_forked(group.describe());
        is_forked(group.committed("t", 0));
        is_forked(group.reset("t", ottla::Start::Earliest));
        of_a_broker(&broker);
        drop((broker, topic, group, producer, delivery));
        assert_none_open(&dir);
        is_locked(Broker::open(&dir));
    });
    assert_unchanged(&dir, &before);
    is_locked(Broker::open(&dir));
    let (broker, topic, group, mut consumer, producer, delivery) = all.take().unwrap();
    assert_eq!(group.describe().unwrap().members.len(), 1);
    assert_eq!(group.committed("t", 0).unwrap(), None);
    consumer.commit().unwrap();
    assert_eq!(group.committed("t", 0).unwrap(), Some(1));
    producer.flush().unwrap();
    let sent = delivery.wait().unwrap();
    let log = topic.partition(sent.partition).unwrap();
    assert_eq!(log.end_offset(), sent.offset + 1, "appended once");
    broker.close().unwrap();
    assert!(verify(&dir).unwrap().is_spotless());
}

fn of_a_broker(broker: &Broker) {
    is_forked(broker.create_topic("u", TopicConfig::default()));
    is_forked(broker.create_topic_if_absent("t", TopicConfig::default()));
    is_forked(broker.topic("t"));
    is_forked(broker.delete_topic("t"));
    is_forked(broker.alter_topic("t", |config| config));
    is_forked(broker.group("g"));
    is_forked(broker.groups());
    is_forked(broker.delete_group("g"));
    is_forked(broker.upkeep());
    is_forked(broker.flush());
    is_forked(broker.close());
    assert!(broker.topics().is_empty());
    assert!(broker.topic_names().is_empty());
    assert!(broker.last_upkeep().is_none());
}

/// Ends the threads of a test, also when it fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// At the fork other threads hold any lock, and are not there in the child to give it back.
#[test]
fn a_forked_child_waits_for_no_lock_that_another_thread_held() {
    let base = scratch();
    let config = BrokerConfig::default().durability(Durability::Interval(Duration::from_millis(1)));
    let broker = Broker::open_with(base.path().join("root"), config).unwrap();
    let config = TopicConfig::default()
        .segment_bytes(4096)
        .retention_bytes(Some(20_000));
    let topic = broker.create_topic("t", config).unwrap();
    let log = topic.partition(0).unwrap();
    let producer = topic.producer(ProducerConfig::default()).unwrap();
    let group = broker.group("g").unwrap();
    let ended = AtomicBool::new(false);
    let go_on = || !ended.load(Ordering::Relaxed);
    thread::scope(|scope| {
        let _end = End(&ended);
        scope.spawn(|| {
            while go_on() {
                log.append(&[7; 100]).unwrap();
            }
        });
        scope.spawn(|| {
            while go_on() {
                drop(producer.send("waits").unwrap());
                producer.flush().unwrap();
            }
        });
        scope.spawn(|| {
            while go_on() {
                let mut consumer = group.join(["t"]).unwrap();
                drop(consumer.poll(Duration::ZERO).unwrap());
                consumer.commit().unwrap();
            }
        });
        scope.spawn(|| {
            while go_on() {
                broker.upkeep().unwrap();
                broker
                    .alter_topic("t", |config| config.retention_bytes(Some(30_000)))
                    .unwrap();
                broker
                    .alter_topic("t", |config| config.retention_bytes(Some(20_000)))
                    .unwrap();
            }
        });
        for _ in 0..30 {
            in_a_fork(|| {
                every_call_is_an_error(&log);
                of_a_broker(&broker);
                is_forked(producer.send("not here"));
                is_forked(producer.flush());
                is_forked(group.join(["t"]));
                is_forked(group.describe());
                is_forked(topic.append("not here"));
            });
        }
    });
    drop((log, producer, group, topic));
    broker.close().unwrap();
    assert!(verify(base.path().join("root")).unwrap().is_spotless());
}
