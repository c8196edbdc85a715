//! The pages of `docs/`, so that they are read beside the names they speak of and their links are
//! checked.
//!
//! Prose only, but for the recipes, whose examples run with the tests; nothing here is code.

#[doc = include_str!("../docs/architecture.md")]
pub mod architecture {}

#[doc = include_str!("../docs/file_format.md")]
pub mod file_format {}

#[doc = include_str!("../docs/settings.md")]
pub mod settings {}

#[doc = include_str!("../docs/kafka.md")]
pub mod kafka {}

#[doc = include_str!("../docs/glossary.md")]
pub mod glossary {}

#[doc = include_str!("../docs/recipes.md")]
pub mod recipes {}
