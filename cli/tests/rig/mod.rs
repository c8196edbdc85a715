//! A directory for a test, and the program run in it.
//!
//! Knows nothing about any verb.

#![allow(dead_code, reason = "every test file uses a part of it")]
#![allow(
    clippy::allow_attributes,
    reason = "what is unused differs from one test file to another"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// A root that does not exist yet, in a directory of its own.
#[derive(Debug)]
pub(crate) struct Root {
    scratch: tempfile::TempDir,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) words: String,
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Root {
    pub(crate) fn new() -> Self {
        Self {
            scratch: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command
            .args(words.split_whitespace())
            .env("OTTLA_DIR", self.dir());
        command.current_dir(self.scratch.path());
        command
    }

    /// Runs it without input.
    pub(crate) fn run(&self, words: &str) -> Ran {
        self.run_fed(words, "")
    }

    pub(crate) fn run_fed(&self, words: &str, input: &str) -> Ran {
        let mut running = self.start(words);
        running.feed_what_it_takes(input);
        running.end()
    }

    /// Runs it and expects success.
    pub(crate) fn ok(&self, words: &str) -> Ran {
        let ran = self.run(words);
        assert_eq!(ran.code, 0, "{words}: {}", ran.err);
        ran
    }

    pub(crate) fn feed(&self, words: &str, input: &str) -> Ran {
        let ran = self.run_fed(words, input);
        assert_eq!(ran.code, 0, "{words}: {}", ran.err);
        ran
    }

    /// Starts it and comes back at once.
    pub(crate) fn start(&self, words: &str) -> Running {
        let mut command = self.command(words);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = Gathered::of(child.stdout.take().unwrap());
        let err = Gathered::of(child.stderr.take().unwrap());
        Running {
            words: words.to_owned(),
            stdin: child.stdin.take(),
            child,
            out,
            err,
        }
    }

    /// Runs it with a standard output that nobody reads any more.
    pub(crate) fn with_closed_pipe(&self, words: &str) -> Ran {
        let mut command = self.command(words);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let done = child.wait_with_output().unwrap();
        Ran {
            words: words.to_owned(),
            code: done.status.code().unwrap(),
            out: String::new(),
            err: String::from_utf8(done.stderr).unwrap(),
        }
    }
}

impl Ran {
    pub(crate) fn says(&self, expected: &str) -> &Self {
        assert_eq!(self.out, expected, "{}: {}", self.words, self.err);
        self
    }

    /// One sentence that has these words, and this code.
    pub(crate) fn fails(&self, code: i32, words: &str) {
        assert_eq!(self.code, code, "{}: {}", self.words, self.err);
        let sentences: Vec<_> = self
            .err
            .lines()
            .filter(|line| line.starts_with("ottla: "))
            .collect();
        assert_eq!(sentences.len(), 1, "{}: {}", self.words, self.err);
        assert!(
            sentences.concat().contains(words),
            "{}: {}",
            self.words,
            self.err
        );
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap()
    }

    /// The words of a line of the output.
    pub(crate) fn fields(&self, line: usize) -> Vec<&str> {
        let line = self.out.lines().nth(line);
        line.unwrap_or_else(|| panic!("{}", self.out))
            .split_whitespace()
            .collect()
    }
}

/// A process under way.
#[derive(Debug)]
pub(crate) struct Running {
    words: String,
    stdin: Option<ChildStdin>,
    child: Child,
    out: Gathered,
    err: Gathered,
}

impl Running {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn feed(&mut self, text: &str) {
        self.stdin
            .as_mut()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    /// A program may end before it has read everything.
    fn feed_what_it_takes(&mut self, text: &str) {
        let fed = self.stdin.as_mut().unwrap().write_all(text.as_bytes());
        assert!(fed.is_ok() || !text.is_empty());
    }

    /// Waits until it has printed this.
    pub(crate) fn wait_for(&self, text: &str) {
        self.out.wait_for_text(text);
    }

    /// What Ctrl-C sends.
    pub(crate) fn interrupt(&self) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Ends its input and waits for its end.
    pub(crate) fn end(&mut self) -> Ran {
        drop(self.stdin.take());
        self.wait()
    }

    /// Waits until it has ended by itself, with its input still open.
    pub(crate) fn wait(&mut self) -> Ran {
        let status = self.child.wait().unwrap();
        Ran {
            words: self.words.clone(),
            code: status.code().unwrap_or(-1),
            out: self.out.all(),
            err: self.err.all(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

type Shared = (Mutex<(Vec<u8>, bool)>, Condvar);

/// What a stream has brought so far.
#[derive(Debug)]
pub(crate) struct Gathered {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Gathered {
    pub(crate) fn of(mut stream: impl std::io::Read + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new((Vec::new(), false)), Condvar::new()));
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let mut chunk = vec![0; 1 << 16];
            loop {
                let count = stream.read(&mut chunk).unwrap_or(0);
                let mut gathered = theirs.0.lock().unwrap();
                gathered.0.extend_from_slice(chunk.get(..count).unwrap());
                gathered.1 = count == 0;
                theirs.1.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    pub(crate) fn wait_for_text(&self, text: &str) {
        self.wait_until(|seen| seen.contains(text));
    }

    /// Waits until what came so far is as it should be, and returns it.
    pub(crate) fn wait_until(&self, enough: impl Fn(&str) -> bool) -> String {
        let mut gathered = self.shared.0.lock().unwrap();
        loop {
            let seen = String::from_utf8_lossy(&gathered.0).into_owned();
            if enough(&seen) {
                return seen;
            }
            assert!(!gathered.1, "it ended with {seen:?}");
            gathered = self.shared.1.wait(gathered).unwrap();
        }
    }

    fn all(&mut self) -> String {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        let gathered = self.shared.0.lock().unwrap();
        String::from_utf8(gathered.0.clone()).unwrap()
    }
}
