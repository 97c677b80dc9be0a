//! What was found: how it is, and what to do when it is not well.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grade {
    /// As it should be.
    Ok,
    /// The vault serves, but a promise of it is weaker here, or soon will be.
    Warn,
    /// The vault does not serve, or keeps a promise not at all.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) grade: Grade,
    what: &'static str,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'static str>,
}

impl Finding {
    pub(super) fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { grade: Grade::Ok, what, found: found.into(), next: None }
    }

    pub(super) fn warn(what: &'static str, found: impl Into<String>, next: &'static str) -> Self {
        Self { grade: Grade::Warn, what, found: found.into(), next: Some(next) }
    }

    pub(super) fn fail(what: &'static str, found: impl Into<String>, next: &'static str) -> Self {
        Self { grade: Grade::Fail, what, found: found.into(), next: Some(next) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grade = match self.grade {
            Grade::Ok => "ok",
            Grade::Warn => "warn",
            Grade::Fail => "fail",
        };
        write!(f, "{grade:<4}  {:<14}  {}", self.what, self.found)?;
        self.next.map_or(Ok(()), |next| write!(f, "\n      next: {next}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_what_to_do() {
        assert_eq!(Finding::ok("swap", "there is none").to_string(), "ok    swap            there is none");
        let warning = Finding::warn("swap", "/dev/sda2 is on", "switch it off");
        assert_eq!(warning.to_string(), "warn  swap            /dev/sda2 is on\n      next: switch it off");
        let json = serde_json::to_string(&warning).unwrap();
        assert_eq!(json, r#"{"grade":"warn","what":"swap","found":"/dev/sda2 is on","next":"switch it off"}"#);
    }
}
