//! The house rules that no compiler checks: who may import whom, who alone owns what, how a file is built.
//!
//! Every rule is a function from a file to its findings, and a test that wants none in the repository and then shows the rule
//! files that break it. Rules read names, never types: what an alias could hide from them, clippy's lists catch.

#[path = "tidy/source.rs"]
mod source;

use std::path::Path as FilePath;

use source::{Source, is_name, paths, read_tree};

/// Who may import whom: a module and the modules of the crate it may name.
const IMPORTS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("crypto", &["domain", "os"]),
    ("files", &[]),
    ("clock", &[]),
    ("os", &[]),
    ("audit", &["domain"]),
    ("keys", &["crypto", "domain", "files", "os"]),
    ("store", &["domain", "files"]),
    ("vault", &["audit", "clock", "crypto", "domain", "files", "keys", "store"]),
    ("proto", &[]),
    ("rpc", &["audit", "domain", "proto", "tls", "vault"]),
    ("config", &["domain"]),
    ("telemetry", &["config"]),
    ("tls", &["clock", "domain"]),
];

/// The only crates a module may name, where they are few by design.
const FEW_CRATES: &[(&str, &[&str])] = &[
    ("clock", &["chrono", "parking_lot", "rustix", "thiserror"]),
    ("domain", &["chrono", "roaring", "sha2", "thiserror", "uuid"]),
];

/// Modules that wire the others together and may name all of them.
const WIRING: &[&str] = &["app", "cli", "forensic", "lib", "main"];

/// Names that belong to one place: what only these files (by the beginning of their path) may mention.
const OWNERS: &[(&str, &[&str])] = &[
    ("Utc::now", &["src/clock/source.rs"]),
    ("Local::now", &["src/clock/source.rs"]),
    ("SystemTime::now", &["src/clock/source.rs"]),
    ("Instant::now", &["src/clock/source.rs"]),
    ("clock_gettime", &["src/clock/source.rs"]),
    ("env::var", &["src/config.rs"]),
    ("env::var_os", &["src/config.rs"]),
    ("env::vars", &["src/config.rs"]),
    ("seal::open", &["src/crypto/seal.rs", "src/keys/keyring", "src/vault/book", "src/forensic"]),
    ("seal::*", &["src/crypto/seal.rs"]),
];

/// Crates that belong to one module.
const CRATE_OWNERS: &[(&str, &[&str])] = &[
    ("aes_gcm", &["crypto"]),
    ("aws_lc_rs", &["crypto"]),
    ("cryptoki", &["keys"]),
    ("getrandom", &["crypto"]),
    ("hkdf", &["crypto"]),
    ("hmac", &["crypto"]),
    ("lsm_tree", &["store"]),
    ("p256", &["crypto"]),
    ("rcgen", &["cli"]),
    ("rustls", &["keys", "tls"]),
    ("sled", &["store"]),
    ("tokio_rustls", &["tls"]),
    ("tonic", &["app", "cli", "proto", "rpc"]),
    ("tonic_types", &["app", "cli", "proto", "rpc"]),
    ("ureq", &["keys"]),
    ("x509_cert", &["tls"]),
];

/// What the domain never does, although `std` could.
const OUTSIDE_WORLD: &[&str] = &["std::env", "std::fs", "std::io", "std::net", "std::process", "std::thread"];

/// Types that hold a secret, and what they never are: printable, copyable, comparable in variable time, transparent.
const SECRETS: &[&str] = &["Arena", "Locked", "PartKey", "Path", "Plaintext", "Root", "Secret", "Tree", "Walk"];
const NOT_FOR_SECRETS: &[&str] =
    &["Clone", "Copy", "Debug", "Default", "Deref", "DerefMut", "Deserialize", "Display", "Eq", "Hash", "PartialEq", "Serialize"];

/// Types that permit a release, and what they never are: had twice, or from elsewhere than the rules.
const PERMITS: &[&str] = &["PartPermit", "ReleasePermit"];
const NOT_FOR_PERMITS: &[&str] = &["Clone", "Copy", "Default", "Deserialize", "From"];

/// A file longer than this does two things.
const MAX_LINES: usize = 450;

/// Marks of work that is not finished.
const MARKS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

#[test]
fn modules_import_what_the_table_allows() {
    check(imports, is_source);
    bites(imports, "src/domain/ids.rs", "use crate::crypto::seal;", "domain may not import crate::crypto");
    bites(imports, "src/domain.rs", "fn f() { crate::store::put() }", "domain may not import crate::store");
    bites(imports, "src/store/ledger.rs", "use crate::{domain::ids, keys::{self, tree}};", "store may not import crate::keys");
    bites(imports, "src/rpc/records.rs", "use crate::clock::Clock;", "rpc may not import crate::clock");
    bites(imports, "src/config.rs", "use super::vault;", "name other modules from crate::");
    bites(imports, "src/keys/tree.rs", "use super::super::vault;", "name other modules from crate::");
    bites(imports, "src/domain/ids.rs", "#[derive(serde::Serialize)]\nstruct A;", "domain may not use the crate serde");
    bites(imports, "src/domain/ids.rs", "use {tokio as t};", "domain may not use the crate tokio");
    bites(imports, "src/domain/ids.rs", "use std::{fmt, fs};", "the domain touches the outside world: std::fs");
    bites(imports, "src/vault/book.rs", "const C: char = '\\''; fn f() { ::sled::open(\"'\") }", "sled belongs to store");
    bites(imports, "src/vault/book.rs", "let salt = getrandom::fill(&mut salt);", "getrandom belongs to crypto");
    bites(imports, "src/vault/book.rs", "use tonic::Code;", "tonic belongs to app, cli, proto, rpc");
    bites(imports, "src/novel.rs", "", "novel has no row");
}

#[test]
fn names_are_used_where_they_belong() {
    check(owners, is_source);
    bites(owners, "src/vault/shred.rs", "let now = chrono::Utc::now();", "Utc::now belongs to src/clock/source.rs");
    bites(owners, "src/rpc/layers.rs", "let a: &'a str = b; Instant::now()", "Instant::now belongs to src/clock/source.rs");
    bites(owners, "src/store.rs", "use rustix::time::{ClockId, clock_gettime};", "clock_gettime belongs to src/clock/source.rs");
    bites(owners, "src/app.rs", "std::env::var(NAME)", "env::var belongs to src/config.rs");
    bites(owners, "src/vault/release.rs", "seal::open(key, context, sealed)", "seal::open belongs to");
    bites(owners, "src/vault/release.rs", "use crate::crypto::seal::{Salt, open};", "seal::open belongs to");
    bites(owners, "src/vault/release.rs", "use crate::crypto::seal::*;", "seal::* belongs to");
}

#[test]
fn one_file_makes_statuses() {
    check(statuses, is_source);
    bites(statuses, "src/rpc/records.rs", "Err(Status::not_found(r#\"no \" record\"#))", "src/rpc/status.rs makes every status");
}

#[test]
fn one_file_may_be_unsafe() {
    check(unsafety, is_source);
    bites(unsafety, "src/tls.rs", "#![expect(unsafe_code, reason = \"it is faster\")]", "src/os.rs alone may say unsafe_code");
    bites(unsafety, "src/store.rs", "fn f() { unsafe { g() } }", "src/os.rs alone may say unsafe");
}

#[test]
fn secrets_and_permits_keep_to_themselves() {
    check(traits, is_source);
    bites(traits, "src/crypto/secret.rs", "#[derive(Debug)]\n#[must_use]\npub(crate) struct Secret;", "Secret may not be Debug");
    bites(traits, "src/keys/tree.rs", "impl std::ops::Deref for Tree {}", "Tree may not be Deref");
    bites(traits, "src/domain/policy.rs", "#[derive(Debug, Clone)]\npub struct ReleasePermit;", "ReleasePermit may not be Clone");
}

#[test]
fn every_secret_of_the_list_exists() {
    let sources = read_tree(root(), is_source).unwrap();
    let defined: Vec<&str> = sources.iter().flat_map(defined_types).collect();
    let missing: Vec<_> = SECRETS.iter().chain(PERMITS).filter(|name| !defined.contains(name)).collect();
    assert!(missing.is_empty(), "tests/tidy.rs guards types that do not exist: {missing:?}");
}

#[test]
fn files_open_with_their_purpose_and_end_with_their_tests() {
    check(shape, is_rust);
    bites(shape, "src/app.rs", "use std::io;\n", "a file opens with //!");
    bites(shape, "src/app.rs", &"//! A.\n".repeat(451), "longer than 450 lines");
    bites(shape, "src/app.rs", "//! A.\n#[cfg(test)]\nmod tests {\n}\nfn late() {}\n", "the tests come last");
}

#[test]
fn no_lint_is_switched_off_and_no_work_left_marked() {
    check(unfinished, is_code);
    bites(unfinished, "src/app.rs", "#![allow(dead_code)]", "allow");
    bites(unfinished, "src/app.rs", "fn f() { todo!() }", "unfinished");
    bites(unfinished, ".ci/run", concat!("# FIX", "ME: later"), "unfinished");
}

#[test]
fn tests_never_sleep() {
    check(sleeps, |path| path.starts_with("tests/") && is_rust(path) || is_source(path));
    bites(sleeps, "tests/story.rs", "use std::thread::{self, sleep};", "a test sleeps");
    bites(sleeps, "src/app.rs", "#[cfg(test)]\nmod tests {\n tokio::time::sleep(SECOND)\n}", "a test sleeps");
}

#[test]
fn links_between_documents_resolve() {
    check(links, |path| FilePath::new(path).extension().is_some_and(|extension| extension == "md"));
    bites(links, "docs/a.md", "see [b](b.md)", "docs/a.md:1: leads nowhere: b.md");
    bites(links, "README.md", "\n[a](https://a.example) ![b](/etc/passwd)", "README.md:2: leads nowhere: /etc/passwd");
}

/// Fails with every finding of `rule` in the files that `wanted` accepts.
fn check(rule: impl Fn(&Source) -> Vec<String>, wanted: impl Fn(&str) -> bool) {
    let sources = read_tree(root(), wanted).unwrap_or_default();
    assert!(!sources.is_empty(), "the files could not be read");
    let findings: Vec<String> = sources.iter().flat_map(rule).collect();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// Fails unless `rule` finds what is wrong with a file like this: a rule that cannot fail is none.
#[track_caller]
fn bites(rule: impl Fn(&Source) -> Vec<String>, path: &str, text: &str, wanted: &str) {
    let found = rule(&Source { path: path.to_owned(), text: text.to_owned() });
    assert!(found.iter().any(|finding| finding.contains(wanted)), "{path}: {text:?}: wanted {wanted:?}, found {found:?}");
}

/// Imports that the tables do not allow.
fn imports(source: &Source) -> Vec<String> {
    let module = source.module();
    if !WIRING.contains(&module) && row(IMPORTS, module).is_none() {
        return vec![format!("{}:1: the module {module} has no row in the table of imports", source.path)];
    }
    let crates = dependencies();
    let is_top = source.path.matches('/').count() == 1;
    let tokens = source.shipped_tokens();
    let faults = paths(&tokens).into_iter().filter_map(|path| {
        let fault = match path.names.as_slice() {
            ["super", next, ..] if is_top || *next == "super" => Some("name other modules from crate::".to_owned()),
            ["crate", other, ..] => module_fault(module, other),
            ["std", ..] => OUTSIDE_WORLD
                .iter()
                .find(|world| module == "domain" && path.mentions(world))
                .map(|world| format!("the domain touches the outside world: {world}")),
            [name, ..] if crates.iter().any(|known| known == name) => crate_fault(module, name),
            _ => None,
        };
        fault.map(|fault| format!("{}:{}: {fault}", source.path, path.line))
    });
    faults.collect()
}

/// What is wrong with `module` naming the module `other`.
fn module_fault(module: &str, other: &str) -> Option<String> {
    let allowed = other == module || row(IMPORTS, module).is_none_or(|modules| modules.contains(&other));
    (!allowed).then(|| format!("{module} may not import crate::{other}"))
}

/// What is wrong with `module` naming the crate `name`.
fn crate_fault(module: &str, name: &str) -> Option<String> {
    if row(FEW_CRATES, module).is_some_and(|few| !few.contains(&name)) {
        return Some(format!("{module} may not use the crate {name}"));
    }
    let owners = row(CRATE_OWNERS, name).filter(|owners| !owners.contains(&module))?;
    Some(format!("the crate {name} belongs to {}", owners.join(", ")))
}

/// The entry of a table.
fn row<'a>(table: &[(&str, &'a [&'a str])], name: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(key, _)| *key == name).map(|(_, entry)| *entry)
}

/// Mentions of a name outside the place it belongs to.
fn owners(source: &Source) -> Vec<String> {
    let tokens = source.shipped_tokens();
    let found = paths(&tokens);
    let foreign = OWNERS.iter().filter(|(_, places)| !places.iter().any(|place| source.path.starts_with(place)));
    let mentions = foreign.flat_map(|(name, places)| {
        let here = found.iter().filter(|path| path.mentions(name));
        here.map(move |path| format!("{}:{}: {name} belongs to {}", source.path, path.line, places.join(", ")))
    });
    mentions.collect()
}

/// Statuses made elsewhere than in the one map from errors to statuses.
fn statuses(source: &Source) -> Vec<String> {
    let tokens = source.shipped_tokens();
    let makes = |names: &[&str]| {
        names.windows(2).any(|pair| matches!(pair, ["Status", call] if call.starts_with(|c: char| c.is_ascii_lowercase())))
    };
    let made = paths(&tokens).into_iter().filter(|path| source.path != "src/rpc/status.rs" && makes(&path.names));
    made.map(|path| format!("{}:{}: src/rpc/status.rs makes every status", source.path, path.line)).collect()
}

/// Words that make a file unsafe, or let it be.
fn unsafety(source: &Source) -> Vec<String> {
    let tokens = source.tokens();
    let words = tokens.iter().filter(|token| source.path != "src/os.rs" && matches!(token.text, "unsafe" | "unsafe_code"));
    words.map(|token| format!("{}:{}: src/os.rs alone may say {}", source.path, token.line, token.text)).collect()
}

/// Traits, derived or written, that secrets and permits must not have.
fn traits(source: &Source) -> Vec<String> {
    let forbidden = |name: &str| match name {
        _ if SECRETS.contains(&name) => NOT_FOR_SECRETS,
        _ if PERMITS.contains(&name) => NOT_FOR_PERMITS,
        _ => &[],
    };
    let mut findings = Vec::new();
    // The words since the last item ended: attributes, then `struct Name`, or `impl Trait for Name`.
    let mut head: Vec<&str> = Vec::new();
    for token in source.tokens() {
        if !matches!(token.text, "{" | "}" | ";") {
            head.push(token.text);
            continue;
        }
        let subject = head.iter().skip_while(|word| !matches!(**word, "struct" | "enum" | "for")).nth(1);
        if let Some(name) = subject {
            let found = forbidden(name).iter().filter(|name| head.contains(name));
            findings.extend(found.map(|found| format!("{}:{}: {name} may not be {found}", source.path, token.line)));
        }
        head.clear();
    }
    findings
}

/// The names of the structs and enums of a file.
fn defined_types(source: &Source) -> Vec<&str> {
    let tokens = source.shipped_tokens();
    let pairs = tokens.iter().zip(tokens.iter().skip(1));
    pairs.filter(|(word, _)| matches!(word.text, "struct" | "enum")).map(|(_, name)| name.text).collect()
}

/// Files that do not open with their purpose, are too long, or go on after their tests.
fn shape(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let mut after_tests = source.text.lines().skip_while(|line| *line != "mod tests {").skip_while(|line| *line != "}").skip(1);
    let rules = [
        (!source.text.starts_with("//! "), 1, "a file opens with //! and what it is"),
        (lines > MAX_LINES, lines, "the file is longer than 450 lines: split it"),
        (after_tests.next().is_some(), lines, "the tests come last"),
    ];
    rules.iter().filter(|(broken, ..)| *broken).map(|(_, line, rule)| format!("{}:{line}: {rule}", source.path)).collect()
}

/// Lints that are switched off, and marks of work left for later.
fn unfinished(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for (line, text) in (1_usize..).zip(source.text.lines()) {
        if text.split(|c: char| !is_name(&c.to_string())).any(|word| MARKS.contains(&word)) {
            findings.push(format!("{}:{line}: unfinished work", source.path));
        }
    }
    let tokens = if is_rust(&source.path) { source.tokens() } else { Vec::new() };
    for (token, next) in tokens.iter().zip(tokens.iter().skip(1)) {
        match (token.text, next.text) {
            ("[", "allow") => {
                findings.push(format!("{}:{}: expect a lint with a reason, never allow it", source.path, token.line));
            }
            ("todo" | "unimplemented", "!") => findings.push(format!("{}:{}: unfinished work", source.path, token.line)),
            _ => {}
        }
    }
    findings
}

/// Sleeps in tests: in a test file, or in the tests at the end of a source file.
fn sleeps(source: &Source) -> Vec<String> {
    let tokens = source.tokens();
    let shipped = if source.path.starts_with("src/") { source.shipped_tokens().len() } else { 0 };
    let tests = tokens.get(shipped..).unwrap_or_default();
    let found = paths(tests).into_iter().filter(|path| path.mentions("thread::sleep") || path.mentions("time::sleep"));
    found.map(|path| format!("{}:{}: a test sleeps: move its clock", source.path, path.line)).collect()
}

/// Links of a document to files that are not in the repository.
fn links(source: &Source) -> Vec<String> {
    let Ok(root) = root().canonicalize() else { return vec!["the repository has no folder".to_owned()] };
    let folder = source.path.rsplit_once('/').map_or(root.clone(), |(folder, _)| root.join(folder));
    let mut findings = Vec::new();
    for (line, text) in (1_usize..).zip(source.text.lines()) {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let file = link.split('#').next().unwrap_or(link);
            let inside = folder.join(file).canonicalize().is_ok_and(|path| path.starts_with(&root));
            if !link.contains("://") && !file.is_empty() && !inside {
                findings.push(format!("{}:{line}: leads nowhere: {link}", source.path));
            }
        }
    }
    findings
}

/// The crates of `Cargo.toml`, as code names them.
fn dependencies() -> Vec<String> {
    let sections = include_str!("../Cargo.toml").split("\n[");
    let lines = sections.filter_map(|section| section.strip_prefix("dependencies]")).flat_map(str::lines);
    lines.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.replace('-', "_")).collect()
}

fn root() -> &'static FilePath {
    FilePath::new(env!("CARGO_MANIFEST_DIR"))
}

fn is_rust(path: &str) -> bool {
    FilePath::new(path).extension().is_some_and(|extension| extension == "rs")
}

fn is_source(path: &str) -> bool {
    path.starts_with("src/") && is_rust(path)
}

fn is_code(path: &str) -> bool {
    let known = ["proto", "py", "rs", "sh", "toml"];
    path == ".ci/run" || FilePath::new(path).extension().is_some_and(|extension| known.iter().any(|name| extension == *name))
}
