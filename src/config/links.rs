//! The list `dashboardLinks`.

use super::{file::LinkEntry, section::Section};
use crate::domain::link::Link;

/// The links that are valid.
pub(super) fn listed(entries: Vec<LinkEntry>, mut section: Section<'_>) -> Vec<Link> {
    let mut links = Vec::new();
    for (index, LinkEntry { name, url }) in entries.into_iter().enumerate() {
        let mut item = section.item(index);
        let name = item.checked("name", Some(name), |name| {
            let fits = !name.trim().is_empty() && name.chars().count() <= 40;
            fits.then(|| name.to_owned())
                .ok_or_else(|| "expected a text of 1 to 40 characters".into())
        });
        let url = item.checked("url", Some(url), |url| Link::check(url));
        links.extend(name.zip(url).map(|(name, url)| Link { name, url }));
    }
    links
}
