//! One view of the status: what a filter leaves, in pages, so that it stays small however many secrets there are.

use std::collections::BTreeSet;

use crate::labels::Label;

use super::condition::Condition;
use super::secret::{Secret, State};
use super::status::{Part, Status};

/// Secrets of a page: with their conditions less than 200 kB.
const PAGE: usize = 100;

/// What a reader asks for behind `?`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// `q=`: a part of a name, a place in Vault or a token's id, in any case.
    pub text: String,
    /// `environment=`.
    pub environment: String,
    /// `label=team=checkout`; repeated, all of them.
    pub labels: Vec<Label>,
    /// `state=`.
    pub state: Option<State>,
    /// The same, of a word that is not a state.
    pub unknown_state: Option<String>,
    /// `page=`, from 1.
    pub page: Page,
    /// `refresh=off`: the page in a browser stays as it is.
    pub is_still: bool,
}

/// Which secrets of those that the filter leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// `page=N`; the first is 1.
    Number(usize),
    /// `page=all`.
    All,
}

impl Default for Page {
    fn default() -> Self {
        Page::Number(1)
    }
}

impl Query {
    /// What is behind the `?` of an address. What it does not know is ignored.
    pub fn parse(query: &str) -> Query {
        let mut parsed = Query::default();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let value = value.trim();
            match &*key {
                "q" => parsed.text = value.to_owned(),
                "environment" => parsed.environment = value.to_owned(),
                "label" => parsed.labels.push(label(value)),
                "state" => {
                    parsed.state = State::ALL.into_iter().find(|one| one.as_str() == value);
                    let is_unknown = parsed.state.is_none() && !value.is_empty();
                    parsed.unknown_state = is_unknown.then(|| value.to_owned());
                }
                "page" if value == "all" => parsed.page = Page::All,
                "page" => parsed.page = Page::Number(value.parse().unwrap_or(1).max(1)),
                "refresh" => parsed.is_still = value == "off",
                _ => {}
            }
        }
        parsed
    }

    /// Why it cannot be answered: a misspelt state must not look like one that no secret is in, and still less like all of them.
    pub fn problem(&self) -> Option<String> {
        let unknown = self.unknown_state.as_ref()?;
        let states = State::ALL.map(State::as_str).join(", ");
        Some(format!(
            "unknown state {unknown:?}; the states are {states}"
        ))
    }

    /// The address of this view, relative to the page.
    pub fn address(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let mut put = |key, value: &str| {
            if !value.is_empty() {
                query.append_pair(key, value);
            }
        };
        put("q", &self.text);
        put("environment", &self.environment);
        for label in &self.labels {
            put("label", &label.to_string());
        }
        put("state", self.state.map_or("", State::as_str));
        put("refresh", if self.is_still { "off" } else { "" });
        match self.page {
            Page::Number(1) => {}
            Page::Number(number) => put("page", &number.to_string()),
            Page::All => put("page", "all"),
        }
        format!("?{}", query.finish())
    }

    /// It does not ask for all secrets.
    pub fn is_filtered(&self) -> bool {
        let unfiltered = Query {
            page: self.page,
            is_still: self.is_still,
            ..Query::default()
        };
        *self != unfiltered
    }

    fn leaves(&self, secret: &Secret) -> bool {
        let text = self.text.to_lowercase();
        let has = |part: &str| part.to_lowercase().contains(&text);
        (self.environment.is_empty() || self.environment == secret.environment)
            && secret.labels.match_all(&self.labels)
            && self.state.is_none_or(|state| state == secret.state)
            && (has(&secret.name) || has(&secret.place) || secret.has_token(&self.text))
    }

    /// The environment is not the one that is asked for.
    fn is_elsewhere(&self, condition: &Condition) -> bool {
        let environment = condition.environment.as_deref();
        !self.environment.is_empty() && environment.is_some_and(|one| one != self.environment)
    }

    /// The part of `status` that is asked for: the secrets that need a human first, the conditions of these, and those of no secret.
    pub fn of(&self, status: &Status) -> Status {
        self.page_of(self.filtered(status))
    }

    /// All secrets that the filter leaves, with what is open about them and about no secret.
    pub fn filtered(&self, status: &Status) -> Status {
        let left = status.without(&names(&status.secrets, |secret| !self.leaves(secret)));
        left.narrowed(|condition| !self.is_elsewhere(condition), |_| true)
    }

    /// One page of what the filter left.
    pub fn page_of(&self, left: Status) -> Status {
        let Page::Number(number) = self.page else {
            return left;
        };
        let pages = left.secrets.len().div_ceil(PAGE).max(1);
        let number = number.min(pages);
        let shown = left.worst_first().into_iter();
        let shown = shown.skip((number - 1) * PAGE).take(PAGE);
        let shown: BTreeSet<&str> = shown.map(|secret| secret.name.as_str()).collect();
        let others = names(&left.secrets, |secret| {
            !shown.contains(secret.name.as_str())
        });
        let mut part = left.without(&others);
        part.counts = left.counts;
        part.part = Part {
            page: number,
            pages,
        };
        part
    }
}

fn names(secrets: &[Secret], which: impl Fn(&Secret) -> bool) -> BTreeSet<&str> {
    let chosen = secrets.iter().filter(|secret| which(secret));
    chosen.map(|secret| secret.name.as_str()).collect()
}

/// A text that is not a label counts as one that no secret has.
fn label(text: &str) -> Label {
    text.parse().unwrap_or_else(|_| Label {
        name: text.to_owned(),
        value: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{fixture, page};
    use super::*;

    /// A view of the page and of `/status` stays below this.
    const LARGEST: usize = 200_000;

    fn view(status: &Status, query: &str) -> Status {
        Query::parse(query).of(status)
    }

    fn names(status: &Status) -> Vec<&str> {
        let secrets = status.secrets.iter();
        secrets.map(|secret| secret.name.as_str()).collect()
    }

    #[test]
    fn everything_fits_into_one_page_of_a_few_secrets() {
        let status = fixture::status();
        assert_eq!(view(&status, ""), status);
        assert_eq!(view(&status, "page=7&nonsense=1"), status);
    }

    #[test]
    fn a_filter_leaves_secrets_with_their_conditions_and_those_of_no_secret() {
        let status = fixture::status();
        let stuck = view(&status, "state=stuck");
        assert_eq!(names(&stuck), ["dynatrace/stuck"]);
        assert_eq!((stuck.counts.secrets, stuck.counts.errors), (1, 2));
        assert_eq!(stuck.conditions.len(), 2, "the clock's and its own");
        assert_eq!(names(&view(&status, "q=STUCK")), ["dynatrace/stuck"]);
        let id = "q=dt0c01.STUCKAAAAAAAAAAAAAAAAAAA";
        assert_eq!(names(&view(&status, id)), ["dynatrace/stuck"]);
        assert_eq!(view(&status, "environment=prod"), status);
        let labelled = view(&status, "label=team%3Dcheckout");
        assert_eq!(names(&labelled), ["dynatrace/healthy"]);
        assert_eq!(labelled.conditions.len(), 1, "the clock's");
        for none in ["label=team%3Dcheckout&label=tier%3D1", "label=team"] {
            assert!(view(&status, none).secrets.is_empty(), "{none}");
        }
        let nothing = view(&status, "environment=test");
        assert!(nothing.secrets.is_empty());
        assert_eq!(nothing.conditions.len(), 1, "the clock's");
    }

    #[test]
    fn a_state_that_there_is_not_is_a_problem() {
        let problem = Query::parse("state=stuk").problem().unwrap();
        assert!(
            problem.starts_with("unknown state \"stuk\"") && problem.contains("stuck, "),
            "{problem}"
        );
        for fine in ["", "state=", "state=stuck", "environment=nosuch"] {
            assert_eq!(Query::parse(fine).problem(), None, "{fine}");
        }
    }

    #[test]
    fn an_address_says_what_is_asked_for() {
        for address in [
            "?",
            "?q=a%26b&environment=prod&state=stuck&refresh=off&page=3",
            "?label=team%3Dcheckout&label=tier%3D1",
            "?page=all",
        ] {
            assert_eq!(Query::parse(&address[1..]).address(), address);
        }
    }

    #[test]
    fn ten_thousand_secrets_are_shown_in_pages_the_worst_first() {
        for is_healthy in [true, false] {
            let status = fixture::many(10_000, is_healthy);
            let query = Query::default();
            let first = query.of(&status);
            assert_eq!(
                first.part,
                Part {
                    page: 1,
                    pages: 100
                }
            );
            assert_eq!(first.counts, status.counts);
            assert!(first.troubles.iter().all(|trouble| {
                names(&first).contains(&trouble.secret.as_deref().unwrap_or_default())
            }));
            let json = serde_json::to_string(&first).unwrap();
            assert!(json.len() < LARGEST, "{}", json.len());
            let extras = fixture::extras(&status);
            let html = page::render(&first, &query, &extras);
            assert!(html.len() < LARGEST, "{}", html.len());
            let mut all = vec![];
            for page in 1..=100 {
                let part = view(&status, &format!("page={page}"));
                all.extend(part.secrets.into_iter().map(|secret| secret.name));
            }
            assert_eq!(all.len(), 10_000);
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 10_000);
            assert_eq!(view(&status, "page=all"), status);
        }
        let status = fixture::many(10_000, true);
        let first = view(&status, "");
        assert!(
            names(&first).contains(&"dynatrace/service-09999"),
            "the one that is stuck"
        );
    }
}
