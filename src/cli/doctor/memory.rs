//! Where memory can end up on a disk: swap and core dumps.

use std::fs;

use super::finding::Finding;

pub(super) fn examine() -> Vec<Finding> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    vec![swap(&read("/proc/swaps")), core_dumps(&read("/proc/self/limits"))]
}

/// Judges the text of /proc/swaps: a heading, then what is on.
fn swap(swaps: &str) -> Finding {
    const WHAT: &str = "swap";
    let on: Vec<_> = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    if on.is_empty() {
        return Finding::ok(WHAT, "off");
    }
    Finding::warn(WHAT, on.join(", "), "switch it off, or encrypt it with a key that does not survive a boot")
}

/// Judges the text of /proc/self/limits, in which the size of a core file stands as `Max core file size 0 unlimited bytes`.
fn core_dumps(limits: &str) -> Finding {
    const WHAT: &str = "core dumps";
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max core file size")?.split_whitespace().next());
    if limit == Some("0") {
        return Finding::ok(WHAT, "off");
    }
    let finding = limit.map_or("unknown".to_owned(), |limit| format!("on here, up to {limit}"));
    Finding::warn(WHAT, finding, "serve with `ulimit -c 0`, or LimitCORE=0 in systemd")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Grade;

    #[test]
    fn swap_that_is_on_is_named() {
        let heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        assert_eq!(swap(heading).grade, Grade::Ok);
        let finding = swap(&format!("{heading}/dev/sda2    partition\t1\t0\t-2\n/swap    file\t1\t0\t-3\n"));
        assert!(finding.to_string().starts_with("warn  swap            /dev/sda2, /swap\n"), "{finding}");
    }

    #[test]
    fn core_dumps_are_off_only_at_zero() {
        let limits =
            |soft: &str| format!("Limit Soft Hard Units\nMax core file size        {soft}           unlimited   bytes\n");
        assert_eq!(core_dumps(&limits("0")).grade, Grade::Ok);
        for text in [limits("unlimited"), limits("1024"), String::new()] {
            assert_eq!(core_dumps(&text).grade, Grade::Warn, "{text}");
        }
    }
}
