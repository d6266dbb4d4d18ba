//! Words that most programs use, for messages no other rule knows. What refuses outranks what delays.

use super::{Family, permanent, transient};

pub(super) const FAMILY: Family = Family {
    name: "fallback",
    about: "common words, where no other rule fires",
    rules: &[
        permanent("refusing-words", &[
            r"(?i)(^|[\s:'\x22(\[])(not found|does not exist|doesn't exist|already exists|(is|are) required|must (be|have|not|contain|match|specify|set|provide)|(not|isn't|aren't) (allowed|supported|permitted|valid|implemented|defined|possible|recognized|enabled|installed)|unsupported|invalid|unknown (flag|command|field|type|key|provider|image)|cannot be (empty|null|used|set|parsed)|missing|mismatch|malformed|(unable|failed|could not|cannot|can't) (to )?(parse|decode|convert|unmarshal)|denied|rejected|disallowed|deprecated|conflicts? with|conflicting|insufficient (scope|permission|privilege|quota|access|rights)s?|may (not|only)|should (be|have|match|not|only)|already (in use|bound|defined|managed|marked|assigned|set)|(does not|doesn't|do not|don't|not) (match|conform|fit)|too (long|short|many|few|large|big)|forbidden|prohibited|incompatible|validation (failed|error|failure)|compilation error|could not find|(unable|failed|couldn't) to (find|resolve|recognize|locate)|couldn't find|undefined|no such|read-?only|duplicate|out of (range|bounds)|not a valid|no \w+ (found|provided|defined|configured)|expected|permission denied|no space left)([\s:.,;!)'\x22\]]|$)",
        ], "words by which programs refuse what they are given", "common use").fallback(),
        transient("delaying-words", &[
            r"(?i)(^|[\s:'(\[])(timed out|timeout( (exceeded|expired|while|occurred|reached|error|after|waiting|awaiting)|[:.!)]|$)|try again( later)?|retry later|please retry|temporar(y|ily) (unavailable|failure|error|overloaded|out of|problem)|(is |currently )unavailable|overloaded|throttl(ed|ing)|not yet (ready|available|initialized|synced|established)|is not ready|not ready yet|deadline exceeded|shutting down|starting up|being (deleted|terminated)|not (yet )?(initialized|synced|synchroni[sz]ed|started)|unreachable|connection (failed|failure|error|problem|lost|dropped|timeout)|(will|please) (be )?retr(y|ied)|busy|disconnected|metadata service)",
        ], "words by which programs ask for patience", "common use").fallback(),
    ],
};
