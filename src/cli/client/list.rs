//! Lists: fetched page after page, shown as they come, never held whole.

use std::io::{self, Write};
use std::process::ExitCode;

use prost::{Message, Name};
use serde_json::Value;
use tonic::Status;

use super::{Client, Failure, Form, json_of};

/// How many things are asked for at a time: the most that a page holds.
pub(in crate::cli) const PAGE_SIZE: u32 = 1000;
/// How many bytes of a page are taken in: a thousand of the largest things there are.
pub(in crate::cli) const MAX_PAGE_BYTES: usize = 64 << 20;

impl Client {
    /// Shows a list. `page` fetches, by the token of the page before, what is on a page and the token of the next one.
    pub(in crate::cli) async fn show_list<M: Message + Name>(
        &self,
        mut page: impl AsyncFnMut(String) -> Result<(Vec<M>, String), Status>,
    ) -> Result<ExitCode, Failure> {
        let mut listing = Listing { form: self.form, out: anstream::stdout(), is_empty: true };
        let mut token = String::new();
        loop {
            let (items, next) = page(token).await?;
            for item in &items {
                listing.add(&json_of(item)?)?;
            }
            if next.is_empty() {
                break;
            }
            token = next;
        }
        listing.end()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A list on its way out: for people with a blank line between things, as one JSON array, or a name a line.
struct Listing<W> {
    form: Form,
    out: W,
    is_empty: bool,
}

impl<W: Write> Listing<W> {
    fn add(&mut self, item: &Value) -> Result<(), Failure> {
        let text = self.form.text(item);
        let first = std::mem::replace(&mut self.is_empty, false);
        let written = match (self.form, first) {
            (Form::Json, true) => write!(self.out, "[\n  {}", text.replace('\n', "\n  ")),
            (Form::Json, false) => write!(self.out, ",\n  {}", text.replace('\n', "\n  ")),
            (Form::Lines, false) => writeln!(self.out, "\n{text}"),
            (Form::Lines, true) | (Form::Name, _) => writeln!(self.out, "{text}"),
        };
        written.map_err(|error| not_written(&error))
    }

    fn end(mut self) -> Result<(), Failure> {
        let written = match (self.form, self.is_empty) {
            (Form::Json, true) => writeln!(self.out, "[]"),
            (Form::Json, false) => writeln!(self.out, "\n]"),
            (Form::Lines | Form::Name, _) => Ok(()),
        };
        written.and_then(|()| self.out.flush()).map_err(|error| not_written(&error))
    }
}

/// Whoever reads, such as `head`, has enough.
fn not_written(error: &io::Error) -> Failure {
    Failure::refused(format!("standard output: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(form: Form, items: &[Value]) -> String {
        let mut out = Vec::new();
        let mut listing = Listing { form, out: &mut out, is_empty: true };
        items.iter().try_for_each(|item| listing.add(item)).unwrap();
        listing.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_list_for_people_has_blank_lines_between_things() {
        let items = [json!({ "name": "a", "size": 1 }), json!({ "name": "b" })];
        assert_eq!(shown(Form::Lines, &items), "name: a\nsize: 1\n\nname: b\n");
        assert_eq!(shown(Form::Lines, &[]), "");
    }

    #[test]
    fn a_list_for_programs_is_one_array() {
        for items in [vec![], vec![json!({ "name": "a" })], vec![json!({ "name": "a" }), json!({ "b": { "c": [1, 2] } })]] {
            let text = shown(Form::Json, &items);
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), Value::from(items));
            assert!(text.ends_with("]\n"));
        }
    }

    #[test]
    fn names_come_one_a_line() {
        assert_eq!(shown(Form::Name, &[json!({ "name": "a" }), json!({ "name": "b" })]), "a\nb\n");
        assert_eq!(shown(Form::Name, &[json!({ "record": "a" })]), "record: a\n", "what has no name is shown whole");
    }
}
