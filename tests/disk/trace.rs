//! strace: a server whose system calls it writes down or lets fail, and what it wrote: calls whole and in the order in which they
//! ended.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// All that changes files or makes them durable.
const CALLS: &str = "trace=open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,lseek,truncate,ftruncate,fallocate,mkdir,mkdirat,\
    rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,copy_file_range,sendfile,\
    fsync,fdatasync,sync_file_range,sync,syncfs";

/// What strace is told, so that [`calls`] can read what it writes: every text as the codes of its bytes, and whole.
pub(crate) const STRACE: [&str; 8] = ["-f", "-A", "-y", "-xx", "-s", "8388608", "-e", CALLS];

/// Whether one process may trace another here.
pub(crate) fn may_trace() -> bool {
    let probe = Command::new("strace").args(["-f", "-A", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    probe.is_ok_and(|probe| probe.success())
}

/// A server under strace, which is told this and writes to `trace`.
pub(crate) fn command(options: &[impl AsRef<OsStr>], trace: &Path) -> Command {
    let mut strace = Command::new("strace");
    // As a grandchild (-D), so that the server itself is the child that is killed in the end.
    strace.args(options).arg("-o").arg(trace).arg("-D").arg(env!("CARGO_BIN_EXE_idvault"));
    strace
}

/// A call that succeeded.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) name: &'a str,
    /// As strace writes them.
    pub(crate) arguments: Vec<&'a str>,
    pub(crate) result: &'a str,
    /// How long the trace was when the call began, and when it had ended.
    pub(crate) began: u64,
    pub(crate) ended: u64,
}

/// The lines of a trace, those of a call that others interrupted put together: where it begins, its text, where it ends.
pub(crate) fn lines(trace: &str) -> Vec<(u64, String, u64)> {
    let (mut open, mut whole, mut offset) = (HashMap::new(), Vec::new(), 0);
    for line in trace.split_inclusive('\n') {
        let (began, ended) = (offset, offset + u64::try_from(line.len()).unwrap());
        offset = ended;
        let Some((thread, rest)) = line.trim_end().split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some((_, tail)) = rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            let (began, head): (u64, &str) = open.remove(thread).unwrap();
            whole.push((began, [head, tail].concat(), ended));
        } else if let Some(head) = rest.strip_suffix(" <unfinished ...>") {
            open.insert(thread, (began, head));
        } else {
            whole.push((began, rest.to_owned(), ended));
        }
    }
    whole
}

/// The calls that succeeded.
pub(crate) fn calls(lines: &[(u64, String, u64)]) -> impl Iterator<Item = Call<'_>> {
    lines.iter().filter_map(|(began, line, ended)| {
        let (call, result) = line.rsplit_once(" = ")?;
        let (name, arguments) = call.trim_end().strip_suffix(')')?.split_once('(')?;
        let succeeded = result.starts_with(|first: char| first.is_ascii_digit());
        let arguments = arguments.split(", ").collect();
        succeeded.then_some(Call { name, arguments, result, began: *began, ended: *ended })
    })
}

/// The bytes that strace writes as `\x6f\x66`, between quotes or not.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    base16ct::lower::decode_vec(digits).unwrap()
}

/// How strace writes a text.
pub(crate) fn coded(text: &str) -> String {
    let bytes: Vec<_> = text.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
    bytes.concat()
}

/// A text that strace writes so.
pub(crate) fn text(text: &str) -> String {
    String::from_utf8(bytes(text)).unwrap()
}

/// A file that strace writes as `9<path>`: its number and its path, if it has a name.
pub(crate) fn file(argument: &str) -> Option<(&str, String)> {
    let (number, path) = argument.strip_suffix('>')?.split_once('<')?;
    Some((number, text(path)))
}
