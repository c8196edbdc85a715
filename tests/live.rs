//! The live file: followers in processes of their own that the writer wakes.
//!
//! A test binary of its own. Followers are this binary, started again for one test with a role.
//!
//! `OTTLA_PROOF=ci cargo test --test live -- --nocapture --test-threads=1 how_long` prints how long
//! records take. Nothing is asserted about times, which depend on the machine.
//!
//! Knows nothing about the crate's inside.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, prints what it has measured, and has a clock of its own"
)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ottla::{Broker, Log, LogConfig, Start, TopicConfig};

const DIR: &str = "OTTLA_LIVE_DIR";

/// Nobody waits longer than this for something that must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The directory that this process is to follow, where it was started to do so.
fn followed() -> Option<PathBuf> {
    env::var_os(DIR).map(PathBuf::from)
}

/// A process that runs one test as the follower of a directory.
fn follower(program: &Path, test: &str, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::null());
    command
}

fn nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_nanos()).unwrap()
}

fn rounds() -> u32 {
    match env::var("OTTLA_PROOF").as_deref() {
        Ok("ci") => 2_000,
        _ => 50,
    }
}

/// Waits for every record, and writes down how long each has taken.
fn wait_for_all(log: &Log, count: u32, ready: impl FnOnce()) -> Vec<u64> {
    let mut reader = log.reader(Start::Latest).unwrap();
    ready();
    let mut took = Vec::new();
    for _ in 0..count {
        while reader.wait(PATIENCE).unwrap() {
            let Some(record) = reader.next() else {
                continue;
            };
            let record = record.unwrap();
            let appended = u64::from_be_bytes(record.value().unwrap().try_into().unwrap());
            took.push(nanos() - appended);
            break;
        }
    }
    assert_eq!(took.len(), usize::try_from(count).unwrap());
    took
}

fn append_all(log: &Log, count: u32) {
    for number in 0..count {
        // Not in step with anything that looks by the clock.
        thread::sleep(Duration::from_micros(
            500 + u64::from(number * 37 % 100) * 30,
        ));
        log.append(&nanos().to_be_bytes()).unwrap();
    }
}

fn print(who: &str, mut took: Vec<u64>) {
    let first = took.first().unwrap() / 1000;
    took.sort_unstable();
    let at = |part: usize| took.get((took.len() - 1) * part / 100).unwrap() / 1000;
    println!(
        "{who}: first {} us, p50 {} us, p90 {} us, p99 {} us, max {} us",
        first,
        at(50),
        at(90),
        at(99),
        at(100)
    );
}

#[test]
fn how_long_a_record_takes_to_a_waiting_follower() {
    const TEST: &str = "how_long_a_record_takes_to_a_waiting_follower";
    if let Some(dir) = followed() {
        let log = Log::open_read_only(dir.join("log")).unwrap();
        let took = wait_for_all(&log, rounds(), || fs::write(dir.join("ready"), "").unwrap());
        let lines: Vec<_> = took.iter().map(u64::to_string).collect();
        fs::write(dir.join("took.tmp"), lines.join("\n")).unwrap();
        fs::rename(dir.join("took.tmp"), dir.join("took")).unwrap();
        return;
    }
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = scratch.path();
    let log = Log::open(dir.join("log"), LogConfig::default()).unwrap();
    thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let reading = scope.spawn(|| {
            let ready = move || sender.send(()).unwrap();
            wait_for_all(&log, rounds(), ready)
        });
        receiver.recv().unwrap();
        append_all(&log, rounds());
        print("the same process", reading.join().unwrap());
    });
    let program = env::current_exe().unwrap();
    let mut follower = follower(&program, TEST, dir).spawn().unwrap();
    await_ready(dir, &mut follower);
    thread::sleep(Duration::from_millis(30));
    append_all(&log, rounds());
    assert!(follower.wait().unwrap().success());
    let took = fs::read_to_string(dir.join("took")).unwrap();
    let took = took.lines().map(|line| line.parse().unwrap()).collect();
    print("another process", took);
}

/// Waits until a follower process has begun to wait.
fn await_ready(dir: &Path, follower: &mut Child) {
    let begun = Instant::now();
    while !dir.join("ready").exists() {
        assert!(
            follower.try_wait().unwrap().is_none(),
            "the follower has ended"
        );
        assert!(begun.elapsed() < PATIENCE, "the follower does not come");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_follower_needs_no_more_than_permission_to_read() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::os::unix::process::CommandExt as _;
    const TEST: &str = "a_follower_needs_no_more_than_permission_to_read";
    const NOBODY: u32 = 65_534;
    if let Some(dir) = followed() {
        let log = Log::open_read_only(dir.join("log")).unwrap();
        let ready = || fs::write(dir.join("notes/ready"), "").unwrap();
        wait_for_all(&log, 20, ready);
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let open_to_all = |path: &Path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    open_to_all(dir);
    let notes = dir.join("notes");
    fs::create_dir(&notes).unwrap();
    fs::set_permissions(&notes, fs::Permissions::from_mode(0o777)).unwrap();
    let program = dir.join("program");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    open_to_all(&program);
    let log = Log::open(dir.join("log"), LogConfig::default()).unwrap();
    let mut command = follower(&program, TEST, dir);
    // Only root may become somebody else; other users follow as themselves.
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut follower = command.spawn().unwrap();
    await_ready(&notes, &mut follower);
    append_all(&log, 20);
    assert!(follower.wait().unwrap().success());
}

/// Whether any process holds a lock on a byte of a file that ends with its descriptor.
#[cfg(target_os = "linux")]
fn is_listened_to(live: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let file = format!(":{} ", fs::metadata(live).unwrap().ino());
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let mut locks = locks.lines().filter(|line| line.contains("OFDLCK"));
    locks.any(|line| line.contains(&file) && line.contains("READ"))
}

#[test]
#[cfg(target_os = "linux")]
fn a_follower_on_a_read_only_mount_is_woken_by_the_bell() {
    const TEST: &str = "a_follower_on_a_read_only_mount_is_woken_by_the_bell";
    const MOUNT: &str =
        "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
    if let Some(dir) = followed() {
        let log = Log::open_read_only(dir.join("log")).unwrap();
        assert!(fs::write(dir.join("log/a_file"), "").is_err());
        let mut reader = log.reader(Start::Earliest).unwrap();
        fs::write(dir.join("ready"), "").unwrap();
        while reader.wait(PATIENCE).unwrap() {
            for record in reader.by_ref() {
                if record.unwrap().value() == Some(b"over") {
                    return;
                }
            }
        }
        panic!("the last record does not come");
    }
    let allowed = Command::new("unshare").args(["-rm", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("this system lets nobody mount anything");
        return;
    }
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = scratch.path();
    let log = Log::open(dir.join("log"), LogConfig::default()).unwrap();
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", MOUNT]);
    command
        .arg(dir.join("log"))
        .arg(env::current_exe().unwrap());
    command.args([TEST, "--exact", "--nocapture", "--test-threads=1"]);
    let mut follower = command.env(DIR, dir).stdout(Stdio::null()).spawn().unwrap();
    await_ready(dir, &mut follower);
    let begun = Instant::now();
    // Where there is no live file, followers look by the clock.
    while dir.join("log/ottla.live").exists() && !is_listened_to(&dir.join("log/ottla.live")) {
        assert!(begun.elapsed() < PATIENCE, "nobody listens");
        append_all(&log, 1);
    }
    append_all(&log, 20);
    log.append("over").unwrap();
    assert!(follower.wait().unwrap().success());
}

/// A mount that ends with this.
#[cfg(target_os = "linux")]
struct Mount(PathBuf);

#[cfg(target_os = "linux")]
impl Drop for Mount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

/// As through a network: the system here learns of a change only when it asks.
#[test]
#[cfg(target_os = "linux")]
fn a_follower_sees_growth_through_a_file_system_of_another_program() {
    const TEST: &str = "a_follower_sees_growth_through_a_file_system_of_another_program";
    if let Some(dir) = followed() {
        let log = Log::open_read_only(dir.join("log")).unwrap();
        wait_for_all(&log, 20, || fs::write(dir.join("ready"), "").unwrap());
        return;
    }
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (dir, seen) = (scratch.path().join("dir"), scratch.path().join("seen"));
    fs::create_dir(&dir).unwrap();
    fs::create_dir(&seen).unwrap();
    let mounted = Command::new("bindfs").args([&dir, &seen]).status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("live: SKIPPED through FUSE: there is no bindfs, or it may not mount");
        return;
    }
    let _mount = Mount(seen.clone());
    let log = Log::open(dir.join("log"), LogConfig::default()).unwrap();
    let program = env::current_exe().unwrap();
    let mut follower = follower(&program, TEST, &seen).spawn().unwrap();
    await_ready(&dir, &mut follower);
    append_all(&log, 20);
    assert!(follower.wait().unwrap().success());
}

#[test]
fn partitions_without_a_slot_are_followed_beside_those_that_have_one() {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let broker = Broker::open(scratch.path()).unwrap();
    let partitions = 1_030;
    let config = TopicConfig::default().partitions(partitions);
    let topic = broker.create_topic("many", config).unwrap();
    for number in 0..partitions {
        topic.partition(number).unwrap().append("first").unwrap();
    }
    let reading = Broker::open_read_only(scratch.path()).unwrap();
    let same = reading.topic("many").unwrap();
    for number in [0, 500, partitions - 1] {
        let (written, read) = (topic.partition(number), same.partition(number));
        let (written, read) = (written.unwrap(), read.unwrap());
        for next in 1..40 {
            written.append("more").unwrap();
            assert!(read.wait_for(next, PATIENCE).unwrap());
        }
    }
}

#[test]
fn a_group_and_a_topic_that_come_later_are_seen_by_one_who_is_woken() {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let broker = Broker::open(scratch.path()).unwrap();
    let flights = broker
        .create_topic("flights", TopicConfig::default())
        .unwrap();
    let follower = Broker::open_read_only(scratch.path()).unwrap();
    let mut reader = follower
        .topic("flights")
        .unwrap()
        .reader(Start::Earliest)
        .unwrap();
    for number in 0..50_u32 {
        flights.append(&number.to_string()).unwrap();
        while reader.positions()[&0] <= u64::from(number) {
            assert!(reader.wait(PATIENCE).unwrap());
            assert!(reader.by_ref().all(|record| record.is_ok()));
        }
    }
    let later = broker
        .create_topic("later", TopicConfig::default())
        .unwrap();
    later.append("a record").unwrap();
    let log = follower.topic("later").unwrap().partition(0).unwrap();
    assert!(log.wait_for(0, PATIENCE).unwrap());
    broker.delete_topic("later").unwrap();
    assert!(log.wait_for(1, PATIENCE).is_err());
}

/// How many ticks of the processor this process has used, and how many kibibytes of memory it has.
#[cfg(target_os = "linux")]
fn used() -> (u64, u64) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks = ticks.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.unwrap().trim().trim_end_matches(" kB");
    (ticks, resident.parse().unwrap())
}

#[test]
#[cfg(target_os = "linux")]
fn very_many_partitions_are_followed_by_one_reader() {
    let partitions = match env::var("OTTLA_PROOF").as_deref() {
        Ok("ci") => 10_000,
        _ => 200,
    };
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let broker = Broker::open(scratch.path()).unwrap();
    let config = TopicConfig::default().partitions(partitions);
    let topic = broker.create_topic("many", config).unwrap();
    let (_, before) = used();
    let follower = Broker::open_read_only(scratch.path()).unwrap();
    let mut reader = follower
        .topic("many")
        .unwrap()
        .reader(Start::Earliest)
        .unwrap();
    assert!(!reader.wait(Duration::from_millis(500)).unwrap());
    let (ticks, _) = used();
    assert!(!reader.wait(Duration::from_secs(1)).unwrap());
    let (later, memory) = used();
    println!(
        "{partitions} partitions: {} ticks of 10 ms in an idle second, {} KiB",
        later - ticks,
        memory - before
    );
    for partition in [0, partitions / 2, partitions - 1] {
        topic
            .partition(partition)
            .unwrap()
            .append("a record")
            .unwrap();
        let record = loop {
            assert!(
                reader.wait(PATIENCE).unwrap(),
                "{partition} is not followed"
            );
            if let Some(record) = reader.next() {
                break record.unwrap();
            }
        };
        assert_eq!(record.value(), Some(b"a record".as_slice()));
    }
}
