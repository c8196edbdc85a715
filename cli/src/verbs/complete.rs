//! `completions` and `man`: what shells and `man` want to know about the verbs.
//!
//! Knows nothing about the verbs: everything comes from their flags.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man as Page;

use crate::args::Cli;
use crate::failure::{Result, file_failure};
use crate::out::Out;

/// The flags of `completions`.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the script.
    pub(crate) fn run(&self, out: &mut Out) -> Result<u8> {
        clap_complete::generate(self.shell, &mut Cli::command(), "ottla", out.buffer());
        out.flush()?;
        Ok(0)
    }
}

/// The flags of `man`.
#[derive(Args, Debug)]
pub(crate) struct Man {
    /// A directory for ottla.1 and one page a verb
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Man {
    /// Prints the page, or writes all pages.
    pub(crate) fn run(&self, out: &mut Out) -> Result<u8> {
        let mut command = Cli::command();
        command.build();
        let Some(dir) = &self.out else {
            Page::new(command).render(out.buffer())?;
            out.flush()?;
            return Ok(0);
        };
        std::fs::create_dir_all(dir).map_err(|error| file_failure("make", dir, &error))?;
        clap_mangen::generate_to(command, dir)
            .map_err(|error| file_failure("write manual pages to", dir, &error))?;
        Ok(0)
    }
}
