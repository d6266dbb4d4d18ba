//! Reads the event in a verified body.

use bytes::Bytes;

use crate::domain::alert::Event;

/// Parses a verified body. The detail names the field and never repeats its value.
pub(super) fn parse(bytes: &Bytes) -> Result<Event, String> {
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err("not a Flux event: the body is not an object".into());
    }
    // Where the fault lies is only worth finding out where there is one.
    serde_json::from_slice(bytes).map_err(|_| fault(bytes))
}

/// What is wrong with a body that is no event.
fn fault(bytes: &Bytes) -> String {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let Err(error) = serde_path_to_error::deserialize::<_, Event>(&mut json) else {
        return "the body is not one JSON document".to_owned();
    };
    let (path, inner) = (error.path().to_string(), error.inner());
    // Keys of metadata are the sender's own words, of any length.
    let path = if path.starts_with("metadata") {
        "metadata".to_owned()
    } else {
        path
    };
    if !inner.is_data() {
        return "the body is not JSON".to_owned();
    }
    let said = inner.to_string();
    if said.starts_with("duplicate field") {
        return "not a Flux event: a field occurs twice".to_owned();
    }
    match said
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split('`').next())
    {
        Some(field) if path == "." => format!("not a Flux event: the field {field} is missing"),
        Some(field) => format!("not a Flux event: the field {path}.{field} is missing"),
        None if path == "." => "not a Flux event: the body is not an object".to_owned(),
        None => format!("not a Flux event: the field {path} has the wrong type or form"),
    }
}
