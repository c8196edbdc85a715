//! Tests of `temporary.rs`.

use super::*;

fn names(parent: &Path) -> Vec<String> {
    let names = fs::read_dir(parent).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_a_killed_process_left_is_removed_and_what_is_in_use_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let parent = &scratch.path().join("made/by/it");
    let used = TemporaryDir::inside(parent).unwrap();
    let left = parent.join(format!("{PREFIX}1-0"));
    fs::create_dir_all(left.join("data/flights-0")).unwrap();
    fs::write(left.join(file_name::LOCK), "1\n").unwrap();
    let other = parent.join("ottla-temporar");
    fs::create_dir(&other).unwrap();
    let second = TemporaryDir::inside(parent).unwrap();
    assert!(!left.exists() && other.exists());
    assert_eq!(names(parent).len(), 3);
    drop((used, second));
    assert_eq!(names(parent), ["ottla-temporar"]);
}

#[cfg(unix)]
#[test]
fn a_link_of_such_a_name_is_neither_followed_nor_used() {
    let scratch = tempfile::tempdir().unwrap();
    let (parent, precious) = (scratch.path().join("a"), scratch.path().join("b"));
    fs::create_dir_all(&parent).unwrap();
    fs::create_dir_all(precious.join("data")).unwrap();
    std::os::unix::fs::symlink(&precious, parent.join(format!("{PREFIX}1-0"))).unwrap();
    drop(TemporaryDir::inside(&parent).unwrap());
    assert!(precious.join("data").exists());
    assert_eq!(names(&parent), [format!("{PREFIX}1-0")]);
}

#[test]
fn many_threads_never_share_a_directory_and_leave_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let dir = TemporaryDir::inside(scratch.path()).unwrap();
                    fs::create_dir(dir.contents()).unwrap();
                    fs::write(dir.contents().join("x"), "x").unwrap();
                    assert_eq!(names(&dir.contents()), ["x"]);
                }
            });
        }
    });
    assert_eq!(names(scratch.path()), [""; 0]);
}
