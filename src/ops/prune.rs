//! Which tokens `dtrotate prune` ends: what a person asked for, and what is protected from it. Pure.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::audit::{Audited, Relation};
use super::humanize::{relative, span};
use rotation::token::manages_tokens;

/// The tokens that a person asked for: those for which everything here holds.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Not used for this long.
    pub unused: Option<SignedDuration>,
    /// Of this owner.
    pub owner: Option<String>,
    /// Expired.
    pub expired: bool,
    /// Younger ones are protected.
    pub min_age: SignedDuration,
    /// Personal ones are meant as well.
    pub personal: bool,
}

/// What becomes of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It was not asked for.
    Other,
    /// It was asked for, and is left alone.
    Protected(Protection),
    /// It is ended: why.
    Chosen(String),
}

/// Why a token is left alone. The words are an interface: docs/commands.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// A secret of dtrotate holds it, or is retiring it.
    Managed,
    /// dtrotate works with it.
    Management,
    /// It bears the marker of another installation.
    OtherInstallation,
    /// It waits for its deletion already.
    Pruned,
    /// It can create and delete tokens.
    ManagesTokens,
    /// It is a personal access token, and `--personal` was not given.
    Personal,
    /// It is younger than `--min-age`.
    TooYoung,
    /// Its service does not say when it was created.
    AgeUnknown,
}

impl Protection {
    /// What is said of such tokens.
    pub fn description(self) -> &'static str {
        match self {
            Protection::Managed => "belongs to a secret of dtrotate",
            Protection::Management => "is in use as a management token",
            Protection::OtherInstallation => "belongs to another installation of dtrotate",
            Protection::Pruned => "was pruned before",
            Protection::ManagesTokens => "has rights to manage tokens",
            Protection::Personal => "is personal",
            Protection::TooYoung => "is younger than --min-age",
            Protection::AgeUnknown => "is of unknown age",
        }
    }
}

impl Selection {
    /// What becomes of this token.
    pub fn choose(&self, token: &Audited, now: Timestamp) -> Choice {
        let Some(because) = self.because(token, now) else {
            return Choice::Other;
        };
        match self.protection(token, now) {
            Some(protection) => Choice::Protected(protection),
            None => Choice::Chosen(because),
        }
    }

    /// Why the token was asked for; none = it was not.
    fn because(&self, token: &Audited, now: Timestamp) -> Option<String> {
        let mut reasons = vec![];
        if let Some(length) = self.unused {
            let since = token.info.last_used.or(token.info.created);
            if since.is_some_and(|at| at.duration_until(now) < length) {
                return None;
            }
            reasons.push(match (token.info.last_used, since) {
                (Some(at), _) => format!("last used {}", relative(at, now)),
                (None, Some(at)) => {
                    format!("never used, created {} ago", span(at.duration_until(now)))
                }
                (None, None) => "never used".to_owned(),
            });
        }
        if let Some(owner) = &self.owner {
            if token.owner() != Some(owner) {
                return None;
            }
            reasons.push(format!("owner {owner}"));
        }
        if self.expired {
            let end = token.info.expires.filter(|end| *end <= now)?;
            reasons.push(format!("expired {}", relative(end, now)));
        }
        (!reasons.is_empty()).then(|| reasons.join(", "))
    }

    fn protection(&self, token: &Audited, now: Timestamp) -> Option<Protection> {
        let info = &token.info;
        match token.relation {
            Relation::Current | Relation::Retiring => return Some(Protection::Managed),
            // The sweep ends what belonged to a secret, and its last token may still be its value in Vault.
            Relation::Leftover if !token.secrets.is_empty() => return Some(Protection::Managed),
            Relation::Management => return Some(Protection::Management),
            Relation::OtherInstallation => return Some(Protection::OtherInstallation),
            Relation::Pruned => return Some(Protection::Pruned),
            Relation::Leftover | Relation::Unmanaged => {}
        }
        if manages_tokens(&info.scopes) {
            return Some(Protection::ManagesTokens);
        }
        if info.personal && !self.personal {
            return Some(Protection::Personal);
        }
        // Where the creation is not known: it is older than its last use and than an end that is over.
        let ended = info.expires.filter(|end| *end <= now);
        match info.created.or(info.last_used).or(ended) {
            Some(at) => (at.duration_until(now) < self.min_age).then_some(Protection::TooYoung),
            None => (!self.min_age.is_zero()).then_some(Protection::AgeUnknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::audit::tests::{NOW, of, token};
    use super::*;

    fn days(days: i64) -> SignedDuration {
        SignedDuration::from_hours(days * 24)
    }

    fn unused() -> Selection {
        Selection {
            unused: Some(days(90)),
            owner: None,
            expired: false,
            min_age: days(30),
            personal: false,
        }
    }

    fn old() -> Audited {
        let mut info = token("dt0c01.OLD", "old");
        info.last_used = Some(NOW - days(100));
        of("prod", info)
    }

    fn protected(change: impl FnOnce(&mut Audited)) -> Choice {
        let mut token = old();
        change(&mut token);
        unused().choose(&token, NOW)
    }

    #[test]
    fn a_token_is_chosen_when_everything_that_was_asked_for_holds() {
        let token = old();
        assert_eq!(
            unused().choose(&token, NOW),
            Choice::Chosen("last used 100d ago".into())
        );
        let longer = Selection {
            unused: Some(days(101)),
            ..unused()
        };
        assert_eq!(longer.choose(&token, NOW), Choice::Other);
        let of_bob = Selection {
            owner: Some("bob".into()),
            ..unused()
        };
        assert_eq!(of_bob.choose(&token, NOW), Choice::Other);
        let expired = Selection {
            expired: true,
            owner: Some("ada".into()),
            unused: None,
            ..unused()
        };
        assert_eq!(expired.choose(&token, NOW), Choice::Other);
        let mut over = token;
        over.info.expires = Some(NOW - days(1));
        let because = "owner ada, expired 24h ago".to_owned();
        assert_eq!(expired.choose(&over, NOW), Choice::Chosen(because));
        over.info.last_used = None;
        let because = "never used, created 200d ago".to_owned();
        assert_eq!(unused().choose(&over, NOW), Choice::Chosen(because));
    }

    #[test]
    fn what_belongs_to_dtrotate_or_may_be_needed_is_protected() {
        use Choice::Protected;
        let relations = [
            (Relation::Current, Protection::Managed),
            (Relation::Retiring, Protection::Managed),
            (Relation::Management, Protection::Management),
            (Relation::OtherInstallation, Protection::OtherInstallation),
            (Relation::Pruned, Protection::Pruned),
        ];
        for (relation, why) in relations {
            assert_eq!(protected(|it| it.relation = relation), Protected(why));
        }
        let leftover = protected(|it| {
            it.relation = Relation::Leftover;
            it.secrets.push("dynatrace/ci".into());
        });
        assert_eq!(leftover, Protected(Protection::Managed));
        let young = protected(|it| it.info.created = Some(NOW - days(29)));
        assert_eq!(young, Protected(Protection::TooYoung));
        let unknown = protected(|it| (it.info.created, it.info.last_used) = (None, None));
        assert_eq!(unknown, Protected(Protection::AgeUnknown));
        let as_old_as_its_use = protected(|it| it.info.created = None);
        assert!(matches!(as_old_as_its_use, Choice::Chosen(_)));
        let wide = protected(|it| it.info.scopes.push("apiTokens.write".into()));
        assert_eq!(wide, Protected(Protection::ManagesTokens));
        let personal = protected(|it| it.info.personal = true);
        assert_eq!(personal, Protected(Protection::Personal));
        let mut token = old();
        token.info.personal = true;
        let meant = Selection {
            personal: true,
            ..unused()
        };
        assert!(matches!(meant.choose(&token, NOW), Choice::Chosen(_)));
    }
}
