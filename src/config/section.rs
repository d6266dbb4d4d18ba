//! A part of the configuration file whose values are checked.

use std::{fmt::Debug, path::Path};

use super::Fault;
use crate::domain::mask::mask;

/// Where the part is, and the errors found so far.
pub(super) struct Section<'a> {
    faults: &'a mut Vec<Fault>,
    /// The place of the part itself.
    place: String,
    /// What is between it and the name of a field.
    separator: &'static str,
}

impl<'a> Section<'a> {
    /// All of a file.
    pub(super) fn of_file(file: &Path, faults: &'a mut Vec<Fault>) -> Self {
        Self {
            place: file.display().to_string(),
            separator: ": ",
            faults,
        }
    }

    /// The section or the list in a field.
    pub(super) fn inner(&mut self, field: &str) -> Section<'_> {
        Section {
            place: self.place_of(field),
            separator: ".",
            faults: &mut *self.faults,
        }
    }

    /// An item of a list.
    pub(super) fn item(&mut self, index: usize) -> Section<'_> {
        Section {
            place: format!("{}[{index}]", self.place),
            separator: ".",
            faults: &mut *self.faults,
        }
    }

    /// How many errors were found so far.
    pub(super) fn faults(&self) -> usize {
        self.faults.len()
    }

    /// The place of the part, for people.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// The place of a field, for people.
    pub(super) fn place_of(&self, field: &str) -> String {
        format!("{}{}{field}", self.place, self.separator)
    }

    /// An error about the part as a whole.
    pub(super) fn fault(&mut self, problem: impl Into<String>) {
        self.faults.push(Fault {
            place: self.place.clone(),
            problem: problem.into(),
        });
    }

    /// An error about a field.
    pub(super) fn field_fault(&mut self, field: &str, problem: impl Into<String>) {
        self.faults.push(Fault {
            place: self.place_of(field),
            problem: problem.into(),
        });
    }

    /// What `check` makes of a value. `None` without a value, and after an error.
    pub(super) fn checked<V: Debug, T>(
        &mut self,
        field: &str,
        value: Option<V>,
        check: impl FnOnce(&V) -> Result<T, String>,
    ) -> Option<T> {
        let value = value?;
        check(&value)
            .map_err(|expected| {
                self.field_fault(field, invalid(&value, &expected));
            })
            .ok()
    }

    /// Replaces `to` by what `check` makes of a value, if there is one.
    pub(super) fn set<V: Debug, T>(
        &mut self,
        to: &mut T,
        field: &str,
        value: Option<V>,
        check: impl FnOnce(&V) -> Result<T, String>,
    ) {
        if let Some(checked) = self.checked(field, value, check) {
            *to = checked;
        }
    }
}

/// The most characters of a value in a message.
const SHOWN: usize = 80;

/// The text about a value that is not valid.
pub(super) fn invalid(value: &impl Debug, expected: &str) -> String {
    // A URL may contain a password.
    let mut value = mask(&format!("{value:?}"), 4 * SHOWN);
    if let Some((end, _)) = value.char_indices().nth(SHOWN) {
        value.truncate(end);
        value.push_str(" ...");
    }
    format!("invalid value {value}: {expected}")
}
