//! Where the settings of the process come from: flags, then variables, then the file.

use std::path::PathBuf;

use super::{
    Fault, Flags,
    file::File,
    section::{Section, invalid},
    settings::{self, Setting},
};

/// Flags and variables, and the errors found so far.
pub(super) struct Sources<'a> {
    pub(super) flags: &'a Flags,
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// The file of `--config`.
    pub(super) path: PathBuf,
    pub(super) faults: Vec<Fault>,
    /// Whether keys are needed.
    pub(super) keys: bool,
    /// A file was named and could not be read: settings that are missing may be in it.
    pub(super) unread: bool,
}

impl Sources<'_> {
    /// The file, without its settings after an error.
    pub(super) fn file(&mut self) -> File {
        let Some((path, _)) = self.given(&settings::CONFIG, None) else {
            return File::default();
        };
        self.path = path.into();
        File::read(&self.path).unwrap_or_else(|fault| {
            self.unread = true;
            self.faults.push(fault);
            File::default()
        })
    }

    /// The value of a setting, or its default; an error where it is not valid.
    pub(super) fn read<T>(
        &mut self,
        setting: &Setting,
        in_file: Option<impl Into<String>>,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let given = self.given(setting, in_file.map(Into::into));
        given
            .and_then(|given| self.checked(given, &check))
            .unwrap_or_else(|| {
                check(setting.default).expect("every default is valid, as a test shows")
            })
    }

    /// What was given for a setting, and where: flag, variable, file. An empty variable is none.
    pub(super) fn given(
        &self,
        setting: &Setting,
        in_file: Option<String>,
    ) -> Option<(String, String)> {
        if let Some(value) = self.flags.get(setting.flag) {
            return Some((value.clone(), format!("--{}", setting.flag)));
        }
        let variable = self
            .variable(setting.env)
            .map(|value| (value, setting.env.to_owned()));
        variable.or_else(|| {
            let place = format!("{}: {}", self.path.display(), setting.path?);
            Some((in_file?, place))
        })
    }

    /// What `check` makes of a value; an error where it is not valid.
    pub(super) fn checked<T>(
        &mut self,
        (text, place): (String, String),
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        check(text.trim())
            .map_err(|expected| self.fault(place, invalid(&text, &expected)))
            .ok()
    }

    pub(super) fn path(&self, setting: &Setting, in_file: Option<String>) -> Option<PathBuf> {
        self.given(setting, in_file).map(|(path, _)| path.into())
    }

    /// All of the file, for checks of its values.
    pub(super) fn section(&mut self) -> Section<'_> {
        Section::of_file(&self.path, &mut self.faults)
    }

    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    pub(super) fn fault(&mut self, place: impl Into<String>, problem: impl Into<String>) {
        self.faults.push(Fault {
            place: place.into(),
            problem: problem.into(),
        });
    }
}

/// A boolean as flags and variables have it.
pub(super) fn switch(value: Option<bool>) -> Option<&'static str> {
    value.map(|value| if value { "true" } else { "false" })
}
