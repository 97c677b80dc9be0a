//! Where memory can end up on a disk: swap and core dumps, and what keeps it from there.
//!
//! Of a vault that runs its own limits are looked at, of one that does not those of whoever asks.

use std::fs;

use super::finding::Finding;

const UNLIMITED: &str = "unlimited";
/// Less than this, and not even the first keys can be locked.
const LEAST: u64 = 128 << 10;

pub(super) fn examine(running: Option<u32>) -> Vec<Finding> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let of = running.map_or("self".to_owned(), |process| process.to_string());
    let (limits, status) = (read(&format!("/proc/{of}/limits")), read(&format!("/proc/{of}/status")));
    let limit = limit_in(&limits, "Max locked memory");
    let swaps = swaps();
    vec![
        swap(&swaps, limit),
        locked(limit, running.and_then(|_| locked_in(&status)), !swaps.is_empty()),
        core_dumps(running.map(|_| limits.as_str())),
    ]
}

/// What is swapped to.
pub(in crate::cli) fn swaps() -> Vec<String> {
    swaps_in(&fs::read_to_string("/proc/swaps").unwrap_or_default())
}

/// What is on in the text of /proc/swaps: a heading, then a line for each.
fn swaps_in(swaps: &str) -> Vec<String> {
    swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The soft limit in the text of `/proc/self/limits`, in which one stands as `Max core file size 0 unlimited bytes`.
fn limit_in<'a>(limits: &'a str, name: &str) -> Option<&'a str> {
    limits.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
}

/// How many KiB are locked, in the text of `/proc/self/status`.
fn locked_in(status: &str) -> Option<&str> {
    status.lines().find_map(|line| line.strip_prefix("VmLck:")?.split_whitespace().next())
}

fn swap(on: &[String], limit: Option<&str>) -> Finding {
    const WHAT: &str = "swap";
    if on.is_empty() {
        return Finding::ok(WHAT, "off");
    }
    if limit == Some(UNLIMITED) {
        return Finding::ok(WHAT, format!("{}; the vault locks its memory", on.join(", ")));
    }
    Finding::warn(WHAT, on.join(", "), "switch it off, or encrypt it with a key that does not survive a boot")
}

/// Judges the limit of locked memory, and what a vault that runs has locked.
fn locked(limit: Option<&str>, kib: Option<&str>, swapped: bool) -> Finding {
    const WHAT: &str = "locked memory";
    const RAISE: &str = "LimitMEMLOCK=infinity in systemd, or switch swap off";
    let now = kib.map_or(String::new(), |kib| format!("; {kib} KiB are now"));
    let Some(limit) = limit else { return Finding::warn(WHAT, format!("the limit is not known{now}"), RAISE) };
    if limit == UNLIMITED {
        return Finding::ok(WHAT, format!("all of the vault's{now}"));
    }
    let bytes: u64 = limit.parse().unwrap_or(0);
    let found = if bytes < LEAST {
        format!("none: RLIMIT_MEMLOCK is {bytes} bytes{now}")
    } else {
        format!("keys, up to {} KiB; what is copied of them for a moment is not{now}", bytes >> 10)
    };
    if swapped || bytes < LEAST { Finding::warn(WHAT, found, RAISE) } else { Finding::ok(WHAT, found) }
}

/// Judges the limits of a vault that runs; one that does not will see to it.
fn core_dumps(limits: Option<&str>) -> Finding {
    const WHAT: &str = "core dumps";
    let Some(limits) = limits else { return Finding::ok(WHAT, "the vault switches them off when it starts") };
    match limit_in(limits, "Max core file size") {
        Some("0") => Finding::ok(WHAT, "off"),
        limit => {
            let found = limit.map_or("unknown".to_owned(), |limit| format!("on, up to {limit}"));
            Finding::warn(WHAT, found, "restart the vault with `ulimit -c 0`, or LimitCORE=0 in systemd")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Grade;

    #[test]
    fn swap_that_is_on_is_named() {
        let heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        assert_eq!(swap(&swaps_in(heading), None).grade, Grade::Ok);
        let on = swaps_in(&format!("{heading}/dev/sda2    partition\t1\t0\t-2\n/swap    file\t1\t0\t-3\n"));
        let finding = swap(&on, Some("8388608"));
        assert!(finding.to_string().starts_with("warn  swap            /dev/sda2, /swap\n"), "{finding}");
        assert_eq!(swap(&on, Some("unlimited")).grade, Grade::Ok);
    }

    #[test]
    fn core_dumps_are_off_only_at_zero() {
        let limits =
            |soft: &str| format!("Limit Soft Hard Units\nMax core file size        {soft}           unlimited   bytes\n");
        assert_eq!(core_dumps(Some(&limits("0"))).grade, Grade::Ok);
        for text in [limits("unlimited"), limits("1024"), String::new()] {
            assert_eq!(core_dumps(Some(&text)).grade, Grade::Warn, "{text}");
        }
        assert_eq!(core_dumps(None).grade, Grade::Ok);
    }

    #[test]
    fn what_is_locked_is_told() {
        let limits = "Max locked memory         8388608              unlimited            bytes     \n";
        assert_eq!(limit_in(limits, "Max locked memory"), Some("8388608"));
        assert_eq!(locked_in("VmPeak:\t 9 kB\nVmLck:\t     384 kB\n"), Some("384"));
        for (limit, swapped, grade) in [
            (Some("unlimited"), true, Grade::Ok),
            (Some("8388608"), false, Grade::Ok),
            (Some("8388608"), true, Grade::Warn),
            (Some("65536"), false, Grade::Warn),
            (None, false, Grade::Warn),
        ] {
            assert_eq!(locked(limit, None, swapped).grade, grade, "{limit:?}");
        }
        let told = locked(Some("8388608"), Some("384"), false).to_string();
        assert!(told.contains("up to 8192 KiB") && told.ends_with("384 KiB are now"), "{told}");
    }
}
