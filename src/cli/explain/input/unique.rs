//! A value in which no field is set twice. `serde_json` and Kubernetes keep one of them without a word.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// A value, and the path of the first field in it that is set twice.
#[derive(Debug, Default)]
pub(super) struct Unique {
    pub(super) value: Value,
    pub(super) twice: Option<String>,
}

/// The fields of an object, as [`Unique`].
#[derive(Debug, Default)]
pub(super) struct UniqueMap {
    pub(super) map: Map<String, Value>,
    pub(super) twice: Option<String>,
}

impl UniqueMap {
    /// Adds a field.
    pub(super) fn insert(&mut self, key: String, Unique { value, twice }: Unique) {
        if self.twice.is_none() {
            self.twice = twice.map(|path| format!("{key}.{path}"));
        }
        if self.map.contains_key(&key) && self.twice.is_none() {
            self.twice = Some(key.clone());
        }
        self.map.insert(key, value);
    }
}

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

fn plain(value: impl Into<Value>) -> Unique {
    Unique {
        value: value.into(),
        twice: None,
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Unique, A::Error> {
        let mut object = UniqueMap::default();
        while let Some(key) = fields.next_key::<String>()? {
            object.insert(key, fields.next_value()?);
        }
        Ok(Unique {
            value: Value::Object(object.map),
            twice: object.twice,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Unique, A::Error> {
        let (mut values, mut twice) = (Vec::new(), None);
        while let Some(item) = list.next_element::<Unique>()? {
            if twice.is_none() {
                twice = item.twice.map(|path| format!("{}.{path}", values.len()));
            }
            values.push(item.value);
        }
        Ok(Unique {
            value: Value::Array(values),
            twice,
        })
    }

    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique::default())
    }

    fn visit_none<E>(self) -> Result<Unique, E> {
        Ok(Unique::default())
    }

    fn visit_bool<E>(self, value: bool) -> Result<Unique, E> {
        Ok(plain(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Unique, E> {
        Ok(plain(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Unique, E> {
        Ok(plain(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Unique, E> {
        Ok(plain(
            Number::from_f64(value).map_or(Value::Null, Value::Number),
        ))
    }

    fn visit_str<E>(self, value: &str) -> Result<Unique, E> {
        Ok(plain(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Unique, E> {
        Ok(plain(value))
    }
}
