//! Lines that an editor, a terminal or a web page broke at a width, and margins: without them, the message is
//! what the controller wrote.

use std::{borrow::Cow, ops::Range};

/// Widths at which lines are wrapped, in characters. Longer lines are those of the message itself.
const WIDTHS: Range<usize> = 30..133;

/// A message of one line without its margin.
pub(super) fn without_leading_spaces(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_start_matches(MARGIN)),
        Cow::Owned(text) => Cow::Owned(text.trim_start_matches(MARGIN).to_owned()),
    }
}

/// What a margin consists of: indentation, or the sign of a quotation.
const MARGIN: [char; 3] = [' ', '>', '|'];

/// Without the margin of the first line, and without the one that all other lines have in common. The margin of a
/// single other line belongs to the message if it is a tab, or if the line is an item of a list.
pub(super) fn without_margin<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let margin = |line: &str| line.len() - line.trim_start_matches(MARGIN).len();
    let inner = || lines.iter().skip(1).filter(|line| !line.trim().is_empty());
    let own = inner().count() == 1 && inner().all(|line| is_item(line) || margin(line) == 1);
    let common = inner().map(|line| margin(line)).min();
    let common = common.filter(|_| !own).unwrap_or_default();
    let inner = lines.iter().skip(1);
    let inner = inner.map(|line| &line[common.min(margin(line))..]);
    let first = lines.first().map(|line| line.trim_start_matches(MARGIN));
    first.into_iter().chain(inner).collect()
}

/// Whether a line is an item of a list.
fn is_item(line: &str) -> bool {
    let begins = line.trim_start();
    ["* ", "- ", "| ", "+ "]
        .iter()
        .any(|sign| begins.starts_with(sign))
}

/// What Helm joins to an error of a wait with a line break (`errors.Join`). It is never the rest of a word.
const OWN_LINE: &str = "context deadline exceeded";

/// Lines that something wrapped at a width.
pub(super) struct Wrapped<'a> {
    lines: &'a [&'a str],
    /// The length of the longest line, in characters. A word that is longer has a line of its own.
    width: usize,
    /// Line breaks that were not in the message.
    pub(super) breaks: usize,
    /// Those of them after a line of full width.
    pub(super) full: usize,
    /// Whether the space in front of each break between two words was kept, as `fold -s` does.
    keeps_spaces: bool,
    /// Line breaks of the message itself, between lines that are not empty.
    own: usize,
}

impl<'a> Wrapped<'a> {
    pub(super) fn of(lines: &'a [&'a str]) -> Self {
        let several = |line: &&&str| line.trim().contains(' ');
        let length = |line: &&str| line.chars().count();
        let width = lines.iter().filter(several).map(length).max();
        let width = width.or_else(|| lines.iter().map(length).max());
        let mut wrapped = Self {
            lines,
            width: width.unwrap_or_default(),
            breaks: 0,
            full: 0,
            keeps_spaces: false,
            own: 0,
        };
        if WIDTHS.contains(&wrapped.width) {
            let (mut kept, mut dropped) = (0, 0);
            for pair in lines.windows(2) {
                if wrapped.is_break(pair[0], pair[1]) {
                    let length = pair[0].chars().count();
                    let keeps = pair[0].ends_with(' ');
                    wrapped.breaks += 1;
                    wrapped.full += usize::from(length == wrapped.width);
                    kept += usize::from(keeps);
                    dropped += usize::from(length < wrapped.width && !keeps);
                } else if pair.iter().all(|line| !line.trim().is_empty()) {
                    wrapped.own += 1;
                }
            }
            wrapped.keeps_spaces = kept > 0 && dropped == 0;
        }
        wrapped
    }

    /// After the longest line, every break looks like one that was not in the message.
    pub(super) fn is_likely(&self) -> bool {
        self.breaks > 0 && self.breaks >= self.own
    }

    /// Whether `line` was broken because the first word of `next` did not fit. An item of a list begins in a line of its
    /// own, and so does a new paragraph.
    fn is_break(&self, line: &str, next: &str) -> bool {
        let begins = next.trim_start();
        let Some(word) = begins.split(' ').next().filter(|word| !word.is_empty()) else {
            return false;
        };
        let length = line.trim_end().chars().count();
        let too_long = length + 1 + word.chars().count() > self.width;
        !line.trim().is_empty()
            && (too_long || self.keeps_spaces && line.ends_with(' '))
            && !is_item(next)
    }

    /// Whether a full line ends inside a word that is longer than a line: no other word is broken.
    fn is_inside_a_long_word(&self, line: &str, next: &str) -> bool {
        let last = line.rsplit(' ').next().unwrap_or_default();
        let first = next.split(' ').next().unwrap_or_default();
        last.chars().count() + first.chars().count() > self.width
    }

    /// Without those breaks: `joint` takes the place of one after a full line, and a space that of any other.
    pub(super) fn join(&self, joint: &str) -> String {
        let mut out = String::new();
        let mut lines = self.lines.iter().peekable();
        while let Some(line) = lines.next() {
            out.push_str(line);
            let Some(next) = lines.peek() else {
                break;
            };
            let joint = match self.is_break(line, next) {
                false => "\n",
                true if next.starts_with(OWN_LINE) && !line.ends_with(' ') => " ",
                true if line.ends_with(' ') || self.keeps_spaces || ends_at_a_hyphen(line) => "",
                true if line.chars().count() != self.width => " ",
                true if is_inside_an_address(line) || self.is_inside_a_long_word(line, next) => "",
                true => joint,
            };
            out.push_str(joint);
        }
        out
    }
}

/// Whether a line was broken after the hyphen of a word, as Python's `textwrap` does.
fn ends_at_a_hyphen(line: &str) -> bool {
    let word = line.strip_suffix('-');
    word.is_some_and(|word| word.ends_with(char::is_alphabetic))
}

/// Whether a full line ends inside an address, which may be longer than a line.
fn is_inside_an_address(line: &str) -> bool {
    let last = line.rsplit(' ').next().unwrap_or_default();
    last.contains("://") && !last.ends_with(['"', ':', ',', ';', ')'])
}
