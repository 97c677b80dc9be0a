//! strace as it lets calls of a server fail, and what such a failure leaves.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::trace::lines;

/// A strace at a server that runs already.
pub(crate) struct Tracer(Child);

impl Tracer {
    /// Returns when it traces all threads of the process, if it may.
    pub(crate) fn attach(options: &[String], process: u32, trace: &Path) -> Option<Self> {
        let mut strace = Command::new("strace");
        strace.args(options).arg("-o").arg(trace).arg("-p").arg(process.to_string());
        let mut strace = strace.stderr(Stdio::piped()).spawn().ok()?;
        let mut said = BufReader::new(strace.stderr.take().unwrap()).lines();
        let attached = said.any(|line| line.is_ok_and(|line| line.contains(" attached")));
        std::thread::spawn(move || said.for_each(drop));
        attached.then_some(Self(strace))
    }

    /// Whether a process that runs already may be traced here.
    pub(crate) fn may_attach() -> bool {
        let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let may = Self::attach(&[], cat.id(), Path::new("/dev/null")).is_some();
        drop(cat.stdin.take());
        cat.wait().unwrap();
        may
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // It lets go of the process. Asked to do so, it would wait for threads that wait for it if the process ends meanwhile.
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

/// Whether the call has failed by now.
pub(crate) fn has_failed(log: &Path) -> bool {
    fs::read_to_string(log).unwrap().contains("(INJECTED)")
}

/// How often the call failed. Of the files of which a sync failed, the kernel drops what it could not write.
pub(crate) fn aftermath(log: &Path) -> usize {
    let (mut unsynced, mut lost, mut count) = (BTreeMap::<_, Vec<_>>::new(), Vec::new(), 0);
    for (_, line, _) in lines(&fs::read_to_string(log).unwrap()) {
        let failed = line.contains("(INJECTED)");
        count += usize::from(failed);
        let Some((call, path, rest)) = parts(&line) else { continue };
        let writes = call.starts_with("pwrite64") || call.starts_with("fsync") || call.starts_with("fdatasync");
        let is_lasting = Path::new(path).extension().is_some_and(|extension| extension == "vol" || extension == "journal");
        let was_lost = lost.iter().any(|(of, _)| *of == path);
        assert!(!(writes && is_lasting && was_lost), "used after a sync of it failed: {line}");
        match call {
            "pwrite64(" if !failed => unsynced.entry(path.to_owned()).or_default().extend(range(rest)),
            "fsync(" | "fdatasync(" => {
                let ranges = unsynced.remove(path).unwrap_or_default();
                lost.extend(failed.then(|| (path.to_owned(), ranges)));
            }
            _ => {}
        }
    }
    for (path, ranges) in lost {
        let Ok(file) = fs::File::options().write(true).open(path) else { continue };
        for (offset, length) in ranges {
            file.write_all_at(&vec![0; length], offset).unwrap();
        }
    }
    count
}

/// A call's name, the path of the file that it is of, and what comes after that.
fn parts(line: &str) -> Option<(&str, &str, &str)> {
    let (call, rest) = line.split_once('<')?;
    let (path, rest) = rest.split_once('>')?;
    Some((call.trim_end_matches(|last: char| last.is_ascii_digit()), path, rest))
}

/// Where a `pwrite64` wrote and how much: `, ""..., 4096, 8192) = 4096`.
fn range(rest: &str) -> Option<(u64, usize)> {
    let (arguments, length) = rest.rsplit_once(" = ")?;
    let (_, offset) = arguments.trim_end().strip_suffix(')')?.rsplit_once(", ")?;
    Some((offset.parse().ok()?, length.parse().ok()?))
}
