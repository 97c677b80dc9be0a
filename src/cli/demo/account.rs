//! What the demo tells: an account in chapters, each promise with whether it held. Colour on a terminal, plain elsewhere.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

use crate::clock::Stopwatch;

const TITLE: Style = Style::new().bold();
const HELD: Style = AnsiColor::Green.on_default().bold();
const BROKEN: Style = AnsiColor::Red.on_default().bold();
const FAINT: Style = Style::new().dimmed();

/// The account so far.
#[derive(Debug)]
pub(super) struct Account {
    chapter: Stopwatch,
    whole: Stopwatch,
    kept: usize,
    broken: usize,
}

impl Account {
    /// Begins the account.
    pub(super) fn begin() -> Self {
        Self { chapter: Stopwatch::start(), whole: Stopwatch::start(), kept: 0, broken: 0 }
    }

    /// Begins a chapter.
    pub(super) fn chapter(&mut self, title: &str) {
        self.chapter = Stopwatch::start();
        anstream::println!("\n{TITLE}{title}{TITLE:#}");
    }

    /// Tells something.
    pub(super) fn tell(&self, text: impl Display) {
        anstream::println!("  {FAINT}·{FAINT:#} {text} {FAINT}({} ms){FAINT:#}", self.chapter.elapsed().as_millis());
    }

    /// Tells of a promise, and whether it held.
    pub(super) fn promise(&mut self, text: impl Display, held: bool) {
        if held {
            self.kept = self.kept.saturating_add(1);
            anstream::println!("  {HELD}✓{HELD:#} {text}");
        } else {
            self.broken = self.broken.saturating_add(1);
            anstream::println!("  {BROKEN}✗ {text}{BROKEN:#}");
        }
    }

    /// Ends the account. Whether every promise held.
    pub(super) fn end(&self) -> bool {
        let seconds = self.whole.elapsed().as_secs_f64();
        let (kept, broken) = (self.kept, self.broken);
        let (style, verdict) = if broken == 0 { (HELD, "as promised") } else { (BROKEN, "NOT as promised") };
        anstream::println!("\n{style}{verdict}{style:#}: {kept} promises held, {broken} broken, {seconds:.1} s in all");
        broken == 0
    }
}
