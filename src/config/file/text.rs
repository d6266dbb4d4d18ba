//! Values that can be written in more than one way.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor, value::SeqAccessDeserializer},
};

/// Names: a list, or one text with commas between them. Kept with commas, as flags and variables have them.
#[derive(Debug)]
pub(crate) struct Names(pub(crate) String);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListOrText;
        impl<'de> Visitor<'de> for ListOrText {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of names; put a name such as \"1\" into quotes")
            }

            fn visit_str<E>(self, text: &str) -> Result<Names, E> {
                Ok(Names(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Names, A::Error> {
                let names = Vec::<String>::deserialize(SeqAccessDeserializer::new(list))?;
                Ok(Names(names.join(",")))
            }
        }
        deserializer.deserialize_any(ListOrText)
    }
}

/// An absent value for null, as Helm and people write it for a section without settings.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The JSON Schemas of such values.
#[cfg(test)]
pub(crate) mod schema {
    use schemars::{Schema, SchemaGenerator, json_schema};

    pub(crate) fn names(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["array", "string", "null"], "items": {"type": "string"}})
    }

    /// `off` is a boolean in YAML 1.1, and so for Helm.
    pub(crate) fn text_or_off(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "boolean", "null"]})
    }

    /// `10%` or `0.1`.
    pub(crate) fn text_or_number(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number", "null"]})
    }
}
