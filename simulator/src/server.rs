//! The `Date` header, latency, and carrying a fault out. It knows neither tokens nor secrets.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use futures_util::stream;
use tokio::net::TcpListener;

use crate::calls::{Call, CallLog, lock};
use crate::clock::Clock;
use crate::fault::exchange::Kind;
use crate::fault::handle::{Fault, Faults, Verdict};
use crate::fault::{Action, Answer, LateAnswer, Until};
use crate::message::{Incoming, Overrides, Reply};
use crate::wire::{Cut, CuttableListener, Peer};

/// Dynatrace's cap of a request's body; nothing the KV stand-in is used for is larger, either.
const MAX_BODY: usize = 1024 * 1024;

/// The work on one request.
pub(crate) type Performing<'a> = Pin<Box<dyn Future<Output = Reply> + Send + 'a>>;

/// What a stand-in does with a request. `perform` is one indivisible step of a stand-in with data of its own.
pub(crate) trait Service: Send + Sync + 'static {
    fn site(&self) -> &Site;
    fn describe(&self, incoming: &Incoming) -> Call;
    fn perform<'a>(&'a self, incoming: &'a Incoming) -> Performing<'a>;
    fn too_large(&self) -> Reply;
    /// The answer that this request would get if it were about the token with this id.
    fn answer_as(&self, _incoming: &Incoming, _token_id: &str) -> Option<Reply> {
        None
    }
    /// Ends the hiding that a fault asked for.
    fn reveal(&self, _token_id: &str) {}
}

/// What every stand-in has besides its own data.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) clock: Clock,
    pub(crate) faults: Faults,
    pub(crate) calls: CallLog,
    latency: Mutex<Duration>,
}

impl Site {
    pub(crate) fn new(clock: Clock, latency: Duration, keep_calls: bool) -> Site {
        Site {
            clock,
            faults: Faults::default(),
            calls: CallLog::new(keep_calls),
            latency: Mutex::new(latency),
        }
    }

    pub(crate) fn set_latency(&self, latency: Duration) {
        *lock(&self.latency) = latency;
    }
}

/// Chooses the stand-in for a request by its path; `None` is answered with 404.
pub(crate) trait Origin: Send + Sync + 'static {
    fn service_for(&self, incoming: &Incoming) -> Option<Arc<dyn Service>>;
    fn clock(&self) -> &Clock;
    /// Whether this is the origin of the apps.
    fn apps(&self) -> bool {
        false
    }
}

/// Serves until the returned future is dropped.
pub(crate) async fn serve(listener: TcpListener, origin: Arc<dyn Origin>) -> io::Result<()> {
    let app = Router::new().fallback(handle).with_state(origin);
    let make = app.into_make_service_with_connect_info::<Peer>();
    axum::serve(CuttableListener(listener), make).await
}

async fn handle(
    State(origin): State<Arc<dyn Origin>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Result<Response, Infallible> {
    let (head, body) = request.into_parts();
    let read = axum::body::to_bytes(body, MAX_BODY).await;
    let too_large = read.is_err();
    let incoming = Incoming {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        headers: head.headers,
        body: read.map(|bytes| bytes.to_vec()).unwrap_or_default(),
        peer: peer.address,
        overrides: Overrides::default(),
        apps: origin.apps(),
    };
    let date = origin.clock().date_header();
    let Some(service) = origin.service_for(&incoming) else {
        return Ok(response(Reply::empty(404), Shape::Whole, &date));
    };
    let outcome = if too_large {
        Outcome::Answer(service.too_large(), Shape::Whole)
    } else {
        run(service, incoming).await
    };
    let date = origin.clock().date_header();
    Ok(match outcome {
        Outcome::Answer(reply, shape) => response(reply, shape, &date),
        Outcome::Silence => std::future::pending().await,
        Outcome::Cut(cut) => {
            peer.wire.cut(cut);
            response(Reply::empty(500), Shape::Whole, &date)
        }
    })
}

enum Outcome {
    Answer(Reply, Shape),
    Cut(Cut),
    Silence,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Whole,
    Truncated,
    Endless,
}

async fn run(service: Arc<dyn Service>, incoming: Incoming) -> Outcome {
    let call = service.describe(&incoming);
    let arrived = call.instant;
    let kind = (call.operation, call.path.clone());
    let fault = service.site().faults.pick(&call);
    let number = service.site().calls.begin(call);
    let latency = *lock(&service.site().latency);
    let work = {
        let service = Arc::clone(&service);
        async move {
            if !latency.is_zero() {
                tokio::time::sleep(latency).await;
            }
            match fault {
                None => {
                    let reply = service.perform(&incoming).await;
                    let reply = service.site().faults.exchange.pass(kind, reply);
                    Outcome::Answer(reply, Shape::Whole)
                }
                Some(fault) => carry_out(service, incoming, fault, kind).await,
            }
        }
    };
    // A separate task: a request that was read is processed even when its client has disconnected, as a real server does.
    let outcome = tokio::spawn(work).await.unwrap_or(Outcome::Cut(Cut::Close));
    if let Outcome::Answer(reply, _) = &outcome {
        service.site().calls.answered(number, arrived, reply.status);
    }
    outcome
}

async fn carry_out(
    service: Arc<dyn Service>,
    mut incoming: Incoming,
    fault: Fault,
    kind: Kind,
) -> Outcome {
    let perform = async |incoming: &Incoming| {
        let reply = service.perform(incoming).await;
        fault.note_performed();
        reply
    };
    match fault.action().clone() {
        Action::Refuse(answer) => Outcome::Answer(answer.into(), Shape::Whole),
        Action::Delay(time) => {
            tokio::time::sleep(time).await;
            Outcome::Answer(perform(&incoming).await, Shape::Whole)
        }
        Action::Hold => match fault.hold().await {
            Verdict::Released => Outcome::Answer(perform(&incoming).await, Shape::Whole),
            Verdict::Dropped => Outcome::Cut(Cut::Close),
        },
        Action::HoldAnswer => {
            let reply = perform(&incoming).await;
            match fault.hold().await {
                Verdict::Released => Outcome::Answer(reply, Shape::Whole),
                Verdict::Dropped => Outcome::Cut(Cut::Close),
            }
        }
        Action::LoseAnswer => {
            perform(&incoming).await;
            Outcome::Cut(Cut::Close)
        }
        Action::PerformThenAnswer(answer) => {
            perform(&incoming).await;
            Outcome::Answer(answer.into(), Shape::Whole)
        }
        Action::Late { until, answer } => {
            perform_late(service, incoming, fault, until);
            match answer {
                LateAnswer::Silence => Outcome::Silence,
                LateAnswer::Close => Outcome::Cut(Cut::Close),
                LateAnswer::Reply(answer) => Outcome::Answer(answer.into(), Shape::Whole),
            }
        }
        Action::Reset => Outcome::Cut(Cut::Reset),
        Action::ListLate { until, hidden_from } => {
            incoming.overrides.hide = Some(hidden_from);
            let reply = perform(&incoming).await;
            reveal_late(service, reply.created.clone(), fault, until);
            Outcome::Answer(reply, Shape::Whole)
        }
        Action::TruncateBody => Outcome::Answer(perform(&incoming).await, Shape::Truncated),
        Action::EndlessBody => Outcome::Answer(perform(&incoming).await, Shape::Endless),
        Action::SwapAnswer(within) => {
            let reply = perform(&incoming).await;
            let exchange = &service.site().faults.exchange;
            let reply = exchange.swap(kind, reply, within).await;
            Outcome::Answer(reply, Shape::Whole)
        }
        Action::AnswerAs(token_id) => {
            let reply = perform(&incoming).await;
            let reply = service.answer_as(&incoming, &token_id).unwrap_or(reply);
            Outcome::Answer(reply, Shape::Whole)
        }
        Action::ChangeName(change) => {
            incoming.overrides.name = Some(change);
            Outcome::Answer(perform(&incoming).await, Shape::Whole)
        }
        Action::EndlessPages => {
            incoming.overrides.endless_pages = true;
            Outcome::Answer(perform(&incoming).await, Shape::Whole)
        }
        Action::ShortList => {
            incoming.overrides.short_list = true;
            Outcome::Answer(perform(&incoming).await, Shape::Whole)
        }
        Action::Html => {
            perform(&incoming).await;
            Outcome::Answer(Answer::proxy(200).into(), Shape::Whole)
        }
    }
}

fn perform_late(service: Arc<dyn Service>, incoming: Incoming, fault: Fault, until: Until) {
    tokio::spawn(async move {
        if fault.until(until).await == Verdict::Released {
            service.perform(&incoming).await;
            fault.note_performed();
        }
    });
}

fn reveal_late(service: Arc<dyn Service>, created: Option<String>, fault: Fault, until: Until) {
    let Some(id) = created else { return };
    tokio::spawn(async move {
        if fault.until(until).await == Verdict::Released {
            service.reveal(&id);
        }
    });
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Reply {
        Reply {
            headers: answer.headers,
            body: answer.body.into_bytes(),
            ..Reply::empty(answer.status)
        }
    }
}

fn response(reply: Reply, shape: Shape, date: &str) -> Response {
    let mut builder = Response::builder()
        .status(reply.status)
        .header("date", date);
    for (name, value) in &reply.headers {
        builder = builder.header(name, value);
    }
    let body = match shape {
        Shape::Whole => Body::from(reply.body),
        Shape::Truncated => {
            // A body is announced longer than it is, so that even an empty one is seen to break off.
            builder = builder.header("content-length", reply.body.len() + 16);
            broken_off(reply.body)
        }
        Shape::Endless => Body::from_stream(stream::repeat_with(|| {
            Ok::<_, io::Error>(Bytes::from_static(&[b' '; 1024]))
        })),
    };
    builder.body(body).unwrap_or_else(|_| {
        Response::new(Body::from(
            "a rule gave a status or header that HTTP does not allow",
        ))
    })
}

/// The first half of the bytes, a moment for them to reach the client, then an error.
fn broken_off(mut bytes: Vec<u8>) -> Body {
    bytes.truncate(bytes.len() / 2);
    let steps = stream::unfold(Some(bytes), |state| async move {
        let bytes = state?;
        if bytes.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let broken = io::Error::other("the body breaks off here");
            return Some((Err(broken), None));
        }
        Some((Ok(Bytes::from(bytes)), Some(Vec::new())))
    });
    Body::from_stream(steps)
}

/// A call as a stand-in begins to describe it.
pub(crate) fn call(clock: &Clock, incoming: &Incoming, path: String) -> Call {
    Call {
        number: 0,
        at: clock.now(),
        instant: Instant::now(),
        method: incoming.method.clone(),
        path,
        operation: None,
        v1: false,
        credential: None,
        subject: None,
        name: None,
        secret_in_path: false,
        status: None,
    }
}

/// A free port of the loopback address.
pub(crate) fn any_loopback_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}
