//! What people paste that is not quite a HelmRelease.

use std::io::{self, BufRead};

use serde_json::{Map, Value};

use crate::domain::mask::mask;

/// The most characters of a name.
const NAME_LIMIT: usize = 253;

/// How an input begins.
pub(super) enum Start {
    /// JSON or YAML, as far as can be seen.
    Text,
    /// All of a UTF-16 input, as text.
    Utf16(String),
    /// Something else: what it is.
    Other(&'static str),
}

/// Skips blank lines and what some programs write before UTF-8 text, and looks at what follows.
pub(super) fn start(input: &mut impl BufRead) -> io::Result<Start> {
    let start = input.fill_buf()?;
    for (mark, read) in [
        ([0xff, 0xfe], u16::from_le_bytes as fn([u8; 2]) -> u16),
        ([0xfe, 0xff], u16::from_be_bytes),
    ] {
        // Without a mark, every other byte of ASCII text is 0.
        let bare = mark[0] == 0xff && start.get(1) == Some(&0)
            || mark[0] == 0xfe && start.first() == Some(&0);
        if start.starts_with(&mark) || bare {
            let mut bytes = Vec::new();
            input.read_to_end(&mut bytes)?;
            let units = bytes[if bare { 0 } else { 2 }..]
                .chunks_exact(2)
                .map(|pair| read([pair[0], pair[1]]));
            let text =
                char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER));
            return Ok(Start::Utf16(
                text.collect::<String>().trim_start().to_owned(),
            ));
        }
    }
    if start.starts_with("\u{feff}".as_bytes()) {
        input.consume(3);
    }
    skip_blank(input)?;
    let start = input.fill_buf()?;
    let line = start
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let words: Vec<_> = line.split_whitespace().collect();
    Ok(match words.as_slice() {
        ["Name:", _] => Start::Other("this is the output of kubectl describe"),
        ["NAMESPACE", "NAME", ..] | ["NAME", "AGE" | "READY" | "REVISION", ..] => {
            Start::Other("this is the table of kubectl get or flux get")
        }
        _ => Start::Text,
    })
}

fn skip_blank(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        // Whole lines: the indentation of the first line belongs to it.
        let start = input.fill_buf()?;
        let blank = start
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        let all = start.len();
        let lines = start[..blank]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let skipped = if blank == all { all } else { lines };
        input.consume(skipped);
        if skipped < all || all == 0 {
            return Ok(());
        }
    }
}

/// The kind of an object that is no HelmRelease of Flux.
pub(super) fn kind(map: &Map<String, Value>) -> String {
    let text = |field: &str| map.get(field).and_then(Value::as_str).unwrap_or_default();
    match (text("kind"), text("apiVersion")) {
        ("HelmRelease", version) => mask(
            &format!(
                "HelmRelease of {version}, which is not of Flux 2: helmreboot reads helm.toolkit.fluxcd.io"
            ),
            2 * NAME_LIMIT,
        ),
        ("", _) => "an object without a kind".to_owned(),
        (kind, _) => mask(kind, NAME_LIMIT),
    }
}

/// The name of an object, for people.
pub(super) fn name(map: &Map<String, Value>) -> String {
    let text = |field: &str| {
        map.get("metadata")
            .and_then(|metadata| metadata[field].as_str())
            .map(|text| mask(text, NAME_LIMIT))
    };
    let name = text("name").unwrap_or_else(|| "a HelmRelease without a name".into());
    text("namespace").map_or(name.clone(), |namespace| format!("{namespace}/{name}"))
}

/// What is wrong with a YAML text. Only the first line of the error: the rest repeats the text.
pub(super) fn yaml_problem(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    mask(text.lines().next().unwrap_or_default(), 2 * NAME_LIMIT)
}
