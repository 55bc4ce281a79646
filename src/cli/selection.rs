//! Which secrets a command is about: the one selection of all commands.

use std::collections::BTreeSet;

use glob::{MatchOptions, Pattern};

use crate::config;
use crate::labels::{Label, Labels};

/// `*` stays within a segment of a name; only `**` crosses `/`.
const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// Names, patterns and filters.
#[derive(clap::Args, Clone, Default)]
pub(super) struct Selection {
    /// Names of secrets, or quoted patterns: `*` matches within a segment, `**` across segments.
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Select only secrets of this environment.
    #[arg(long, value_name = "ENVIRONMENT")]
    pub(super) environment: Option<String>,
    /// Select only secrets with this label; repeat it to require several.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub(super) labels: Vec<Label>,
}

/// What a secret is selected by.
pub(super) trait Selectable {
    /// Its name.
    fn name(&self) -> &str;
    /// Its environment.
    fn environment(&self) -> &str;
    /// Its labels.
    fn labels(&self) -> &Labels;
}

impl Selection {
    /// One secret by its name.
    pub(super) fn of(name: &str) -> Selection {
        Selection {
            names: vec![name.to_owned()],
            ..Selection::default()
        }
    }

    /// Neither a name nor a filter was given.
    pub(super) fn is_everything(&self) -> bool {
        self.names.is_empty() && self.environment.is_none() && self.labels.is_empty()
    }

    /// The secrets that are meant, in their order; without names, all that pass the filter.
    ///
    /// # Errors
    /// A sentence: what was asked for does not exist.
    pub(super) fn choose<'a, T: Selectable>(&self, all: &'a [T]) -> Result<Vec<&'a T>, String> {
        let here = self.filter(all)?;
        let mut meant = vec![self.names.is_empty(); here.len()];
        for name in &self.names {
            let found = self.matches(name, &here)?;
            for (meant, found) in meant.iter_mut().zip(found) {
                *meant |= found;
            }
        }
        let chosen = here.into_iter().zip(meant);
        Ok(chosen
            .filter_map(|(secret, meant)| meant.then_some(secret))
            .collect())
    }

    /// The secrets that pass the filters; at least one, if there is a filter.
    fn filter<'a, T: Selectable>(&self, all: &'a [T]) -> Result<Vec<&'a T>, String> {
        let mut here: Vec<&T> = all.iter().collect();
        if let Some(only) = self.environment.as_deref() {
            let known: Vec<&str> = here.iter().map(|secret| secret.environment()).collect();
            here.retain(|secret| secret.environment() == only);
            if here.is_empty() {
                let sentence = format!("no secret of the configuration has the environment {only}");
                return Err(with_suggestion(sentence, only, known));
            }
        }
        for label in &self.labels {
            let all_labels = here.iter().flat_map(|secret| secret.labels().iter());
            let known: BTreeSet<String> = all_labels
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            here.retain(|secret| secret.labels().match_all(std::slice::from_ref(label)));
            if here.is_empty() {
                let sentence = format!("no secret of this selection has the label {label}");
                let wrong = label.to_string();
                let known = known.iter().map(String::as_str);
                return Err(with_suggestion(sentence, &wrong, known));
            }
        }
        Ok(here)
    }

    /// Where it was looked for, for a sentence.
    fn there(&self) -> String {
        let environment = self.environment.iter();
        let environment = environment.map(|only| format!(" for the environment {only}"));
        let labels = self.labels.iter();
        let labels = labels.map(|label| format!(" with the label {label}"));
        environment.chain(labels).collect()
    }

    /// Which of these secrets a name or pattern means; at least one.
    fn matches<T: Selectable>(&self, wanted: &str, here: &[&T]) -> Result<Vec<bool>, String> {
        let exact: Vec<bool> = here.iter().map(|secret| secret.name() == wanted).collect();
        if exact.contains(&true) {
            return Ok(exact);
        }
        let there = self.there();
        if !is_pattern(wanted) {
            let sentence = format!("{wanted} is not in the configuration{there}");
            let names = || here.iter().map(|secret| secret.name());
            let below = |name: &&str| {
                let end = name.strip_suffix(wanted);
                end.is_some_and(|folder| folder.ends_with('/'))
            };
            if let (Some(name), None) = (names().find(below), names().filter(below).nth(1)) {
                return Err(format!("{sentence}; did you mean \"{name}\"?"));
            }
            return Err(with_suggestion(sentence, wanted, names()));
        }
        let pattern = Pattern::new(wanted)
            .map_err(|error| format!("the pattern {wanted} is not valid: {}", error.msg))?;
        let found = here
            .iter()
            .map(|secret| pattern.matches_with(secret.name(), MATCHING));
        let found: Vec<bool> = found.collect();
        match found.contains(&true) {
            true => Ok(found),
            false => Err(format!("no secret matches {wanted}{there}")),
        }
    }

    /// The secret was named in full: a person means this one, not whatever a pattern finds.
    pub(super) fn names_in_full(&self, name: &str) -> bool {
        self.names.iter().any(|one| one == name)
    }

    /// Every secret that is meant was named in full.
    pub(super) fn is_explicit(&self) -> bool {
        !self.names.is_empty() && !self.names.iter().any(|name| is_pattern(name))
    }
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// The sentence, and the known word that was probably meant.
fn with_suggestion<'a>(
    sentence: String,
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> String {
    match config::did_you_mean(wrong, known) {
        Some(question) => format!("{sentence}; {question}"),
        None => sentence,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    impl Selectable for (&str, &str) {
        fn name(&self) -> &str {
            self.0
        }
        fn environment(&self) -> &str {
            self.1
        }
        fn labels(&self) -> &Labels {
            static TEAM_A: LazyLock<Labels> =
                LazyLock::new(|| Labels::from_iter([("team", "a-team")]));
            static NONE: LazyLock<Labels> = LazyLock::new(Labels::default);
            match self.0.ends_with("/a") {
                true => &TEAM_A,
                false => &NONE,
            }
        }
    }

    const ALL: [(&str, &str); 5] = [
        ("dynatrace/prod/a", "prod"),
        ("dynatrace/prod/b", "prod"),
        ("dynatrace/prod/deep/c", "prod"),
        ("dynatrace/test/a", "test"),
        ("odd*name", "test"),
    ];

    fn chosen(names: &[&str], environment: Option<&str>) -> Result<Vec<&'static str>, String> {
        let selection = Selection {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            environment: environment.map(str::to_owned),
            labels: vec![],
        };
        let found = selection.choose(&ALL)?;
        Ok(found.into_iter().map(|secret| secret.0).collect())
    }

    #[test]
    fn one_star_stays_within_a_segment_and_two_cross_it() {
        let all = ALL.map(|secret| secret.0);
        for (names, environment, expected) in [
            (&[][..], None, &all[..]),
            (&["dynatrace/prod/*"], None, &all[..2]),
            (&["dynatrace/prod/**"], None, &all[..3]),
            (&["**/a"], None, &["dynatrace/prod/a", "dynatrace/test/a"]),
            (&["**/a"], Some("test"), &["dynatrace/test/a"]),
            (&["*"], None, &["odd*name"]),
            (&["dynatrace/*/[ab]"], Some("prod"), &all[..2]),
            (&[], Some("prod"), &all[..3]),
            // In the order of the configuration, each once; a full name is not a pattern.
            (
                &["odd*name", "dynatrace/prod/b", "dynatrace/prod/?"],
                None,
                &[all[0], all[1], all[4]],
            ),
        ] {
            assert_eq!(chosen(names, environment).unwrap(), expected, "{names:?}");
        }
    }

    #[test]
    fn p7_what_means_no_secret_is_refused_with_what_was_probably_meant() {
        for (names, environment, sentence) in [
            (
                &["dynatrace/prod/a", "dynatrace/prd/b"][..],
                None,
                "dynatrace/prd/b is not in the configuration; did you mean \"dynatrace/prod/b\"?",
            ),
            (
                &["dynatrace/test/a"],
                Some("prod"),
                "dynatrace/test/a is not in the configuration for the environment prod; did you mean \"dynatrace/prod/a\"?",
            ),
            (
                &[],
                Some("tset"),
                "no secret of the configuration has the environment tset; did you mean \"test\"?",
            ),
            (&["dynatrace/*"], None, "no secret matches dynatrace/*"),
            (
                &["dynatrace/**x"],
                None,
                "the pattern dynatrace/**x is not valid: recursive wildcards must form a single path component",
            ),
        ] {
            assert_eq!(chosen(names, environment).unwrap_err(), sentence);
        }
    }

    #[test]
    fn labels_join_names_and_environment() {
        let chosen = |names: &[&str], environment: Option<&str>, label: &str| {
            let selection = Selection {
                names: names.iter().map(|&name| name.to_owned()).collect(),
                environment: environment.map(str::to_owned),
                labels: vec![label.parse().unwrap()],
            };
            let found = selection.choose(&ALL)?;
            Ok(found.into_iter().map(|secret| secret.0).collect::<Vec<_>>())
        };
        let both = ["dynatrace/prod/a", "dynatrace/test/a"];
        assert_eq!(chosen(&[], None, "team=a-team").unwrap(), both);
        assert_eq!(chosen(&[], Some("test"), "team=a-team").unwrap(), both[1..]);
        assert_eq!(
            chosen(&["**/prod/*"], None, "team=a-team").unwrap(),
            both[..1]
        );
        let refused: Result<_, String> = chosen(&[], None, "team=b-team");
        assert_eq!(
            refused.unwrap_err(),
            "no secret of this selection has the label team=b-team; did you mean \"team=a-team\"?"
        );
        let refused = chosen(&["dynatrace/prod/b"], None, "team=a-team");
        let sentence = refused.unwrap_err();
        assert!(
            sentence.starts_with(
                "dynatrace/prod/b is not in the configuration with the label team=a-team"
            ),
            "{sentence}"
        );
    }

    #[test]
    fn only_full_names_are_explicit() {
        let of = |names: &[&str]| Selection {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            ..Selection::default()
        };
        assert!(of(&["a", "b"]).is_explicit() && of(&["a"]).names_in_full("a"));
        assert!(!of(&["a", "b*"]).is_explicit() && !of(&["b*"]).names_in_full("bc"));
        assert!(!of(&[]).is_explicit(), "all that pass the filter");
    }
}
