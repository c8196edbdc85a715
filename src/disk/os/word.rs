//! A number in a file that threads of several processes wait for.
//!
//! Knows nothing about what it counts. This process never reads or writes the map below, but passes
//! its address to the system, which compares and, for the writer, changes the word. So if the file
//! is cut, a call fails and no signal is raised. Waiting needs only permission to read.

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(crate) use linux::Word;
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
pub(crate) use nowhere::Word;

// The call takes other times where a long has 32 bits.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod linux {
    use std::io;
    use std::time::Duration;

    use crate::disk::os::OsFile;
    use crate::types::to_usize;

    #[derive(Debug)]
    pub(crate) struct Word {
        map: memmap2::MmapRaw,
        at: usize,
    }

    /// `FUTEX_OP_ADD` of 1, with a comparison that wakes no other waiter.
    const ADD_ONE: u32 = 1 << 28 | 1 << 12;

    impl Word {
        /// The word must lie in the file's first page.
        pub(in crate::disk) fn of(file: &OsFile, at: u64) -> io::Result<Self> {
            let at = to_usize(at);
            let len = at.saturating_add(size_of::<u32>());
            let mut options = memmap2::MmapOptions::new();
            let map = options.len(len).map_raw_read_only(file.file())?;
            Ok(Self { map, at })
        }

        /// For the process that publishes, which can change the word.
        pub(in crate::disk) fn of_writer(file: &OsFile, at: u64) -> io::Result<Self> {
            let at = to_usize(at);
            let len = at.saturating_add(size_of::<u32>());
            let map = memmap2::MmapOptions::new().len(len).map_raw(file.file())?;
            Ok(Self { map, at })
        }

        /// Adds one and wakes every waiter in one call: a write to the file would take longer than
        /// the wake. Fails for a follower's word, and if the file was cut.
        pub(in crate::disk) fn add_and_wake(&self) -> io::Result<()> {
            let word = self.word();
            // SAFETY: as in `call`. The word is in a map that can be written to, and no reference
            // to it exists; where it cannot be written to any more, the call fails.
            #[expect(unsafe_code, reason = "std has no futex")]
            let woken = unsafe {
                let (all, none) = (u32::MAX >> 1, 0_usize);
                libc::syscall(
                    libc::SYS_futex,
                    word,
                    libc::FUTEX_WAKE_OP,
                    all,
                    none,
                    word,
                    ADD_ONE,
                )
            };
            if woken < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        }

        fn word(&self) -> *const u8 {
            self.map.as_ptr().wrapping_add(self.at)
        }

        pub(in crate::disk) fn wake(&self) {
            // If this fails, they still look from time to time.
            self.call(libc::FUTEX_WAKE, u32::MAX >> 1, None).ok();
        }

        /// Waits for a wake, until the time is over; not at all if the bytes of the word are not
        /// these. It may also return for no reason. Fails where the system forbids the call, or the
        /// file was cut.
        pub(in crate::disk) fn wait(&self, bytes: [u8; 4], timeout: Duration) -> io::Result<()> {
            // The system compares it as it lies in memory.
            let seen = u32::from_le_bytes(bytes).to_le();
            let waited = self.call(libc::FUTEX_WAIT, seen, Some(timeout));
            let is_over = |error: &io::Error| {
                let number = error.raw_os_error();
                [libc::EAGAIN, libc::EINTR, libc::ETIMEDOUT].contains(&number.unwrap_or(0))
            };
            match waited {
                Err(error) if !is_over(&error) => Err(error),
                _ => Ok(()),
            }
        }

        #[expect(unsafe_code, reason = "std has no futex")]
        fn call(&self, what: libc::c_int, value: u32, timeout: Option<Duration>) -> io::Result<()> {
            let timeout = timeout.map(|timeout| {
                // SAFETY: `timespec` is a C struct of integers, for which all zeros is a value.
                let mut spec: libc::timespec = unsafe { std::mem::zeroed() };
                spec.tv_sec = timeout.as_secs().try_into().unwrap_or(1);
                spec.tv_nsec = timeout.subsec_nanos().into();
                spec
            });
            let timeout = timeout
                .as_ref()
                .map_or(std::ptr::null(), std::ptr::from_ref);
            let word = self.word();
            // SAFETY: the map lives as long as `self`, so the address is that of no other memory of
            // this process. The system checks it, and does no more than compare the word behind it;
            // `timeout` is null or a `timespec` that outlives the call, which only reads it.
            let answer = unsafe {
                libc::syscall(libc::SYS_futex, word, what, value, timeout, 0_usize, 0_u32)
            };
            if answer < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        }
    }
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
mod nowhere {
    use std::io;
    use std::time::Duration;

    use crate::disk::os::OsFile;

    #[derive(Debug)]
    pub(crate) struct Word(std::convert::Infallible);

    impl Word {
        pub(in crate::disk) fn of(_: &OsFile, _: u64) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(in crate::disk) fn of_writer(_: &OsFile, _: u64) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(in crate::disk) fn add_and_wake(&self) -> io::Result<()> {
            match self.0 {}
        }

        pub(in crate::disk) fn wake(&self) {
            match self.0 {}
        }

        pub(in crate::disk) fn wait(&self, _: [u8; 4], _: Duration) -> io::Result<()> {
            match self.0 {}
        }
    }
}
