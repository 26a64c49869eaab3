//! Names of devices.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::escape::Escaped;

/// The longest name of a device: enough for a host name's first part, and no trouble for any file system.
pub const MAX_DEVICE_NAME_LEN: usize = 40;

/// Names that Windows keeps for itself, whatever follows a dot; the same with a digit for `com` and `lpt`.
const RESERVED: [&str; 4] = ["con", "prn", "aux", "nul"];

/// What an installation is called in a shared folder: the name of the directory that it, and nobody else, writes to.
///
/// One to [`MAX_DEVICE_NAME_LEN`] of `a` to `z`, `0` to `9` and `-`, a letter or digit first: safe on every file system, and
/// never two that only differ by case. Stable for as long as the installation lives, since a name that is not used any
/// longer leaves its files behind.
///
/// ```
/// use driftless::sync::DeviceName;
/// let device: DeviceName = "laptop-2".parse()?;
/// assert_eq!(device.as_str(), "laptop-2");
/// assert!("../laptop".parse::<DeviceName>().is_err());
/// # Ok::<(), driftless::sync::DeviceNameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DeviceName(Box<str>);

/// Why a text is no name of a device.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{}` is no name for a device: 1 to {MAX_DEVICE_NAME_LEN} of a-z, 0-9 and `-`, a letter or digit first, and none of \
     those that Windows reserves (con, nul, com1, …)",
    Escaped(.0)
)]
pub struct DeviceNameError(String);

impl DeviceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceName {
    type Err = DeviceNameError;

    fn from_str(name: &str) -> Result<Self, DeviceNameError> {
        let fits = (1..=MAX_DEVICE_NAME_LEN).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !name.starts_with('-');
        match fits && !is_reserved(name) {
            true => Ok(Self(name.into())),
            false => Err(DeviceNameError(name.chars().take(MAX_DEVICE_NAME_LEN).collect())),
        }
    }
}

fn is_reserved(name: &str) -> bool {
    let port =
        |prefix| name.strip_prefix(prefix).is_some_and(|n: &str| n.len() == 1 && n.as_bytes()[0].is_ascii_digit());
    RESERVED.contains(&name) || port("com") || port("lpt")
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_safe_as_a_directory_everywhere_is_a_name() {
        for good in ["a", "7", "laptop", "mara-s-phone", "com", "com10", &"x".repeat(MAX_DEVICE_NAME_LEN)] {
            assert!(good.parse::<DeviceName>().is_ok(), "{good}");
        }
        let long = "x".repeat(MAX_DEVICE_NAME_LEN + 1);
        for bad in ["", ".", "..", "a/b", "a\\b", "A", "é", "-rf", "a b", "a.b", "con", "nul", "com1", "lpt9", &long] {
            assert!(bad.parse::<DeviceName>().is_err(), "{bad}");
        }
    }
}
