//! Brokers for tests: in directories that are removed with them, and with clocks that tests move.
//!
//! Knows nothing about where such a directory lies (`disk/os/temporary.rs`).

use std::path::{Path, PathBuf};

use crate::clock::{Clock, TestClock};
use crate::disk::{Disk, TemporaryDir};
use crate::error::{IoContext as _, Result};

use super::core::Core;
use super::{Broker, BrokerConfig, open};

impl Broker {
    /// A broker for a test: in memory where there is room (`/dev/shm` on Linux), else in the
    /// system's temporary directory. Its directory is removed with the last handle on it, its
    /// topics or its groups; the next call removes what a killed process left. Nothing is ever
    /// synced: what a [`Durability`](crate::Durability) waits for is there at once.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io), [`Error::NoSpace`](crate::Error::NoSpace): the directory
    /// cannot be made.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ottla::{Broker, TopicConfig};
    ///
    /// let broker = Broker::temporary()?;
    /// let topic = broker.create_topic("flights", TopicConfig::default())?;
    /// topic.append("departed EWR")?;
    /// let mut consumer = broker.group("board")?.join(["flights"])?;
    /// assert_eq!(consumer.poll(Duration::from_secs(1))?.len(), 1);
    /// # Ok::<(), ottla::Error>(())
    /// ```
    pub fn temporary() -> Result<Self> {
        Self::temporary_with(BrokerConfig::default(), None)
    }

    /// [`Broker::temporary`] in its own directory inside `dir`, which is made if need be: for tests
    /// that want a real file system, or more room than memory. Removes only what such brokers left
    /// there.
    ///
    /// # Errors
    ///
    /// As [`Broker::temporary`].
    pub fn temporary_in(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let made = TemporaryDir::inside(dir).at(dir, "make a temporary directory in")?;
        Self::open_temporary(made, BrokerConfig::default(), None)
    }

    /// [`Broker::temporary`] with settings and, if given, a clock that the test moves.
    ///
    /// # Errors
    ///
    /// As [`Broker::temporary`]; [`Error::InvalidConfig`](crate::Error::InvalidConfig): a setting
    /// is out of its bounds.
    ///
    /// # Examples
    ///
    /// See [`TestClock`].
    pub fn temporary_with(config: BrokerConfig, clock: Option<TestClock>) -> Result<Self> {
        let made = TemporaryDir::new();
        let made = made.at(&std::env::temp_dir(), "make a temporary directory in")?;
        Self::open_temporary(made, config, clock)
    }

    /// [`Broker::open_with`](Broker::open_with) with a clock that a test moves, for tests that open
    /// a directory again; others have [`Broker::temporary_with`].
    ///
    /// # Errors
    ///
    /// As [`Broker::open_with`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ottla::{Broker, BrokerConfig, TestClock, TopicConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// let clock = TestClock::new();
    /// let broker = Broker::open_with_clock(dir, BrokerConfig::default(), clock.clone())?;
    /// let topic = broker.create_topic("flights", TopicConfig::default())?;
    /// clock.advance(Duration::from_secs(60));
    /// topic.append("departed EWR")?;
    /// let record = topic.partition(0)?.read(0)?.expect("it was appended");
    /// assert_eq!(record.timestamp, clock.now());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a broker takes a handle on its clock"
    )]
    pub fn open_with_clock(
        dir: impl AsRef<Path>,
        config: BrokerConfig,
        clock: TestClock,
    ) -> Result<Self> {
        Self::open_on(Disk::os(), clock.clock(), dir.as_ref(), config)
    }

    fn open_temporary(
        made: TemporaryDir,
        config: BrokerConfig,
        clock: Option<TestClock>,
    ) -> Result<Self> {
        let clock = clock.map_or(Clock::System, |clock| clock.clock());
        let dir: PathBuf = made.contents();
        let core = open::open(Disk::unsynced(), clock, &dir, config)?;
        Core::remove_at_end(&core, made);
        Ok(Self { core })
    }
}
