//! The error of a setting that cannot work, and the checks that produce it.
//!
//! An operator reads it before anything is started, so it always names the key, the value and which values work.

use std::fmt::Display;

/// A setting that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {value}; it must be {expected}{}", reason.map(|why| format!(": {why}")).unwrap_or_default())]
pub struct SettingError {
    /// The whole key, such as `broker.partitions`.
    pub key: String,
    /// The value that was found.
    pub value: String,
    /// Which values work, such as `from 1 to 256`.
    pub expected: String,
    /// Why no other value works, where that is not obvious.
    pub reason: Option<&'static str>,
}

/// The checks of the settings of one section.
#[derive(Debug, Clone, Copy)]
pub struct Section(
    /// Its name in the settings file, such as `broker`.
    pub &'static str,
);

impl Section {
    /// The value must be from `min` to `max`, both included.
    ///
    /// # Errors
    /// When it is not.
    pub fn within<T: PartialOrd + Display>(
        self,
        key: &str,
        value: T,
        min: T,
        max: T,
    ) -> Result<(), SettingError> {
        if value >= min && value <= max {
            return Ok(());
        }
        Err(self.error(key, &value, &format!("from {min} to {max}"), None))
    }

    /// The value must be `min` or more.
    ///
    /// # Errors
    /// When it is less.
    pub fn at_least<T: PartialOrd + Display>(
        self,
        key: &str,
        value: T,
        min: T,
    ) -> Result<(), SettingError> {
        if value >= min {
            return Ok(());
        }
        Err(self.error(key, &value, &format!("{min} or more"), None))
    }

    /// The value must be `max` or less, because of `reason`.
    ///
    /// # Errors
    /// When it is more.
    pub fn at_most<T: PartialOrd + Display>(
        self,
        key: &str,
        value: T,
        max: T,
        reason: &'static str,
    ) -> Result<(), SettingError> {
        if value <= max {
            return Ok(());
        }
        Err(self.error(key, &value, &format!("{max} or less"), Some(reason)))
    }

    /// The error that `key` is `value`, and must be `expected`.
    #[must_use]
    pub fn error(
        self,
        key: &str,
        value: &dyn Display,
        expected: &str,
        reason: Option<&'static str>,
    ) -> SettingError {
        SettingError {
            key: format!("{}.{key}", self.0),
            value: value.to_string(),
            expected: expected.to_owned(),
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKER: Section = Section("broker");

    fn sentence(result: Result<(), SettingError>) -> String {
        result
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn bounds_are_included() {
        assert_eq!(BROKER.within("partitions", 1, 1, 256), Ok(()));
        assert_eq!(BROKER.within("partitions", 256, 1, 256), Ok(()));
        assert_eq!(BROKER.at_least("prefetch", 1, 1), Ok(()));
        assert_eq!(BROKER.at_most("prefetch", 9, 9, "why"), Ok(()));
    }

    #[test]
    fn error_names_key_value_and_what_would_work() {
        assert_eq!(
            sentence(BROKER.within("partitions", 0, 1, 256)),
            "broker.partitions is 0; it must be from 1 to 256"
        );
        assert_eq!(
            sentence(BROKER.at_least("prefetch", 0, 1)),
            "broker.prefetch is 0; it must be 1 or more"
        );
        assert_eq!(
            sentence(BROKER.at_most("prefetch", 10, 9, "RabbitMQ takes no more")),
            "broker.prefetch is 10; it must be 9 or less: RabbitMQ takes no more"
        );
    }
}
