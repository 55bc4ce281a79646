//! `audit`: every token of an environment and of an account, compared with the journal, without changing anything.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::{Value, json};
use simulator::{PlatformSeed, Seed};

use crate::world::{Issuer, Kind, Site, World, now};

async fn document(world: &World, arguments: &[&str], expected: i32) -> Value {
    let (code, text) = world
        .command(&[&["audit", "--format", "json"], arguments].concat())
        .await;
    assert_eq!(code, Some(expected), "{text}");
    serde_json::from_str(&text).expect("a document")
}

/// Relation, secrets and findings of each token by its id.
fn by_id(document: &Value) -> BTreeMap<String, (Value, Value, Value)> {
    let tokens = document["tokens"].as_array().expect("tokens").iter();
    let facts = |it: &Value| {
        let [relation, secrets, findings] =
            ["relation", "secrets", "findings"].map(|key| it[key].clone());
        (relation, secrets, findings)
    };
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    tokens
        .map(|it| (text(&it["token_id"]), facts(it)))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_names_every_token_and_what_someone_should_look_into() {
    let mut world = World::new(1).await;
    world.set("defaults.grace", "1h");
    world.set("defaults.max_grace", "2h");
    let name = world.secrets[0].clone();
    // Before there is an installation nothing makes one.
    let first = document(&world, &[], 0).await;
    assert_eq!(first["installation"], Value::Null);
    let installation = format!("{}/_installation", world.journal);
    assert!(world.root.secret("secret", &installation).await.is_none());
    let old = world.current_id(0).await;
    assert_eq!(
        by_id(&first)[&old],
        (json!("current"), json!([name]), json!([]))
    );
    assert_eq!(world.command(&["rotate", "--all"]).await.0, Some(0));
    let current = world.current_id(0).await;
    let (long_ago, later) = (
        now() - SignedDuration::from_hours(200 * 24),
        now() + SignedDuration::from_hours(200 * 24),
    );
    let seed = |name: &str| Seed::new(name).owner("ada").expires(later);
    let seeded = |seed| world.dynatrace.seed(seed).id;
    let unmanaged = seeded(Seed::new("dashboard \u{1b}[2J").created(long_ago));
    let orphaned = seeded(seed("job [dtrotate:zzzz.a7q2.1]"));
    let personal = seeded(seed("laptop").personal());
    let wide = seeded(seed("bot").scopes(&["apiTokens.write"]));
    let master = world.root.secret("secret", &world.master).await;
    let master = master.expect("the secret").data["token"].clone();
    let master = world
        .dynatrace
        .token_by_value(master.as_str().expect("a value"))
        .expect("the management token");
    world.dynatrace.reset_calls();
    let before = (world.record(0).await, world.dynatrace.tokens().len());
    let audit = document(&world, &["--environment", "prod"], 1).await;
    let none = || json!([]);
    let expected = [
        (&current, ("current", json!([name]), none())),
        (&old, ("retiring", json!([name]), none())),
        (&master.id, ("management", none(), json!(["never_expires"]))),
        (
            &unmanaged,
            ("unmanaged", none(), json!(["never_expires", "unused"])),
        ),
        (
            &orphaned,
            ("other_installation", none(), json!(["other_installation"])),
        ),
        (&personal, ("unmanaged", none(), json!(["personal"]))),
        (&wide, ("unmanaged", none(), json!(["manages_tokens"]))),
    ];
    let expected: BTreeMap<_, _> = expected
        .into_iter()
        .map(|(id, (relation, secrets, findings))| {
            (id.clone(), (json!(relation), secrets, findings))
        })
        .collect();
    assert_eq!(by_id(&audit), expected);
    assert_eq!(
        (&audit["errors"], &audit["warnings"]),
        (&json!(1), &json!(5))
    );
    assert_eq!(audit["incomplete"], json!([]));
    // It only reads: no claim, no document, no change of a token.
    assert_eq!(
        before,
        (world.record(0).await, world.dynatrace.tokens().len())
    );
    let calls = world.dynatrace.calls();
    let reads = |call: &&simulator::Call| call.method == "GET" || call.path.ends_with("/lookup");
    assert_eq!(calls.iter().filter(reads).count(), calls.len());
    // The same from the API whose listing has ids and names only.
    world.set("dynatrace.prod.api", "v1");
    assert_eq!(by_id(&document(&world, &[], 1).await), expected);
    let (code, csv) = world.command(&["audit", "--format", "csv"]).await;
    assert_eq!((code, csv.lines().count()), (Some(1), 8), "{csv}");
    let (code, text) = world.command(&["audit", "--fail-on", "never"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("prod: 7 tokens, 2 managed by dtrotate\n"),
        "{text}"
    );
    assert!(text.contains("\n1 error, 5 warnings\n"), "{text}");
    assert!(!text.contains('\u{1b}') && text.lines().all(|line| line.chars().count() <= 80));
    // Without the error the warnings fail it only when that is asked for.
    assert!(world.dynatrace.disable(&wide));
    document(&world, &[], 0).await;
    document(&world, &["--fail-on", "warning"], 1).await;
    let (code, _, log) = world
        .command_and_stderr(&["audit", "--environment", "prd"])
        .await;
    assert_eq!(code, Some(2));
    assert!(log.contains("did you mean \"prod\"?"), "{log}");
    // Without the right to list: what is missing is said, and it is no success.
    let mut narrow = world.dynatrace.token(&master.id).expect("it").scopes;
    narrow.retain(|scope| scope == "apiTokens.write");
    let narrow: Vec<&str> = narrow.iter().map(String::as_str).collect();
    assert!(world.dynatrace.set_scopes(&master.id, &narrow));
    world.set("dynatrace.prod.api", "v2");
    let audit = document(&world, &["--fail-on", "never"], 1).await;
    let why = audit["incomplete"][0].as_str().expect("a sentence");
    assert!(why.contains("list its tokens"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_platform_tokens_of_an_account_are_audited_with_its_environments() {
    let world = World::of(Kind::Platform, Site::new().await, "", 1).await;
    let Issuer::Platform { account, owner, .. } = &world.issuer else {
        panic!("a world of platform tokens")
    };
    let old = world.current_id(0).await;
    assert_eq!(world.command(&["rotate", "--all"]).await.0, Some(0));
    let current = world.current_id(0).await;
    let seed = PlatformSeed::new("admin", owner).scopes(&["platform-token:tokens:manage"]);
    let wide = account.seed(seed).id;
    let audit = document(&world, &["--environment", "prod"], 1).await;
    let tokens = by_id(&audit);
    assert_eq!(tokens.len(), 3, "{audit}");
    for (id, relation) in [(&current, "current"), (&old, "retiring")] {
        assert_eq!(
            tokens[id],
            (json!(relation), json!([world.secrets[0]]), json!([]))
        );
    }
    assert_eq!(
        tokens[&wide],
        (json!("unmanaged"), json!([]), json!(["manages_tokens"]))
    );
    assert_eq!(audit["tokens"][0]["environment"], "account main");
    assert_eq!(audit["tokens"][0]["owner"], json!(owner));
}
