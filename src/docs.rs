//! The pages of `docs/`, beside the items that they link to.
//!
//! Exists in the documentation alone: these modules are not part of the API. The examples of the
//! recipes run with the tests.

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

#[doc = include_str!("../docs/durability.md")]
pub mod durability {}

#[doc = include_str!("../docs/performance.md")]
pub mod performance {}

#[doc = include_str!("../docs/testing.md")]
pub mod testing {}

#[doc = include_str!("../docs/observability.md")]
pub mod observability {}

#[doc = include_str!("../docs/testing_with_ottla.md")]
pub mod testing_with_ottla {}
