//! How far a transfer has come, on standard error: hidden where nobody watches.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of this length; `counts` is what stands beside it, in the words of [`ProgressStyle`].
pub(super) fn bar(length: u64, counts: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(&format!("{{bar:40}} {counts}, {{eta}} left"));
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A count of something whose end is not known.
pub(super) fn counter() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {pos} parts, {per_sec}");
    ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}
