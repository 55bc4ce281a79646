//! What can be made to go wrong: rules that pick requests, and actions that say what happens to them.
//!
//! A rule stays until it has fired as often as it may, or is removed through its [`handle::Fault`] handle. For each request the
//! first rule (in the order they were added) that matches and still may fire is carried out, and no other.

pub(crate) mod exchange;
pub mod handle;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::calls::{Call, Operation};

/// When something delayed happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// After this time.
    Elapsed(Duration),
    /// When the test calls [`handle::Fault::release`].
    Released,
}

/// Where a token that is listed late is missing meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Missing in the list only.
    List,
    /// Missing in list, get and lookup; it already authenticates.
    ListAndGet,
    /// As if it did not exist yet: it does not authenticate, either.
    Everywhere,
}

/// An answer that a rule gives instead of the real one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Name and value, beside the usual ones.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The body, sent as it is.
    #[serde(default)]
    pub body: String,
}

impl Answer {
    /// An answer without a body.
    pub fn status(status: u16) -> Answer {
        Answer {
            status,
            headers: Vec::new(),
            body: String::new(),
        }
    }

    /// A Dynatrace error envelope.
    pub fn dynatrace(status: u16, message: &str) -> Answer {
        let body = serde_json::json!({ "error": { "code": status, "message": message } });
        Answer::status(status)
            .with_header("content-type", "application/json; charset=utf-8")
            .with_body(&body.to_string())
    }

    /// A Vault error body.
    pub fn vault(status: u16, errors: &[&str]) -> Answer {
        let body = serde_json::json!({ "errors": errors });
        Answer::status(status)
            .with_header("content-type", "application/json")
            .with_body(&body.to_string())
    }

    /// What a load balancer in front of a silent server says: HTML, not the API's.
    pub fn proxy(status: u16) -> Answer {
        Answer::status(status)
            .with_header("content-type", "text/html")
            .with_body(&format!("<html><body><h1>{status}</h1></body></html>"))
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with this body.
    #[must_use]
    pub fn with_body(mut self, body: &str) -> Answer {
        self.body = body.to_owned();
        self
    }
}

/// What the client gets at once when its request is performed late.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LateAnswer {
    /// Nothing: the connection stays open and silent until the client gives up.
    Silence,
    /// The connection is closed without an answer.
    Close,
    /// This answer, e.g. a proxy's 504, or a 204 for an effect that is still to come.
    Reply(Answer),
}

/// How a service changes the name it was asked to store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameChange {
    /// Keeps the first characters only, so that what ends the name is lost.
    Truncate(usize),
    /// Puts a text before the name, so that what ends it is kept.
    Prefix(String),
}

impl NameChange {
    pub(crate) fn apply(&self, name: &str) -> String {
        match self {
            NameChange::Truncate(length) => name.chars().take(*length).collect(),
            NameChange::Prefix(text) => format!("{text}{name}"),
        }
    }
}

/// What happens to a request that a rule picked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Not performed; answered with this.
    Refuse(Answer),
    /// Performed and answered after this time, even if the client has gone meanwhile.
    Delay(Duration),
    /// Held before the effect until [`handle::Fault::release`] (then performed and answered, even if the client has gone) or
    /// [`handle::Fault::drop_held`] (then the connection is closed and nothing was done).
    Hold,
    /// Performed at once, its answer held until released or dropped.
    HoldAnswer,
    /// Performed, then the connection is closed without an answer.
    LoseAnswer,
    /// Performed, then answered with this instead, e.g. a proxy's 502.
    PerformThenAnswer(Answer),
    /// Answered at once, performed later, with the checks of that later time.
    Late {
        /// When it is performed.
        until: Until,
        /// What is answered before.
        answer: LateAnswer,
    },
    /// The connection is reset before any effect.
    Reset,
    /// Performed and answered; the token it creates is hidden until then.
    ListLate {
        /// How long.
        until: Until,
        /// Which calls do not see it.
        hidden_from: Visibility,
    },
    /// Performed; the answer breaks off in the middle of its body.
    TruncateBody,
    /// Performed; the answer is a page of HTML with status 200.
    Html,
    /// Performed; the body of the answer never ends.
    EndlessBody,
    /// Performed; its answer is exchanged with that of the next request of the same operation (and API version) that is
    /// answered within this time, else it gets the previous answer of that operation. A desynchronised proxy.
    SwapAnswer(Duration),
    /// Performed; the answer is the one that the token with this id would get. Without such a token, or for an operation
    /// whose answer is not about one token, the real answer.
    AnswerAs(String),
    /// Performed; a name in it is changed before it is stored.
    ChangeName(NameChange),
    /// Performed; the page of a list leads to itself, so that the listing never ends.
    EndlessPages,
    /// Performed; half a page of a list is missing and no further page is named, while the total, where the API has one, is
    /// the right one.
    ShortList,
}

type Predicate = Arc<dyn Fn(&Call) -> bool + Send + Sync>;

/// Which requests, how often, and what happens to them. Made by [`Rule::on`] or [`Rule::any`], finished by [`Rule::then`].
#[derive(Clone)]
pub struct Rule {
    operation: Option<Operation>,
    v1: Option<bool>,
    about: Option<String>,
    predicate: Option<Predicate>,
    nth: usize,
    times: usize,
    share: Option<(f64, u64)>,
    action: Action,
}

impl fmt::Debug for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Rule")
            .field("operation", &self.operation)
            .field("about", &self.about)
            .field("nth", &self.nth)
            .field("times", &self.times)
            .field("share", &self.share)
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}

impl Rule {
    /// The first request with this operation, unless narrowed or widened.
    pub fn on(operation: Operation) -> Rule {
        Rule {
            operation: Some(operation),
            ..Rule::any()
        }
    }

    /// The first request of whatever kind, unless narrowed or widened.
    pub fn any() -> Rule {
        Rule {
            operation: None,
            v1: None,
            about: None,
            predicate: None,
            nth: 1,
            times: 1,
            share: None,
            action: Action::Reset,
        }
    }

    /// Only requests to the tokens API v1 (true) or v2 (false).
    #[must_use]
    pub fn v1(mut self, v1: bool) -> Rule {
        self.v1 = Some(v1);
        self
    }

    /// Only requests about a token whose id or name (in front of a Vault: mount and path) contains this text.
    #[must_use]
    pub fn about(mut self, part: &str) -> Rule {
        self.about = Some(part.to_owned());
        self
    }

    /// Only requests for which this holds.
    #[must_use]
    pub fn matching(mut self, predicate: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Rule {
        self.predicate = Some(Arc::new(predicate));
        self
    }

    /// Begins with the nth matching request, counted from 1.
    #[must_use]
    pub fn nth(mut self, nth: usize) -> Rule {
        self.nth = nth;
        self
    }

    /// Fires this often instead of once.
    #[must_use]
    pub fn times(mut self, times: usize) -> Rule {
        self.times = times;
        self
    }

    /// Fires until it is removed.
    #[must_use]
    pub fn always(self) -> Rule {
        self.times(usize::MAX)
    }

    /// Only this share (0 to 1) of the matching requests, drawn from a generator with this seed, until removed.
    #[must_use]
    pub fn share(self, share: f64, seed: u64) -> Rule {
        Rule {
            share: Some((share, seed)),
            ..self.always()
        }
    }

    /// What happens to the picked requests.
    #[must_use]
    pub fn then(mut self, action: Action) -> Rule {
        self.action = action;
        self
    }

    fn matches(&self, call: &Call) -> bool {
        let about = self.about.as_deref().is_none_or(|part| {
            let contains =
                |text: &Option<String>| text.as_deref().is_some_and(|text| text.contains(part));
            contains(&call.subject) || contains(&call.name)
        });
        self.operation
            .is_none_or(|operation| call.operation == Some(operation))
            && self.v1.is_none_or(|v1| call.v1 == v1)
            && about
            && self
                .predicate
                .as_ref()
                .is_none_or(|predicate| predicate(call))
    }
}
