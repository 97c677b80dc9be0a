//! The twelve fictional checks that the demo uploads, in the program itself so that it runs anywhere.

use serde_json::Value;

use crate::proto::{Attributes, Category};

/// A check: what a tenant uploads.
#[derive(Debug)]
pub(super) struct Specimen {
    /// The tenant's name for the check.
    pub(super) call_id: &'static str,
    /// The images.
    pub(super) files: [File; 3],
    attributes: &'static str,
}

/// An image of a check.
#[derive(Debug)]
pub(super) struct File {
    /// What it shows.
    pub(super) category: Category,
    /// Its format.
    pub(super) media_type: &'static str,
    /// Its bytes.
    pub(super) bytes: &'static [u8],
}

impl Specimen {
    /// The attributes on the document.
    pub(super) fn attributes(&self) -> Attributes {
        let text = |field: &str| self.field(field).as_str().unwrap_or_default().to_owned();
        let lines = self.field("mrz");
        Attributes {
            surname: text("surname"),
            given_names: text("given_names"),
            native_name: text("native_name"),
            address: text("address"),
            id_number: text("id_number"),
            id_type: text("id_type"),
            expires: text("expires"),
            country: text("country"),
            nationality: text("nationality"),
            date_of_birth: text("date_of_birth"),
            sex: text("sex"),
            mrz: lines.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }

    /// The tenant's pseudonym of the person.
    pub(super) fn subject(&self) -> String {
        self.field("subject_ref").as_str().unwrap_or_default().to_owned()
    }

    /// Where the person gave consent.
    pub(super) fn jurisdiction(&self) -> String {
        self.field("jurisdiction").as_str().unwrap_or_default().to_owned()
    }

    fn field(&self, name: &str) -> Value {
        let fields: Value = serde_json::from_str(self.attributes).unwrap_or_default();
        fields.get(name).cloned().unwrap_or_default()
    }
}

/// A specimen from its folder; the endings of its front and back say their formats.
macro_rules! specimen {
    ($number:literal, $front:literal, $back:literal) => {
        Specimen {
            call_id: concat!("check-", $number),
            attributes: include_str!(concat!("specimens/", $number, "/attributes.json")),
            files: [
                file(Category::FaceImage, "jpg", include_bytes!(concat!("specimens/", $number, "/face.jpg"))),
                file(Category::DocumentFront, $front, include_bytes!(concat!("specimens/", $number, "/front.", $front))),
                file(Category::DocumentBack, $back, include_bytes!(concat!("specimens/", $number, "/back.", $back))),
            ],
        }
    };
}

/// All twelve.
pub(super) fn all() -> [Specimen; 12] {
    [
        specimen!("0001", "jpg", "png"),
        specimen!("0002", "jpg", "webp"),
        specimen!("0003", "jpg", "jpg"),
        specimen!("0004", "jpg", "jpg"),
        specimen!("0005", "pdf", "jpg"),
        specimen!("0006", "jpg", "jpg"),
        specimen!("0007", "jpg", "jpg"),
        specimen!("0008", "jpg", "jpg"),
        specimen!("0009", "jpg", "jpg"),
        specimen!("0010", "jpg", "jpg"),
        specimen!("0011", "pdf", "jpg"),
        specimen!("0012", "jpg", "jpg"),
    ]
}

fn file(category: Category, ending: &str, bytes: &'static [u8]) -> File {
    let media_type = match ending {
        "png" => "image/png",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        _ => "image/jpeg",
    };
    File { category, media_type, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_specimen_is_whole() {
        for specimen in all() {
            assert!(!specimen.subject().is_empty() && specimen.jurisdiction().len() == 2, "{}", specimen.call_id);
            assert_eq!(specimen.attributes().mrz.len(), 2, "{}", specimen.call_id);
            assert!(specimen.files.iter().all(|file| infer::is_mime(file.bytes, file.media_type)), "{}", specimen.call_id);
        }
    }
}
