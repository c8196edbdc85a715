//! What a caller or a disk can get wrong: each case shows the error, and that nothing is lost.

mod compressed;
mod directories;
mod files;
mod records;
mod topics;
