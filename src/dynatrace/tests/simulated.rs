//! The issuer against the stand-in for the real APIs: both generations, SaaS and Managed addresses, dotted and opaque tokens.

use simulator::{
    Action, Answer, EnvironmentOptions, Operation, Rule, Seed, Seeded, Simulator, Visibility,
};

use super::*;
use rotation::marker::Marker;
use rotation::token::manages_tokens;

struct World {
    _simulator: Simulator,
    far: simulator::Dynatrace,
    management: Seeded,
    env: Dynatrace,
}

/// An environment of this kind with a management token, and the client for it.
async fn world(api: Api, prefix: &str, legacy: bool) -> World {
    let options = simulator::Options {
        environments: vec![EnvironmentOptions {
            prefix: prefix.into(),
            legacy_format: legacy,
            ..EnvironmentOptions::default()
        }],
        ..simulator::Options::default()
    };
    let simulator = Simulator::start(options).await.unwrap();
    let far = simulator.dynatrace().clone();
    let management = far.seed(Seed::management("rotator"));
    let env = environment(far.url(), api, &management.value);
    World {
        _simulator: simulator,
        far,
        management,
        env,
    }
}

/// Every kind of environment there is.
async fn worlds() -> Vec<World> {
    let mut all = Vec::new();
    for api in [Api::V2, Api::V1] {
        for prefix in ["", "/e/E1"] {
            for legacy in [false, true] {
                all.push(world(api, prefix, legacy).await);
            }
        }
    }
    all
}

/// When the environment's first token was seeded, by the environment's own clock: a moment ago.
fn began(far: &simulator::Dynatrace) -> Timestamp {
    far.tokens()[0].created
}

fn soon(far: &simulator::Dynatrace) -> MintRequest {
    let day = Duration::from_secs(86_400);
    MintRequest {
        name: "CI [dtrotate:a.b.7]".into(),
        scopes: vec!["metrics.ingest".into(), "logs.ingest".into()],
        expires: Some(began(far) + day),
        lifetime: Some(day),
        traits: Default::default(),
    }
}

#[tokio::test]
async fn a_token_lives_its_whole_life_in_every_kind_of_environment() {
    for World {
        far,
        env,
        _simulator,
        ..
    } in worlds().await
    {
        let minted = env.mint(&soon(&far)).await.unwrap();
        let seen = env.look_up_itself(&minted.value).await.unwrap();
        let id = seen.id.clone();
        assert!(minted.id.is_none_or(|told| told == id));
        assert_eq!(
            (seen.name.as_str(), seen.enabled, seen.personal),
            ("CI [dtrotate:a.b.7]", true, false)
        );
        assert_eq!(seen.scopes, soon(&far).scopes);
        let end = seen.expires.unwrap().duration_since(began(&far)).as_secs();
        assert!((86_395..=86_410).contains(&end), "it ends in {end} s");
        assert!(seen.created.is_some() && seen.owner.is_some());

        assert_eq!(env.look_up_value(&minted.value).await.unwrap().id, id);
        assert_eq!(env.look_up(&id).await.unwrap().scopes, seen.scopes);
        let listed = env.list_marked().await.unwrap();
        let marked: Vec<_> = listed
            .iter()
            .map(|info| (&info.id, Marker::split(&info.name).1.unwrap().attempt))
            .collect();
        assert_eq!(marked, [(&id, 7)], "the management token bears no marker");

        env.set_enabled(&id, false).await.unwrap();
        assert!(!env.look_up(&id).await.unwrap().enabled);
        assert_eq!(
            kind(env.look_up_itself(&minted.value).await),
            ErrorKind::Gone
        );
        assert!(!env.look_up_value(&minted.value).await.unwrap().enabled);
        env.set_enabled(&id, true).await.unwrap();
        assert!(far.is_valid(minted.value.expose()));

        env.delete(&id).await.unwrap();
        assert_eq!(kind(env.delete(&id).await), ErrorKind::Gone);
        assert_eq!(kind(env.look_up(&id).await), ErrorKind::Gone);
        assert_eq!(
            kind(env.look_up_value(&minted.value).await),
            ErrorKind::Gone
        );
        assert_eq!(
            kind(env.look_up_itself(&minted.value).await),
            ErrorKind::Gone
        );
        env.probe_known_token().await.unwrap();
        assert!(
            far.calls()
                .iter()
                .all(|call| !call.secret_in_path && call.operation.is_some())
        );
    }
}

#[tokio::test]
async fn a_never_ending_token_has_no_end() {
    for world in worlds().await {
        let order = MintRequest {
            expires: None,
            lifetime: None,
            ..soon(&world.far)
        };
        let minted = world.env.mint(&order).await.unwrap();
        assert_eq!(
            world
                .env
                .look_up_itself(&minted.value)
                .await
                .unwrap()
                .expires,
            None
        );
    }
}

#[tokio::test]
async fn a_legacy_token_is_found_by_its_value() {
    for api in [Api::V2, Api::V1] {
        let world = world(api, "/e/E1", false).await;
        let old = world.far.seed(Seed::new("old").legacy());
        let info = world
            .env
            .look_up_value(&TokenValue::new(&old.value))
            .await
            .unwrap();
        assert_eq!(info.id.as_str(), old.id);
        world.env.set_enabled(&info.id, false).await.unwrap();
        assert!(!world.far.is_valid(&old.value));
    }
}

#[tokio::test]
async fn last_use_owner_and_person_are_told() {
    for api in [Api::V2, Api::V1] {
        let world = world(api, "", false).await;
        let subject = world.far.seed(Seed::new("x").personal().owner("eve"));
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        world
            .far
            .touch(&subject.id, "192.0.2.7".parse().unwrap(), at);
        let info = world.env.look_up(&id(&subject.id)).await.unwrap();
        assert_eq!(info.last_used, Some(at));
        assert_eq!((info.owner.as_deref(), info.personal), (Some("eve"), true));
        let ip = (api == Api::V2).then_some("192.0.2.7");
        assert_eq!(info.last_used_ip.as_deref(), ip);
    }
}

#[tokio::test]
async fn a_listing_of_many_pages_is_whole() {
    let world = world(Api::V2, "/e/E1", false).await;
    for number in 0..1201 {
        let name = if number % 3 == 0 {
            format!("t [dtrotate:a.b.{number}]")
        } else {
            "foreign".into()
        };
        world.far.seed(Seed::new(&name));
    }
    let listed = world.env.list_marked().await.unwrap();
    assert_eq!(listed.len(), 401);
    assert!(
        listed.iter().all(|info| info.scopes == ["metrics.ingest"]),
        "the fields asked for are there"
    );
    assert_eq!(world.far.count(Operation::ListTokens), 3);
}

#[tokio::test]
async fn a_lost_mint_is_unclear_and_its_token_is_in_the_listing() {
    for action in [
        Action::LoseAnswer,
        Action::TruncateBody,
        Action::Html,
        Action::PerformThenAnswer(Answer::proxy(502)),
    ] {
        for api in [Api::V2, Api::V1] {
            let world = world(api, "", false).await;
            world
                .far
                .fault(Rule::on(Operation::CreateToken).then(action.clone()));
            assert_eq!(
                kind(world.env.mint(&soon(&world.far)).await),
                ErrorKind::Unclear
            );
            assert_eq!(
                world.far.count(Operation::CreateToken),
                1,
                "a mint is never repeated"
            );
            assert_eq!(world.env.list_marked().await.unwrap().len(), 1);
        }
    }
}

#[tokio::test]
async fn a_lost_change_is_unclear() {
    for action in [
        Action::LoseAnswer,
        Action::Html,
        Action::Reset,
        Action::PerformThenAnswer(Answer::proxy(504)),
    ] {
        for api in [Api::V2, Api::V1] {
            let world = world(api, "", false).await;
            let subject = id(&world.far.seed(Seed::new("x")).id);
            world
                .far
                .fault(Rule::on(Operation::UpdateToken).then(action.clone()));
            assert_eq!(
                kind(world.env.set_enabled(&subject, false).await),
                ErrorKind::Unclear
            );
            world
                .far
                .fault(Rule::on(Operation::DeleteToken).then(action.clone()));
            assert_eq!(kind(world.env.delete(&subject).await), ErrorKind::Unclear);
        }
    }
}

#[tokio::test]
async fn a_body_without_end_is_ended() {
    let world = world(Api::V2, "", false).await;
    world
        .far
        .fault(Rule::on(Operation::ListTokens).then(Action::EndlessBody));
    let short = Duration::from_millis(300);
    let env = hasty(world.far.url(), Api::V2, &world.management.value, short);
    assert_eq!(kind(env.list_marked().await), ErrorKind::Transient);
}

#[tokio::test]
async fn a_token_that_is_not_known_everywhere_yet_is_gone_to_verify() {
    let world = world(Api::V2, "", false).await;
    let late = Action::ListLate {
        until: simulator::Until::Released,
        hidden_from: Visibility::Everywhere,
    };
    let fault = world.far.fault(Rule::on(Operation::CreateToken).then(late));
    let minted = world.env.mint(&soon(&world.far)).await.unwrap();
    assert_eq!(
        kind(world.env.look_up_itself(&minted.value).await),
        ErrorKind::Gone
    );
    assert!(fault.wait_held(1, Duration::from_secs(5)).await);
    fault.release();
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while world.env.look_up_itself(&minted.value).await.is_err() {
        assert!(
            std::time::Instant::now() < deadline,
            "it never became visible"
        );
    }
}

#[tokio::test]
async fn the_management_token_can_do_nothing_to_itself() {
    for api in [Api::V2, Api::V1] {
        let world = world(api, "", false).await;
        let own = id(&world.management.id);
        assert_eq!(
            kind(world.env.set_enabled(&own, false).await),
            ErrorKind::Refused
        );
        assert_eq!(kind(world.env.delete(&own).await), ErrorKind::Refused);
        assert!(world.far.is_valid(&world.management.value));
    }
}

#[tokio::test]
async fn a_successor_proves_itself_and_retires_its_predecessor() {
    for api in [Api::V2, Api::V1] {
        let world = world(api, "", false).await;
        let order = MintRequest {
            scopes: vec![
                "apiTokens.read".into(),
                "apiTokens.write".into(),
                "TenantTokenManagement".into(),
            ],
            ..soon(&world.far)
        };
        assert!(manages_tokens(&order.scopes));
        let minted = world.env.mint(&order).await.unwrap();
        let successor = world.env.acting_as(&minted.value);
        let old = id(&world.management.id);
        assert_eq!(
            successor.management_scopes_missing().await.unwrap(),
            Vec::<String>::new()
        );
        successor.set_enabled(&old, true).await.unwrap();
        successor.list_marked().await.unwrap();
        successor.set_enabled(&old, false).await.unwrap();
        assert_eq!(
            kind(world.env.probe_known_token().await),
            ErrorKind::Unauthorized
        );
    }
}

#[tokio::test]
async fn missing_scopes_are_named() {
    for (api, missing) in [
        (Api::V2, vec!["apiTokens.write"]),
        (Api::V1, vec!["TenantTokenManagement"]),
    ] {
        let world = world(api, "", false).await;
        world
            .far
            .set_scopes(&world.management.id, &["apiTokens.read"]);
        assert_eq!(
            world.env.management_scopes_missing().await.unwrap(),
            missing
        );
        assert_eq!(
            world.env.management_info().await.unwrap().id.as_str(),
            world.management.id
        );
        let error = world.env.mint(&soon(&world.far)).await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Unauthorized);
        assert!(error.what.contains(missing[0]), "{error}");
        world.env.probe_known_token().await.unwrap();
    }
}

#[tokio::test]
async fn a_scope_that_cannot_be_created_is_refused_by_name() {
    for api in [Api::V2, Api::V1] {
        let world = world(api, "", false).await;
        let mut order = soon(&world.far);
        order.scopes.push("MemoryDump".into());
        let error = world.env.mint(&order).await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(
            error
                .what
                .starts_with("Dynatrace prod refused to create a token: 400"),
            "{error}"
        );
        assert!(error.what.contains("MemoryDump"), "{error}");
    }
}

#[tokio::test]
async fn a_disabled_management_token_is_unauthorized_for_everything_but_verify() {
    let world = world(Api::V2, "", false).await;
    let subject = world.far.seed(Seed::new("x").value(SUBJECT));
    world.far.disable(&world.management.id);
    for (operation, result) in every_operation(&world.env).await {
        match result {
            Ok(()) => assert_eq!(operation, "verify"),
            Err(error) => assert_eq!(error.kind, ErrorKind::Unauthorized, "{operation}: {error}"),
        }
    }
    assert!(world.far.token(&subject.id).is_some());
}

#[tokio::test]
async fn the_wrong_prefix_is_a_wrong_address() {
    let world = world(Api::V2, "/e/E1", false).await;
    let root = world.far.url().trim_end_matches("/e/E1");
    let env = environment(root, Api::V2, &world.management.value);
    for result in [
        env.mint(&soon(&world.far)).await.map(drop),
        env.list_marked().await.map(drop),
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(
            error.what.ends_with("is this the environment's API URL?"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn too_many_requests_are_rate_limited_with_the_wait_asked_for() {
    let world = world(Api::V2, "", false).await;
    let reset = (began(&world.far) + Duration::from_secs(30))
        .as_microsecond()
        .to_string();
    let full = Answer::dynatrace(429, "Too many requests").with_header("X-RateLimit-Reset", &reset);
    world
        .far
        .fault(Rule::on(Operation::CreateToken).then(Action::Refuse(full)));
    let error = world.env.mint(&soon(&world.far)).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::RateLimited);
    let wait = error.retry_after.unwrap().as_secs();
    assert!((14..=20).contains(&wait), "{wait} s");
    assert!(world.far.alive_tokens().len() == 1, "nothing was made");
}
