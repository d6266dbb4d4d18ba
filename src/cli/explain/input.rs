//! HelmReleases out of YAML or JSON: one, several documents, or lists as kubectl prints them. They are
//! handed on one by one while they are read, so that memory does not grow with their number.

use std::{
    cell::RefCell,
    fmt,
    io::{self, BufRead},
};

use anyhow::{Context, anyhow, bail};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Options};

mod pasted;
mod unique;
use pasted::Start;
use unique::UniqueMap;

use crate::domain::{alert::HELM_GROUP, mask::mask, release::Release};

/// What is done with each release. False to read no further.
pub(super) type Take = Box<dyn FnMut(Release) -> anyhow::Result<bool>>;

/// Hands on all HelmReleases of an input. One that cannot be read is reported on standard error, and the others are
/// handed on.
///
/// # Errors
/// It is neither JSON nor YAML, a HelmRelease in it cannot be read, there is none, or `take` fails.
pub(super) fn read(mut input: impl BufRead, file: &str, take: Take) -> anyhow::Result<()> {
    let start = pasted::start(&mut input).with_context(|| format!("cannot read {file}"))?;
    match start {
        Start::Utf16(text) => read_text(io::Cursor::new(text), file, take),
        Start::Other(what) => bail!("{what}; {GET}"),
        Start::Text => read_text(input, file, take),
    }
}

/// What prints a HelmRelease as it is read here.
const GET: &str = "kubectl get helmrelease NAME -n NAMESPACE -o yaml prints a HelmRelease";

fn read_text(mut input: impl BufRead, file: &str, take: Take) -> anyhow::Result<()> {
    let start = input.fill_buf().unwrap_or_default();
    let json = start.first().is_some_and(|byte| b"{[".contains(byte));
    READING.set(Some(Reading::new(take)));
    let nonsense = if json {
        let documents = serde_json::Deserializer::from_reader(input).into_iter::<Found>();
        let place =
            |error: serde_json::Error| format!("line {}, column {}", error.line(), error.column());
        documents
            .map(|found| found.map_err(place))
            .find_map(Result::err)
    } else {
        let documents = serde_saphyr::read_with_options::<_, Found>(&mut input, unbounded());
        documents
            .map(|found| found.map_err(|error| pasted::yaml_problem(&error)))
            .find_map(Result::err)
    };
    let Some(reading) = READING.take() else {
        bail!("nothing was read");
    };
    match (reading.end, nonsense) {
        (Some(End::Enough), _) => return Ok(()),
        (Some(End::Failed(error)), _) => return Err(error.context(file.to_owned())),
        (None, Some(place)) => {
            return Err(anyhow!(place))
                .with_context(|| format!("{file} cannot be read as JSON or YAML"));
        }
        (None, None) => {}
    }
    match reading.bad {
        0 => {}
        1 => bail!("1 HelmRelease in {file} cannot be read"),
        many => bail!("{many} HelmReleases in {file} cannot be read"),
    }
    if reading.found > 0 {
        return Ok(());
    }
    let mut others = reading.others;
    others.dedup();
    let found = if others.is_empty() {
        "nothing".into()
    } else {
        others.join(", ")
    };
    bail!("there is no HelmRelease in {file} (found: {found}); {GET}");
}

/// The state of a run of [`read`]. Deserializing YAML takes no seed that could carry it.
struct Reading {
    take: Take,
    found: usize,
    /// HelmReleases that cannot be read.
    bad: usize,
    /// Kinds of other objects.
    others: Vec<String>,
    end: Option<End>,
}

/// Why reading ended before the input did.
enum End {
    /// Nothing more is wanted.
    Enough,
    Failed(anyhow::Error),
}

thread_local! {
    static READING: RefCell<Option<Reading>> = const { RefCell::new(None) };
}

impl Reading {
    fn new(take: Take) -> Self {
        Self {
            take,
            found: 0,
            bad: 0,
            others: Vec::new(),
            end: None,
        }
    }

    /// One object. False where reading is to end.
    fn object(&mut self, UniqueMap { map, twice }: UniqueMap) -> bool {
        let kind = map.get("kind").and_then(Value::as_str).unwrap_or_default();
        let group = map.get("apiVersion").and_then(Value::as_str);
        let ours = group.is_none_or(|version| version.starts_with(HELM_GROUP));
        if kind != "HelmRelease" || !ours {
            self.other(&pasted::kind(&map));
            return true;
        }
        self.found += 1;
        let name = pasted::name(&map);
        if let Some(path) = twice {
            self.bad += 1;
            let path = mask(&path, 253);
            eprintln!("✗ {name} cannot be read: {path} is set twice; keep one");
            return true;
        }
        // A few such lines are enough.
        if self.found <= 3 && map.get("status").is_none_or(Value::is_null) {
            eprintln!(
                "⚠️ {name} has no status: is this the live object? A manifest from Git has none; {GET}"
            );
        }
        let release = match serde_path_to_error::deserialize::<_, Release>(Value::Object(map)) {
            Ok(release) => release,
            Err(error) => {
                self.bad += 1;
                let path = error.path().to_string();
                let quotes = ["metadata.annotations", "metadata.labels"]
                    .iter()
                    .any(|field| path.starts_with(field));
                let advice = if quotes {
                    "; put quotes around booleans and numbers in annotations and labels"
                } else {
                    ""
                };
                let path = mask(&path, 253);
                eprintln!(
                    "✗ {name} cannot be read: {path} has another type than Flux gives it{advice}"
                );
                return true;
            }
        };
        self.end = match (self.take)(release) {
            Ok(true) => return true,
            Ok(false) => Some(End::Enough),
            Err(error) => Some(End::Failed(error)),
        };
        false
    }

    fn other(&mut self, kind: &str) {
        if self.others.len() < 100 {
            self.others.push(kind.to_owned());
        }
    }
}

/// Something in the input, which was handed on while it was read.
struct Found;

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Hand)
    }
}

struct Hand;

impl Hand {
    fn single<E>() -> Result<Found, E> {
        READING.with_borrow_mut(|reading| {
            if let Some(reading) = reading {
                reading.other("a single value");
            }
        });
        Ok(Found)
    }
}

impl<'de> Visitor<'de> for Hand {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, or a list of them")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found, A::Error> {
        while list.next_element::<Found>()?.is_some() {}
        Ok(Found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Found, A::Error> {
        let (mut object, mut is_list) = (UniqueMap::default(), false);
        while let Some(key) = fields.next_key::<String>()? {
            // The kind of a list may follow its items.
            if key == "items" {
                is_list = true;
                fields.next_value::<Found>()?;
            } else {
                object.insert(key, fields.next_value()?);
            }
        }
        if is_list {
            return Ok(Found);
        }
        let goes_on = READING.with_borrow_mut(|reading| {
            reading
                .as_mut()
                .is_some_and(|reading| reading.object(object))
        });
        if goes_on {
            Ok(Found)
        } else {
            Err(A::Error::custom("reading ended"))
        }
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found)
    }

    fn visit_none<E>(self) -> Result<Found, E> {
        Ok(Found)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Self::single()
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found, E> {
        Self::single()
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found, E> {
        Self::single()
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Self::single()
    }

    fn visit_str<E>(self, _: &str) -> Result<Found, E> {
        Self::single()
    }
}

/// People's own files are as large as their clusters; what a file refers to more than once stays bounded.
fn unbounded() -> Options {
    let mut options = Options::default();
    // A field that is set twice is an error of one object, and not of the whole input.
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    if let Some(budget) = &mut options.budget {
        budget.max_reader_input_bytes = None;
        budget.max_events = usize::MAX;
        budget.max_nodes = usize::MAX;
        budget.max_documents = usize::MAX;
        budget.max_total_scalar_bytes = usize::MAX;
    }
    options
}
