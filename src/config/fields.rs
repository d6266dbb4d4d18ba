//! A YAML file as fields that are taken out one by one. A field that is left is a fault.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Fault, settings};

/// The fields of a mapping, and its place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    prefix: String,
    map: Map<String, Value>,
}

impl Fields {
    /// Reads a file. An empty one has no fields.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            format!(
                "cannot read {}: {error}; write the path of a YAML file",
                path.display()
            )
        })?;
        let parsed: Result<Value, _> = serde_saphyr::from_str(&text);
        match parsed {
            Ok(Value::Object(map)) => Ok(Self {
                prefix: format!("{}: ", path.display()),
                map,
            }),
            Ok(Value::Null) => Ok(Self::default()),
            Ok(_) => Err(format!(
                "{} is not a mapping; write `setting: value` lines",
                path.display()
            )),
            // The first line only: the rest repeats the text around the fault, which may hold a secret.
            Err(error) => {
                let error = error.to_string();
                let said = error.lines().next().unwrap_or_default();
                Err(format!("{} is not YAML: {said}", path.display()))
            }
        }
    }

    /// A mapping inside a file.
    pub(super) fn of(prefix: String, value: Value) -> Result<Self, String> {
        match value {
            Value::Object(map) => Ok(Self {
                prefix: format!("{prefix}."),
                map,
            }),
            _ => Err("is not a mapping; write `name: value` lines".into()),
        }
    }

    /// The place of `path`, for messages.
    pub(super) fn place(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// Takes out the value at a dotted path. Null is none.
    pub(super) fn take(&mut self, path: &str) -> Option<Value> {
        let mut map = &mut self.map;
        let mut rest = path;
        while let Some((head, tail)) = rest.split_once('.') {
            map = map.get_mut(head)?.as_object_mut()?;
            rest = tail;
        }
        map.remove(rest).filter(|value| !value.is_null())
    }

    /// Takes out a single value as text.
    pub(super) fn take_scalar(&mut self, path: &str) -> Result<Option<String>, String> {
        match self.take(path) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Bool(value)) => Ok(Some(value.to_string())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err("is not a single value; write one".into()),
        }
    }

    /// Takes out names as on a command line, with commas: one text, or a list of them.
    pub(super) fn take_names(&mut self, path: &str) -> Result<Option<String>, String> {
        let names = match self.take(path) {
            None => return Ok(None),
            Some(Value::Array(list)) => list,
            Some(single) => vec![single],
        };
        let names: Option<Vec<_>> = names.iter().map(Value::as_str).collect();
        let names = names.map(|names| Some(names.join(",")));
        names.ok_or_else(|| "is no list of names; put each into quotes".into())
    }

    /// Takes out a name. YAML reads a bare `no` or `1e3` as something else than was written.
    pub(super) fn take_name(&mut self, path: &str) -> Result<Option<String>, String> {
        match self.take(path) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err("is read as something else than a name; put it into quotes".into()),
        }
    }

    /// Takes out a list; none is an empty one.
    pub(super) fn take_list(&mut self, path: &str) -> Result<Vec<Value>, String> {
        match self.take(path) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err("is not a list; write `- ` lines".into()),
        }
    }

    /// The places of the fields that are left.
    pub(super) fn left(&self) -> Vec<String> {
        fn walk(map: &Map<String, Value>, place: &str, left: &mut Vec<String>) {
            for (key, value) in map {
                let place = format!("{place}{key}");
                match value {
                    Value::Object(inner) => walk(inner, &format!("{place}."), left),
                    Value::Null => {}
                    _ => left.push(place),
                }
            }
        }
        let mut left = Vec::new();
        walk(&self.map, &self.prefix, &mut left);
        left
    }

    /// Faults for all fields that are left.
    pub(super) fn unknown(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        unknown_in(&self.map, &self.prefix, "", &mut faults);
        faults
    }
}

fn unknown_in(map: &Map<String, Value>, prefix: &str, path: &str, faults: &mut Vec<Fault>) {
    for (key, value) in map {
        let full = format!("{path}{key}");
        let section = settings::PROCESS
            .iter()
            .chain(settings::FILE)
            .filter_map(|setting| setting.path);
        let section = section
            .into_iter()
            .any(|known| known.starts_with(&format!("{full}.")));
        match value {
            Value::Object(inner) if section => {
                unknown_in(inner, prefix, &format!("{full}."), faults)
            }
            Value::Null if section => {}
            _ => {
                let problem =
                    "there is no such setting; see docs/configuration.md for the names".to_owned();
                faults.push(Fault {
                    place: format!("{prefix}{full}"),
                    problem,
                });
            }
        }
    }
}
