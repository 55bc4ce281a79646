//! What an answer means. The catalogue was taken from OpenBao 2.7.2; texts are used only where status codes are ambiguous.

use std::time::Duration;

use reqwest::header::{HeaderValue, LOCATION};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use zeroize::Zeroizing;

use crate::http::Reply;
use crate::redact::redact;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::token::TokenValue;

use super::state::Down;
use super::wire::{Call, Effect};

/// The longest wait that a server may ask for: a wish for a day must not silence the daemon for a day.
const ASKED: Duration = Duration::from_secs(300);

/// What every answer of Vault may hold beside its data.
#[derive(Deserialize, Default)]
pub(super) struct Envelope {
    pub(super) errors: Option<Vec<String>>,
    pub(super) warnings: Option<Vec<String>>,
    data: Option<IgnoredAny>,
    pub(super) auth: Option<Auth>,
}

/// The token of a login or renewal.
#[derive(Deserialize)]
pub(super) struct Auth {
    client_token: String,
    #[serde(default)]
    pub(super) lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
}

impl Auth {
    pub(super) fn token(&mut self) -> TokenValue {
        TokenValue::new(std::mem::take(&mut self.client_token))
    }
}

/// An answer of Vault itself: success, 400, 403, 404 or another refusal.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Envelope,
    /// The body as it came; the data is read from it when it is known what it should be.
    text: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// Its data; `Ok(None)` = there is none. The error is that the data is something else.
    pub(super) fn data<T: DeserializeOwned>(&self) -> Result<Option<T>, serde_json::Error> {
        #[derive(Deserialize)]
        struct Data<T> {
            data: Option<T>,
        }
        match self.body.data {
            Some(_) => serde_json::from_slice(&self.text).map(|found: Data<T>| found.data),
            None => Ok(None),
        }
    }

    /// The server's words, fit for an error text.
    pub(super) fn words(&self) -> String {
        let errors = self.body.errors.as_deref().unwrap_or_default();
        let warnings = self.body.warnings.as_deref().unwrap_or_default();
        tidy(if errors.is_empty() { warnings } else { errors })
    }

    /// The error for an answer that the caller has no use for.
    pub(super) fn refuse(&self, call: &Call) -> CallError {
        let kind = match (self.status, call.effect) {
            (400..=499, _) => ErrorKind::Refused,
            (_, Effect::Read) => ErrorKind::Transient,
            (_, Effect::Write) => ErrorKind::Unclear,
        };
        let words = self.words();
        let words = if words.is_empty() {
            "no reason given"
        } else {
            &words
        };
        call.error(kind, format!("Vault answered {}: {words}", self.status))
    }
}

/// What to do about one node's reply.
pub(super) enum Verdict {
    /// Vault has spoken.
    Answer(Answer),
    /// The node is behind what we know; nothing was done.
    Lagging,
    /// We ask too often, and the server may have asked for a pause; nothing was done.
    Limited(Option<Duration>),
    /// Nothing was done, or the same request does no harm a second time (`Trouble::open`); another node may do it.
    Elsewhere(Trouble),
    /// The call ends here.
    Fail(Trouble),
}

/// An error, and what it says about Vault as a whole.
pub(super) struct Trouble {
    pub(super) error: CallError,
    pub(super) down: Option<Down>,
    /// It may have been carried out all the same: a conflict at the next node may be with ourselves.
    pub(super) open: bool,
    /// It may have met a dead node behind a load balancer, so a new connection may help.
    pub(super) dead_node: bool,
}

impl Trouble {
    pub(super) fn new(error: CallError) -> Self {
        Trouble {
            error,
            down: None,
            open: false,
            dead_node: false,
        }
    }

    pub(super) fn down(error: CallError, down: Down) -> Self {
        Trouble {
            down: Some(down),
            ..Trouble::new(error)
        }
    }
}

/// Judges a reply to a call that was sent with this token.
pub(super) fn judge(call: &Call, token: Option<&HeaderValue>, reply: Reply) -> Verdict {
    let status = reply.status;
    let sent = [
        call.body.as_ref().map_or(&[][..], |body| body.as_slice()),
        token.map_or(&[][..], HeaderValue::as_bytes),
    ];
    if (300..400).contains(&status) {
        return redirect(call, &reply, &sent);
    }
    let envelope = match reply.body.as_slice() {
        [] if status == 204 => Some(Envelope::default()),
        // The reader would take a list for the fields in their order.
        body => Some(body)
            .filter(|body| body.trim_ascii_start().starts_with(b"{"))
            .and_then(|body| serde_json::from_slice::<Envelope>(body).ok())
            .filter(|envelope| is_vaults(status, envelope)),
    };
    let Some(mut body) = envelope else {
        return foreign(call, &reply);
    };
    for texts in [&mut body.errors, &mut body.warnings] {
        for text in texts.iter_mut().flatten() {
            *text = redact(text, &sent);
        }
    }
    let wait = wish(&reply);
    let text = reply.body;
    let answer = Answer { status, body, text };
    let words = answer.words();
    let writes = call.effect == Effect::Write;
    match status {
        200..=299 => success(call, answer),
        400 if writes && words.contains("check-and-set parameter did not match") => {
            fail(call, ErrorKind::Conflict, words)
        }
        409 if writes => fail(call, ErrorKind::Conflict, words),
        400 if words.contains("from non-versioned to versioned data") => {
            elsewhere(call, status, &words, wait)
        }
        412 if !words.contains("X-Vault-Request") => Verdict::Lagging,
        429 if words.is_empty() => Verdict::Lagging,
        429 => Verdict::Limited(wait),
        500 if words.contains("value being too large") => fail(call, ErrorKind::Refused, words),
        503 if words.contains("sealed") => {
            let text = format!("Vault is sealed or not initialised (503: {words})");
            let error = call.error(ErrorKind::Transient, text).retry_after(wait);
            Verdict::Elsewhere(Trouble::down(error, Down::Sealed))
        }
        500.. => server_error(call, status, &words, wait),
        _ => Verdict::Answer(answer),
    }
}

/// How long the server asks to be left alone.
fn wish(reply: &Reply) -> Option<Duration> {
    reply.retry_after().map(|wait| wait.min(ASKED))
}

/// A refusal of Vault always has `errors` (a deleted version has `data` instead); anything else comes from something in between.
fn is_vaults(status: u16, envelope: &Envelope) -> bool {
    status < 400 || envelope.errors.is_some() || (status == 404 && envelope.data.is_some())
}

/// A warning on a write means that the server ignored a part of it, perhaps the check-and-set: it happened, but not as asked.
fn success(call: &Call, answer: Answer) -> Verdict {
    let warned = call.effect == Effect::Write
        && answer
            .body
            .warnings
            .as_ref()
            .is_some_and(|warnings| !warnings.is_empty());
    if !warned {
        return Verdict::Answer(answer);
    }
    let text = format!(
        "Vault accepted the write, but warned that it did not follow it exactly ({}); it must be read back",
        answer.words()
    );
    Verdict::Fail(Trouble::new(call.error(ErrorKind::Unclear, text)))
}

fn fail(call: &Call, kind: ErrorKind, words: String) -> Verdict {
    Verdict::Fail(Trouble::new(call.error(kind, words)))
}

fn elsewhere(call: &Call, status: u16, words: &str, wait: Option<Duration>) -> Verdict {
    let text = format!("Vault is not ready ({status}: {words})");
    let error = call.error(ErrorKind::Transient, text).retry_after(wait);
    Verdict::Elsewhere(Trouble::new(error))
}

/// A 5xx: harmless for a read, an open question for a write.
fn server_error(call: &Call, status: u16, words: &str, wait: Option<Duration>) -> Verdict {
    let text = format!("Vault answered {status}: {words}");
    let error = |kind| call.error(kind, text.clone()).retry_after(wait);
    match call.effect {
        Effect::Read => Verdict::Elsewhere(Trouble::down(
            error(ErrorKind::Transient),
            Down::Unreachable,
        )),
        Effect::Write => Verdict::Fail(Trouble::new(error(ErrorKind::Unclear))),
    }
}

/// A 307 comes from a standby that could not hand the request on, or that lost the leader while it did; it points to what may be the
/// dead leader. Other redirects come from something that is not Vault. Neither is followed: it would carry the token along.
fn redirect(call: &Call, reply: &Reply, sent: &[&[u8]]) -> Verdict {
    let target = reply
        .header(&LOCATION)
        .and_then(|text| reqwest::Url::parse(text).ok())
        .map(|url| url.origin().ascii_serialization())
        .map_or_else(String::new, |origin| {
            format!(" to {}", redact(&origin, sent))
        });
    let status = reply.status;
    if status == 307 {
        let text = format!(
            "the node is a standby that points{target} (307); redirects are not followed, so list every node in vault.address"
        );
        let error = call.error(ErrorKind::Transient, text);
        let trouble = Trouble::down(error, Down::Unreachable);
        return Verdict::Elsewhere(Trouble {
            open: true,
            ..trouble
        });
    }
    let text = format!(
        "the address redirects{target} ({status}); redirects are not followed, so correct vault.address"
    );
    let error = call.error(ErrorKind::Refused, text);
    Verdict::Elsewhere(Trouble::down(error, Down::Unreachable))
}

/// The reply is not Vault's: a proxy's page, a login page, another service.
fn foreign(call: &Call, reply: &Reply) -> Verdict {
    let status = reply.status;
    let plain = b"Client sent an HTTP request to an HTTPS server";
    if status == 400 && reply.body.starts_with(plain) {
        let text = "the server speaks https, but vault.address says http";
        let error = call.error(ErrorKind::Refused, text);
        return Verdict::Elsewhere(Trouble::down(error, Down::Unreachable));
    }
    let text = format!("the answer ({status}) is not one of Vault's; is vault.address right?");
    match call.effect {
        Effect::Read => {
            let error = call.error(ErrorKind::Transient, text);
            let trouble = Trouble::down(error.retry_after(wish(reply)), Down::Unreachable);
            Verdict::Elsewhere(Trouble {
                dead_node: matches!(status, 502..=504),
                ..trouble
            })
        }
        Effect::Write => Verdict::Fail(Trouble::new(call.error(ErrorKind::Unclear, text))),
    }
}

/// The server's words on one line, at most 300 characters.
fn tidy(texts: &[String]) -> String {
    let joined = texts.join("; ");
    let words: Vec<&str> = joined
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(300) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line,
    }
}

impl Call {
    /// An error about this call.
    pub(super) fn error(&self, kind: ErrorKind, text: impl AsRef<str>) -> CallError {
        let what = format!("cannot {}: {}", self.what, text.as_ref());
        CallError::new(Service::Vault, kind, what)
    }
}

#[cfg(test)]
mod tests {
    use super::tidy;

    #[test]
    fn the_servers_words_become_one_short_line() {
        let text = "1 error occurred:\n\t* permission denied\n\n".to_owned();
        assert_eq!(tidy(&[text]), "1 error occurred: * permission denied");
        assert_eq!(tidy(&["x".repeat(1000)]).len(), 303);
    }
}
