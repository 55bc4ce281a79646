//! What an answer means: by status and by whether it is the API's at all, never by its text.
//!
//! The text of an error envelope (scrubbed, bounded) goes into the sentence for people; no other part of a body ever does.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

use super::call::Effect;
use super::message::quoted;
use super::scopes::in_words;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::plan::Kind;
use rotation::token::{TokenId, TokenValue};

/// The body of an answer, by what it is.
pub(super) enum Body {
    /// Nothing.
    Empty,
    /// The API's error envelope, with its message as the server wrote it.
    Error(String),
    /// Something else that was read to its end.
    Other(Zeroizing<Vec<u8>>),
}

impl Body {
    /// Sorts what was read.
    pub(super) fn read(bytes: Zeroizing<Vec<u8>>) -> Self {
        if bytes.trim_ascii().is_empty() {
            return Body::Empty;
        }
        match envelope(&bytes) {
            Some(message) => Body::Error(message),
            None => Body::Other(bytes),
        }
    }

    /// The same for an error of a service whose errors have no documented form.
    pub(super) fn read_freely(bytes: Zeroizing<Vec<u8>>) -> Self {
        match Body::read(bytes) {
            Body::Other(bytes) => match message(&bytes) {
                Some(message) => Body::Error(message),
                None => Body::Other(bytes),
            },
            body => body,
        }
    }
}

/// Longer texts are not a message.
const LONGEST_MESSAGE: usize = 4096;

/// The message of an error whose form is not documented: the usual fields of an object, or a short text.
fn message(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    if text.starts_with('<') || text.len() > LONGEST_MESSAGE {
        return None;
    }
    let Ok(Value::Object(fields)) = serde_json::from_str(text) else {
        return Some(text.to_owned());
    };
    let words = ["error", "error_description", "message"];
    let words = words.iter().filter_map(|key| fields.get(*key)?.as_str());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    Some(words.join(": "))
}

/// The message of `{"error":{"code","message","constraintViolations":[{"path","message"}]}}` or of an array of such, the two
/// forms that Dynatrace's operator tolerates. Every field may be missing.
fn envelope(bytes: &[u8]) -> Option<String> {
    if !matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'[')) || bytes.len() > 1 << 16 {
        return None;
    }
    // Most answers are none, and are read by whoever asked.
    let key = b"\"error\"";
    if !bytes.windows(key.len()).any(|part| part == key) {
        return None;
    }
    let parsed: Value = serde_json::from_slice(bytes).ok()?;
    let errors: Vec<&Value> = match &parsed {
        Value::Array(items) => items.iter().filter_map(|item| item.get("error")).collect(),
        one => one.get("error").into_iter().collect(),
    };
    if !errors.iter().any(|error| error.is_object()) {
        return None;
    }
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut parts = Vec::new();
    for error in errors {
        parts.extend(text(error, "message"));
        for violation in error
            .get("constraintViolations")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let words: Vec<String> = ["path", "message"]
                .into_iter()
                .filter_map(|key| text(violation, key))
                .collect();
            if !words.is_empty() {
                parts.push(words.join(": "));
            }
        }
    }
    Some(parts.join("; "))
}

/// An answer with everything that a sentence about it needs. No `Debug`: it holds values to hide.
pub(super) struct Answer {
    /// The environment's name.
    pub(super) environment: String,
    /// What it was asked to do.
    pub(super) what: String,
    /// What the call does.
    pub(super) effect: Effect,
    /// The status.
    pub(super) status: u16,
    /// The body.
    pub(super) body: Body,
    /// The server's wish to be left alone.
    pub(super) retry_after: Option<Duration>,
    /// The host that a redirect points to.
    pub(super) location: Option<String>,
    /// The credential that went out with the call.
    pub(super) credential: TokenValue,
    /// What it is called.
    pub(super) credential_name: &'static str,
    /// Where it is kept.
    pub(super) kept_in: Option<Arc<str>>,
    /// The value that went out in its body.
    pub(super) hide: Option<TokenValue>,
}

/// Why a whole token is refused, and what to do.
const REFUSED: &str = "it was disabled or deleted, it expired, or it is of another environment: put a valid one there";
/// What the value of an API token begins with, and how long its secret part is.
const API_TOKEN: &str = "dt0c01";
const SECRET_LENGTH: usize = 64;

const WRONG_HOST: &str = "is this the environment's API URL?";

impl Answer {
    /// `Ok` for a 2xx.
    ///
    /// # Errors
    /// The error that the status stands for; `scopes` are the ones to name when the credential lacks one.
    pub(super) fn check(&self, scopes: &[&str]) -> Result<(), CallError> {
        match self.status {
            200..=299 => Ok(()),
            300..=399 => {
                let to = self
                    .location
                    .as_deref()
                    // Whoever redirects may have put what was sent into the name.
                    .map(|host| format!(" to {}", self.quoted(host)))
                    .unwrap_or_default();
                // Nothing was done; a maintenance page, or the wrong URL.
                Err(self.fail(
                    ErrorKind::Transient,
                    "refused to",
                    &format!("it redirects{to}, which is not followed; {WRONG_HOST}"),
                ))
            }
            401 => Err(self.fail(
                ErrorKind::Unauthorized,
                &format!("did not accept {} to", self.credential_name),
                &self.which(),
            )),
            403 => {
                let id = self.sent_as().filter(|_| self.kept_in.is_some());
                let hint = match id.as_ref().and_then(unfit) {
                    Some(_) => self.which(),
                    None => format!("{} needs the {}", self.credential_name, in_words(scopes)),
                };
                Err(self.fail(ErrorKind::Unauthorized, "refused to", &hint))
            }
            404 if self.says_gone() => Err(self.fail(ErrorKind::Gone, "could not", "")),
            404 if self.is_the_apis() => {
                Err(self.fail(ErrorKind::Refused, "could not", WRONG_HOST))
            }
            // A page of something in between, which may be gone in a moment: no word on this secret.
            400 | 404..=407 | 409..=428 if !self.is_the_apis() => {
                Err(self.fail(self.effect.lost(), "could not", WRONG_HOST))
            }
            408 => Err(self.lost()),
            429 => Err(self.fail(ErrorKind::RateLimited, "rate limited the request to", "")),
            400..=499 => Err(self.fail(ErrorKind::Refused, "refused to", "")),
            _ => Err(self.lost()),
        }
    }

    /// A 404 that can be the API's word on one token: it comes with an error envelope or, as documented for get, look-up and
    /// delete, without a body.
    pub(super) fn says_gone(&self) -> bool {
        self.status == 404
            && matches!(self.effect, Effect::Read | Effect::Change)
            && matches!(self.body, Body::Empty | Body::Error(_))
    }

    /// The status is the API's: its envelope or nothing at all came along, not the page of something in between.
    pub(super) fn is_the_apis(&self) -> bool {
        matches!(self.body, Body::Empty | Body::Error(_))
    }

    /// Reads a 2xx whose body must be `T`.
    ///
    /// # Errors
    /// `Unclear` for a write, `Transient` for a read: what answered is not the API, or its answer was cut.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        match &self.body {
            // The reader would take a list for a struct's fields in their order.
            Body::Other(bytes) if bytes.trim_ascii_start().starts_with(b"[") => {
                Err(self.odd("it is a list"))
            }
            _ => self.any_json(),
        }
    }

    /// The same for a body that may also be a list.
    ///
    /// # Errors
    /// As [`Answer::json`].
    pub(super) fn any_json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        match &self.body {
            Body::Other(bytes) => {
                serde_json::from_slice(bytes).map_err(|error| self.odd(unreadable(&error)))
            }
            Body::Empty => Err(self.odd("it is empty")),
            Body::Error(_) => Err(self.odd("it is an error message")),
        }
    }

    /// Accepts a 2xx that must have no body: 204 as documented, or 200.
    ///
    /// # Errors
    /// As [`Answer::json`].
    pub(super) fn nothing(&self) -> Result<(), CallError> {
        match (self.status, &self.body) {
            (204 | 200, Body::Empty) => Ok(()),
            _ => Err(self.odd("it should have no body")),
        }
    }

    /// The error of a 2xx that is not the API's.
    pub(super) fn odd(&self, why: &str) -> CallError {
        let kind = self.effect.lost();
        let mut what = format!(
            "Dynatrace {} was asked to {} and answered {}, but the answer is not the API's: {why}",
            self.environment, self.what, self.status
        );
        if kind == ErrorKind::Unclear {
            what.push_str("; it may have taken effect");
        }
        CallError::new(Service::Dynatrace, kind, what).retry_after(self.retry_after)
    }

    /// An error of `kind` with the server's words and `hint`.
    pub(super) fn fail(&self, kind: ErrorKind, verb: &str, hint: &str) -> CallError {
        let mut what = format!(
            "Dynatrace {} {verb} {}: {}",
            self.environment, self.what, self.status
        );
        let words = self.words();
        if !words.is_empty() {
            what.push(' ');
            what.push_str(&words);
        }
        if !hint.is_empty() {
            what.push_str("; ");
            what.push_str(hint);
        }
        CallError::new(Service::Dynatrace, kind, what).retry_after(self.retry_after)
    }

    /// The id of the credential that the call went out with, where its value shows it.
    pub(super) fn sent_as(&self) -> Option<TokenId> {
        self.credential.id()
    }

    /// Which credential was refused, as far as that is known, and what to do.
    fn which(&self) -> String {
        let (id, name) = (self.sent_as(), self.credential_name);
        match (&id, self.kept_in.as_deref()) {
            (Some(id), Some(at)) => {
                format!("{name} is {id}, in {at} of Vault; {}", self.cure(id))
            }
            (Some(id), None) => format!("{name} is {id}"),
            (None, Some(at)) => format!("{name} is in {at} of Vault; {REFUSED}"),
            (None, None) => String::new(),
        }
    }

    /// What to do about a refused token of an environment, by what its value shows.
    fn cure(&self, id: &TokenId) -> String {
        if let Some(why) = unfit(id) {
            return why;
        }
        let whole = self.credential.expose().len();
        let secret = whole.saturating_sub(id.as_str().len() + 1);
        match secret < SECRET_LENGTH {
            true => format!(
                "its secret part has {secret} characters and not {SECRET_LENGTH}, so it may be cut off; {REFUSED}"
            ),
            false => REFUSED.to_owned(),
        }
    }

    /// Adds to the error of a refused mint which of the `scopes` asked for the refusal speaks of: a cloned list may hold one that
    /// can no longer be created.
    pub(super) fn name_scopes(&self, scopes: &[String], error: CallError) -> CallError {
        let (400, Body::Error(message)) = (self.status, &self.body) else {
            return error;
        };
        let words: Vec<&str> = message
            .split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_')))
            .map(|word| word.trim_end_matches('.'))
            .collect();
        let named: Vec<&str> = scopes
            .iter()
            .map(String::as_str)
            .filter(|scope| words.contains(scope))
            .collect();
        if named.is_empty() {
            return error;
        }
        let what = format!(
            "{}; this concerns the scope {}",
            error.what,
            named.join(", ")
        );
        CallError { what, ..error }
    }

    /// Its error message has these words.
    pub(super) fn mentions(&self, words: &str) -> bool {
        matches!(&self.body, Body::Error(message) if message.contains(words))
    }

    /// What the server said, fit to be shown.
    fn words(&self) -> String {
        let reason = StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("?");
        match &self.body {
            Body::Error(message) if !message.trim().is_empty() => self.quoted(message),
            Body::Error(_) | Body::Empty => reason.to_owned(),
            Body::Other(_) => format!(
                "{reason} (the answer is not the API's; perhaps something in between sent it)"
            ),
        }
    }

    /// What the server said, without what was sent to it.
    fn quoted(&self, text: &str) -> String {
        let hide = self.hide.as_ref().unwrap_or(&self.credential);
        quoted(text, &[&self.credential, hide])
    }

    /// The error of a status that does not say whether it happened.
    fn lost(&self) -> CallError {
        let kind = self.effect.lost();
        let hint = if kind == ErrorKind::Unclear {
            "it may have taken effect"
        } else {
            ""
        };
        self.fail(kind, "failed to", hint)
    }
}

/// Why a token of this id cannot be the management token, and what to do.
fn unfit(id: &TokenId) -> Option<String> {
    let prefix = id.as_str().split('.').next().unwrap_or_default();
    let hint = match Kind::of_id(id) {
        Some(Kind::Platform) => ", and a platform token manages only ActiveGate tokens",
        _ => "",
    };
    (prefix != API_TOKEN).then(|| {
        format!(
            "tokens that begin with {prefix} do not manage API tokens{hint}: put an API token there, which begins with {API_TOKEN}"
        )
    })
}

/// Why a body is not what was expected. The reader's own message may quote the body, so only its category is shown.
fn unreadable(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Eof => "it is cut off",
        serde_json::error::Category::Data => "a field is missing or has an unknown form",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "it is not JSON",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn answer(effect: Effect, status: u16, body: &str) -> Answer {
        Answer {
            environment: "prod".into(),
            what: "create a token".into(),
            effect,
            status,
            body: Body::read(Zeroizing::new(body.as_bytes().to_vec())),
            retry_after: None,
            location: None,
            credential: TokenValue::new("credential"),
            credential_name: "the management token",
            kept_in: None,
            hide: Some(TokenValue::new("legacy_canary_value")),
        }
    }

    const HTML: &str = "<html>dt0c01.A.CANARY</html>";
    const ENVELOPE: &str =
        r#"{"error":{"code":1,"message":"no dt0c01.A.CANARY legacy_canary_value"}}"#;

    #[test]
    fn every_status_has_one_kind_for_each_effect() {
        use ErrorKind::{Gone, Refused, Transient, Unauthorized, Unclear};
        // status, body, then the kinds of Read, List, Change, Mint
        for (status, body, kinds) in [
            (302, "", [Transient; 4]),
            (400, HTML, [Transient, Transient, Unclear, Unclear]),
            (400, ENVELOPE, [Refused; 4]),
            (401, "", [Unauthorized; 4]),
            (403, ENVELOPE, [Unauthorized; 4]),
            (404, "", [Gone, Refused, Gone, Refused]),
            (404, ENVELOPE, [Gone, Refused, Gone, Refused]),
            (404, HTML, [Transient, Transient, Unclear, Unclear]),
            (
                404,
                r#"{"message":"no Route matched"}"#,
                [Transient, Transient, Unclear, Unclear],
            ),
            (408, "", [Transient, Transient, Unclear, Unclear]),
            (413, HTML, [Transient, Transient, Unclear, Unclear]),
            (429, ENVELOPE, [ErrorKind::RateLimited; 4]),
            (500, ENVELOPE, [Transient, Transient, Unclear, Unclear]),
            (502, HTML, [Transient, Transient, Unclear, Unclear]),
            (503, "", [Transient, Transient, Unclear, Unclear]),
            (700, "", [Transient, Transient, Unclear, Unclear]),
        ] {
            let effects = [Effect::Read, Effect::List, Effect::Change, Effect::Mint];
            for (effect, kind) in effects.into_iter().zip(kinds) {
                let error = answer(effect, status, body)
                    .check(&["apiTokens.write"])
                    .unwrap_err();
                assert_eq!(error.kind, kind, "{status} {body} {effect:?}");
                let text = format!("{error} {error:?}");
                assert!(!text.to_lowercase().contains("canary"), "{text}");
                assert!(
                    text.contains("prod") && text.contains(&status.to_string()),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn a_2xx_that_is_not_the_apis_is_unclear_for_a_write_and_transient_for_a_read() {
        for (effect, kind) in [
            (Effect::Read, ErrorKind::Transient),
            (Effect::List, ErrorKind::Transient),
            (Effect::Change, ErrorKind::Unclear),
            (Effect::Mint, ErrorKind::Unclear),
        ] {
            for body in [
                HTML,
                ENVELOPE,
                "",
                r#"{"token":"CANARY"#,
                r#"{"token":["CANARY"]}"#,
            ] {
                let error = answer(effect, 200, body)
                    .json::<HashMap<String, String>>()
                    .unwrap_err();
                assert_eq!(error.kind, kind, "{body}");
                assert!(!error.what.contains("CANARY"), "{error}");
            }
            for (status, body) in [(200, HTML), (204, HTML), (202, ""), (200, ENVELOPE)] {
                assert_eq!(
                    answer(effect, status, body).nothing().unwrap_err().kind,
                    kind
                );
            }
            assert!(answer(effect, 204, " \n").nothing().is_ok());
        }
    }

    #[test]
    fn the_servers_words_are_read_from_an_object_an_array_and_its_violations() {
        for (body, words) in [
            (r#"{"error":{"message":"no"}}"#, "400 no"),
            (
                r#"[{"error":{"message":"a"}},{"error":{"message":"b"}}]"#,
                "400 a; b",
            ),
            (
                r#"{"error":{"message":"c","constraintViolations":[{"path":"scopes","message":"d"},{"message":"e"},{}]}}"#,
                "400 c; scopes: d; e",
            ),
            (r#"{"error":{}}"#, "400 Bad Request"),
            ("", "400 Bad Request"),
        ] {
            let error = answer(Effect::Mint, 400, body).check(&[]).unwrap_err();
            assert_eq!(
                error.what,
                format!("Dynatrace prod refused to create a token: {words}")
            );
        }
    }
}
