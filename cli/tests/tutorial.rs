//! The tutorial of `docs/cli.md`, typed into a terminal line by line.
//!
//! Knows nothing about the verbs: what a person reads on the page is what a person sees. A line
//! that begins with `$ ` is typed at the shell's prompt, one that begins with `>` at the
//! producer's; `^D` and `^C` are the keys.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use std::io::Write as _;
use std::path::Path;

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use rig::{Gathered, Root};

/// The lines of the blocks of the tutorial's section.
fn page() -> Vec<String> {
    let text = include_str!("../../docs/cli.md");
    let section = text
        .split("\n## ")
        .find(|part| part.starts_with("Kafka's tutorial"))
        .unwrap();
    let mut lines = Vec::new();
    let mut inside = false;
    for line in section.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if inside {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// What has to stand on the screen before a line is typed, what is typed, and what is seen of it.
fn typed(line: &str) -> Option<(&'static str, String, String)> {
    if let Some(command) = line.strip_prefix("$ ") {
        return Some(("$ ", format!("{command}\n"), command.to_owned()));
    }
    match line {
        ">^D" => Some((">", "\u{4}".to_owned(), String::new())),
        _ if line.starts_with('>') => {
            let text = line.strip_prefix('>').unwrap();
            Some((">", format!("{text}\n"), text.to_owned()))
        }
        _ => None,
    }
}

#[test]
fn every_line_of_the_tutorial_does_what_the_page_says() {
    let root = Root::new();
    let size = PtySize {
        rows: 50,
        cols: 160,
        pixel_width: 0,
        pixel_height: 0,
    };
    let pty = native_pty_system().openpty(size).unwrap();
    let mut shell = CommandBuilder::new("/bin/sh");
    let program = Path::new(env!("CARGO_BIN_EXE_ottla"));
    let path = std::env::var("PATH").unwrap();
    shell.env(
        "PATH",
        format!("{}:{path}", program.parent().unwrap().display()),
    );
    shell.env("PS1", "$ ");
    shell.env("TERM", "dumb");
    shell.env("NO_COLOR", "1");
    shell.env_remove("ENV");
    shell.env_remove("OTTLA_DIR");
    shell.cwd(root.scratch());
    let mut child = pty.slave.spawn_command(shell).unwrap();
    drop(pty.slave);
    let screen = Gathered::of(pty.master.try_clone_reader().unwrap());
    let mut keyboard = pty.master.take_writer().unwrap();

    // What the screen shows, as far as the page says it.
    let mut expected = String::new();
    let plain = |seen: &str| seen.replace('\r', "");
    for line in page() {
        if let Some((prompt, keys, shown)) = typed(&line) {
            expected.push_str(prompt);
            let seen = screen.wait_until(|seen| plain(seen).len() >= expected.len());
            assert_eq!(plain(&seen), expected, "before {line:?}");
            keyboard.write_all(keys.as_bytes()).unwrap();
            expected.push_str(&shown);
            expected.push('\n');
        } else if let Some(rest) = line.strip_prefix("^C") {
            screen.wait_until(|seen| plain(seen).len() >= expected.len());
            keyboard.write_all(b"\x03").unwrap();
            expected.push_str(&format!("^C{rest}\n"));
        } else {
            expected.push_str(&line);
            expected.push('\n');
        }
        keyboard.flush().unwrap();
    }
    expected.push_str("$ ");
    let seen = screen.wait_until(|seen| plain(seen).len() >= expected.len());
    assert_eq!(plain(&seen), expected);
    assert!(page().len() > 30, "the page has its blocks");
    keyboard.write_all(b"exit\n").unwrap();
    child.wait().unwrap();
}
