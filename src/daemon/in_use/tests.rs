//! Several tables for one environment, against the stand-ins for Dynatrace and Vault.

use serde_json::json;
use simulator::{PlatformSeed, Seed, Simulator};

use super::super::foreground::Foreground;
use super::super::foreground::named_token::NamedToken;
use super::super::{assemble, audit, journal_index};
use super::*;
use crate::config::{Options, load};
use crate::ops::audit::Relation;
use crate::ops::audit::tests::token;
use rotation::marker::Epoch;
use rotation::plan::Coordinates;
use rotation::ports::Journal;
use rotation::record::{Current, Record};

const ACCOUNT: &str = "0f5c3b1e-1c5e-4a3c-9d4b-4d2f3c1a7b10";

struct World {
    simulator: Simulator,
    settings: Settings,
    /// The management tokens of `fleet` and `classic`, and the token of the secret `held`.
    ids: [TokenId; 3],
}

/// `prod` and three tables with its address, two of which manage ActiveGate tokens; `far` is another environment, whose management token cannot
/// be read.
async fn world() -> World {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = simulator::Options {
        account: Some(ACCOUNT.to_owned()),
        ..simulator::Options::default()
    };
    let simulator = Simulator::start(options).await.unwrap();
    let (far, kv) = (simulator.dynatrace(), simulator.kv());
    let account = simulator.account().unwrap();
    let user = account.seed_user();
    let scopes = [
        "platform-token:tokens:manage",
        "platform-token:tokens:write",
    ];
    let client = account.seed_client(&user, &scopes);
    let client = json!({ "client_id": client.id, "client_secret": client.value });
    kv.put("secret", "client", client);
    let master = far.seed(Seed::management("master"));
    let fleet = PlatformSeed::new("fleet", &user).environment("abc12345");
    let fleet = account.seed(fleet);
    let classic = far.seed(Seed::active_gate_management("classic"));
    let held = far.seed(Seed::new("held"));
    for (path, token) in [
        ("master", &master),
        ("fleet", &fleet),
        ("classic", &classic),
        ("held", &held),
    ] {
        kv.put("secret", path, json!({ "token": token.value }));
    }
    let (url, api) = (far.url(), simulator.url());
    let apps = far.apps_url().unwrap();
    let vault = kv.url();
    let tables = [
        ("prod", "master"),
        ("fleet", "fleet"),
        ("classic", "classic"),
        ("second", "master"),
    ];
    let tables = tables.map(|(name, auth)| {
        format!(
            "[dynatrace.{name}]\nurl = \"{url}\"\nenvironment_id = \"abc12345\"\napps_url = \"{apps}\"\n\
             [dynatrace.{name}.auth]\nmount = \"secret\"\npath = \"{auth}\"\n"
        )
    });
    let text = format!(
        "[vault]\naddress = \"{vault}\"\n[vault.auth]\nmethod = \"token\"\ntoken_file = \"token\"\n\
         [journal]\nmount = \"secret\"\npath = \"journal\"\n\
         [account.main]\nuuid = \"{ACCOUNT}\"\napi_url = \"{api}\"\nsso_url = \"{api}\"\n[account.main.auth]\npath = \"client\"\n\
         {}[dynatrace.far]\nurl = \"http://127.0.0.1:1\"\nenvironment_id = \"abc99999\"\n[dynatrace.far.auth]\npath = \"none\"\n\
         [defaults]\nenvironment = \"prod\"\nschedule = \"@daily\"\n[[secret]]\npath = \"held\"\nenvironment = \"second\"\n[[secret]]\npath = \"other\"\n",
        tables.concat()
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dtrotate.toml");
    std::fs::write(&file, text).unwrap();
    std::fs::write(folder.path().join("token"), kv.root_token()).unwrap();
    let options = Options {
        environment: Default::default(),
        config_dir: None,
        daemon: false,
        starting: false,
        offline: false,
    };
    let settings = load(&file, &options).unwrap_or_else(|problems| panic!("{problems:?}"));
    // The clients read the file.
    std::mem::forget(folder);
    World {
        simulator,
        settings,
        ids: [fleet.id, classic.id, held.id].map(TokenId::new),
    }
}

fn services(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

impl World {
    async fn audit(&self, names: &[&str]) -> audit::Audit {
        let wired = assemble::assemble(&self.settings).unwrap();
        let audited = audit::audit(&self.settings, &services(names), &wired).await;
        audited.unwrap()
    }

    fn lose(&self, path: &str) {
        self.simulator
            .kv()
            .put("secret", path, json!({ "x": "y" }))
            .unwrap();
    }
}

fn relation(audit: &audit::Audit, id: &TokenId) -> Relation {
    let mut tokens = audit.tokens.iter();
    let token = tokens.find(|token| token.info.id == *id);
    token.expect("it is listed").relation
}

#[tokio::test]
async fn p9_what_any_table_works_with_is_not_unmanaged() {
    let world = world().await;
    let audit = world.audit(&["prod"]).await;
    let [fleet, classic, held] = &world.ids;
    assert!(audit.incomplete.is_empty(), "{:?}", audit.incomplete);
    assert_eq!(relation(&audit, classic), Relation::Management);
    assert_eq!(relation(&audit, held), Relation::Current);
    let audit = world.audit(&["account main"]).await;
    assert_eq!(relation(&audit, fleet), Relation::Management);
    let foreground = Foreground::open(&world.settings, "i".into(), false).await;
    let foreground = foreground.unwrap();
    for (environment, id) in [("fleet", fleet), ("prod", fleet), ("prod", classic)] {
        let named = NamedToken::new(&foreground, environment, id).unwrap();
        assert!(named.manages_tokens().await.unwrap(), "{id}");
    }
}

#[tokio::test]
async fn p9_nothing_is_ended_where_a_token_in_use_is_not_known() {
    let world = world().await;
    world.lose("fleet");
    let [_, classic, held] = &world.ids;
    for names in [["prod"], ["account main"]] {
        let audit = world.audit(&names).await;
        let mut incomplete = audit.incomplete.iter();
        let named = incomplete.any(|error| error.what.contains("environment fleet"));
        assert!(named, "{names:?}: {:?}", audit.incomplete);
        let far = |error: &CallError| error.what.contains("environment far");
        // That one has the same account, and none of the tokens of prod.
        let reported = audit.incomplete.iter().any(far);
        assert_eq!(reported, names == ["account main"]);
    }
    let foreground = Foreground::open(&world.settings, "i".into(), false).await;
    let foreground = foreground.unwrap();
    let of = |id| NamedToken::new(&foreground, "prod", id).unwrap();
    assert!(of(classic).manages_tokens().await.unwrap());
    let error = of(held).manages_tokens().await.unwrap_err();
    assert!(error.what.contains("environment fleet"), "{error}");
}

fn record(name: &str, place: Coordinates, current: Option<&TokenId>) -> Record {
    let epoch = Epoch {
        installation: "i".into(),
        secret: name.into(),
    };
    let now = crate::clock::now();
    let mut record = Record::blank(name, epoch.clone(), place, now);
    record.current = current.map(|id| Current::new(&token(id.as_str(), name), 1, &epoch));
    record
}

#[tokio::test]
async fn p3_whoever_may_still_need_a_token_holds_it() {
    let world = world().await;
    let wired = assemble::assemble(&world.settings).unwrap();
    let held = &world.ids[2];
    let place = world.settings.secrets[0].plan.coordinates.clone();
    let at = |path: &str| Coordinates {
        path: path.into(),
        ..place.clone()
    };
    let kv = world.simulator.kv();
    let value = kv.get("secret", "held").unwrap().1;
    kv.put("secret", "left", value);
    kv.put("secret", "reused", json!({ "token": "dt0c01.NEW.SECRET" }));
    let gone = TokenId::new("dt0c01.GONE");
    let mut left = record("left", at("left"), Some(held));
    left.closed_at = Some(crate::clock::now());
    let mut moved = record("moved", at("left"), Some(&gone));
    moved.closed_at = left.closed_at;
    moved.renamed_to = Some("x".into());
    for record in [
        // It is stuck: its value was never recorded.
        record("held", place.clone(), None),
        // It left the configuration.
        left,
        // Another daemon has it, and has not stored another value.
        record("elsewhere", at("left"), Some(held)),
        moved,
        record("deleted", at("deleted"), Some(&gone)),
        record("reused", at("reused"), Some(&gone)),
    ] {
        wired.ledger.write(&record.name, 0, &record).await.unwrap();
    }
    let url = place.base_url.as_str();
    let mut all = journal_index::held_tokens(&wired, &world.settings, [url].into()).await;
    let index = all.remove(url).unwrap().unwrap();
    let names = |id: &TokenId| -> Vec<String> {
        let names = index.get(id).into_iter().flatten();
        let mut names: Vec<String> = names.map(|name| name.to_string()).collect();
        names.sort();
        names
    };
    assert_eq!(names(held), ["elsewhere", "held", "left"]);
    assert!(names(&gone).is_empty());
    assert_eq!(names(&TokenId::new("dt0c01.NEW")), ["reused"]);
}
