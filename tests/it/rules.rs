//! Each built-in rule, on lines of its own: `tests/fixtures/rules.txt`.

use std::collections::BTreeMap;

use helmreboot::domain::{
    classify::{Class, Classifier, Entry, check},
    failure_text::{FailureText, head},
    rules::{FAMILIES, OWN, Rank, Rule, built_in},
};
use proptest::prelude::*;

use crate::corpus::{corpus, expect_none, own};

/// Lines of one rule: whether it shall name the verdict, the reason, the message.
type Lines = Vec<(bool, &'static str, String)>;

fn lines() -> BTreeMap<&'static str, Lines> {
    let (mut lines, mut rule) = (BTreeMap::<_, Lines>::new(), "");
    for line in include_str!("../fixtures/rules.txt").lines() {
        match line.split_once(' ') {
            Some((sign @ ("+" | "-"), text)) => {
                let (reason, message) = match text.strip_prefix('[') {
                    Some(rest) => rest.split_once("] ").expect("a reason"),
                    None => ("", text),
                };
                let message = message.replace("\\n", "\n").replace("\\t", "\t");
                lines
                    .entry(rule)
                    .or_default()
                    .push((sign == "+", reason, message));
            }
            None if !line.is_empty() => rule = line,
            _ => {}
        }
    }
    lines
}

#[test]
fn every_rule_names_the_verdict_on_its_lines_and_does_not_fire_on_near_misses() {
    let (classifier, lines) = (Classifier::default(), lines());
    let mut wrong = Vec::new();
    for (_, rule) in built_in() {
        let lines = lines.get(rule.name).map_or(&[][..], Vec::as_slice);
        let (own, near): (Vec<_>, Vec<_>) = lines.iter().partition(|(own, ..)| *own);
        if own.len() < 2 || near.is_empty() {
            wrong.push(format!("{} needs two lines and a near miss", rule.name));
        }
        for (own, reason, message) in lines {
            let said = FailureText::by_event(reason, message);
            let verdict = classifier.verdict(said);
            let fired = classifier.fired(said).fired;
            let fires = fired
                .iter()
                .any(|fired| fired.rule.name == rule.name && !fired.excepted);
            if *own != (verdict.rule == rule.name) || (!own && fires) {
                wrong.push(format!(
                    "{}: {} by {}: {message}",
                    rule.name,
                    verdict.class.as_str(),
                    verdict.rule
                ));
            }
        }
    }
    for name in lines.keys() {
        if !built_in().any(|(_, rule)| rule.name == *name) {
            wrong.push(format!("there is no rule {name}"));
        }
    }
    expect_none(&wrong);
}

#[test]
fn no_line_of_a_rule_is_taken_from_the_corpus() {
    let known: Vec<_> = corpus().into_iter().map(|line| line.message).collect();
    for (name, lines) in lines() {
        for (_, _, message) in lines {
            assert!(!known.contains(&message), "{name}: {message}");
        }
    }
}

/// Lasting failures with words in them that strangers chose: names, values, texts of policies.
#[test]
fn no_stranger_s_words_make_a_lasting_failure_pass() {
    let classifier = Classifier::default();
    for line in include_str!("../fixtures/strangers.jsonl").lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line");
        let text = |field: &str| line[field].as_str().expect("a text");
        let verdict = classifier.verdict(FailureText::by_event(text("reason"), text("message")));
        let passing = [Class::Transient, Class::Benign].contains(&verdict.class);
        assert!(!passing, "{} by {}", text("message"), verdict.rule);
    }
}

#[test]
fn what_is_too_long_to_be_read_is_never_passing() {
    let classifier = Classifier::default();
    let long = |between: usize| {
        let head = "Helm upgrade failed: ".to_owned();
        head + &"cannot patch \"x\": unexpected EOF && ".repeat(between) + "connection refused"
    };
    let class = |message: &str| classifier.verdict(message.into()).class;
    assert_eq!(class(&long(1000)), Class::Transient);
    assert_eq!(class(&long(3000)), Class::Unknown);
    let hidden =
        long(500) + " && Job.batch \"y\" is invalid: spec: field is immutable && " + &long(500);
    assert_eq!(class(&hidden), Class::Permanent);
}

#[test]
fn every_family_and_rule_says_what_it_is_about() {
    for family in FAMILIES {
        assert!(
            !family.about.is_empty() && !family.rules.is_empty(),
            "{}",
            family.name
        );
        for rule in family.rules {
            assert!(
                !rule.description.is_empty() && !rule.source.is_empty(),
                "{}",
                rule.name
            );
            assert!((1..=1000).contains(&rule.budget), "{}", rule.name);
        }
    }
}

/// What lasts, in the words of every permanent rule that counts anywhere.
fn lasting_lines() -> Vec<String> {
    let lines = lines();
    let strong = built_in().filter(|(_, rule)| {
        let anywhere = rule
            .patterns
            .iter()
            .all(|pattern| !pattern.starts_with('^'));
        rule.class == Class::Permanent
            && rule.rank == Rank::Ordinary
            && anywhere
            && !rule.patterns.is_empty()
    });
    let own = strong.flat_map(|(_, rule)| lines[rule.name].iter().filter(|(own, ..)| *own));
    // A sentence that has to end the message cannot stand in front of another.
    own.map(|(_, _, message)| message.clone())
        .filter(|message| !message.ends_with("..."))
        .collect()
}

/// Words a stranger may try, and every message known to pass.
fn passing_lines() -> Vec<String> {
    let known = corpus().into_iter().chain(own());
    let known = known
        .filter(|line| line.class == "transient")
        .map(|line| line.message);
    let words = [
        "context deadline exceeded",
        "connection refused",
        "\n\t* EOF",
        " && timed out waiting for the condition",
        "try again later",
    ];
    known.chain(words.map(str::to_owned)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_get_a_verdict(bytes in proptest::collection::vec(any::<u8>(), 0..4000), reason in "\\PC{0,30}") {
        let message = String::from_utf8_lossy(&bytes);
        let said = FailureText::by_event(&reason, &message);
        let classifier = Classifier::built_in();
        let verdict = classifier.verdict(said);
        let fired = classifier.fired(said).fired;
        prop_assert!(verdict.class == Class::Unknown || fired.iter().any(|fired| fired.rule.name == verdict.rule));
    }

    #[test]
    fn any_message_and_any_pattern_get_a_verdict(
        parts in proptest::collection::vec(prop::sample::select(&PATTERN_PARTS[..]), 1..5),
        rank in prop::sample::select(Rank::ALL),
        message in proptest::collection::vec(prop::sample::select(&MESSAGE_PARTS[..]), 0..12),
        noise in "\\PC{0,12}",
    ) {
        let pattern = parts.concat();
        if check(&pattern).is_err() {
            return Ok(());
        }
        let message = format!("{noise}{}{noise}", message.concat());
        let classifier = with_own_rule(&pattern, rank);
        let verdict = classifier.verdict(message.as_str().into());
        let explained = classifier.fired(message.as_str().into());
        prop_assert!(explained.fired.iter().all(|fired| fired.span.end <= explained.text.len()));
        prop_assert!(verdict.class == Class::Unknown || classifier.find(verdict.rule).is_some());
    }

    #[test]
    fn a_log_tail_changes_nothing(index in any::<prop::sample::Index>(), tail in "\\PC{0,200}", lasting in any::<prop::sample::Index>()) {
        let known: Vec<_> = corpus().into_iter().chain(own()).collect();
        let line = index.get(&known);
        let all = lasting_lines();
        let classifier = Classifier::built_in();
        let head = head(&line.message);
        let said = |message| FailureText::by_event(&line.reason, message);
        let before = classifier.verdict(said(head));
        let after = format!("{head}\n\nLast Helm logs:\n\n{tail}{}", lasting.get(&all));
        prop_assert_eq!(classifier.verdict(said(&after)), before);
    }

    #[test]
    fn a_permanent_sentence_is_never_outvoted(lasting in any::<prop::sample::Index>(), passing in any::<prop::sample::Index>(), between in "( && |\n\t\\* |: |; |, |\n| )", first in any::<bool>()) {
        let (all_lasting, all_passing) = (lasting_lines(), passing_lines());
        let lasting = lasting.get(&all_lasting);
        let passing: &String = passing.get(&all_passing);
        let passing = head(passing);
        let message = if first { format!("{lasting}{between}{passing}") } else { format!("{passing}{between}{lasting}") };
        let verdict = Classifier::built_in().verdict(message.as_str().into());
        prop_assert_ne!(verdict.class, Class::Transient, "{} by {}", message, verdict.rule);
    }

    #[test]
    fn what_a_stranger_writes_changes_nothing(place in any::<prop::sample::Index>(), passing in any::<prop::sample::Index>()) {
        let all_passing = passing_lines();
        let passing: &String = passing.get(&all_passing);
        let message = place.get(&PLACES).replace("{}", head(passing));
        let verdict = Classifier::built_in().verdict(message.as_str().into());
        prop_assert_eq!(verdict.class, Class::Permanent, "{} by {}", message, verdict.rule);
    }
}

/// Parts of patterns that people write, some of which match half a character.
const PATTERN_PARTS: [&str; 14] = [
    "quota exceeded",
    "quota",
    ".",
    ".+",
    ".{2}",
    "[^a]",
    r"\W",
    r"\xe2",
    r"[\x80-\xff]",
    "\"",
    "(?i)QUOTA",
    "$",
    "\n",
    "\u{2026}",
];

/// Parts of messages: quotes, line breaks, and characters of one to four bytes.
const MESSAGE_PARTS: [&str; 14] = [
    "quota exceeded",
    "\u{2026}",
    "\"",
    "\\\"",
    "\n",
    "\u{1f6a8}",
    "\u{201c}",
    "\u{201d}",
    "\u{a0}",
    "(\"EOF\")",
    "desc = \"EOF\"",
    " && ",
    "2 errors occurred:\n\t* ",
    "connection refused",
];

/// The built-in rules and one more, as a configuration file adds it.
fn with_own_rule(pattern: &str, rank: Rank) -> Classifier {
    let patterns: &'static [&'static str] = vec![&*pattern.to_owned().leak()].leak();
    let rule: &'static Rule = Box::leak(Box::new(Rule {
        name: "own-rule",
        class: Class::Transient,
        rank,
        patterns,
        ..Rule::NONE
    }));
    let own = Entry { family: OWN, rule };
    let built_in = Classifier::built_in();
    let all = [own].into_iter().chain(built_in.entries().iter().copied());
    Classifier::new(all.collect()).expect("the pattern was checked")
}

#[test]
fn a_rule_that_matches_half_a_character_between_quotes_gives_a_verdict() {
    let classifier = with_own_rule("quota exceeded.", Rank::Ordinary);
    let verdict = classifier.verdict("\"quota exceeded\u{2026}\"".into());
    assert_eq!(verdict.class, Class::Unknown, "quoted words do not count");
    let verdict = classifier.verdict("quota exceeded\u{2026}".into());
    assert_eq!(verdict.rule, "own-rule");
}

/// Where charts, policies and names put words of their own into a message.
const PLACES: [&str; 12] = [
    "execution error at (api/templates/a.yaml:3:4): {}",
    "template: api/templates/a.yaml:3:4: executing \"api/templates/a.yaml\" at <fail .Values.text>: error calling fail: {}",
    "template: api/templates/a.yaml:3:4: executing \"api/templates/a.yaml\" at <tpl .Values.text .>: error calling tpl: error during tpl function execution for \"{}\": parse error",
    "ConfigMap \"api\" is invalid: data[{}]: Invalid value: \"{}\": a valid config key must consist of alphanumeric characters",
    "admission webhook \"validation.gatekeeper.sh\" denied the request: [owner] you wrote: {}",
    "admission webhook \"validate.kyverno.svc-fail\" denied the request: \n\nresource Pod/a/b was blocked due to the following policies \n\nlabels:\n  owner: 'validation error: {} rule owner failed at path /metadata/'",
    "ValidatingAdmissionPolicy 'owner' with binding 'owner' denied request: {}",
    "values don't meet the specifications of the schema(s) in the following chart(s):\napi:\n- at '/text': '{}' does not match pattern '^a$'\n",
    "failed to create typed patch object (a/b; v1, Kind=ConfigMap): .data[\"{}\"]: field not declared in schema",
    "Apply failed with 1 conflict: conflict with \"{}\" using v1: .data.a",
    "YAML parse error on api/templates/a.yaml: error converting YAML to JSON: yaml: line 3: could not find expected ':' near {}",
    "error while running post render on files: {}",
];

#[test]
fn wordings_of_helm_4_and_cut_messages_have_the_class_of_what_they_say() {
    let classifier = Classifier::default();
    for (message, class) in [
        ("time out waiting for the condition", "transient"),
        (
            "Deployment is not ready: a/b. 0 out of 1 expected pods are ready",
            "transient",
        ),
        ("cannot reuse a name that is still in use", "permanent"),
        ("etcdserver: request is too large", "permanent"),
        ("etcdserver: request timed out", "transient"),
    ] {
        let message = format!("Helm upgrade failed for release a/b with chart c@1.0.0: {message}");
        assert_eq!(
            classifier.verdict(message.as_str().into()).class.as_str(),
            class,
            "{message}"
        );
    }
    let whole = "etcdserver: request is too large";
    for end in 1..whole.len() {
        assert_ne!(
            classifier.verdict(whole[..end].into()).class.as_str(),
            "transient",
            "{}",
            &whole[..end]
        );
    }
}
