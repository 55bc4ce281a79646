//! Which secret holds which token, as far as that is known: an old token that is the current one of another secret is never retired. Kept by
//! difference.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rotation::request::CurrentTokens;
use rotation::token::TokenId;

use super::queue::Key;

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
}

impl Holders {
    /// Notes what a secret of the environment at `base_url` holds.
    pub fn set(&mut self, name: &Key, base_url: &str, held: Option<Option<&TokenId>>) {
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

    /// A secret is gone from the configuration.
    pub fn remove(&mut self, name: &str) {
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
        let unknown = self.unknown.get(base_url).copied().unwrap_or_default();
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
