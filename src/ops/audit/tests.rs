//! What dtrotate has to do with a token, and what follows from it.

use rotation::token::Traits;
use serde_json::json;

use super::*;

pub(crate) const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(days * 24)
}

/// One without anything to find.
pub(crate) fn token(id: &str, name: &str) -> TokenInfo {
    TokenInfo {
        id: TokenId::new(id),
        name: name.to_owned(),
        enabled: true,
        scopes: vec!["metrics.read".into()],
        owner: Some("ada".into()),
        personal: false,
        created: Some(NOW - days(200)),
        expires: Some(NOW + days(10)),
        last_used: Some(NOW - days(1)),
        last_used_ip: None,
        traits: Traits::default(),
    }
}

/// The audit of a token by an installation that manages none.
pub(crate) fn of(service: &str, info: TokenInfo) -> Audited {
    ManagedTokens::of(Some("k3v9".into())).audit(service, info, NOW)
}

fn record(name: &str) -> Record {
    let coordinates = json!({
        "mount": "secret", "path": name, "fields": ["token"], "environment": "prod", "base_url": "https://e", "kind": "api",
    });
    let epoch = Epoch {
        installation: "k3v9".into(),
        secret: name.into(),
    };
    let coordinates = serde_json::from_value(coordinates).unwrap();
    let mut record = Record::blank(name, epoch, coordinates, NOW);
    let current = json!({
        "id": format!("dt0c01.{name}1"), "name_base": name, "scopes": [], "version": 2, "marked": true,
    });
    let retiring = json!({
        "id": format!("dt0c01.{name}0"), "state": "grace", "base": 1, "since": NOW, "due": NOW, "proof": "marker", "base_url": "https://e",
    });
    record.current = serde_json::from_value(current).unwrap();
    record.retiring = vec![serde_json::from_value(retiring).unwrap()];
    record
}

fn kinds(audited: &Audited) -> Vec<FindingKind> {
    audited.findings.iter().map(|it| it.kind).collect()
}

#[test]
fn a_token_belongs_to_the_secret_whose_document_knows_it() {
    let mut managed = ManagedTokens::of(Some("k3v9".into()));
    managed.add(&record("a"), true);
    managed.add(&record("gone"), false);
    let renamed = Record {
        renamed_to: Some("a".into()),
        ..record("former")
    };
    managed.add(&renamed, false);
    managed.add_management(TokenId::new("dt0c01.m"));
    use Relation::{Current, Leftover, Management, OtherInstallation, Retiring, Unmanaged};
    for (id, name, relation, secrets) in [
        ("dt0c01.a1", "x", Current, &["a"][..]),
        ("dt0c01.a0", "x", Retiring, &["a"]),
        ("dt0c01.a9", "x [dtrotate:k3v9.a.9]", Leftover, &["a"]),
        ("dt0c01.x", "x [dtrotate:k3v9.b.1]", Leftover, &[]),
        ("dt0c01.gone1", "x", Leftover, &["gone"]),
        // Its retirement is finished although the secret left the configuration.
        ("dt0c01.gone0", "x", Retiring, &["gone"]),
        ("dt0c01.former1", "x", Unmanaged, &[]),
        ("dt0c01.m", "x", Management, &[]),
        ("dt0c01.x", "x [dtrotate:zzzz.a.1]", OtherInstallation, &[]),
        ("dt0c01.x", "x", Unmanaged, &[]),
    ] {
        let audited = managed.audit("prod", token(id, name), NOW);
        assert_eq!(audited.relation, relation, "{id} {name}");
        assert_eq!(audited.secrets, secrets, "{id} {name}");
        let reported = kinds(&audited);
        let expected = match relation {
            Leftover => vec![FindingKind::Leftover],
            OtherInstallation => vec![FindingKind::OtherInstallation],
            _ => vec![],
        };
        assert_eq!(reported, expected, "{id} {name}");
    }
}

#[test]
fn without_an_installation_every_marker_is_of_another() {
    let audited = ManagedTokens::default().audit("prod", token("x", "x [dtrotate:k3v9.a.1]"), NOW);
    assert_eq!(audited.relation, Relation::OtherInstallation);
    assert_eq!(audited.installation.as_deref(), Some("k3v9"));
}

#[test]
fn each_finding_has_its_cause() {
    use FindingKind::{ManagesTokens, NeverExpires, OwnerMissing, Personal, Unused};
    let base = || token("dt0c01.x", "x");
    let cases: [(TokenInfo, Option<FindingKind>); 11] = [
        (base(), None),
        (
            TokenInfo {
                scopes: vec!["TenantTokenManagement".into()],
                ..base()
            },
            Some(ManagesTokens),
        ),
        (
            TokenInfo {
                personal: true,
                ..base()
            },
            Some(Personal),
        ),
        (
            TokenInfo {
                owner: None,
                ..base()
            },
            Some(OwnerMissing),
        ),
        (
            TokenInfo {
                owner: Some(" ".into()),
                ..base()
            },
            Some(OwnerMissing),
        ),
        (
            TokenInfo {
                expires: None,
                ..base()
            },
            Some(NeverExpires),
        ),
        (
            TokenInfo {
                last_used: Some(NOW - days(90)),
                ..base()
            },
            Some(Unused),
        ),
        (
            TokenInfo {
                last_used: Some(NOW - days(89)),
                ..base()
            },
            None,
        ),
        (
            TokenInfo {
                last_used: None,
                ..base()
            },
            Some(Unused),
        ),
        (
            TokenInfo {
                last_used: None,
                created: Some(NOW - days(89)),
                ..base()
            },
            None,
        ),
        // Nobody knows how long nobody has used it.
        (
            TokenInfo {
                last_used: None,
                created: None,
                ..base()
            },
            None,
        ),
    ];
    for (info, expected) in cases {
        let expected: Vec<FindingKind> = expected.into_iter().collect();
        assert_eq!(kinds(&of("prod", info.clone())), expected, "{info:?}");
    }
}

#[test]
fn a_token_that_is_disabled_or_has_expired_is_no_danger() {
    let wide = TokenInfo {
        scopes: vec!["apiTokens.write".into()],
        owner: None,
        personal: true,
        last_used: None,
        ..token("dt0c01.x", "x")
    };
    assert_eq!(kinds(&of("prod", wide.clone())).len(), 4);
    let disabled = TokenInfo {
        enabled: false,
        ..wide.clone()
    };
    let expired = TokenInfo {
        expires: Some(NOW),
        ..wide
    };
    for info in [disabled, expired] {
        assert_eq!(kinds(&of("prod", info)), []);
    }
}

#[test]
fn management_tokens_may_manage_and_managed_ones_need_not_expire() {
    let mut managed = ManagedTokens::of(Some("k3v9".into()));
    managed.add(&record("own"), true);
    managed.add(&record("other"), true);
    managed.add_management(TokenId::new("dt0c01.own1"));
    managed.add_management(TokenId::new("dt0c01.m"));
    let wide = |id: &str| {
        let info = TokenInfo {
            scopes: vec!["apiTokens.write".into()],
            expires: None,
            ..token(id, "x")
        };
        kinds(&managed.audit("prod", info, NOW))
    };
    assert_eq!(wide("dt0c01.own1"), []);
    assert_eq!(wide("dt0c01.own0"), [], "its predecessor, on its way out");
    assert_eq!(wide("dt0c01.m"), [FindingKind::NeverExpires]);
    assert_eq!(wide("dt0c01.other1"), [FindingKind::ManagesTokens]);
    assert_eq!(wide("dt0c01.other0"), [FindingKind::ManagesTokens]);
}

#[test]
fn every_word_is_the_one_that_is_serialized() {
    for kind in FindingKind::ALL {
        assert_eq!(json!(kind), kind.as_str());
        assert!(kind.explanation().ends_with('.'));
    }
    assert!(FindingKind::ALL.is_sorted());
}
