//! Telling the story: aligned lines, colours only on a terminal.

use std::{
    cell::RefCell,
    io::{self, Write},
    time::Instant,
};

use serde_json::{Value, json};

use crate::telemetry::coloured;

/// What became of a release.
#[derive(Debug)]
pub(crate) struct End {
    pub(super) cluster: &'static str,
    pub(super) release: String,
    pub(super) story: &'static str,
    pub(super) restarts: i64,
    pub(super) became: String,
    pub(super) expected: String,
    pub(super) as_expected: bool,
}

impl End {
    pub(super) fn to_json(&self) -> Value {
        json!({"cluster": self.cluster, "release": self.release, "story": self.story, "restarts": self.restarts,
            "became": self.became, "expected": self.expected, "asExpected": self.as_expected})
    }
}

/// Prints the story, or collects it for one JSON document.
pub(crate) struct Narrator {
    start: Instant,
    json: bool,
    colours: bool,
    /// Why nothing more can be printed: the pipe is closed, or the disk is full.
    broken: RefCell<Option<io::Error>>,
}

/// Who acts.
#[derive(Clone, Copy)]
pub(crate) enum Who {
    Flux,
    Helmreboot,
    Demo,
}

impl Narrator {
    pub(super) fn new(json: bool) -> Self {
        Self {
            start: Instant::now(),
            json,
            colours: coloured(&io::stdout()),
            broken: RefCell::default(),
        }
    }

    pub(super) fn say(&self, text: &str) {
        if !self.json {
            self.write_line(text);
        }
    }

    fn write_line(&self, text: &str) {
        let mut broken = self.broken.borrow_mut();
        if broken.is_none() {
            *broken = writeln!(io::stdout(), "{text}").err();
        }
    }

    /// Whether everything could be printed.
    pub(super) fn finish(self) -> io::Result<()> {
        self.broken.into_inner().map_or(Ok(()), Err)
    }

    /// One thing that happens.
    pub(crate) fn event(&self, who: Who, cluster: &str, release: &str, text: &str) {
        let (name, colour) = match who {
            Who::Flux => ("flux", "33"),
            Who::Helmreboot => ("helmreboot", "36"),
            Who::Demo => ("demo", "35"),
        };
        let name = format!("{name:<10}");
        let name = if self.colours {
            format!("\x1b[{colour}m{name}\x1b[0m")
        } else {
            name
        };
        let at = self.start.elapsed().as_secs_f64();
        self.say(&format!(
            "{at:>5.1}s  {cluster:<8} {release:<14} {name}  {text}"
        ));
    }

    /// What became of each release.
    pub(super) fn end(&self, ends: &[End], good: bool) {
        if self.json {
            let releases: Vec<_> = ends.iter().map(End::to_json).collect();
            self.write_line(&format!(
                "{}",
                json!({"releases": releases, "asExpected": good})
            ));
            return;
        }
        let mut rows = vec![
            [
                "CLUSTER",
                "RELEASE",
                "WHAT HAPPENED",
                "RESTARTS",
                "BECAME",
                "AS EXPECTED",
            ]
            .map(str::to_owned),
        ];
        for end in ends {
            let printed = if end.as_expected {
                "yes".to_owned()
            } else {
                format!("no: expected {}", end.expected)
            };
            rows.push([
                end.cluster.into(),
                end.release.clone(),
                end.story.into(),
                end.restarts.to_string(),
                end.became.clone(),
                printed,
            ]);
        }
        self.write_line(&format!("\n{}", table(&rows)));
        let verdict = if good {
            "All releases had the expected end."
        } else {
            "Not all releases had the expected end."
        };
        self.write_line(&format!(
            "{verdict} It took {:.0} s.",
            self.start.elapsed().as_secs_f64()
        ));
    }
}

/// Columns as wide as their widest cell.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    };
    let line = |row: &[String; N]| {
        let cells = row
            .iter()
            .enumerate()
            .map(|(column, cell)| format!("{cell:<width$}", width = width(column)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(|row| line(row) + "\n").collect()
}
