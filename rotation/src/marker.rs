//! The marker in a token's name: which installation, secret and attempt minted it. It is the proof that a token is ours (promise P9).

use std::fmt;

use serde::{Deserialize, Serialize};

/// `[dtrotate:INSTALLATION.SECRET.N]`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Marker {
    /// Installation and secret.
    pub epoch: Epoch,
    /// The attempt of that secret; counts up and is never reused. 0 marks a token that was adopted and renamed, not minted.
    pub attempt: u64,
}

/// Installation and secret: the part of a marker that all tokens of one secret share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch {
    /// Short random identifier of the installation (one journal).
    pub installation: String,
    /// Short random identifier of the secret.
    pub secret: String,
}

/// A digest of a whole token name. It distinguishes a token of ours from a copy whose name was changed; it is not a protection against a
/// forged name, because names are not secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NameDigest(String);

const OPEN: &str = "[dtrotate:";

/// What the mark of a pruned token has in the place of a secret's identity, which is hexadecimal and so never this.
const PRUNED: &str = "prune";

impl Epoch {
    /// What all pruned tokens of an installation share in their marks.
    pub fn pruned(installation: &str) -> Epoch {
        Epoch {
            installation: installation.to_owned(),
            secret: PRUNED.to_owned(),
        }
    }

    /// It is a secret's identity. That of pruned tokens is none, whoever they belonged to.
    pub fn is_a_secrets(&self) -> bool {
        self.secret != PRUNED
    }
}

impl Marker {
    /// The marker of an adopted token of this secret.
    pub fn adopted(epoch: &Epoch) -> Marker {
        Marker {
            epoch: epoch.clone(),
            attempt: 0,
        }
    }

    /// The full name of a token, at most `limit` characters: `BASE [dtrotate:INSTALLATION.SECRET.N]`. The base is cut, never the marker.
    pub fn name(&self, base: &str, limit: usize) -> String {
        let marker = self.to_string();
        let room = limit.saturating_sub(marker.len() + 1);
        let base: String = base.chars().take(room).collect();
        format!("{} {marker}", base.trim_end())
            .trim_start()
            .to_owned()
    }

    /// Splits a token's name into the name that people gave and the marker at its end, if there is one. Further markers in front of it
    /// are stripped as well.
    pub fn split(name: &str) -> (String, Option<Marker>) {
        let (mut base, mut found) = (name.trim_end(), None);
        while let Some((rest, marker)) = strip(base) {
            found.get_or_insert(marker);
            base = rest;
        }
        (base.to_owned(), found)
    }

    /// The marker of a secret at the end of a token's name. The mark of a pruned token says nothing of a secret.
    pub fn of_a_secret(name: &str) -> Option<Marker> {
        let marker = Marker::split(name).1;
        marker.filter(|marker| marker.epoch.is_a_secrets())
    }

    /// The marker at the end of a token's name, if it is one of `epoch`.
    pub fn of(name: &str, epoch: &Epoch) -> Option<Marker> {
        Marker::of_a_secret(name).filter(|marker| marker.epoch == *epoch)
    }
}

impl NameDigest {
    /// The digest of `name`: FNV-1a, 64 bits.
    pub fn of(name: &str) -> Self {
        let hash = name
            .trim_end()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        NameDigest(format!("{hash:016x}"))
    }

    /// The digest in hexadecimal.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A digest as it was written down.
    pub fn from_text(text: &str) -> Self {
        NameDigest(text.to_owned())
    }
}

/// Splits one marker off the end of a name.
fn strip(name: &str) -> Option<(&str, Marker)> {
    let (rest, inner) = name.strip_suffix(']')?.rsplit_once(OPEN)?;
    let mut parts = inner.split('.');
    let (installation, secret, attempt) = (parts.next()?, parts.next()?, parts.next()?);
    let short = |part: &str| {
        !part.is_empty() && part.len() <= 32 && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    if parts.next().is_some() || !short(installation) || !short(secret) {
        return None;
    }
    let marker = Marker {
        epoch: Epoch {
            installation: installation.to_owned(),
            secret: secret.to_owned(),
        },
        attempt: attempt.parse().ok()?,
    };
    Some((rest.trim_end(), marker))
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Epoch {
            installation,
            secret,
        } = &self.epoch;
        write!(f, "{OPEN}{installation}.{secret}.{}]", self.attempt)
    }
}

#[cfg(test)]
mod tests {
    use proptest::strategy::Strategy;

    use super::*;

    const LIMIT: usize = 100;

    #[test]
    fn a_marker_survives_the_way_through_a_name() {
        let marker = Marker {
            epoch: Epoch {
                installation: "k3v9".into(),
                secret: "a7q2".into(),
            },
            attempt: 17,
        };
        let name = marker.name("CI metrics", LIMIT);
        assert_eq!(name, "CI metrics [dtrotate:k3v9.a7q2.17]");
        assert_eq!(Marker::split(&name), ("CI metrics".into(), Some(marker)));
    }

    #[test]
    fn only_the_last_marker_counts_and_all_are_stripped() {
        let (base, marker) = Marker::split("x [dtrotate:a.b.1] [dtrotate:a.b.2]");
        assert_eq!((base.as_str(), marker.unwrap().attempt), ("x", 2));
        assert_eq!(Marker::split("[dtrotate:a.b.3]").0, "");
    }

    #[test]
    fn a_long_base_is_cut_and_the_marker_is_kept_whole() {
        let marker = Marker {
            epoch: Epoch {
                installation: "k3v9".into(),
                secret: "a7q2".into(),
            },
            attempt: 17,
        };
        let name = marker.name(&"ü".repeat(200), LIMIT);
        assert_eq!(name.chars().count(), LIMIT);
        assert_eq!(Marker::of(&name, &marker.epoch), Some(marker));
    }

    #[test]
    fn the_digest_tells_a_copy_from_the_original() {
        let digest = NameDigest::of("job [dtrotate:a.b.1]");
        assert_eq!(digest, NameDigest::of("job [dtrotate:a.b.1] "));
        assert_ne!(digest, NameDigest::of("Duplicate of: job [dtrotate:a.b.1]"));
    }

    #[test]
    fn what_only_looks_like_a_marker_is_a_name() {
        for name in [
            "x [dtrotate:a.b]",
            "x [dtrotate:a.b.c]",
            "x [dtrotate:a.b.1.2]",
            "x [dtrotate:..1]",
            "x [dtrotate:a.b.1] y",
            "plain",
        ] {
            assert_eq!(Marker::split(name), (name.to_owned(), None), "{name}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn fuzz_any_name_is_split_and_put_together_again(
            pieces in proptest::collection::vec(
                proptest::prelude::prop_oneof![
                    proptest::sample::select(&["[dtrotate:", "a.b.1", "]", " ", ".", "ü", "[dtrotate:a.b.18446744073709551615]"][..])
                        .prop_map(str::to_owned),
                    ".{0,8}",
                ],
                0..8,
            ),
            attempt in proptest::prelude::any::<u64>(),
        ) {
            let name = pieces.concat();
            let (base, marker) = Marker::split(&name);
            // Nothing of ours is left at the end, and what people wrote is at the beginning.
            assert_eq!(Marker::split(&base), (base.clone(), None));
            assert!(name.starts_with(&base));
            if let Some(marker) = marker {
                assert_eq!(Marker::split(&marker.name(&base, LIMIT)).1, Some(marker));
            }
            let epoch = Epoch { installation: "k3v9aa".into(), secret: "a7q2".into() };
            let marker = Marker { epoch, attempt };
            assert_eq!(Marker::split(&marker.name(&base, LIMIT)).1, Some(marker));
        }
    }
}
