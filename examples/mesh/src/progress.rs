//! What is going on, for whoever waits; drawn on standard error, and only if that is a terminal.

use std::time::Duration;

use indicatif::style::TemplateError;
use indicatif::{ProgressBar, ProgressStyle};

/// Something whose size is known.
pub(crate) fn bar(bytes: u64) -> Result<ProgressBar, TemplateError> {
    let style = ProgressStyle::with_template("importing {wide_bar} {bytes:>10} of {total_bytes}, {eta} left")?;
    Ok(ProgressBar::new(bytes).with_style(style))
}

/// Something that takes as long as it takes.
pub(crate) fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}
