//! Prints the rows of `status`.

use serde::Serialize;

use super::{Listed, row::Row};
use crate::cli::output::{self, Format, Table};

/// Prints rows in one format.
pub(super) struct Printer {
    format: Format,
    clusters: bool,
    namespaces: bool,
    table: Table,
}

/// The document for machines.
#[derive(Serialize)]
struct Document<'a> {
    /// HelmReleases that were read.
    total: usize,
    releases: Vec<&'a Row>,
}

impl Printer {
    /// `clusters` and `namespaces` are whether there may be several of them.
    pub(super) fn new(format: Format, clusters: bool, namespaces: bool) -> Self {
        Self {
            format,
            clusters,
            namespaces,
            table: Table::of(&[]),
        }
    }

    /// All rows at once, and a line with the totals on standard error.
    pub(super) fn rows(&mut self, listed: &[Listed]) -> anyhow::Result<()> {
        let rows: Vec<_> = listed.iter().flat_map(|listed| &listed.rows).collect();
        let total = listed.iter().map(|listed| listed.total).sum();
        if self.format.is_for_machines() {
            let document = Document {
                total,
                releases: rows,
            };
            output::print(&output::document(self.format, &document)?)?;
            return Ok(());
        }
        if rows.is_empty() && total == 0 {
            let all = if self.namespaces {
                ""
            } else {
                "; -A lists all namespaces"
            };
            eprintln!("no HelmRelease was found{all}");
            return Ok(());
        }
        if !rows.is_empty() {
            let mut cells = vec![self.header()];
            cells.extend(rows.iter().map(|row| self.cells(row)));
            self.table = Table::of(&cells);
            let lines: Vec<_> = cells.iter().map(|row| self.table.line(row)).collect();
            if !output::print(&lines.join("\n"))? {
                return Ok(());
            }
        }
        eprintln!("{}", totals(&rows, total));
        Ok(())
    }

    /// One row that changed. False when the output is closed.
    pub(super) fn change(&self, row: &Row) -> anyhow::Result<bool> {
        output::print(&match self.format {
            Format::Json => serde_json::to_string(row)?,
            Format::Yaml => format!("---\n{}", output::document(self.format, row)?),
            Format::Text | Format::Wide => self.table.line(&self.cells(row)),
        })
    }

    fn header(&self) -> Vec<String> {
        let mut header = Vec::new();
        header.extend(self.clusters.then_some("CLUSTER"));
        header.extend(self.namespaces.then_some("NAMESPACE"));
        header.extend(["NAME", "RULE", "CLASS", "SINCE", "DECISION"]);
        if self.format == Format::Wide {
            header.extend(["RESTARTS", "NOT BEFORE", "CAUSE", "MESSAGE"]);
        }
        header.push("NEXT STEP");
        header.into_iter().map(str::to_owned).collect()
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let or_dash = |text: &str| if text.is_empty() { "-" } else { text }.to_owned();
        let mut cells = Vec::new();
        cells.extend(self.clusters.then(|| row.summary.cluster.clone()));
        cells.extend(self.namespaces.then(|| row.summary.namespace.clone()));
        cells.extend([
            row.summary.name.clone(),
            or_dash(row.summary.rule),
            or_dash(row.summary.class),
            row.age.clone(),
            format!("{} ({})", row.summary.decision, row.summary.reason),
        ]);
        if self.format == Format::Wide {
            cells.extend([
                format!("{}/{}", row.summary.restarts, row.summary.limit),
                or_dash(row.summary.retry_at.as_deref().unwrap_or_default()),
                or_dash(row.summary.cause.unwrap_or_default()),
                or_dash(row.summary.message.as_deref().unwrap_or_default()),
            ]);
        }
        cells.push(or_dash(&row.short_step));
        cells
    }
}

fn totals(rows: &[&Row], total: usize) -> String {
    let releases = |many: usize| match many {
        1 => "1 HelmRelease".to_owned(),
        _ => format!("{many} HelmReleases"),
    };
    let open = rows.iter().filter(|row| !row.is_fine()).count();
    if open == 0 {
        return format!("✔ {} read, all are ready or suspended", releases(total));
    }
    let persons = rows
        .iter()
        .filter(|row| row.needs_person() && !row.is_fine())
        .count();
    let restarts = rows
        .iter()
        .filter(|row| row.summary.decision == "restart" && !row.needs_person())
        .count();
    let others = open - restarts - persons;
    format!(
        "► {} read, {open} not ready: {restarts} can be restarted, {persons} waiting for a person, {others} that continue by themselves",
        releases(total)
    )
}
