//! How configs and reports are written and read by serde: the feature `serde`.
//!
//! Knows nothing about which settings and reports there are. No file of a log, a broker or a group
//! goes through serde.
//!
//! 1. A report is always written: a path that is not UTF-8 has replacement characters, where serde
//!    itself returns an error.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serializer;

use super::Settings;

pub(crate) fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

pub(crate) fn paths<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}

pub(crate) fn pairs_of_paths<S: Serializer>(
    pairs: &[(PathBuf, PathBuf)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let pairs = pairs.iter();
    serializer.collect_seq(pairs.map(|(from, to)| (from.to_string_lossy(), to.to_string_lossy())))
}

pub(crate) fn text<T: fmt::Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[expect(
    clippy::ref_option,
    reason = "serde calls it with a reference to the field"
)]
pub(crate) fn text_if_any<T: fmt::Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// Writes numbers and flags as such, the rest as text.
pub(crate) fn settings<T: Settings, S: serde::Serializer>(
    config: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap as _;

    let entries = config.entries();
    let mut map = serializer.serialize_map(Some(entries.len()))?;
    for (name, text) in &entries {
        if let Ok(number) = text.parse::<i64>() {
            map.serialize_entry(name, &number)?;
        } else if let Ok(number) = text.parse::<f64>() {
            map.serialize_entry(name, &number)?;
        } else if let Ok(flag) = text.parse::<bool>() {
            map.serialize_entry(name, &flag)?;
        } else {
            map.serialize_entry(name, text)?;
        }
    }
    map.end()
}

/// Reads a config. Missing settings keep their defaults; unknown or repeated ones are errors.
pub(crate) fn read_settings<'de, T: Settings, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    struct MapOf<T>(std::marker::PhantomData<T>);

    impl<'de, T: Settings> serde::de::Visitor<'de> for MapOf<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a table of the settings of a {}", T::WHAT)
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
            use serde::de::Error as _;

            let mut config = T::default();
            let mut given = Vec::new();
            while let Some(name) = map.next_key::<String>()? {
                if let Some(setting) = T::name_of(&name) {
                    if let Some((_, before)) = given.iter().find(|(known, _)| *known == setting) {
                        return Err(A::Error::custom(format!(
                            "the setting {setting} is given twice: as {before} and as {name}"
                        )));
                    }
                    given.push((setting, name.clone()));
                }
                let Text(text) = map.next_value()?;
                if !config.set(&name, &text).map_err(A::Error::custom)? {
                    let known = config.entries();
                    let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
                    return Err(A::Error::custom(format!(
                        "a {} has no setting {name}; there are {}",
                        T::WHAT,
                        names.join(", ")
                    )));
                }
            }
            config.check().map_err(A::Error::custom)?;
            Ok(config)
        }
    }

    deserializer.deserialize_map(MapOf(std::marker::PhantomData))
}

/// Deserializes any scalar, as text.
struct Text(String);

impl<'de> serde::Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;

        impl serde::de::Visitor<'_> for Scalar {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a text or a flag")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Text, E> {
                Ok(Text(value.to_owned()))
            }
        }

        deserializer.deserialize_any(Scalar)
    }
}
