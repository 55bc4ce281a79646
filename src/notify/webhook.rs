//! Posting JSON to a webhook. Its URL is a secret: no error and no log line contains it, and only the status of the answer is
//! reported, because a body may repeat it.

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use super::Failure;
use crate::http::{self, BuildError, Http, Options};
use rotation::error::ErrorKind;
use rotation::token::TokenValue;

/// A client for a webhook. Cheap to clone.
#[derive(Clone)]
pub struct Webhook(Http);

impl Webhook {
    /// Nothing is sent here.
    ///
    /// # Errors
    /// The CA file, the proxy or the system's certificates cannot be used.
    pub fn new(options: &Options) -> Result<Self, BuildError> {
        Ok(Webhook(Http::new(options)?))
    }

    /// Posts once.
    ///
    /// # Errors
    /// `Unauthorized` = the URL is not accepted, `Refused` = this post, else `Transient`.
    pub async fn post(&self, url: &TokenValue, message: &Value) -> Result<(), Failure> {
        let fail = |kind, what: &str, retry_after| Failure {
            kind,
            what: format!("the webhook {what}"),
            retry_after,
        };
        let Ok(url) = Url::parse(url.expose()) else {
            return Err(fail(ErrorKind::Unauthorized, "has no usable URL", None));
        };
        let request = self
            .0
            .request(Method::POST, url)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(message.to_string());
        let reply = match self.0.send(request, http::SMALL).await {
            Ok(reply) => reply,
            Err(http::Failure::NotSent(why)) => {
                let what = format!("could not be reached: {why}");
                return Err(fail(ErrorKind::Transient, &what, None));
            }
            Err(why) => {
                let what = format!("did not answer: {why}");
                return Err(fail(ErrorKind::Transient, &what, None));
            }
        };
        let kind = match reply.status {
            200..=299 => return Ok(()),
            // A redirect is not followed: the URL is not the webhook's.
            300..=399 | 401 | 403..=405 | 410 => ErrorKind::Unauthorized,
            408 | 429 => ErrorKind::Transient,
            400..=499 => ErrorKind::Refused,
            _ => ErrorKind::Transient,
        };
        let reason = StatusCode::from_u16(reply.status).ok();
        let reason = reason.and_then(|status| status.canonical_reason());
        let what = format!("answered {} {}", reply.status, reason.unwrap_or("?"));
        Err(fail(kind, what.trim_end(), reply.retry_after()))
    }
}
