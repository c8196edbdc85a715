//! One writer: the second to open a directory is refused, whichever process it is and however they
//! race.
//!
//! Knows nothing about how a lock is made. Eight contenders, threads and processes, race again and
//! again; exactly one wins each time. The lock file may be unlinked or replaced meanwhile, and a
//! JVM holds its kind of lock where Java is installed (the test says so where it is not).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Barrier;
use std::thread;

use ottla::{Broker, Error, Log, LogConfig};
use tempfile::TempDir;

const DIR: &str = "OTTLA_LOCKS_DIR";
/// Contenders of a race: half of them threads of this process, half processes.
const THREADS: usize = 4;
const PROCESSES: usize = 4;

fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Opens a log, or says that somebody else has it.
fn contend(dir: &Path) -> Option<Log> {
    match Log::open(dir, LogConfig::default()) {
        Ok(log) => Some(log),
        Err(Error::Locked { .. }) => None,
        Err(error) => panic!("{error:?}"),
    }
}

/// A process that tries to open a directory whenever it is told to, and gives it back likewise.
struct Contender {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Contender {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "of_eight_contenders_exactly_one_wins",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(DIR, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let requests = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut contender = Self {
            child,
            requests,
            answers,
        };
        assert_eq!(contender.answer(), "ready");
        contender
    }

    fn tell(&mut self, what: &str) {
        writeln!(self.requests, "{what}").unwrap();
    }

    /// The next line that is an answer, and not the test harness's.
    fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "it ended");
            if let Some((_, answer)) = line.trim_end().split_once("answer: ") {
                return answer.to_owned();
            }
        }
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Tells the parent something, on a line of its own.
fn answer(what: &str) {
    let line = format!("\nanswer: {what}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

/// What a contender does.
fn contend_on_signal(dir: &Path) {
    let mut held = None;
    answer("ready");
    for request in std::io::stdin().lines().map_while(Result::ok) {
        if request == "open" {
            held = contend(dir);
            answer(if held.is_some() { "won" } else { "lost" });
        } else {
            drop(held.take());
            answer("given back");
        }
    }
}

/// One race; gives how many won. Nobody gives anything back before all have tried.
fn race(dir: &Path, processes: &mut [Contender], barrier: &Barrier) -> usize {
    for process in &mut *processes {
        process.tell("open");
    }
    let held: Vec<_> = thread::scope(|scope| {
        let open = || {
            barrier.wait();
            contend(dir)
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(open)).collect();
        let opened = threads.into_iter().map(|thread| thread.join().unwrap());
        opened.collect()
    });
    let mut won = held.iter().flatten().count();
    for process in &mut *processes {
        won += usize::from(process.answer() == "won");
    }
    drop(held);
    for process in &mut *processes {
        process.tell("give back");
    }
    for process in processes {
        assert_eq!(process.answer(), "given back");
    }
    won
}

#[test]
fn of_eight_contenders_exactly_one_wins() {
    if let Some(dir) = env::var_os(DIR) {
        return contend_on_signal(Path::new(&dir));
    }
    let races = match env::var("OTTLA_PROOF").as_deref() {
        Ok("ci") => 1_000,
        Ok("soak") => 20_000,
        _ => 100,
    };
    let scratch = scratch();
    let dir = scratch.path().join("log");
    drop(contend(&dir).unwrap());
    let mut processes: Vec<_> = (0..PROCESSES).map(|_| Contender::start(&dir)).collect();
    let barrier = Barrier::new(THREADS);
    for number in 0..races {
        match number % 20 {
            // Somebody tidies up, or puts another file in its place.
            7 => fs::remove_file(dir.join(".lock")).unwrap(),
            13 => {
                let other = dir.join("other");
                fs::write(&other, "").unwrap();
                fs::rename(other, dir.join(".lock")).unwrap();
            }
            _ => {}
        }
        assert_eq!(race(&dir, &mut processes, &barrier), 1, "in race {number}");
    }
    println!("locks: {races} races of {} contenders", THREADS + PROCESSES);
}

#[test]
fn a_lock_file_that_is_unlinked_or_replaced_lets_no_one_in() {
    let scratch = scratch();
    let dir = scratch.path().join("log");
    let held = contend(&dir).unwrap();
    let lock = dir.join(".lock");
    let unlinked = fs::remove_file(&lock);
    // Windows does not let the name go while the file is open.
    assert_eq!(unlinked.is_ok(), cfg!(unix), "{unlinked:?}");
    assert!(contend(&dir).is_none(), "unlinked");
    if cfg!(unix) {
        fs::write(&lock, "").unwrap();
        assert!(contend(&dir).is_none(), "replaced");
    }
    held.append("still the one writer").unwrap();
    held.close().unwrap();
    assert!(contend(&dir).is_some(), "given back");
}

#[test]
fn a_lock_ends_with_its_process() {
    let scratch = scratch();
    let dir = scratch.path().join("log");
    for _ in 0..10 {
        let mut process = Contender::start(&dir);
        process.tell("open");
        assert_eq!(process.answer(), "won");
        assert!(contend(&dir).is_none());
        drop(process);
        assert!(contend(&dir).is_some());
    }
}

#[test]
fn a_root_and_its_partitions_have_one_lock() {
    let scratch = scratch();
    let root = scratch.path().join("data");
    let broker = Broker::open(&root).unwrap();
    let topic = broker
        .create_topic("t", ottla::TopicConfig::default())
        .unwrap();
    topic.append("one").unwrap();
    assert!(matches!(Broker::open(&root), Err(Error::Locked { .. })));
    assert!(contend(&root.join("t-0")).is_none());
    broker.close().unwrap();
    assert!(matches!(
        Log::open(&root, LogConfig::default()),
        Err(Error::Unsupported { .. })
    ));
}

/// A JVM's lock on the file whose path it is given: taken, or refused, until its input ends.
const HOLDER: &str = r#"
import java.nio.channels.*;
import java.nio.file.*;
public class Holder {
    public static void main(String[] args) throws Exception {
        var channel = FileChannel.open(Path.of(args[0]), StandardOpenOption.CREATE,
            StandardOpenOption.READ, StandardOpenOption.WRITE);
        var lock = channel.tryLock();
        System.out.println(lock == null ? "answer: lost" : "answer: won");
        System.in.read();
    }
}
"#;

fn holder(program: &Path, lock: &Path) -> Option<Contender> {
    let java = Command::new("java")
        .arg("-XX:TieredStopAtLevel=1")
        .args([program, lock])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = java.ok()?;
    Some(Contender {
        requests: child.stdin.take().unwrap(),
        answers: BufReader::new(child.stdout.take().unwrap()),
        child,
    })
}

#[test]
fn a_jvm_and_we_keep_each_other_out() {
    let scratch = scratch();
    let program = scratch.path().join("Holder.java");
    fs::write(&program, HOLDER).unwrap();
    let dir = scratch.path().join("log");
    let held = contend(&dir).unwrap();
    let lock = dir.join(".lock");
    let Some(mut refused) = holder(&program, &lock) else {
        println!("locks: SKIPPED the JVM, there is no java");
        return;
    };
    assert_eq!(refused.answer(), "lost", "a JVM came in beside us");
    drop(refused);
    drop(held);
    let mut jvm = holder(&program, &lock).unwrap();
    assert_eq!(jvm.answer(), "won");
    assert!(contend(&dir).is_none(), "we came in beside a JVM");
    drop(jvm);
    assert!(contend(&dir).is_some(), "its lock ended with it");
}
