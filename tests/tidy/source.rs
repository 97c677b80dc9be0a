//! Source files as the tidy rules see them: their words without comments and literals, and the paths those words spell.
//!
//! A lexer of one page is enough, because the rules ask only which names a file mentions and where. It never resolves a
//! name: an alias (`use a::b as c`) is seen where it is made, not where it is used.

use std::fs;
use std::io;
use std::path::Path as FilePath;

/// One file of the repository.
pub(crate) struct Source {
    /// Its path from the root of the repository, with `/`.
    pub(crate) path: String,
    /// All of it.
    pub(crate) text: String,
}

/// A word or a sign of the code, and its line.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Token<'a> {
    pub(crate) line: usize,
    pub(crate) text: &'a str,
}

/// A path such as `crate::domain::ids`; a `use` with braces spells several.
pub(crate) struct Path<'a> {
    pub(crate) line: usize,
    pub(crate) names: Vec<&'a str>,
}

impl Source {
    /// The module directly under the crate that the file belongs to: `keys` for `src/keys.rs` and `src/keys/tree.rs`.
    pub(crate) fn module(&self) -> &str {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inner.split(['/', '.']).next().unwrap_or(inner)
    }

    /// The words and signs of the code, tests included.
    pub(crate) fn tokens(&self) -> Vec<Token<'_>> {
        let mut tokens = Vec::new();
        let mut rest = self.text.as_str();
        let mut line: usize = 1;
        while let Some((text, tail)) = rest.split_at_checked(lexeme_len(rest)).filter(|(text, _)| !text.is_empty()) {
            if !is_blank(text) {
                tokens.push(Token { line, text });
            }
            line = line.saturating_add(text.matches('\n').count());
            rest = tail;
        }
        tokens
    }

    /// The words and signs before the module `tests`, which every file has last.
    pub(crate) fn shipped_tokens(&self) -> Vec<Token<'_>> {
        let tests = ["mod", "tests", "{"];
        let mut tokens = self.tokens();
        let end = tokens.windows(tests.len()).position(|window| window.iter().map(|token| token.text).eq(tests));
        tokens.truncate(end.unwrap_or(tokens.len()));
        tokens
    }
}

impl Path<'_> {
    /// Whether `names`, written with `::`, appear in the path one after the other.
    pub(crate) fn mentions(&self, names: &str) -> bool {
        let wanted: Vec<&str> = names.split("::").collect();
        self.names.windows(wanted.len()).any(|window| window == wanted)
    }
}

/// Every file under `root` that `wanted` accepts by its path from the root; what git or a build made is passed over.
pub(crate) fn read_tree(root: &FilePath, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let inner = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            if path.is_dir() {
                if ![".git", "target", "tests/blackbox/.venv"].contains(&inner.as_str()) {
                    folders.push(path);
                }
            } else if wanted(&inner) {
                sources.push(Source { text: fs::read_to_string(&path)?, path: inner });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

/// The paths that `tokens` spell, those of `use` trees written out.
pub(crate) fn paths<'a>(mut tokens: &[Token<'a>]) -> Vec<Path<'a>> {
    let mut found = Vec::new();
    let mut before = "";
    while let [first, rest @ ..] = tokens {
        tokens = match (first.text, rest) {
            ("::", rest) if before == ">" => read_path(rest, vec![">"], &mut found),
            ("use", [Token { text: "::", .. }, rest @ ..]) | ("use" | "::", rest) => read_path(rest, Vec::new(), &mut found),
            (name, [Token { text: "::", .. }, ..]) if is_name(name) => read_path(tokens, Vec::new(), &mut found),
            (_, rest) => rest,
        };
        before = first.text;
    }
    found
}

/// Reads one path, or the tree of paths a `use` spells, that continues `prefix`; gives the tokens after it.
fn read_path<'t, 'a>(mut tokens: &'t [Token<'a>], mut prefix: Vec<&'a str>, found: &mut Vec<Path<'a>>) -> &'t [Token<'a>] {
    loop {
        match tokens {
            [Token { text: "{", .. }, rest @ ..] => return read_group(rest, &prefix, found),
            [name, Token { text: "::", .. }, rest @ ..] if is_name(name.text) => {
                prefix.push(name.text);
                if let [Token { text: "<", line }, ..] = rest {
                    found.push(Path { line: *line, names: prefix });
                    return rest;
                }
                tokens = rest;
            }
            [name, rest @ ..] if is_name(name.text) || name.text == "*" => {
                prefix.push(name.text);
                found.push(Path { line: name.line, names: prefix });
                return rest;
            }
            rest => return rest,
        }
    }
}

/// Reads the paths between the braces of a `use`; gives the tokens after them.
fn read_group<'t, 'a>(mut tokens: &'t [Token<'a>], prefix: &[&'a str], found: &mut Vec<Path<'a>>) -> &'t [Token<'a>] {
    loop {
        tokens = match tokens {
            [] => return tokens,
            [Token { text: "}", .. }, rest @ ..] => return rest,
            [Token { text: "as", .. }, _, rest @ ..] => rest,
            [first, ..] if is_name(first.text) || matches!(first.text, "*" | "{") => read_path(tokens, prefix.to_vec(), found),
            [_, rest @ ..] => rest,
        };
    }
}

/// Whether a token is a name, a keyword or a number.
pub(crate) fn is_name(token: &str) -> bool {
    token.starts_with(is_name_char)
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a lexeme says nothing to the rules: white space, a comment, a text, a character, a lifetime.
fn is_blank(lexeme: &str) -> bool {
    lexeme.trim().is_empty() || lexeme.starts_with("//") || lexeme.starts_with("/*") || lexeme.contains(['"', '\''])
}

/// The length in bytes of the lexeme that `rest` begins with; 0 at the end.
fn lexeme_len(rest: &str) -> usize {
    let up_to = |end: Option<usize>| end.unwrap_or(rest.len());
    let Some(first) = rest.chars().next() else { return 0 };
    if rest.starts_with("//") {
        up_to(rest.find('\n'))
    } else if rest.starts_with("/*") {
        up_to(rest.find("*/").and_then(|at| at.checked_add(2)))
    } else if rest.starts_with("::") {
        2
    } else if let Some(len) = text_len(rest) {
        len
    } else if first == '\'' {
        quoted_len(rest)
    } else if is_name_char(first) {
        up_to(rest.find(|c| !is_name_char(c)))
    } else {
        first.len_utf8()
    }
}

/// The length of the text literal, raw or not, that `rest` begins with, if it does.
fn text_len(rest: &str) -> Option<usize> {
    let body = rest.trim_start_matches(['b', 'c']);
    let (raw, body) = body.strip_prefix('r').map_or((false, body), |body| (true, body));
    let hashes = body.len().checked_sub(body.trim_start_matches('#').len())?;
    let body = body.trim_start_matches('#').strip_prefix('"')?;
    let after = if raw {
        let end = format!("\"{}", "#".repeat(hashes));
        body.split_once(&end)?.1
    } else if hashes == 0 {
        let mut escaped = false;
        let end = body.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })?;
        body.split_at_checked(end)?.1.strip_prefix('"')?
    } else {
        return None;
    };
    rest.len().checked_sub(after.len())
}

/// The length of the character literal or the lifetime that `rest` begins with.
fn quoted_len(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    let (inside, close) = (chars.next(), chars.next());
    let end = match (inside, close) {
        (Some((_, '\\')), Some(_)) => chars.find(|(_, c)| *c == '\''),
        (_, Some((_, '\''))) => close,
        _ => return rest.char_indices().skip(1).find(|(_, c)| !is_name_char(*c)).map_or(rest.len(), |(at, _)| at),
    };
    end.and_then(|(at, _)| at.checked_add(1)).unwrap_or(rest.len())
}
