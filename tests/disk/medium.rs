//! A directory as system calls made it, and what of it a power failure leaves.
//!
//! Strict: a file's bytes and length are durable by a sync of that file, a name by a sync of its folder, nothing by
//! anything else (`sync_file_range` writes pages and is no barrier). What is not durable may be there or not, each write and
//! each name for itself, a write also in part.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use crate::random::Random;
use crate::trace::{Call, bytes, coded, file, text};

/// A directory and its history.
pub(crate) struct Medium {
    root: PathBuf,
    /// Its files and folders, those without a name too. The first is the directory itself.
    nodes: Vec<Node>,
    /// Where `write` goes on, by file number.
    positions: HashMap<String, u64>,
    /// When each change and each sync had ended, in their order.
    ends: Vec<u64>,
    /// Which of those are syncs, of whatever kind.
    syncs: Vec<usize>,
}

enum Node {
    File(Vec<Step<Change>>),
    Folder(Vec<Step<Entry>>),
}

/// A change of a file or a folder.
struct Step<T> {
    /// Its number among all changes and syncs.
    number: usize,
    /// The sync that made it durable.
    durable: Option<usize>,
    what: T,
}

enum Change {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

#[derive(Clone)]
struct Entry {
    name: String,
    /// What has this name from now on.
    node: Option<usize>,
    /// The name that it had before.
    before: Option<String>,
}

/// How much of what is not durable a power failure leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Left {
    Nothing,
    Everything,
    /// Whatever this seed says.
    Some(u64),
}

impl Medium {
    /// The directory `root`, as yet empty.
    pub(crate) fn new(root: &Path) -> Self {
        let nodes = vec![Node::Folder(Vec::new())];
        Self { root: root.to_owned(), nodes, positions: HashMap::new(), ends: Vec::new(), syncs: Vec::new() }
    }

    /// The syncs by their numbers, each a boundary to cut the history at, and the end of all.
    pub(crate) fn boundaries(&self) -> impl Iterator<Item = usize> {
        self.syncs.iter().copied().chain([self.ends.len()])
    }

    /// How long the trace was right before the change or sync of this number had ended.
    pub(crate) fn moment(&self, number: usize) -> u64 {
        self.ends.get(number).map_or(u64::MAX, |end| end - 1)
    }

    /// Takes over what a call did.
    pub(crate) fn apply(&mut self, call: &Call<'_>) {
        let arguments = &call.arguments;
        let number = |index: usize| arguments[index].parse::<usize>().unwrap();
        match call.name {
            "openat" => self.open(call),
            "write" | "pwrite64" => {
                let Some((descriptor, node)) = self.opened(arguments[0]) else { return };
                let length: usize = call.result.parse().unwrap();
                let offset = if call.name == "write" { self.advance(descriptor, length) } else { number(3) };
                let mut written = bytes(arguments[1]);
                assert!(written.len() >= length, "the trace has not all of a write");
                written.truncate(length);
                self.change(node, Change::Bytes(offset, written), call);
            }
            "lseek" => {
                if let Some((descriptor, _)) = self.opened(arguments[0]) {
                    self.positions.insert(descriptor.to_owned(), call.result.parse().unwrap());
                }
            }
            "ftruncate" => {
                if let Some((_, node)) = self.opened(arguments[0]) {
                    self.change(node, Change::Length(number(1)), call);
                }
            }
            "mkdir" | "mkdirat" => {
                let Some(path) = self.inside(&path(call, 0)).filter(|path| path != Path::new("")) else { return };
                let node = self.make(Node::Folder(Vec::new()));
                self.rename(&path, Some(node), None, call);
            }
            "rename" | "renameat" | "renameat2" => {
                let second = if call.name == "rename" { 1 } else { 2 };
                let Some(to) = self.inside(&path(call, second)) else { return };
                let from = self.inside(&path(call, 0)).unwrap();
                assert_eq!(from.parent(), to.parent(), "a move between folders is not foreseen");
                let node = self.find(&from);
                self.rename(&to, node, Some(name_of(&from)), call);
            }
            "unlink" | "unlinkat" | "rmdir" => {
                if let Some(path) = self.inside(&path(call, 0)) {
                    self.rename(&path, None, None, call);
                }
            }
            "fsync" | "fdatasync" | "sync_file_range" => {
                let Some((_, node)) = self.opened(arguments[0]) else { return };
                let sync = self.ends.len();
                self.ends.push(call.ended);
                self.syncs.push(sync);
                if call.name != "sync_file_range" {
                    self.sync(node, sync, call.began);
                }
            }
            strange => {
                let root = coded(self.root.to_str().unwrap());
                assert!(!arguments.iter().any(|argument| argument.contains(&root)), "{strange} is not foreseen");
            }
        }
    }

    /// Writes what a power failure right before the change or sync of this number leaves to the new folder `to`.
    pub(crate) fn leave(&self, number: usize, left: Left, to: &Path) {
        let mut random = Random(if let Left::Some(seed) = left { seed } else { 0 });
        self.leave_folder((0, number), left, &mut random, to);
    }

    fn leave_folder(&self, (node, number): (usize, usize), left: Left, random: &mut Random, to: &Path) {
        let Node::Folder(entries) = &self.nodes[node] else { panic!("{} is no folder", to.display()) };
        let mut names = BTreeMap::new();
        for Entry { name, node, before } in kept(entries, number, left, random) {
            if let Some(before) = before {
                names.remove(before);
            }
            match node {
                Some(node) => drop(names.insert(name, *node)),
                None => drop(names.remove(name)),
            }
        }
        fs::create_dir(to).unwrap();
        for (name, node) in names {
            match &self.nodes[node] {
                Node::Folder(_) => self.leave_folder((node, number), left, random, &to.join(name)),
                Node::File(changes) => fs::write(to.join(name), content(changes, number, left, random)).unwrap(),
            }
        }
    }

    fn open(&mut self, call: &Call<'_>) {
        let path = path(call, 0);
        let Some(path) = self.inside(&path) else { return };
        let flags = call.arguments[2];
        assert!(!flags.contains("O_APPEND"), "appending is not foreseen");
        let node = self.find(&path).unwrap_or_else(|| {
            assert!(flags.contains("O_CREAT"), "{} is not known", path.display());
            let node = self.make(Node::File(Vec::new()));
            self.rename(&path, Some(node), None, call);
            node
        });
        if flags.contains("O_TRUNC") {
            self.change(node, Change::Length(0), call);
        }
        self.positions.insert(call.result.split_once('<').unwrap().0.to_owned(), 0);
    }

    fn make(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn change(&mut self, node: usize, what: Change, call: &Call<'_>) {
        let number = self.ends.len();
        self.ends.push(call.ended);
        let Node::File(changes) = &mut self.nodes[node] else { panic!("a folder is written to") };
        changes.push(Step { number, durable: None, what });
    }

    fn rename(&mut self, path: &Path, node: Option<usize>, before: Option<String>, call: &Call<'_>) {
        let number = self.ends.len();
        let folder = self.find(path.parent().unwrap()).unwrap();
        self.ends.push(call.ended);
        let Node::Folder(entries) = &mut self.nodes[folder] else { panic!("a file is not a folder") };
        entries.push(Step { number, durable: None, what: Entry { name: name_of(path), node, before } });
    }

    /// A sync that began then reaches what had ended by then.
    fn sync(&mut self, node: usize, sync: usize, began: u64) {
        let reached = self.ends.partition_point(|end| *end <= began);
        match &mut self.nodes[node] {
            Node::File(changes) => settle(changes, sync, reached),
            Node::Folder(entries) => settle(entries, sync, reached),
        }
    }

    /// The number and the node of an open file that is in the directory and has a name.
    fn opened<'a>(&self, argument: &'a str) -> Option<(&'a str, usize)> {
        let (number, path) = file(argument)?;
        let path = self.inside(Path::new(&path))?;
        Some((number, self.find(&path).unwrap_or_else(|| panic!("{} is not known", path.display()))))
    }

    fn advance(&mut self, descriptor: &str, length: usize) -> usize {
        let position = self.positions.get_mut(descriptor).unwrap();
        let offset = usize::try_from(*position).unwrap();
        *position += u64::try_from(length).unwrap();
        offset
    }

    /// What has this path now.
    fn find(&self, path: &Path) -> Option<usize> {
        path.components().try_fold(0, |node, name| {
            let Node::Folder(entries) = &self.nodes[node] else { return None };
            let name = name.as_os_str();
            let last = entries.iter().rev().find(|entry| {
                let Entry { name: new, before, .. } = &entry.what;
                name == new.as_str() || before.as_ref().is_some_and(|before| name == before.as_str())
            });
            last.filter(|entry| name == entry.what.name.as_str())?.what.node
        })
    }

    /// The path within the directory.
    fn inside(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.root).ok().map(Path::to_owned)
    }
}

/// The path that a call names by an argument, or by a folder before it.
fn path(call: &Call<'_>, first: usize) -> PathBuf {
    if call.name.contains("at") && call.name != "creat" {
        let folder = file(call.arguments[first]).unwrap().1;
        return Path::new(&folder).join(text(call.arguments[first + 1]));
    }
    text(call.arguments[first]).into()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn settle<T>(steps: &mut [Step<T>], sync: usize, reached: usize) {
    for step in steps.iter_mut().filter(|step| step.number < reached) {
        step.durable.get_or_insert(sync);
    }
}

/// What a power failure before this number leaves of these, in their order.
fn kept<'a, T>(steps: &'a [Step<T>], number: usize, left: Left, random: &mut Random) -> Vec<&'a T> {
    let done = steps.iter().filter(|step| step.number < number);
    let kept = done.filter(|step| {
        let durable = step.durable.is_some_and(|sync| sync < number);
        durable || matches!(left, Left::Everything) || matches!(left, Left::Some(_)) && random.below(2) == 0
    });
    kept.map(|step| &step.what).collect()
}

/// What a power failure before this number leaves of a file: each write as a whole, or half of it up to a sector or a page.
fn content(changes: &[Step<Change>], number: usize, left: Left, random: &mut Random) -> Vec<u8> {
    let mut file: Vec<u8> = Vec::new();
    for step in changes.iter().filter(|step| step.number < number) {
        let durable = step.durable.is_some_and(|sync| sync < number) || matches!(left, Left::Everything);
        if !durable && (matches!(left, Left::Nothing) || random.below(3) == 0) {
            continue;
        }
        match &step.what {
            Change::Length(length) => file.resize(*length, 0),
            Change::Bytes(offset, bytes) => {
                let end = offset + bytes.len();
                let (mut from, mut to) = (*offset, end);
                if !durable && random.below(2) == 0 {
                    let unit = [512, 4096][random.index(2)];
                    let torn = (offset + random.index(bytes.len().max(1))).next_multiple_of(unit).min(end);
                    if random.below(2) == 0 { from = torn } else { to = torn }
                }
                file.resize(file.len().max(to), 0);
                file[from..to].copy_from_slice(&bytes[from - offset..to - offset]);
            }
        }
    }
    file
}
