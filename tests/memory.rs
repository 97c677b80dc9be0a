//! What keeps memory off a disk: the real binary locks its keys, leaves no core, and says so.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use idvault::os;
use rustix::process::{DumpableBehavior, dumpable_behavior};

const CONFIG: &str =
    "[vault]\nid = \"hk-1\"\n[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"data\"\n[trust]\ndomain = \"example.test\"\n";

/// A vault in a process of its own, which ends with it.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What stands behind `name` in a text of /proc.
fn words<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect(name);
    line.split_whitespace().collect()
}

/// Serves under a limit of locked memory, which ulimit(1) sets, and gives what `look` makes of the process and its log.
fn serving<T>(limit: &str, look: impl FnOnce(u32, &str) -> T) -> T {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("idvault.toml"), CONFIG).unwrap();
    let script = format!("ulimit -c unlimited; ulimit -l {limit} && exec \"$0\" serve --config idvault.toml --insecure-loopback");
    let mut command = Command::new("bash");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_idvault")]).current_dir(home.path()).stderr(Stdio::piped());
    let mut child = Served(command.spawn().unwrap());
    let mut log = String::new();
    let mut said = BufReader::new(child.0.stderr.take().unwrap());
    while !log.contains("serving") {
        assert!(said.read_line(&mut log).unwrap() > 0, "it ended: {log}");
    }
    look(child.0.id(), &log)
}

#[test]
fn keys_are_locked_and_no_core_is_left() {
    serving("1024", |process, log| {
        let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
        assert_eq!(words(&limits, "Max core file size")[..2], ["0", "0"], "{log}");
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let locked: u64 = words(&status, "VmLck:")[0].parse().unwrap();
        let resident: u64 = words(&status, "VmRSS:")[0].parse().unwrap();
        assert!((256..resident).contains(&locked), "{locked} KiB of {resident} are locked: {log}");
        assert!(log.contains("bytes for keys are locked as far as RLIMIT_MEMLOCK allows"), "{log}");
    });
    // In this process, last: nothing that it starts from here on can raise its limit again.
    os::leave_no_core().unwrap();
    assert!(matches!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable), "others of its user could read it");
}

#[test]
fn without_a_limit_all_is_locked() {
    // Where there is a limit that this user cannot lift there is nothing to see.
    if !Command::new("bash").args(["-c", "ulimit -l unlimited"]).stderr(Stdio::null()).status().unwrap().success() {
        return;
    }
    serving("unlimited", |process, log| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let [locked, size] = ["VmLck:", "VmSize:"].map(|name| words(&status, name)[0].parse::<u64>().unwrap());
        assert!(locked > size / 2, "{locked} KiB of {size}: {log}");
        assert!(log.contains("all memory is locked"), "{log}");
    });
}
