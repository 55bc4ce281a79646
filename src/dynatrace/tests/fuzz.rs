//! Anything that a server may answer, at every reader of an answer.

use proptest::prelude::*;

use super::fake::{Back, Fake};
use super::*;
use crate::http::odd;

/// Keys and texts of the API's answers, and what must not show.
const WORDS: [&str; 26] = [
    "error",
    "code",
    "message",
    "constraintViolations",
    "path",
    "id",
    "token",
    "name",
    "enabled",
    "scopes",
    "values",
    "apiTokens",
    "nextPageKey",
    "totalCount",
    "expirationDate",
    "creationDate",
    "lastUsedDate",
    "owner",
    "revoked",
    "dt0c01.SUBJECT",
    "2096-10-02T07:06:40.000Z",
    "x [dtrotate:a.b.1]",
    "metrics.ingest",
    MANAGEMENT,
    SUBJECT,
    OPAQUE,
];

/// Every operation of both generations, whatever comes back.
#[test]
fn fuzz_any_answer_is_read_or_refused_and_shows_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let current = Arc::new(std::sync::Mutex::new((200, String::new())));
    let answer = current.clone();
    let fake = runtime.block_on(Fake::start(move |_| {
        let (status, body) = answer.lock().unwrap().clone();
        Back::Answer(status, body)
    }));
    let environments = [Api::V2, Api::V1].map(|api| environment(&fake.url, api, MANAGEMENT));
    let config = ProptestConfig {
        // Each case makes twenty requests.
        cases: (odd::config().cases / 16).max(1),
        ..odd::config()
    };
    let body = odd::body(&WORDS).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    proptest::test_runner::TestRunner::new(config)
        .run(
            &(
                odd::status().prop_filter("no 1xx", |status| *status >= 200),
                body,
            ),
            |case| {
                *current.lock().unwrap() = case;
                for environment in &environments {
                    for (operation, result) in runtime.block_on(every_operation(environment)) {
                        let Err(error) = result else { continue };
                        // An opaque value of another call cannot be recognised; each call knows its own.
                        odd::assert_sentence(&error.what, &["CANARYMANAGEMENT", "CANARYSUBJECT"]);
                        let about_it = operation == "look up opaque";
                        prop_assert!(!about_it || !error.what.contains(OPAQUE), "{error}");
                        let writes = matches!(operation, "mint" | "disable" | "delete");
                        prop_assert!(
                            writes || error.kind != ErrorKind::Unclear,
                            "{operation}: {error}"
                        );
                    }
                }
                Ok(())
            },
        )
        .unwrap();
}
