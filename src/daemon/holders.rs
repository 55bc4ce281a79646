//! Which secret holds which token, as far as that is known: an old token that is the current one of another secret is never retired. Kept by
//! difference.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rotation::request::CurrentTokens;
use rotation::token::TokenId;

use super::queue::Key;
use crate::config::ACTIVE_GATES;

/// What a secret holds: none = not known yet; then none = nothing.
pub type Held = Option<Option<TokenId>>;

/// The tokens of the configured secrets.
#[derive(Default)]
pub struct Holders {
    /// By secret: its environment's URL and what it holds.
    secrets: HashMap<Key, (Arc<str>, Held)>,
    index: CurrentTokens,
    /// How many secrets of an environment are not known yet, by its URL.
    unknown: BTreeMap<Arc<str>, usize>,
    /// Those of `secrets` that are in nobody's configuration here: their documents are closed, and show a current token.
    left: BTreeSet<Key>,
}

/// A secret that is in nobody's configuration here, with the URL of its environment and the token that it holds.
pub type LeftSecret = (Key, String, TokenId);

/// The environment of an issuer: a value may also be a token of the other kind.
fn environment(base_url: &str) -> &str {
    base_url.strip_suffix(ACTIVE_GATES).unwrap_or(base_url)
}

impl Holders {
    /// Notes what a secret of the environment at `base_url` holds.
    pub fn set(&mut self, name: &Key, base_url: &str, held: Option<Option<&TokenId>>) {
        self.left.remove(name);
        let base_url = environment(base_url);
        let same = self.secrets.get(name).is_some_and(|(url, known)| {
            &**url == base_url && known.as_ref().map(Option::as_ref) == held
        });
        if same {
            return;
        }
        self.remove(name);
        let url = match self.unknown.get_key_value(base_url) {
            Some((url, _)) => url.clone(),
            None => base_url.into(),
        };
        let unknown = self.unknown.entry(url.clone()).or_default();
        match held {
            None => *unknown += 1,
            Some(None) => {}
            Some(Some(id)) => {
                let names = self.index.entry(id.clone()).or_default();
                // There is hardly ever another one.
                names.reserve_exact(1);
                names.push(name.clone());
            }
        }
        let held = held.map(|held| held.cloned());
        self.secrets.insert(name.clone(), (url, held));
    }

    /// A secret left the configuration, and its last token stays as it is.
    pub fn leave(&mut self, (name, base_url, token): LeftSecret) {
        self.set(&name, &base_url, Some(Some(&token)));
        self.left.insert(name);
    }

    /// These secrets left the configuration, and no others.
    pub fn set_left(&mut self, all: Vec<LeftSecret>) {
        for name in std::mem::take(&mut self.left) {
            if !all.iter().any(|(left, ..)| *left == name) {
                self.remove(&name);
            }
        }
        all.into_iter().for_each(|secret| self.leave(secret));
    }

    /// It left the configuration, and still holds a token.
    pub fn is_left(&self, name: &str) -> bool {
        self.left.contains(name)
    }

    /// A secret holds nothing that is known here.
    pub fn remove(&mut self, name: &str) {
        self.left.remove(name);
        let Some((url, held)) = self.secrets.remove(name) else {
            return;
        };
        match held {
            None => {
                if let Some(unknown) = self.unknown.get_mut(&url) {
                    *unknown -= 1;
                }
            }
            Some(None) => {}
            Some(Some(id)) => self.index.change(id, |names| {
                names.retain(|other| **other != *name);
                !names.is_empty()
            }),
        }
    }

    /// The tokens that the secrets hold; none while that is not known of one in the environment at this URL: it may be the very token that is
    /// to retire.
    pub fn index(&self, base_url: &str) -> Option<CurrentTokens> {
        let unknown = self
            .unknown
            .get(environment(base_url))
            .copied()
            .unwrap_or_default();
        (unknown == 0).then(|| self.index.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://a";

    fn id(text: &str) -> TokenId {
        TokenId::new(format!("dt0c01.{text}"))
    }

    fn holders(of: &Holders, token: &str) -> Vec<String> {
        let index = of.index(URL).expect("all are known");
        let names = index.get(&id(token)).cloned().unwrap_or_default();
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn a_token_is_held_by_those_who_hold_it_now() {
        let mut all = Holders::default();
        all.set(&"a".into(), URL, Some(Some(&id("X"))));
        all.set(&"b".into(), URL, Some(Some(&id("X"))));
        assert_eq!(holders(&all, "X"), ["a", "b"]);
        let before = all.index(URL).unwrap();
        all.set(&"a".into(), URL, Some(Some(&id("Y"))));
        assert_eq!(holders(&all, "X"), ["b"]);
        assert_eq!(holders(&all, "Y"), ["a"]);
        assert_eq!(before.get(&id("X")).unwrap().len(), 2, "a copy stays");
        all.remove("b");
        assert!(holders(&all, "X").is_empty());
    }

    #[test]
    fn p3_a_secret_that_left_holds_its_token_as_long_as_its_document_says_so() {
        let mut all = Holders::default();
        let left = |name: &str, token| (Key::from(name), URL.to_owned(), id(token));
        all.set(&"a".into(), URL, Some(Some(&id("X"))));
        all.leave(left("b", "X"));
        assert_eq!(holders(&all, "X"), ["a", "b"]);
        all.set_left(vec![left("b", "X"), left("c", "Y")]);
        assert_eq!(holders(&all, "X"), ["a", "b"]);
        all.set_left(vec![left("c", "Y")]);
        assert_eq!(holders(&all, "X"), ["a"]);
        // It is in the configuration again.
        all.set(&"c".into(), URL, Some(None));
        all.set_left(vec![]);
        assert!(holders(&all, "Y").is_empty() && !all.is_left("c"));
    }

    #[test]
    fn a_value_of_the_other_kind_of_the_same_environment_counts() {
        let mut all = Holders::default();
        all.set(&"gate".into(), &format!("{URL}{ACTIVE_GATES}"), None);
        assert!(all.index(URL).is_none());
    }

    #[test]
    fn nothing_is_said_of_an_environment_while_one_of_its_secrets_is_unknown() {
        let mut all = Holders::default();
        all.set(&"a".into(), URL, None);
        all.set(&"b".into(), "https://b", Some(None));
        assert!(all.index(URL).is_none() && all.index("https://b").is_some());
        all.set(&"a".into(), "https://b", None);
        assert!(all.index(URL).is_some() && all.index("https://b").is_none());
        all.set(&"a".into(), "https://b", Some(None));
        all.set(&"a".into(), "https://b", Some(None));
        assert!(all.index("https://b").is_some());
    }
}
