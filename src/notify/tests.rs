use std::sync::Mutex;

use axum::body::Body;
use axum::response::Response;

use super::*;
use crate::http::Options;
use crate::http::fake::Fake;
use rotation::token::TokenValue;

fn notice(secret: Option<&str>) -> Notice {
    Notice {
        event: EventName::RotationStuck,
        message: "it was <disabled> & more".to_owned(),
        secret: secret.map(str::to_owned),
        environment: Some("prod".to_owned()),
        labels: crate::labels::Labels::from_iter([("team", "<a>&co")]),
        reason: Some("token_disabled".to_owned()),
        advice: None,
        since: Timestamp::UNIX_EPOCH,
        instance: "web-1".to_owned(),
    }
}

fn single(notice: &Notice, phase: Phase) -> Option<Value> {
    render::post(&[notice], phase)
}

fn troubles(keys: &[&str]) -> Troubles {
    let all = keys.iter().map(|&key| (key.to_owned(), notice(Some(key))));
    all.collect()
}

fn phases(ledger: &Ledger, troubles: &Troubles, now: Instant) -> Vec<(String, Phase)> {
    let due = ledger.due(troubles, now).into_iter();
    due.map(|(key, _, phase)| (key, phase)).collect()
}

/// Everything that is due gets through.
fn tell(ledger: &mut Ledger, troubles: &Troubles, now: Instant) {
    for (key, notice, phase) in ledger.due(troubles, now) {
        ledger.delivered(key, notice, phase, now);
    }
}

#[test]
fn a_trouble_is_told_when_it_begins_then_every_five_minutes_and_when_it_ends() {
    let (mut ledger, began) = (Ledger::default(), Instant::now());
    let one = |key: &str, phase| vec![(key.to_owned(), phase)];
    let a = troubles(&["a"]);
    assert_eq!(phases(&ledger, &a, began), one("a", Phase::Begins));
    assert_eq!(
        phases(&ledger, &a, began),
        one("a", Phase::Begins),
        "not sent yet"
    );
    tell(&mut ledger, &a, began);
    let second = Duration::from_secs(1);
    assert!(phases(&ledger, &a, began + REFRESH - second).is_empty());
    assert_eq!(ledger.rest(began + second), REFRESH - second);
    assert_eq!(phases(&ledger, &a, began + REFRESH), one("a", Phase::Lasts));
    tell(&mut ledger, &a, began + REFRESH);
    assert!(phases(&ledger, &a, began + REFRESH + second).is_empty());
    let both = phases(&ledger, &troubles(&["b"]), began + REFRESH);
    let wanted = [
        ("b".to_owned(), Phase::Begins),
        ("a".to_owned(), Phase::Over),
    ];
    assert_eq!(both, wanted);
    tell(&mut ledger, &troubles(&[]), began + REFRESH);
    assert!(phases(&ledger, &troubles(&[]), began + REFRESH * 9).is_empty());
    // An event must not run out between two tellings of which one failed.
    assert!(REFRESH * 2 + second < Duration::from_secs(15 * 60));
}

#[test]
fn what_lasts_is_told_in_the_words_of_its_beginning() {
    let (mut ledger, began) = (Ledger::default(), Instant::now());
    tell(&mut ledger, &troubles(&["a"]), began);
    let mut later = troubles(&["a"]);
    later.get_mut("a").unwrap().message = "attempt 7".to_owned();
    let due = ledger.due(&later, began + REFRESH);
    assert_eq!(due[0].1, notice(Some("a")));
}

#[test]
fn an_event_opens_a_problem_and_holds_nothing_that_changes() {
    let event = render::event(&notice(Some("ci")), Phase::Begins).unwrap();
    assert_eq!(event["eventType"], "ERROR_EVENT");
    assert_eq!(event["title"], "dtrotate: rotation_stuck of ci (prod)");
    assert_eq!(event["timeout"], 15);
    let properties = event["properties"].as_object().unwrap();
    assert!(properties.values().all(Value::is_string));
    assert_eq!(properties["dtrotate.message"], "it was <disabled> & more");
    assert_eq!(properties["dtrotate.reason"], "token_disabled");
    assert!(!properties.contains_key("dtrotate.instance"));
    assert_eq!(
        render::event(&notice(Some("ci")), Phase::Lasts),
        Some(event)
    );
    assert_eq!(render::event(&notice(Some("ci")), Phase::Over), None);
    let own = render::event(&notice(None), Phase::Begins).unwrap();
    assert_eq!(own["properties"]["dtrotate.instance"], "web-1");
    let mut long = notice(None);
    long.message = "é".repeat(5000);
    let long = render::event(&long, Phase::Begins).unwrap();
    let message = long["properties"]["dtrotate.message"].as_str().unwrap();
    assert_eq!(message.chars().count(), 4096);
}

#[test]
fn a_post_tells_beginning_and_end_and_cannot_shout() {
    let post = single(&notice(Some("ci")), Phase::Begins).unwrap();
    let text = post["text"].as_str().unwrap();
    assert!(text.contains("rotation_stuck of ci (prod): it was &lt;disabled&gt; &amp; more"));
    assert!(text.contains("web-1") && text.contains("What to do: "));
    assert_eq!(
        (&post["state"], &post["secret"]),
        (&"begins".into(), &"ci".into())
    );
    assert_eq!(post["message"], "it was <disabled> & more");
    assert_eq!(single(&notice(Some("ci")), Phase::Lasts), None);
    let over = single(&notice(Some("ci")), Phase::Over).unwrap();
    assert_eq!(over["state"], "over");
    assert!(over["text"].as_str().unwrap().contains("resolved"));
}

#[test]
fn p5_nothing_from_outside_acts_on_a_reader_of_a_notification() {
    let mut hostile = notice(None);
    hostile.message = "\u{1b}[2J\u{202e}\nforged dt0c01.A.CANARY".to_owned();
    hostile.instance = "web\u{9b}".to_owned();
    let sent = [
        render::event(&hostile, Phase::Begins),
        single(&hostile, Phase::Begins),
    ];
    for sent in sent {
        let sent = sent.unwrap().to_string();
        assert!(!sent.contains(crate::sanitize::is_hazard), "{sent:?}");
        assert!(!sent.contains("\\u001b") && !sent.contains("\\nforged"));
        assert!(!sent.contains("CANARY"), "{sent}");
    }
}

#[test]
fn a_pause_grows_keeps_problems_open_and_respects_a_wish() {
    for failures in 0..100 {
        assert!(pause(failures, None, u64::MAX) <= REFRESH);
    }
    assert!(pause(0, None, u64::MAX) <= Duration::from_secs(2));
    let wish = Duration::from_secs(900);
    assert_eq!(pause(3, Some(wish), 0), wish);
    assert_eq!(pause(3, Some(wish * 100), 0), retry::LONGEST);
}

/// A channel whose posts end as `answer` says, with what was sent.
fn channel(answer: fn(&Value) -> Result<(), Failure>) -> (Channel, Arc<Mutex<Vec<Value>>>) {
    let sent = Arc::<Mutex<Vec<Value>>>::default();
    let log = sent.clone();
    let send: Send = Arc::new(move |message| {
        let answer = answer(&message);
        log.lock().unwrap().push(message);
        Box::pin(std::future::ready(answer))
    });
    (Channel::webhook(send), sent)
}

fn failed(kind: ErrorKind) -> Result<(), Failure> {
    let (what, retry_after) = ("no".to_owned(), None);
    Err(Failure {
        kind,
        what,
        retry_after,
    })
}

#[tokio::test]
async fn a_notice_that_is_refused_holds_up_no_other_and_a_dead_channel_is_asked_once_a_round() {
    let mut ledger = Ledger::default();
    // Of different kinds, so that they are no group.
    let mut three = troubles(&["a", "b", "c"]);
    let reasons = ["one", "two", "three"].map(|reason| Some(reason.to_owned()));
    for (notice, reason) in three.values_mut().zip(reasons) {
        notice.reason = reason;
    }
    let (one, sent) = channel(|message| match message["secret"] == "a" {
        true => failed(ErrorKind::Refused),
        false => Ok(()),
    });
    assert!(one.round(&mut ledger, &three, &|_| {}).await.is_some());
    assert!(one.round(&mut ledger, &three, &|_| {}).await.is_some());
    let secrets: Vec<Value> = sent
        .lock()
        .unwrap()
        .iter()
        .map(|it| it["secret"].clone())
        .collect();
    assert_eq!(secrets, ["a", "b", "c", "a"]);
    let (dead, sent) = channel(|_| failed(ErrorKind::Transient));
    assert!(
        dead.round(&mut Ledger::default(), &three, &|_| {})
            .await
            .is_some()
    );
    assert_eq!(sent.lock().unwrap().len(), 1);
}

/// Otherwise the channel would count as broken until the next condition opens.
#[tokio::test]
async fn what_ended_while_the_channel_failed_is_told_when_it_works_again() {
    static WORKS: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    let (one, sent) = channel(|_| match WORKS.load(std::sync::atomic::Ordering::Relaxed) {
        true => Ok(()),
        false => failed(ErrorKind::Transient),
    });
    let (mut ledger, outcomes) = (Ledger::default(), Mutex::new(vec![]));
    let report = |outcome: Option<Result<(), Failure>>| outcomes.lock().unwrap().push(outcome);
    let mut two = troubles(&["a", "b"]);
    two.get_mut("b").unwrap().reason = None;
    assert!(one.round(&mut ledger, &two, &report).await.is_some());
    assert_eq!(ledger.due(&two, Instant::now()).len(), 2, "not sent yet");
    assert!(
        one.round(&mut ledger, &troubles(&[]), &report)
            .await
            .is_some()
    );
    WORKS.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(
        one.round(&mut ledger, &troubles(&[]), &report)
            .await
            .is_none()
    );
    let posts = sent.lock().unwrap().clone();
    let ends = posts.iter().filter(|post| post["state"] == "over").count();
    assert_eq!((posts.len(), ends), (4, 3), "{posts:?}");
    assert!(matches!(
        outcomes.lock().unwrap()[..],
        [.., Some(Ok(())), Some(Ok(()))]
    ));
    assert!(ledger.due(&troubles(&[]), Instant::now()).is_empty());
}

#[tokio::test]
async fn a_channel_with_nothing_left_to_send_is_not_reported_any_longer() {
    let send: Send = Arc::new(|_| Box::pin(std::future::ready(failed(ErrorKind::Transient))));
    let (show, shown) = watch::channel(troubles(&["a"]));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    // An event has no end that would be sent.
    let channel = Channel::dynatrace(send);
    let run = tokio::spawn(channel.run(shown, move |outcome: Option<_>| {
        let _ = tell.send(outcome);
    }));
    assert!(matches!(told.recv().await, Some(Some(Err(_)))));
    show.send_replace(troubles(&[]));
    let last = async { while let Some(Some(_)) = told.recv().await {} };
    tokio::time::timeout(Duration::from_secs(60), last)
        .await
        .unwrap();
    drop(show);
    run.await.unwrap();
}

#[tokio::test]
async fn what_was_shown_last_is_told_and_the_run_ends_when_nobody_shows_any_more() {
    let (one, sent) = channel(|_| Ok(()));
    let (show, shown) = watch::channel(troubles(&["a"]));
    show.send_replace(troubles(&["b"]));
    drop(show);
    one.run(shown, |_| {}).await;
    let sent = sent.lock().unwrap();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0]["secret"], "b");
}

#[tokio::test]
async fn p5_a_webhook_that_fails_says_why_and_never_where() {
    let options = Options {
        timeout: Duration::from_secs(5),
        ..Options::default()
    };
    let webhook = Webhook::new(&options).unwrap();
    for (status, kind) in [
        (200, None),
        (302, Some(ErrorKind::Unauthorized)),
        (400, Some(ErrorKind::Refused)),
        (404, Some(ErrorKind::Unauthorized)),
        (429, Some(ErrorKind::Transient)),
        (500, Some(ErrorKind::Transient)),
    ] {
        let fake = Fake::new(move |_| {
            let answer = Response::builder().status(status);
            answer
                .header("retry-after", "7")
                .body(Body::from("canary"))
                .unwrap()
        })
        .await;
        let url = TokenValue::new(format!("{}hooks/canary?sig=canary", fake.url));
        let sent = webhook
            .post(&url, &serde_json::json!({ "text": "x" }))
            .await;
        assert_eq!(
            sent.as_ref().err().map(|failure| failure.kind),
            kind,
            "{status}"
        );
        if let Err(failure) = sent {
            assert!(failure.what.contains(&status.to_string()), "{failure:?}");
            assert!(!failure.what.contains("canary"), "{failure:?}");
            assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
        }
    }
    for url in ["http://127.0.0.1:1/canary", "canary"] {
        let sent = webhook.post(&TokenValue::new(url), &Value::Null).await;
        let failure = sent.unwrap_err();
        assert!(!failure.what.contains("canary"), "{failure:?}");
    }
}

#[tokio::test]
async fn conditions_of_one_kind_that_open_together_are_one_post_and_so_are_their_ends() {
    let (one, sent) = channel(|_| Ok(()));
    let (mut ledger, posts) = (Ledger::default(), || sent.lock().unwrap().clone());
    let names: Vec<String> = (0..30).map(|number| format!("s{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut all = troubles(&names);
    // Of the service itself, and of another environment.
    all.insert("service".to_owned(), notice(None));
    let elsewhere = Notice {
        environment: Some("test".to_owned()),
        ..notice(Some("x"))
    };
    all.insert("elsewhere".to_owned(), elsewhere);
    assert!(one.round(&mut ledger, &all, &|_| {}).await.is_none());
    let begun = posts();
    assert_eq!(begun.len(), 3, "{begun:?}");
    let group = begun
        .iter()
        .find(|post| post["secret"].is_null() && post["secrets"] != serde_json::json!([]));
    let group = group.expect("the group");
    assert_eq!(group["secrets"].as_array().unwrap().len(), 30);
    assert_eq!(
        (&group["state"], &group["environment"]),
        (&"begins".into(), &"prod".into())
    );
    let text = group["text"].as_str().unwrap();
    assert!(text.contains("rotation_stuck of 30 secrets (prod)") && text.contains(" and 10 more"));
    assert!(text.contains("&lt;disabled&gt;"), "{text}");
    assert!(
        one.round(&mut ledger, &troubles(&[]), &|_| {})
            .await
            .is_none()
    );
    let ended = posts();
    assert_eq!(ended.len(), 6);
    assert!(ended[3..].iter().all(|post| post["state"] == "over"));
}

#[test]
fn p5_a_post_about_a_rotation_has_ids_and_no_markup() {
    let announcement = Announcement {
        token: rotation::token::TokenId::new("dt0c01.NEW.CANARY"),
        version: 7,
        old: Some(rotation::token::TokenId::new("dt0c01.OLD")),
        at: Timestamp::UNIX_EPOCH,
        until: Timestamp::UNIX_EPOCH,
        by: "web-1".to_owned(),
        unknown: serde_json::Map::new(),
    };
    let post = render::rotated(&Rotated {
        secret: "<ci>".to_owned(),
        environment: "prod".to_owned(),
        labels: crate::labels::Labels::from_iter([("team", "checkout")]),
        place: "secret/ci#token".to_owned(),
        announcement,
    });
    assert_eq!(post["token_id"], "dt0c01.NEW");
    assert_eq!(
        (&post["version"], &post["state"]),
        (&7.into(), &"rotated".into())
    );
    let text = post["text"].as_str().unwrap();
    assert!(text.contains("&lt;ci&gt; was rotated: version 7 of secret/ci#token holds dt0c01.NEW"));
    assert!(!post.to_string().contains("CANARY"), "P5");
}
