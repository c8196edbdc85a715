//! The calls that std does not have, or names differently on each system.
//!
//! Knows nothing about why they are made. Every `unsafe` of the floor is here but for `map.rs` and
//! `word.rs`.

use std::fs::{File, TryLockError};
use std::io;

#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::fd::AsRawFd;

use crate::disk::LiesOn;

#[cfg(unix)]
pub(super) fn pread(file: &File, buf: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buf, position)
}

#[cfg(windows)]
pub(super) fn pread(file: &File, buf: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buf, position)
}

#[cfg(unix)]
pub(super) fn pwrite(file: &File, bytes: &[u8], position: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, position)
}

#[cfg(windows)]
pub(super) fn pwrite(file: &File, bytes: &[u8], position: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, position)
}

/// The crate does not compile there, as `lib.rs` says.
#[cfg(not(any(unix, windows)))]
pub(super) fn pread(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(any(unix, windows)))]
pub(super) fn pwrite(_: &File, _: &[u8], _: u64) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// `fallocate`, which lengthens the file too.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "std has no fallocate")]
pub(super) fn reserve(file: &File, from: u64, len: u64) -> io::Result<()> {
    let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
    let from = libc::off64_t::try_from(from).map_err(too_large)?;
    let len = libc::off64_t::try_from(len).map_err(too_large)?;
    loop {
        // SAFETY: the descriptor is open for the length of the borrow, and no memory is passed.
        let outcome = unsafe { libc::fallocate64(file.as_raw_fd(), 0, from, len) };
        if outcome == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn reserve(_: &File, _: u64, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// `copy_file_range` between two fronts, as far as the system does it: not at all across some file
/// systems.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "std copies whole files alone")]
pub(super) fn copy_range(from: &File, to: &File, len: u64) -> io::Result<u64> {
    let (mut done, mut read_at, mut write_at) = (0_u64, 0, 0);
    while done < len {
        let wanted = usize::try_from(len.saturating_sub(done))
            .unwrap_or(usize::MAX)
            .min(1 << 30);
        // SAFETY: both descriptors are open for the length of the borrows, and the two places are
        // locals that outlive the call.
        let copied = unsafe {
            libc::copy_file_range(
                from.as_raw_fd(),
                &raw mut read_at,
                to.as_raw_fd(),
                &raw mut write_at,
                wanted,
                0,
            )
        };
        match u64::try_from(copied) {
            Ok(0) => break,
            Ok(copied) => done = done.saturating_add(copied),
            Err(_) => {
                let error = io::Error::last_os_error();
                match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::ENOSPC | libc::EDQUOT | libc::EIO) => return Err(error),
                    _ => break,
                }
            }
        }
    }
    Ok(done)
}

#[cfg(not(target_os = "linux"))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the same call as where it can fail"
)]
pub(super) fn copy_range(_: &File, _: &File, _: u64) -> io::Result<u64> {
    Ok(0)
}

/// The end of the next range of data, neither a hole nor space that was never written, by `lseek`
/// with `SEEK_DATA` and `SEEK_HOLE`; the file's end where the file system does not know.
#[cfg(target_os = "linux")]
pub(super) fn next_data_end(file: &File, from: u64) -> io::Result<Option<u64>> {
    let cannot_tell = |error: &io::Error| {
        let code = error.raw_os_error();
        matches!(code, Some(libc::EINVAL | libc::EOPNOTSUPP))
    };
    let found = seek(file, from, libc::SEEK_DATA).and_then(|data| match data {
        Some(data) => seek(file, data, libc::SEEK_HOLE),
        None => Ok(None),
    });
    match found {
        Err(error) if cannot_tell(&error) => end_behind(file, from),
        found => Ok(found?.filter(|end| *end > from)),
    }
}

/// `None` where the file ends. It moves the file's cursor, which no call here uses.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "std has no SEEK_DATA and no SEEK_HOLE")]
fn seek(file: &File, from: u64, whence: libc::c_int) -> io::Result<Option<u64>> {
    let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
    let from = libc::off64_t::try_from(from).map_err(too_large)?;
    // SAFETY: the descriptor is open for the length of the borrow, and no memory is passed.
    let found = unsafe { libc::lseek64(file.as_raw_fd(), from, whence) };
    if let Ok(found) = u64::try_from(found) {
        return Ok(Some(found));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENXIO) => Ok(None),
        _ => Err(error),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn next_data_end(file: &File, from: u64) -> io::Result<Option<u64>> {
    end_behind(file, from)
}

fn end_behind(file: &File, from: u64) -> io::Result<Option<u64>> {
    Ok(Some(file.metadata()?.len()).filter(|end| *end > from))
}

/// The file system, by `fstatfs` (ext2 and ext3 have ext4's number and its driver).
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "std has no fstatfs")]
pub(super) fn lies_on(file: &File) -> LiesOn {
    // SAFETY: `statfs` is a C struct of integers, for which all zeros is a value.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open for the length of the borrow, and `found` is a `statfs` that
    // no other code sees, which the call fills or leaves as it is.
    let outcome = unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut found) };
    if outcome != 0 {
        return LiesOn::Another;
    }
    // As a number of 32 bits: the type of the field differs between systems, and some extend the
    // sign.
    match i128::from(found.f_type) & 0xFFFF_FFFF {
        0xEF53 => LiesOn::Ext4,
        0x0102_1994 => LiesOn::Tmpfs,
        0x6969 => LiesOn::Network("NFS"),
        0x517B | 0xFE53_4D42 => LiesOn::Network("SMB"),
        0xFF53_4D42 => LiesOn::Network("CIFS"),
        0x0102_1997 => LiesOn::Network("9P"),
        0x00C3_6400 => LiesOn::Network("Ceph"),
        0x5346_414F | 0x6B41_4653 => LiesOn::Network("AFS"),
        0x0BD0_0BD0 => LiesOn::Network("Lustre"),
        0x4750_4653 => LiesOn::Network("GPFS"),
        0x7461_636F => LiesOn::Network("OCFS2"),
        0x0116_1970 => LiesOn::Network("GFS2"),
        // btrfs, ZFS, bcachefs and F2FS.
        0x9123_683E | 0x2FC1_2FC1 | 0xCA45_1A4E | 0xF2F5_2010 => LiesOn::CopyOnWrite,
        _ => LiesOn::Another,
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn lies_on(_: &File) -> LiesOn {
    LiesOn::Another
}

/// Free space for this user, in bytes; `None` where the system does not say.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "std has no fstatvfs")]
pub(super) fn bytes_free(file: &File) -> Option<u64> {
    use std::os::fd::AsRawFd as _;
    // SAFETY: `statvfs` is a C struct of integers, for which all zeros is a value.
    let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open for the length of the borrow, and `found` is a `statvfs` that
    // no other code sees, which the call fills or leaves as it is.
    if unsafe { libc::fstatvfs(file.as_raw_fd(), &raw mut found) } != 0 {
        return None;
    }
    // The types of the fields differ between systems.
    let blocks = u128::from(found.f_bavail);
    let free = blocks.checked_mul(u128::from(found.f_frsize))?;
    Some(u64::try_from(free).unwrap_or(u64::MAX))
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "std has no geteuid")]
pub(super) fn user() -> u32 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Has `child` run in every forked process before `fork` returns there. False without memory.
#[cfg(unix)]
#[expect(unsafe_code, reason = "neither std nor libc has pthread_atfork")]
pub(in crate::disk) fn on_fork(child: extern "C" fn()) -> bool {
    type Handler = Option<extern "C" fn()>;
    // SAFETY: the declaration is that of POSIX; every C library that std runs on has it.
    unsafe extern "C" {
        fn pthread_atfork(prepare: Handler, parent: Handler, child: Handler) -> libc::c_int;
    }
    // SAFETY: the handler is a function of this program, which is there for as long as the process
    // is, and does only what is allowed in a process that was forked from one with many threads.
    unsafe { pthread_atfork(None, None, Some(child)) == 0 }
}

#[cfg(not(unix))]
pub(in crate::disk) fn on_fork(_: extern "C" fn()) -> bool {
    true
}

/// The limit of open files; `None` where there is no limit, or the system does not say it.
#[cfg(unix)]
#[expect(unsafe_code, reason = "std has no getrlimit")]
pub(in crate::disk) fn descriptors_max() -> Option<usize> {
    // SAFETY: `rlimit` is a C struct of integers, for which all zeros is a value.
    let mut limit: libc::rlimit = unsafe { std::mem::zeroed() };
    // SAFETY: `limit` is an `rlimit` that no other code sees, which the call fills or leaves as it
    // is.
    let outcome = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let limited = outcome == 0 && limit.rlim_cur != libc::RLIM_INFINITY;
    limited.then(|| usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX))
}

#[cfg(not(unix))]
pub(in crate::disk) fn descriptors_max() -> Option<usize> {
    None
}

/// Takes an open-file-description lock on the whole file: false when another handle has one, or a
/// POSIX record lock, as a JVM takes. It also keeps out a second handle of this process, and ends
/// with the last copy of the descriptor at the latest.
#[cfg(target_os = "linux")]
pub(super) fn lock_description(file: &File) -> io::Result<bool> {
    match set_description_lock(file, libc::F_WRLCK) {
        Ok(()) => Ok(true),
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EACCES) => Ok(false),
            _ => Err(error),
        },
    }
}

/// Releases the lock, even if there are copies of the descriptor.
#[cfg(target_os = "linux")]
pub(super) fn unlock_description(file: &File) -> io::Result<()> {
    set_description_lock(file, libc::F_UNLCK)
}

#[cfg(target_os = "linux")]
fn set_description_lock(file: &File, kind: libc::c_int) -> io::Result<()> {
    // From the start of the file to its end, however far that is.
    set_lock(file, kind, 0, 0)
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "std has no F_OFD_SETLK")]
fn set_lock(file: &File, kind: libc::c_int, from: u64, len: u64) -> io::Result<()> {
    let wanted = range_of(kind, from, len)?;
    // SAFETY: the descriptor is open for the length of the borrow, and `wanted` is a `flock` that
    // the call only reads.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const wanted) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `flock` for writing, without waiting.
#[cfg(not(target_os = "android"))]
pub(super) fn try_lock(file: &File) -> Result<(), TryLockError> {
    file.try_lock()
}

#[cfg(not(target_os = "android"))]
pub(super) fn unlock(file: &File) -> io::Result<()> {
    file.unlock()
}

/// std has no locks on Android, whose C library has them.
#[cfg(target_os = "android")]
#[expect(unsafe_code, reason = "std has no flock here")]
pub(super) fn try_lock(file: &File) -> Result<(), TryLockError> {
    // SAFETY: the descriptor is open for the length of the borrow, and no memory is passed.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.kind() {
        io::ErrorKind::WouldBlock => Err(TryLockError::WouldBlock),
        _ => Err(TryLockError::Error(error)),
    }
}

#[cfg(target_os = "android")]
#[expect(unsafe_code, reason = "std has no flock here")]
pub(super) fn unlock(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open for the length of the borrow, and no memory is passed.
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_UN) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether another handle has a lock on these bytes. Takes no lock.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "std has no F_OFD_GETLK")]
fn is_range_locked(file: &File, from: u64, len: u64) -> io::Result<bool> {
    let mut asked = range_of(libc::F_WRLCK, from, len)?;
    // SAFETY: the descriptor is open for the length of the borrow, and `asked` is a `flock` that
    // no other code sees, which the call fills.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut asked) } {
        0 => Ok(libc::c_int::from(asked.l_type) != libc::F_UNLCK),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a C struct is made of zeros")]
fn range_of(kind: libc::c_int, from: u64, len: u64) -> io::Result<libc::flock> {
    let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
    // SAFETY: `flock` is a C struct of integers, for which all zeros is a value. Zeros also mean
    // that `from` counts from the start of the file (`SEEK_SET` 0), and `l_pid` must be 0 for this
    // kind of lock.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = libc::c_short::try_from(kind).unwrap_or_default();
    range.l_start = libc::off_t::try_from(from).map_err(too_large)?;
    range.l_len = libc::off_t::try_from(len).map_err(too_large)?;
    Ok(range)
}

/// Whether [`lock_description`] would return false. Takes no lock.
#[cfg(target_os = "linux")]
pub(super) fn is_description_locked(file: &File) -> io::Result<bool> {
    is_range_locked(file, 0, 0)
}

/// Takes a shared lock on one byte, which needs only permission to read.
#[cfg(target_os = "linux")]
pub(super) fn share_byte(file: &File, at: u64) -> io::Result<()> {
    set_lock(file, libc::F_RDLCK, at, 1)
}

#[cfg(target_os = "linux")]
pub(super) fn is_byte_locked(file: &File, at: u64) -> io::Result<bool> {
    is_range_locked(file, at, 1)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn share_byte(_: &File, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the same call as where it can fail"
)]
pub(super) fn is_byte_locked(_: &File, _: u64) -> io::Result<bool> {
    Ok(false)
}

#[cfg(not(target_os = "linux"))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the same call as where it can fail"
)]
pub(super) fn is_description_locked(_: &File) -> io::Result<bool> {
    Ok(false)
}

/// Takes a lock as a JVM's `FileChannel.tryLock` does.
#[cfg(all(test, unix))]
#[expect(unsafe_code, reason = "std has no F_SETLK")]
pub(super) fn lock_record(file: &File) -> bool {
    use std::os::fd::AsRawFd as _;
    // SAFETY: `flock` is a C struct of integers, for which all zeros is a value: from the start of
    // the file to its end.
    let mut wanted: libc::flock = unsafe { std::mem::zeroed() };
    wanted.l_type = libc::c_short::try_from(libc::F_WRLCK).unwrap_or_default();
    // SAFETY: as in `set_lock`.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const wanted) == 0 }
}

#[cfg(not(target_os = "linux"))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the same call as where it can fail"
)]
pub(super) fn lock_description(_: &File) -> io::Result<bool> {
    Ok(true)
}

#[cfg(not(target_os = "linux"))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the same call as where it can fail"
)]
pub(super) fn unlock_description(_: &File) -> io::Result<()> {
    Ok(())
}
