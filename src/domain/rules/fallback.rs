//! Words that most programs use, for messages no other rule knows. What refuses outranks what
//! delays.

use super::{Family, permanent, transient};

/// Whole words, as in sentences: names of releases and charts have hyphens around theirs.
macro_rules! words {
    ($($words:literal),+) => {
        concat!(r"(^|[\s:'\x22(\[])(", $($words),+, r")([\s:.,;!)'\x22\]]|$)")
    };
}

pub(super) const FAMILY: Family = Family {
    name: "fallback",
    about: "common words, if no other rule matches",
    rules: &[
        permanent(
            "refusing-words",
            &[
                words!("[Nn]ot found|(does not|doesn't) exist|[Aa]lready exists|[Nn]o such"),
                words!("[Uu]ndefined"),
                words!("(could not|couldn't) find"),
                words!("(unable|failed) to (find|resolve|recognize|locate)"),
                words!(r"[Nn]o \w+ (found|provided|defined|configured)|[Mm]issing"),
                words!("(is|are) required"),
                words!("must (be|have|not|contain|match|specify|set|provide)|may (not|only)"),
                words!(
                    "should (be|have|match|not|only)|cannot be (empty|null|used|set|parsed|deleted)"
                ),
                words!(
                    "(not|isn't|aren't) (allowed|supported|permitted|valid|implemented|",
                    "defined)"
                ),
                words!("(not|isn't|aren't) (possible|recognized|enabled|installed)"),
                words!("[Nn]ot a valid"),
                words!("cannot (contain|use|proceed|have|reference|target)|(is|are) not (an?|the)"),
                words!("[Ee]rror (converting|parsing|decoding)|has no value|[Cc]ollides with"),
                words!("[Ii]nvalid|[Uu]nsupported|[Mm]alformed|[Ii]ncompatible|[Dd]eprecated"),
                words!("[Uu]nknown (flag|command|field|type|key|provider|image)|[Ee]xpected"),
                words!(
                    "(unable to|failed to|could not|cannot|can't) (parse|decode|",
                    "convert|unmarshal)"
                ),
                words!("[Mm]ismatch|(does not|doesn't|do not|don't|not) (match|conform|fit)"),
                words!("[Dd]enied|[Rr]ejected|[Dd]isallowed|[Ff]orbidden|[Pp]rohibited"),
                words!("[Rr]ead-?only"),
                words!("[Cc]onflicts? with|[Cc]onflicting|[Dd]uplicate"),
                words!("[Oo]ut of (range|bounds)"),
                words!("[Ii]nsufficient (scope|permission|privilege|quota|access|right)s?"),
                words!("already (in use|bound|defined|managed|marked|assigned|set)"),
                words!("[Nn]o space left|range is full"),
                words!("[Tt]oo (long|short|many|few|large|big)"),
                words!("[Vv]alidation (failed|error|failure)"),
                words!("[Cc]ompilation error"),
            ],
            "words by which programs refuse what they are given",
            "common use",
        )
        .fallback(),
        permanent(
            "data-key",
            &[r"[Ff]ailed to (get the data key|decrypt sops data key)"],
            "the file was not decrypted, and the message contains no cause",
            "getsops/sops",
        )
        .fallback(),
        permanent(
            "no-fitting-node",
            &[
                r"node\(s\) (didn't match [^,.]*|had (untolerated taint|volume node affinity conflict)|didn't have free ports)",
            ],
            "no node matches the node selector or affinity of the pod",
            "k8s.io/kubernetes:pkg/scheduler",
        )
        .fallback(),
        transient(
            "delaying-words",
            &[
                words!("[Tt]imed out"),
                words!("[Tt]imeout (exceeded|expired|while|occurred|reached|error|after)"),
                r"(^|[\s:(\[])[Tt]imeout([:.!)]|$)",
                words!("[Tt]ry again|[Rr]etry later|[Pp]lease retry"),
                words!("(will|please) (be )?retr(y|ied)"),
                words!(
                    "[Tt]emporar(y|ily) (unavailable|failure|error|overloaded|out of|",
                    "problem)"
                ),
                words!("(is|currently) unavailable|[Oo]verloaded|[Tt]hrottl(ed|ing)|[Bb]usy"),
                words!(
                    "[Nn]ot (yet )?(initialized|synced|synchroni[sz]ed|started|",
                    "established)|not yet available|not available (yet|at the moment|right now)"
                ),
                words!("[Nn]ot yet ready|[Nn]ot ready yet|[Dd]eadline exceeded"),
                words!("[Ss]hutting down|[Ss]tarting up|being (deleted|terminated)"),
                r"(^|[\s:'\x22(\[])unreachable[\s.,;!)'\x22\]]",
                words!("[Cc]onnection (failed|failure|error|problem|lost|dropped|timeout)"),
                words!("[Dd]isconnected|[Uu]nable to connect|TimeoutError"),
                r"RetryableError|call can be retried|unexpected end of JSON input",
                words!("metadata service|exceeded maximum number of attempts"),
            ],
            "words of programs that are overloaded or starting",
            "common use",
        )
        .fallback(),
    ],
};
