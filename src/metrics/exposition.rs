//! What a scrape is answered with: OpenMetrics, or the text format that every Prometheus and agent reads.

use prometheus_client::{encoding::text, registry::Registry};

/// A format of all series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The Prometheus text format 0.0.4.
    Text,
}

impl Exposition {
    /// The format for the value of an `Accept` header: the text format, unless OpenMetrics is requested, as
    /// `prometheus/common:expfmt/encode.go` decides too.
    pub fn accepted(accept: Option<&str>) -> Self {
        let mut kinds = accept.unwrap_or_default().split(',');
        let wants = |kind: &str| {
            kind.trim_start()
                .starts_with("application/openmetrics-text")
        };
        if kinds.any(wants) {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    /// The content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// All series of a registry.
    ///
    /// # Errors
    /// A value cannot be written.
    pub fn encode(self, registry: &Registry) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, registry)?;
        Ok(match self {
            Self::OpenMetrics => out,
            Self::Text => as_text(&out),
        })
    }
}

/// OpenMetrics as the text format: there, a counter is called by the name of its samples, an info is a gauge, and
/// there are neither units nor an end.
fn as_text(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, text)) = help.take().filter(|(known, _)| *known == name) {
                out.push_str(&format!("# HELP {name}{suffix} {text}\n"));
            }
            out.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with("# ") {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_those_who_ask_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        for (accept, expected) in [
            (Some(prometheus), Exposition::OpenMetrics),
            (
                Some("text/plain, application/openmetrics-text"),
                Exposition::OpenMetrics,
            ),
            (Some("text/plain"), Exposition::Text),
            (Some("*/*"), Exposition::Text),
            (None, Exposition::Text),
        ] {
            assert_eq!(Exposition::accepted(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn the_text_format_has_its_own_names_and_types() {
        let open_metrics = "# HELP a Requests.\n# TYPE a counter\na_total{b=\"c\"} 1\n# HELP d_seconds Time.\n# TYPE d_seconds histogram\n# UNIT d_seconds seconds\nd_seconds_sum 0.5\n# HELP e Version.\n# TYPE e info\ne_info{version=\"1\"} 1\n# EOF\n";
        let text = "# HELP a_total Requests.\n# TYPE a_total counter\na_total{b=\"c\"} 1\n# HELP d_seconds Time.\n# TYPE d_seconds histogram\nd_seconds_sum 0.5\n# HELP e_info Version.\n# TYPE e_info gauge\ne_info{version=\"1\"} 1\n";
        assert_eq!(as_text(open_metrics), text);
    }
}
