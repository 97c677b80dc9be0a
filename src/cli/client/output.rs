//! Messages of the API as JSON and as text, by their descriptors: no message needs code of its own.

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

use super::Failure;
use crate::proto;

/// A message in the protobuf JSON mapping, but fields under the names of the protos and 64-bit integers as numbers.
pub(in crate::cli) fn json_of<M: Message + Name>(message: &M) -> Result<Value, Failure> {
    let dynamic = DynamicMessage::decode(descriptor::<M>()?, message.encode_to_vec().as_slice()).map_err(strange)?;
    let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    dynamic.serialize_with_options(serde_json::value::Serializer, &options).map_err(strange)
}

/// The message in a JSON text of the protobuf mapping; `what` names the text in errors.
pub(in crate::cli) fn from_json<M: Message + Name + Default>(text: &str, what: &str) -> Result<M, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::usage(format!("{what}: {error}"));
    let mut json = serde_json::Deserializer::from_str(text);
    let dynamic = DynamicMessage::deserialize(descriptor::<M>()?, &mut json).map_err(|error| wrong(&error))?;
    json.end().map_err(|error| wrong(&error))?;
    dynamic.transcode_to().map_err(|error| wrong(&error))
}

/// A value as indented lines of `name: value`, for people.
pub(super) fn lines(value: &Value) -> String {
    let mut lines = Vec::new();
    add_lines(&mut lines, value, 0);
    lines.join("\n")
}

fn add_lines(lines: &mut Vec<String>, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    let Value::Object(fields) = value else {
        lines.push(format!("{indent}{}", word(value)));
        return;
    };
    for (name, value) in fields {
        let nested = match value {
            Value::Object(_) => vec![(name.clone(), value)],
            Value::Array(items) if items.iter().any(Value::is_object) => {
                (1_usize..).zip(items).map(|(number, item)| (format!("{name} {number}"), item)).collect()
            }
            Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                lines.push(format!("{indent}{name}: {}", word(value)));
                continue;
            }
        };
        for (title, value) in nested {
            lines.push(format!("{indent}{title}:"));
            add_lines(lines, value, depth.saturating_add(1));
        }
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(word).collect::<Vec<_>>().join(", "),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn descriptor<M: Name>() -> Result<MessageDescriptor, Failure> {
    let pool = DescriptorPool::decode(proto::DESCRIPTORS).map_err(strange)?;
    pool.get_message_by_name(&M::full_name()).ok_or_else(|| strange("a message without descriptor"))
}

fn strange(error: impl std::fmt::Display) -> Failure {
    Failure::refused(format!("this build and its protos do not fit: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Purpose, TrainingJobSpec};

    #[test]
    fn messages_go_to_json_and_back() {
        let spec = TrainingJobSpec { purpose: Purpose::TrainLiveness.into(), max_records: 1 << 40, ..Default::default() };
        let json = json_of(&spec).unwrap();
        assert_eq!(json["purpose"], "PURPOSE_TRAIN_LIVENESS");
        assert_eq!(json["max_records"], 1_u64 << 40);
        assert_eq!(from_json::<TrainingJobSpec>(&json.to_string(), "spec").unwrap(), spec);
    }

    #[test]
    fn unknown_fields_are_named() {
        let error = from_json::<TrainingJobSpec>("{\"purposes\": 1}", "spec.json").unwrap_err().to_string();
        assert!(error.starts_with("spec.json: ") && error.contains("purposes"), "{error}");
    }

    #[test]
    fn people_read_lines() {
        let value = serde_json::json!({ "a": 1, "b": { "c": ["x", "y"] }, "d": [{ "e": true }] });
        assert_eq!(lines(&value), "a: 1\nb:\n  c: x, y\nd 1:\n  e: true");
    }
}
