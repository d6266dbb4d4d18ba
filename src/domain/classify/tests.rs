use super::*;

fn class(message: &str) -> Class {
    Classifier::default().verdict(message.into()).class
}

#[test]
fn rule_names_are_unique_and_kebab_case() {
    let names: std::collections::BTreeSet<_> = built_in().map(|(_, rule)| rule.name).collect();
    assert_eq!(names.len(), built_in().count());
    assert!(!names.contains(Verdict::NO_RULE));
    assert!(names.iter().all(|name| {
        name.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    }));
}

#[test]
fn every_benign_rule_is_anchored_or_goes_by_the_reason() {
    for (_, rule) in built_in().filter(|(_, rule)| rule.class == Class::Benign) {
        let mut patterns = rule.patterns.iter();
        assert!(
            patterns.all(|pattern| pattern.starts_with('^')),
            "{}",
            rule.name
        );
        assert!(
            !rule.patterns.is_empty() || !rule.reasons.is_empty(),
            "{}",
            rule.name
        );
    }
}

#[test]
fn every_pattern_compiles_alone_and_matches_something() {
    for (_, rule) in built_in() {
        for pattern in rule.patterns {
            assert_eq!(check(pattern), Ok(()), "{}: {pattern}", rule.name);
        }
    }
}

#[test]
fn the_log_tail_is_never_looked_at() {
    assert_eq!(
        class("qwerty\n\nLast Helm logs:\n\ncontext deadline exceeded"),
        Class::Unknown
    );
}

#[test]
fn one_of_several_failures_that_nobody_knows_makes_the_whole_unknown() {
    assert_eq!(
        class("2 errors occurred:\n\t* connection refused\n\t* qwerty\n\n"),
        Class::Unknown
    );
    assert_eq!(
        class("2 errors occurred:\n\t* connection refused\n\t* EOF\n\n"),
        Class::Transient
    );
}

#[test]
fn an_exception_hides_only_what_lies_inside_its_match() {
    let quota = "pods \"a\" is forbidden: status unknown for quota: small, resources: pods";
    let rights = "pods \"b\" is forbidden: User \"x\" cannot create resource \"pods\"";
    assert_eq!(class(quota), Class::Transient);
    assert_eq!(class(rights), Class::Permanent);
    assert_eq!(class(&format!("{quota} && {rights}")), Class::Permanent);
}

#[test]
fn what_fires_is_listed_in_the_order_in_which_it_counts() {
    let message = "x: context deadline exceeded; field is immutable";
    let fired = Classifier::default().fired(message.into()).fired;
    let names: Vec<_> = fired
        .iter()
        .map(|fired| (fired.rule.name, &message[fired.span.clone()]))
        .collect();
    assert_eq!(names[0], ("immutable-field", "field is immutable"));
    assert!(names.contains(&("deadline", "context deadline exceeded")));
}
