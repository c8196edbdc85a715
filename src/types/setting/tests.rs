//! Tests of `setting.rs`.

use super::*;

/// What is printed is read again as the same choice.
fn comes_back<T>(choices: &[T], words: &[&str])
where
    T: fmt::Display + std::str::FromStr<Err = ChoiceError> + PartialEq + fmt::Debug,
{
    for (choice, words) in choices.iter().zip(words) {
        assert_eq!(choice.to_string(), *words);
        assert_eq!(&words.parse::<T>().unwrap(), choice);
    }
    let error = "shredded".parse::<T>().unwrap_err().to_string();
    assert!(
        error.starts_with("\"shredded\" is unknown: expected "),
        "{error}"
    );
}

#[test]
fn every_choice_is_printed_and_read_by_its_word_in_configuration_files() {
    let interval = Durability::Interval(Duration::from_millis(20));
    comes_back(
        &[Durability::Os, Durability::Always, interval],
        &["os", "always", "interval:20"],
    );
    comes_back(
        &[
            CleanupPolicy::Delete,
            CleanupPolicy::Compact,
            CleanupPolicy::CompactAndDelete,
        ],
        &["delete", "compact", "compact,delete"],
    );
    comes_back(
        &[TimestampType::CreateTime, TimestampType::LogAppendTime],
        &["CreateTime", "LogAppendTime"],
    );
    comes_back(
        &[WriteMode::Auto, WriteMode::Mapped, WriteMode::Pwrite],
        &["auto", "mapped", "pwrite"],
    );
    comes_back(
        &[ReadIsolation::ReadUncommitted, ReadIsolation::ReadCommitted],
        &["read_uncommitted", "read_committed"],
    );
    comes_back(
        &[
            Compression::None,
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd,
        ],
        &["none", "gzip", "snappy", "lz4", "zstd"],
    );
    assert_eq!("producer".parse(), Ok(Compression::None));
    assert_eq!(format!("{:>6}|", Durability::Os), "    os|");
}
