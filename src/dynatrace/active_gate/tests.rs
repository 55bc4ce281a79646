//! The issuer against the stand-in for the real APIs: every route, what is cloned, and what an answer proves.

use simulator::{Action, Operation, PlatformSeed, Rule, Seed, Simulator};

use super::*;
use crate::dynatrace::{Api, Options};
use rotation::token::Traits;

const ACCOUNT: &str = "0f5c7a6e-1f2b-4c3d-8e9f-0a1b2c3d4e5f";

struct World {
    simulator: Simulator,
    far: simulator::Dynatrace,
}

async fn world() -> World {
    let options = simulator::Options {
        account: Some(ACCOUNT.to_owned()),
        ..simulator::Options::default()
    };
    let simulator = Simulator::start(options).await.unwrap();
    let far = simulator.dynatrace();
    World { simulator, far }
}

impl World {
    /// The issuer with this management token.
    fn gates(&self, value: &str) -> ActiveGates {
        self.gates_at(value, self.far.apps_url())
    }

    fn gates_at(&self, value: &str, apps: Option<&str>) -> ActiveGates {
        let options = Options {
            name: "prod".into(),
            base_url: BaseUrl::new(self.far.url()).unwrap(),
            api: Api::V2,
            http: http::Options {
                timeout: Duration::from_secs(10),
                ..http::Options::default()
            },
        };
        let value: Arc<str> = value.into();
        let read = move || std::future::ready(Ok(TokenValue::new(&*value)));
        let environment = Dynatrace::new(&options, read).unwrap();
        let apps = apps.map(|url| BaseUrl::new(url).unwrap());
        ActiveGates::of(&environment, apps.as_ref(), &options.http).unwrap()
    }

    fn api_token(&self) -> String {
        self.far.seed(Seed::active_gate_management("manager")).value
    }

    fn platform_token(&self, scopes: &[&str]) -> String {
        let account = self.simulator.account().unwrap();
        let seed = PlatformSeed::new("manager", &account.seed_user()).scopes(scopes);
        account.seed(seed.environment("abc12345")).value
    }

    /// What manages, with the last part of the path that must be asked, and whether the classic API is there.
    fn managers(&self) -> [(String, &'static str, bool); 3] {
        let platform = self.platform_token(&api::PLATFORM_SCOPES);
        [
            (self.api_token(), "/api/v2/activeGateTokens", true),
            (
                platform.clone(),
                "/platform/classic/environment-api/v2/activeGateTokens",
                true,
            ),
            (
                platform,
                "/platform/fleet-management/v1/activegate/tokens",
                false,
            ),
        ]
    }
}

fn order(kind: &str, seed: bool) -> MintRequest {
    let traits = [
        ("activeGateType", kind.to_owned()),
        ("seedToken", seed.to_string()),
    ];
    let traits = traits.map(|(name, value)| (name.to_owned(), vec![value]));
    MintRequest {
        name: "gate [dtrotate:a.b.7]".into(),
        scopes: vec![],
        expires: Some(crate::clock::now() + Duration::from_secs(90 * 86_400)),
        lifetime: None,
        traits: Traits(traits.into()),
    }
}

fn kind<T>(result: Result<T, CallError>) -> ErrorKind {
    result.err().unwrap().kind
}

#[tokio::test]
async fn a_token_lives_its_whole_life_by_every_route() {
    let world = world().await;
    for (manager, path, classic) in world.managers() {
        world.far.configure(|it| it.classic_active_gates = classic);
        let gates = world.gates(&manager);
        world.far.reset_calls();
        let minted = gates.mint(&order("CLUSTER", true)).await.unwrap();
        let id = minted.value.id().unwrap();
        assert_eq!(minted.id.as_ref(), Some(&id));
        let created = world.far.calls().pop().unwrap();
        assert_eq!(created.path, path);
        let kept = world.far.active_gate_tokens().pop().unwrap();
        let gate = kept.active_gate.unwrap();
        let cloned = classic.then_some("CLUSTER");
        assert_eq!((gate.kind.as_deref(), gate.seed), (cloned, true), "{path}");
        assert!(kept.expires.is_some());

        let options = TrialOptions {
            environment: "prod",
            by: &rotation::plan::Verification::Auto,
        };
        let trial = gates.verify(&minted.value, None, options).await.unwrap();
        assert!(trial.token.id == id && !trial.proven && trial.token.enabled);
        assert_eq!(
            order("CLUSTER", true)
                .traits
                .missing_in(&trial.token.traits),
            Vec::<&str>::new()
        );
        let listed = gates.list_marked().await.unwrap();
        assert_eq!(listed.iter().map(|it| &it.id).collect::<Vec<_>>(), [&id]);
        assert_eq!(
            kind(gates.prove_value(&minted.value, options).await),
            ErrorKind::Refused
        );
        gates.probe_known_token().await.unwrap();
        gates.delete(&id).await.unwrap();
        assert_eq!(kind(gates.delete(&id).await), ErrorKind::Gone);
        assert_eq!(kind(gates.look_up(&id).await), ErrorKind::Gone);
        gates.probe_known_token().await.unwrap();
    }
}

#[tokio::test]
async fn a_route_that_goes_is_replaced_by_one_that_answers() {
    let world = world().await;
    let gates = world.gates(&world.platform_token(&api::PLATFORM_SCOPES));
    let minted = gates.mint(&order("ENVIRONMENT", false)).await.unwrap();
    world.far.configure(|it| it.classic_active_gates = false);
    // "Not found" on the old route says nothing; whoever asks for a witness finds the other one.
    let id = minted.value.id().unwrap();
    assert_eq!(kind(gates.look_up(&id).await), ErrorKind::Gone);
    gates.probe_known_token().await.unwrap();
    assert_eq!(gates.look_up(&id).await.unwrap().id, id);
    // A create that meets a route which is not there made nothing.
    let gates = world.gates(&world.platform_token(&api::PLATFORM_SCOPES));
    world.far.configure(|it| it.classic_active_gates = true);
    gates.check_access().await.unwrap();
    world.far.configure(|it| it.classic_active_gates = false);
    gates.mint(&order("ENVIRONMENT", false)).await.unwrap();
    assert_eq!(world.far.active_gate_tokens().len(), 2);
}

#[tokio::test]
async fn where_no_route_answers_the_error_names_what_is_needed() {
    let world = world().await;
    let gates = world.gates(&world.api_token());
    world.far.configure(|it| it.classic_active_gates = false);
    let error = gates.check_access().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthorized);
    assert!(error.what.contains(api::PLATFORM_SCOPES[2]), "{error}");
    let platform = world.platform_token(&api::PLATFORM_SCOPES);
    let error = world.gates_at(&platform, None).check_access().await;
    let error = error.unwrap_err();
    assert!(error.what.contains("set apps_url"), "{error}");
    let weak = world.platform_token(&["storage:logs:read"]);
    let error = world.gates(&weak).check_access().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthorized);
    assert!(error.what.contains(api::PLATFORM_SCOPES[0]), "{error}");
}

/// A token with a seed cannot be ordered without saying so.
#[tokio::test]
async fn an_api_without_a_type_is_asked_again_only_where_nothing_is_lost() {
    let world = world().await;
    world.far.configure(|it| it.active_gate_type_removed = true);
    let gates = world.gates(&world.api_token());
    gates.mint(&order("ENVIRONMENT", false)).await.unwrap();
    let error = gates.mint(&order("ENVIRONMENT", true)).await;
    assert_eq!(kind(error), ErrorKind::Refused);
    assert_eq!(world.far.active_gate_tokens().len(), 1);
}

#[tokio::test]
async fn p9_a_listing_that_stops_short_or_goes_in_circles_is_no_listing() {
    let world = world().await;
    let gates = world.gates(&world.api_token());
    for _ in 0..2 {
        gates.mint(&order("ENVIRONMENT", false)).await.unwrap();
    }
    for action in [Action::ShortList, Action::EndlessPages] {
        let rule = Rule::on(Operation::ListTokens).always().then(action);
        let fault = world.far.fault(rule);
        assert_eq!(kind(gates.list_marked().await), ErrorKind::Transient);
        fault.remove();
    }
    assert_eq!(gates.list_marked().await.unwrap().len(), 2);
}

#[test]
fn the_scopes_that_are_missing_are_named_to_the_letter() {
    let missing = |scopes: &[&str], platform| {
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        ActiveGates::scopes_missing(&scopes, platform)
    };
    assert_eq!(missing(&[], false), api::CLASSIC_SCOPES);
    assert_eq!(missing(&api::CLASSIC_SCOPES, false), Vec::<&str>::new());
    assert_eq!(missing(&[], true), api::PLATFORM_SCOPES);
    let twin = "environment-api:activegate-tokens:create";
    assert_eq!(
        missing(&[api::PLATFORM_SCOPES[0], twin], true),
        [api::PLATFORM_SCOPES[2]]
    );
}

#[tokio::test]
async fn p9_whatever_answers_in_the_place_of_the_api_is_no_answer() {
    for body in ["<html>Sign in</html>", "", "{}", "[]", "null", "\"ok\""] {
        let fake = crate::dynatrace::tests::fake::Fake::always(200, body).await;
        let world = world().await;
        for (manager, ..) in world.managers() {
            let options = Options {
                name: "prod".into(),
                base_url: BaseUrl::new(&fake.url).unwrap(),
                api: Api::V2,
                http: http::Options {
                    timeout: Duration::from_secs(10),
                    ..http::Options::default()
                },
            };
            let value: Arc<str> = manager.into();
            let read = move || std::future::ready(Ok(TokenValue::new(&*value)));
            let environment = Dynatrace::new(&options, read).unwrap();
            let apps = Some(&options.base_url);
            let gates = ActiveGates::of(&environment, apps, &options.http).unwrap();
            let value = TokenValue::new("dt0g02.VICTIM.CANARY");
            let id = value.id().unwrap();
            let trial = TrialOptions {
                environment: "prod",
                by: &rotation::plan::Verification::Auto,
            };
            let error = gates.check_access().await.unwrap_err();
            assert!(error.what.contains("not the API's"), "{error}");
            assert_eq!(error.kind, ErrorKind::Transient);
            assert_eq!(kind(gates.look_up(&id).await), ErrorKind::Transient);
            assert_eq!(
                kind(gates.look_up_value(&value).await),
                ErrorKind::Transient
            );
            assert_eq!(
                kind(gates.verify(&value, None, trial).await),
                ErrorKind::Transient
            );
            assert_eq!(kind(gates.list_marked().await), ErrorKind::Transient);
        }
    }
}
