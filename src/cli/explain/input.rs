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
use serde_json::{Map, Value};
use serde_saphyr::Options;

use crate::domain::{alert::HELM_GROUP, release::Release};

/// What is done with each release. False to read no further.
pub(super) type Take = Box<dyn FnMut(Release) -> anyhow::Result<bool>>;

/// Hands on all HelmReleases of an input.
///
/// # Errors
/// It is neither JSON nor YAML, a HelmRelease in it cannot be read, there is none, or `take` fails.
pub(super) fn read(mut input: impl BufRead, file: &str, take: Take) -> anyhow::Result<()> {
    skip_blank(&mut input).with_context(|| format!("cannot read {file}"))?;
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
        // The first line only: the rest repeats the text around the fault.
        let place = |error: serde_saphyr::Error| {
            let said = error.to_string();
            said.lines().next().unwrap_or_default().to_owned()
        };
        documents
            .map(|found| found.map_err(place))
            .find_map(Result::err)
    };
    let Some(reading) = READING.take() else {
        bail!("nothing was read");
    };
    match (reading.end, nonsense) {
        (Some(End::Enough), _) => return Ok(()),
        (Some(End::Failed(error)), _) => return Err(error.context(file.to_owned())),
        (None, Some(place)) => {
            return Err(anyhow!(place)).with_context(|| format!("{file} is neither JSON nor YAML"));
        }
        (None, None) => {}
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
    bail!(
        "there is no HelmRelease in {file} (found: {found}); kubectl get helmrelease NAME -o yaml prints one"
    );
}

/// The state of a run of [`read`]. Deserializing YAML takes no seed that could carry it.
struct Reading {
    take: Take,
    found: usize,
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
            others: Vec::new(),
            end: None,
        }
    }

    /// One object. False where reading is to end.
    fn object(&mut self, map: Map<String, Value>) -> bool {
        let kind = map.get("kind").and_then(Value::as_str).unwrap_or_default();
        let group = map.get("apiVersion").and_then(Value::as_str);
        let ours = group.is_none_or(|version| version.starts_with(HELM_GROUP));
        if kind != "HelmRelease" || !ours {
            let kind = if kind.is_empty() {
                "an object without a kind"
            } else {
                kind
            };
            self.other(kind);
            return true;
        }
        let named = map.get("metadata").map(|metadata| metadata["name"].clone());
        let release: Result<Release, _> = serde_path_to_error::deserialize(Value::Object(map));
        self.found += 1;
        let taken = release
            .map_err(|error| {
                let name = named.unwrap_or_default();
                anyhow!("the HelmRelease {name} cannot be read: {error}")
            })
            .and_then(|release| (self.take)(release));
        self.end = match taken {
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
        let (mut object, mut is_list) = (Map::new(), false);
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

/// What some programs write before UTF-8 text, and blank lines.
fn skip_blank(input: &mut impl BufRead) -> io::Result<()> {
    if input.fill_buf()?.starts_with("\u{feff}".as_bytes()) {
        input.consume(3);
    }
    loop {
        let start = input.fill_buf()?;
        let blank = start.iter().take_while(|byte| byte.is_ascii_whitespace());
        let (blank, all) = (blank.count(), start.len());
        input.consume(blank);
        if blank < all || all == 0 {
            return Ok(());
        }
    }
}

/// People's own files are as large as their clusters; what a file refers to more than once stays bounded.
fn unbounded() -> Options {
    let mut options = Options::default();
    if let Some(budget) = &mut options.budget {
        budget.max_reader_input_bytes = None;
        budget.max_events = usize::MAX;
        budget.max_nodes = usize::MAX;
        budget.max_documents = usize::MAX;
        budget.max_total_scalar_bytes = usize::MAX;
    }
    options
}
