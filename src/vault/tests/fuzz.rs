//! Anything that a server may answer, at every reader of an answer.

use proptest::prelude::*;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::super::answer::{Verdict, judge};
use super::super::wire::{Call, Effect};
use super::*;
use crate::http::odd;
use crate::http::{self, Reply};

/// Keys and texts of Vault's answers, and what must not show.
const WORDS: [&str; 30] = [
    "errors",
    "warnings",
    "data",
    "auth",
    "metadata",
    "version",
    "keys",
    "path",
    "type",
    "options",
    "kv",
    "2",
    "secret/",
    "client_token",
    "lease_duration",
    "renewable",
    "ttl",
    "creation_path",
    "secret_id",
    "auth/approle/role/r/secret-id",
    "permission denied",
    "Vault is sealed",
    "check-and-set parameter did not match the current version",
    "from non-versioned to versioned data",
    "X-Vault-Index",
    "X-Vault-Request",
    "1 error occurred:\n\t* permission denied\n\n",
    "schema",
    CANARY,
    VALUE,
];

fn reply_of(status: u16, body: Vec<u8>, headers: Vec<(&'static str, Vec<u8>)>) -> Reply {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            map.insert(HeaderName::from_static(name), value);
        }
    }
    Reply {
        status,
        headers: map,
        body: Zeroizing::new(body),
        asked: jiff::Timestamp::UNIX_EPOCH,
    }
}

fn headers() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    const NAMES: [&str; 4] = ["retry-after", "location", "date", "x-vault-index"];
    const VALUES: [&str; 6] = [
        "1",
        "18446744073709551615",
        "-1",
        "http://127.0.0.1:1/v1/x?token=hvs.canarycanarycanary",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "eyJjbHVzdGVyIjoiYSIsInZhbHVlIjoiMSJ9",
    ];
    let value = prop_oneof![
        prop::sample::select(&VALUES[..]).prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..30),
    ];
    prop::collection::vec((prop::sample::select(&NAMES[..]), value), 0..4)
}

proptest! {
    #![proptest_config(odd::config())]

    #[test]
    fn fuzz_any_answer_gets_a_verdict_that_shows_nothing(
        status in odd::status(),
        body in odd::body(&WORDS),
        headers in headers(),
        write in any::<bool>(),
    ) {
        let mut call = Call::post("secret/data/app", &json!({"data": {"token": VALUE}}));
        if write {
            call.effect = Effect::Write;
        }
        let token = http::sensitive(CANARY).unwrap();
        let reply = reply_of(status, body, headers);
        let error = match judge(&call, Some(&token), reply) {
            Verdict::Lagging | Verdict::Limited(_) => return Ok(()),
            Verdict::Answer(answer) => {
                prop_assert!(answer.status < 500);
                answer.refuse(&call)
            }
            Verdict::Elsewhere(trouble) => {
                // Sent to the next node: a write only where nothing happened, or where that is kept in mind.
                let harmless = trouble.error.kind != ErrorKind::Unclear;
                prop_assert!(harmless || trouble.open, "{}", trouble.error);
                trouble.error
            }
            Verdict::Fail(trouble) => trouble.error,
        };
        prop_assert!(write || error.kind != ErrorKind::Unclear, "{error}");
        prop_assert!(error.retry_after.is_none_or(|wait| wait <= Duration::from_secs(300)));
        odd::assert_sentence(&error.what, &[CANARY, "SECRETCANARY"]);
    }
}

/// Every reader behind a verdict: the answer to the one request that the row makes is any body with status 200 or 404.
#[test]
fn fuzz_any_body_is_read_or_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let current = Arc::new(std::sync::Mutex::new((200, Vec::new())));
    let answer = current.clone();
    let (fake, store, vault) = runtime.block_on(async {
        let fake = vault(move |_| {
            let (status, body) = answer.lock().unwrap().clone();
            reply(status, body)
        })
        .await;
        let vault = Vault::new(options(&[&fake.url])).unwrap();
        (fake, KvSecrets::new(vault.clone()), vault)
    });
    let journal = KvJournal::new(vault, "secret", "dtrotate/journal");
    let config = ProptestConfig {
        // Each case makes four requests.
        cases: (odd::config().cases / 16).max(1),
        ..odd::config()
    };
    let status = prop_oneof![Just(200_u16), Just(404)];
    proptest::test_runner::TestRunner::new(config)
        .run(&(status, odd::body(&WORDS)), |case| {
            *current.lock().unwrap() = case;
            let old = SecretPath {
                mount: "old".into(),
                path: "app".into(),
            };
            let failed = runtime.block_on(async {
                [
                    store.read(&app()).await.err(),
                    store.read(&old).await.err(),
                    journal.list().await.err(),
                    journal.read("app").await.err(),
                ]
            });
            for error in failed.into_iter().flatten() {
                odd::assert_sentence(&error.what, &[CANARY]);
            }
            Ok(())
        })
        .unwrap();
    drop(fake);
}
