//! The built-in rules: one row a family of failures.
//!
//! Who speaks, what failed, and would the very same request succeed later? A row names the family, not
//! a message. Patterns see the head of the message, in linear time, byte by byte, with `.` matching line
//! breaks. [`super::classify`] says which row names a verdict.

use super::ledger::Action;

/// What Go says of a request that got no answer, after its URL and up to the end of the cause
/// (`net/url`, `net`, `net/http`, `io`): a stranger's words have no room in it.
macro_rules! outage {
    () => {
        concat!(
            r"((dial|read|write) (tcp|udp|unix)[46]?( [\w.:\[\]/>-]+)?: (lookup ",
            r"\S+( on \S+)?: )?((connect|read|write|dial) ?: )*",
            r"(i/o timeout|connection refused|connection reset by peer|",
            r"(connection|operation) timed out|broken pipe|no route to host|host is (down|",
            r"unreachable)|network is (unreachable|down)|no such host|server ",
            r"misbehaving|[Tt]emporary failure in name resolution|operation was ",
            r"canceled)",
            r"|context deadline exceeded( \(Client\.Timeout [\w ]+\))?|",
            r"(net/http: )?(TLS handshake timeout|timeout awaiting response ",
            r"headers|request canceled[a-z ]*( \(Client\.Timeout [\w ]+\))?)",
            r"|http2: (client connection lost|server sent GOAWAY and closed the ",
            r"connection|timeout awaiting response headers)|stream error: ",
            r"stream ID \d+; [A-Z_]+(; received from peer)?|EOF|unexpected EOF",
            r"|((429|50[234]) )?(Too Many Requests|Bad Gateway|Service ",
            r"Unavailable|Gateway Timeout))"
        )
    };
}

/// Behind an outage nothing more is said: the message ends, or its next failure begins.
macro_rules! end {
    () => {
        r"[')]*\s*($| && |\n\s*\* )"
    };
}

mod admission;
mod api_server;
mod chart;
mod credentials;
mod fallback;
mod flux;
mod helm;
mod network;
mod rendering;
mod source;
mod waiting;

string_enum! {
    /// What a failure is worth.
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    #[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
    Class {
        /// No failed release, or Flux retries by itself.
        Benign = "benign",
        /// A person has to change something first.
        Permanent = "permanent",
        /// Retrying the same release unchanged has a fair chance.
        Transient = "transient",
        /// No rule fired.
        #[serde(skip)]
        Unknown = "unknown",
    }
}

string_enum! {
    /// The order of a rule among the others.
    Rank {
        /// What lies inside its match counts for no ordinary rule: `is forbidden: status unknown for
        /// quota` is no lack of rights. Such a pattern holds no text that a stranger can choose.
        Exception = "exception",
        /// Counts wherever it matches.
        Ordinary = "ordinary",
        /// Counts only where no other rule fires.
        Fallback = "fallback",
    }
}

/// A row of the rule table.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Kebab-case name; what metrics, logs and the `cause` annotation show.
    pub name: &'static str,
    /// What a match means.
    pub class: Class,
    /// Linear-time regular expressions over the head of the message; one is enough. None at all: any
    /// message that comes with one of `reasons`.
    pub patterns: &'static [&'static str],
    /// The condition reasons it is for; none: all, and messages whose reason is not known.
    pub reasons: &'static [&'static str],
    /// Its order among the others.
    pub rank: Rank,
    /// How to ask Flux for the restart, where that differs from the policy.
    pub action: Option<Action>,
    /// The share of the policy's limit that such a failure gets, in percent, at most 1000.
    pub budget: u16,
    /// Whether the cause lies in what the release runs on or comes from: API server, etcd, webhooks, network,
    /// registries. A new version is then not to blame.
    pub infrastructure: bool,
    /// One line for people: what happened, and whose words these are.
    pub description: &'static str,
    /// Where the text is made.
    pub source: &'static str,
}

/// Rules about one kind of failure.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// One or two words.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Its rules.
    pub rules: &'static [Rule],
}

/// The rule for messages that say that Flux gave up, and not why.
pub const GAVE_UP: &str = "gave-up-without-cause";

/// The family of rules about waits for objects, hooks and tests.
pub const WAITING: &str = waiting::FAMILY.name;

/// The family of rules that people wrote themselves.
pub const OWN: &str = "own";

/// All built-in rules. Within a class and a rank, the first that matches names the verdict.
///
/// Benign rules are anchored to what helm-controller itself writes first, so that no text from a chart
/// can reach them.
pub const FAMILIES: &[Family] = &[
    flux::FAMILY,
    waiting::FAMILY,
    admission::FAMILY,
    rendering::FAMILY,
    chart::FAMILY,
    helm::FAMILY,
    api_server::FAMILY,
    credentials::FAMILY,
    source::FAMILY,
    network::FAMILY,
    fallback::FAMILY,
];

/// All built-in rules, in order, each with the name of its family.
pub fn built_in() -> impl Iterator<Item = (&'static str, &'static Rule)> {
    let each = |family: &'static Family| family.rules.iter().map(|rule| (family.name, rule));
    FAMILIES.iter().flat_map(each)
}

impl Rule {
    /// Stands for no rule having fired.
    pub const NONE: Self = rule(
        "none",
        Class::Unknown,
        &[],
        "no rule knows this message; a rule of your own can",
        "helmreboot",
    );

    const fn reasons(mut self, reasons: &'static [&'static str]) -> Self {
        self.reasons = reasons;
        self
    }

    const fn exception(mut self) -> Self {
        self.rank = Rank::Exception;
        self
    }

    const fn fallback(mut self) -> Self {
        self.rank = Rank::Fallback;
        self
    }

    const fn infrastructure(mut self) -> Self {
        self.infrastructure = true;
        self
    }

    const fn budget(mut self, percent: u16) -> Self {
        self.budget = percent;
        self
    }
}

const fn rule(
    name: &'static str,
    class: Class,
    patterns: &'static [&'static str],
    description: &'static str,
    source: &'static str,
) -> Rule {
    Rule {
        name,
        class,
        patterns,
        reasons: &[],
        rank: Rank::Ordinary,
        action: None,
        budget: 100,
        infrastructure: false,
        description,
        source,
    }
}

const fn benign(
    name: &'static str,
    patterns: &'static [&'static str],
    description: &'static str,
    source: &'static str,
) -> Rule {
    rule(name, Class::Benign, patterns, description, source)
}

const fn permanent(
    name: &'static str,
    patterns: &'static [&'static str],
    description: &'static str,
    source: &'static str,
) -> Rule {
    rule(name, Class::Permanent, patterns, description, source)
}

const fn transient(
    name: &'static str,
    patterns: &'static [&'static str],
    description: &'static str,
    source: &'static str,
) -> Rule {
    rule(name, Class::Transient, patterns, description, source)
}
