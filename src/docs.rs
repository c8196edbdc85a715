//! The guides of `docs/`, as pages of this documentation.
//!
//! If a page links to another file, the attribute line before the page gives the target of that
//! link in rustdoc: of two definitions of one label, the first one counts (`tests/tidy/links.rs`).
//!
//! These modules exist only in the documentation and are not part of the API. The examples of the
//! guides run with the tests.

#[doc = "[testing.md]: crate::docs::testing"]
#[doc = include_str!("../docs/architecture.md")]
pub mod architecture {}

#[doc = include_str!("../docs/file_format.md")]
pub mod file_format {}

#[doc = include_str!("../docs/settings.md")]
pub mod settings {}

#[doc = "[durability.md]: crate::docs::durability"]
#[doc = include_str!("../docs/kafka.md")]
pub mod kafka {}

#[doc = include_str!("../docs/glossary.md")]
pub mod glossary {}

#[doc = "[testing_with_ottla.md]: crate::docs::testing_with_ottla"]
#[doc = "[observability.md]: crate::docs::observability"]
#[doc = include_str!("../docs/recipes.md")]
pub mod recipes {}

#[doc = "[performance.md]: crate::docs::performance"]
#[doc = "[recipes.md]: crate::docs::recipes"]
#[doc = "[testing.md]: crate::docs::testing"]
#[doc = include_str!("../docs/durability.md")]
pub mod durability {}

// The picture itself follows the page.
#[doc = "[versus.svg]: data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="]
#[doc = include_str!("../docs/performance.md")]
#[doc = "\n# The picture\n"]
#[doc = include_str!("../docs/versus.svg")]
pub mod performance {}

#[doc = "[performance.md]: crate::docs::performance"]
#[doc = include_str!("../docs/testing.md")]
pub mod testing {}

#[doc = "[grafana.json]: https://docs.rs/crate/ottla/latest/source/docs/grafana.json"]
#[doc = include_str!("../docs/observability.md")]
pub mod observability {}

#[doc = include_str!("../docs/testing_with_ottla.md")]
pub mod testing_with_ottla {}
