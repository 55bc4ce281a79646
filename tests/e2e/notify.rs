//! Notifications: a problem in Dynatrace and a post to a webhook when a condition opens, a post when it is resolved; and a channel that
//! fails disturbs no rotation and shows no secret in a line of the log.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use serde_json::Value;
use simulator::{Operation, Seed};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::world::{Daemon, World, until};

/// What stands in the path of every webhook's URL.
const CANARY: &str = "CanaryInTheWebhookUrl";

/// A webhook that keeps what it was sent.
pub struct Sink {
    pub url: String,
    posts: Arc<Mutex<Vec<Value>>>,
    answer: Arc<Mutex<StatusCode>>,
    task: JoinHandle<()>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sink {
    pub async fn start() -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let posts = Arc::<Mutex<Vec<Value>>>::default();
        let answer = Arc::new(Mutex::new(StatusCode::OK));
        let (log, code) = (posts.clone(), answer.clone());
        let router = Router::new().fallback(move |request: Request| {
            let (log, code) = (log.clone(), *code.lock().expect("the answer"));
            async move {
                let body = to_bytes(request.into_body(), usize::MAX).await;
                let post = serde_json::from_slice(&body.expect("a body")).expect("JSON");
                if code.is_success() {
                    log.lock().expect("the posts").push(post);
                }
                (code, CANARY)
            }
        });
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("a server");
        });
        Sink {
            url: format!("http://{address}/services/{CANARY}?sig={CANARY}"),
            posts,
            answer,
            task,
        }
    }

    pub fn answer(&self, code: StatusCode) {
        *self.answer.lock().expect("the answer") = code;
    }

    /// The posts with this event and state.
    pub fn posts(&self, event: &str, state: &str) -> Vec<Value> {
        let mut posts = self.posts.lock().expect("the posts").clone();
        posts.retain(|post| post["event"] == event && post["state"] == state);
        posts
    }
}

/// Two secrets that rotate every two seconds, and both channels of notification; `scopes` are those of the small token.
async fn telling(url: &str, scopes: &[&str]) -> World {
    let mut world = World::new(2).await;
    let token = world.dynatrace.seed(Seed::new("notify").scopes(scopes));
    let file = |name: &str, text: &str| {
        std::fs::write(world.folder.path().join(name), text).expect("a file");
    };
    file("notify-token", &token.value);
    file("notify-webhook-url", url);
    world.set("defaults.schedule", "*/2 * * * * *");
    world.set("notify.dynatrace.token_file", "notify-token");
    world.set("notify.webhook.url_file", "notify-webhook-url");
    world
}

/// Disables the token of the first secret until the daemon has said that a human is needed.
async fn stuck(world: &World, daemon: &Daemon) -> String {
    until("rotations", async || {
        daemon.events("rotation_succeeded") >= 2
    })
    .await;
    let id = loop {
        let id = world.current_id(0).await;
        assert!(world.dynatrace.disable(&id));
        // It may have been replaced in between.
        if world.current_id(0).await == id {
            break id;
        }
    };
    until("it to be stuck", async || {
        daemon.events("rotation_stuck") + daemon.events("current_invalid") > 0
    })
    .await;
    id
}

fn of_secret<'a>(posts: &'a [Value], world: &World) -> Vec<&'a Value> {
    let own = |post: &&Value| post["secret"] == world.secrets[0].as_str();
    posts.iter().filter(own).collect()
}

fn rotations_of_the_other(daemon: &Daemon, world: &World) -> usize {
    let mut lines = daemon.lines();
    lines.retain(|line| {
        line["event"] == "rotation_succeeded" && line["secret"] == world.secrets[1].as_str()
    });
    lines.len()
}

async fn goes_on(daemon: &Daemon, world: &World) {
    let before = rotations_of_the_other(daemon, world);
    until("the other secret to rotate on", async || {
        rotations_of_the_other(daemon, world) >= before + 2
    })
    .await;
}

fn nothing_shows(world: &World) {
    for entry in std::fs::read_dir(world.folder.path()).expect("the folder") {
        let path = entry.expect("a file").path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let text = std::fs::read_to_string(&path).expect("a log");
            assert!(!text.contains(CANARY), "P5: {}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_a_stuck_secret_opens_a_problem_and_is_posted_and_so_is_its_end() {
    let sink = Sink::start().await;
    let world = telling(&sink.url, &["events.ingest"]).await;
    let mut daemon = world.start("e2e");
    let id = stuck(&world, &daemon).await;
    let begins = || {
        [
            sink.posts("rotation_stuck", "begins"),
            sink.posts("current_invalid", "begins"),
        ]
        .concat()
    };
    until("a post", async || !begins().is_empty()).await;
    let post = begins().remove(0);
    let event = post["event"].as_str().expect("an event").to_owned();
    assert_eq!(post["secret"], world.secrets[0].as_str());
    assert!(post["text"].as_str().expect("a text").contains(&event));
    let told = || {
        let events = world.dynatrace.events().into_iter();
        let mut bodies = events.map(|taken| taken.body);
        bodies.find(|body| body["properties"]["dtrotate.event"] == event.as_str())
    };
    until("an event", async || told().is_some()).await;
    let told = told().expect("an event");
    assert_eq!(told["eventType"], "ERROR_EVENT");
    assert_eq!(told["properties"]["dtrotate.message"], post["message"]);
    goes_on(&daemon, &world).await;
    let posts = begins();
    assert_eq!(
        of_secret(&posts, &world)
            .iter()
            .filter(|it| it["event"] == post["event"])
            .count(),
        1,
        "told once: {posts:?}"
    );

    assert!(world.dynatrace.enable(&id));
    until("a post of the end", async || {
        !of_secret(&sink.posts(&event, "over"), &world).is_empty()
    })
    .await;
    let events = world.dynatrace.events().len();
    goes_on(&daemon, &world).await;
    assert_eq!(
        world.dynatrace.events().len(),
        events,
        "the problem is left to close"
    );
    assert_eq!(daemon.events("notify_failed"), 0);
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code(), Some(0));
    nothing_shows(&world);
    let values = world.dynatrace.issued();
    let log = std::fs::read_to_string(&daemon.log).expect("the log");
    assert!(
        values.iter().all(|value| !log.contains(value.as_str())),
        "P5"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_a_way_that_refuses_disturbs_nobody_is_told_by_the_other_way_and_heals() {
    let sink = Sink::start().await;
    let world = telling(&sink.url, &["metrics.ingest"]).await;
    let daemon = world.start("e2e");
    stuck(&world, &daemon).await;
    // Dynatrace refuses the token: the webhook says so, and Dynatrace itself is not asked about that.
    until("the trouble of the channel", async || {
        !sink.posts("notify_failed", "begins").is_empty()
    })
    .await;
    let post = sink.posts("notify_failed", "begins").remove(0);
    assert!(
        post["message"]
            .as_str()
            .expect("a text")
            .contains("events.ingest")
    );
    assert_eq!(world.dynatrace.events(), []);
    goes_on(&daemon, &world).await;
    let teller = world
        .dynatrace
        .tokens()
        .into_iter()
        .find(|it| it.name == "notify");
    let teller = teller.expect("the small token").id;
    assert!(world.dynatrace.set_scopes(&teller, &["events.ingest"]));
    until("the end of that", async || {
        !sink.posts("notify_failed", "over").is_empty()
    })
    .await;
    let events = world.dynatrace.events();
    assert!(!events.is_empty(), "what could not be sent is sent now");
    let own = |event: &simulator::TakenEvent| {
        event.body["properties"]["dtrotate.event"] == "notify_failed"
    };
    assert!(!events.iter().any(own), "not by the way that failed");

    // The webhook is gone: Dynatrace says so.
    sink.answer(StatusCode::NOT_FOUND);
    until("the event about the webhook", async || {
        // A rotation may replace it at this very moment.
        world.dynatrace.disable(&world.current_id(1).await);
        world.dynatrace.events().iter().any(own)
    })
    .await;
    let lines = world.errors();
    assert!(lines.iter().any(|line| {
        line["event"] == "notify_failed"
            && line["message"]
                .as_str()
                .is_some_and(|text| text.contains("404"))
    }));
    nothing_shows(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_a_way_that_hangs_delays_neither_rotation_nor_stop() {
    // It takes connections and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let world = telling(&format!("http://{address}/{CANARY}"), &["events.ingest"]).await;
    let mut daemon = world.start("e2e");
    stuck(&world, &daemon).await;
    until("the event", async || {
        world.dynatrace.count(Operation::IngestEvent) > 0
    })
    .await;
    goes_on(&daemon, &world).await;
    until("the trouble of the channel", async || {
        daemon.events("notify_failed") > 0
    })
    .await;
    goes_on(&daemon, &world).await;
    let began = Instant::now();
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    nothing_shows(&world);
}
