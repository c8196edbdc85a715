//! A number in a file that threads of several processes wait for.
//!
//! Knows nothing about what it counts. This process never reads or writes the map below. It only
//! passes the address to the system, which finds the word behind it. So if the file is cut, a call
//! fails and no signal is raised. Waiting needs only read permission.

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

    /// Where the word is, for the system.
    #[derive(Debug)]
    pub(crate) struct Word {
        map: memmap2::MmapRaw,
        at: usize,
    }

    impl Word {
        /// The word that lies `at` bytes into a file, in its first page.
        pub(in crate::disk) fn of(file: &OsFile, at: u64) -> io::Result<Self> {
            let at = to_usize(at);
            let len = at.saturating_add(size_of::<u32>());
            let mut options = memmap2::MmapOptions::new();
            let map = options.len(len).map_raw_read_only(file.file())?;
            Ok(Self { map, at })
        }

        /// Wakes everybody who waits.
        pub(in crate::disk) fn wake(&self) {
            self.call(libc::FUTEX_WAKE, u32::MAX >> 1, None);
        }

        /// Waits until somebody wakes, or the time is over; not at all if the bytes of the word are
        /// not these. It may also return for no reason.
        pub(in crate::disk) fn wait(&self, bytes: [u8; 4], timeout: Duration) {
            // The system compares it as it lies in memory.
            let seen = u32::from_le_bytes(bytes).to_le();
            self.call(libc::FUTEX_WAIT, seen, Some(timeout));
        }

        /// The call `futex` between processes, with its answer left alone: it is a matter of time
        /// alone.
        #[expect(unsafe_code, reason = "std has no futex")]
        fn call(&self, what: libc::c_int, value: u32, timeout: Option<Duration>) {
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
            let word = self.map.as_ptr().wrapping_add(self.at);
            // SAFETY: the map lives as long as `self`, so the address is that of no other memory of
            // this process. The system checks it, and does no more than compare the word behind it;
            // `timeout` is null or a `timespec` that outlives the call, which only reads it.
            unsafe {
                libc::syscall(libc::SYS_futex, word, what, value, timeout, 0_usize, 0_u32);
            }
        }
    }
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
mod nowhere {
    use std::io;
    use std::time::Duration;

    use crate::disk::os::OsFile;

    /// This system has no such call.
    #[derive(Debug)]
    pub(crate) struct Word(std::convert::Infallible);

    impl Word {
        pub(in crate::disk) fn of(_: &OsFile, _: u64) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(in crate::disk) fn wake(&self) {
            match self.0 {}
        }

        pub(in crate::disk) fn wait(&self, _: [u8; 4], _: Duration) {
            match self.0 {}
        }
    }
}
