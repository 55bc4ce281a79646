//! Which secrets a command is about: the one selection of all commands.

use glob::{MatchOptions, Pattern};

use crate::config;

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
}

/// What a secret is selected by.
pub(super) trait Selectable {
    /// Its name.
    fn name(&self) -> &str;
    /// Its environment.
    fn environment(&self) -> &str;
}

impl Selection {
    /// One secret by its name.
    pub(super) fn of(name: &str) -> Selection {
        Selection {
            names: vec![name.to_owned()],
            environment: None,
        }
    }

    /// The secrets that are meant, in their order; without names, all that pass the filter.
    ///
    /// # Errors
    /// A sentence: what was asked for does not exist.
    pub(super) fn choose<'a, T: Selectable>(&self, all: &'a [T]) -> Result<Vec<&'a T>, String> {
        let only = self.environment.as_deref();
        let here: Vec<&T> = all
            .iter()
            .filter(|secret| only.is_none_or(|only| only == secret.environment()))
            .collect();
        if let (Some(only), []) = (only, &here[..]) {
            let known = all.iter().map(Selectable::environment);
            let sentence = format!("no secret of the configuration has the environment {only}");
            return Err(with_suggestion(sentence, only, known));
        }
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

    /// Which of these secrets a name or pattern means; at least one.
    fn matches<T: Selectable>(&self, wanted: &str, here: &[&T]) -> Result<Vec<bool>, String> {
        let exact: Vec<bool> = here.iter().map(|secret| secret.name() == wanted).collect();
        if exact.contains(&true) {
            return Ok(exact);
        }
        let only = self.environment.as_ref();
        let there = only.map_or(String::new(), |only| format!(" for the environment {only}"));
        if !is_pattern(wanted) {
            let sentence = format!("{wanted} is not in the configuration{there}");
            let known = here.iter().map(|secret| secret.name());
            return Err(with_suggestion(sentence, wanted, known));
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
    use super::*;

    impl Selectable for (&str, &str) {
        fn name(&self) -> &str {
            self.0
        }
        fn environment(&self) -> &str {
            self.1
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
            // In the order of the configuration, each once; a full name is no pattern.
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
    fn only_full_names_are_explicit() {
        let of = |names: &[&str]| Selection {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            environment: None,
        };
        assert!(of(&["a", "b"]).is_explicit() && of(&["a"]).names_in_full("a"));
        assert!(!of(&["a", "b*"]).is_explicit() && !of(&["b*"]).names_in_full("bc"));
        assert!(!of(&[]).is_explicit(), "all that pass the filter");
    }
}
