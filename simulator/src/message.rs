//! A request as the handlers see it and the reply they give: plain data, no sockets.

use std::net::IpAddr;

use axum::http::HeaderMap;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::fault::{NameChange, Visibility};

/// One request, read completely.
#[derive(Clone)]
pub(crate) struct Incoming {
    pub(crate) method: String,
    /// The path as sent, still percent-encoded.
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) peer: IpAddr,
    pub(crate) overrides: Overrides,
    /// It came to the origin of the apps, where the paths below `/platform` are.
    pub(crate) apps: bool,
}

/// What a fault wants done otherwise while the request is performed.
#[derive(Clone, Default)]
pub(crate) struct Overrides {
    /// A token created by this request is hidden at first.
    pub(crate) hide: Option<Visibility>,
    pub(crate) name: Option<NameChange>,
    pub(crate) endless_pages: bool,
    pub(crate) short_list: bool,
}

impl Overrides {
    /// The name as it is stored.
    pub(crate) fn name(&self, asked: String) -> String {
        match &self.name {
            Some(change) => change.apply(&asked),
            None => asked,
        }
    }
}

impl Incoming {
    /// A header's value, if it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The media type without its parameters, in lower case.
    pub(crate) fn media_type(&self) -> Option<String> {
        let value = self.header("content-type")?;
        let essence = value.split(';').next().unwrap_or(value);
        Some(essence.trim().to_ascii_lowercase())
    }

    /// The Bearer credential.
    pub(crate) fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// The query's pairs in order, form-decoded: a `+` is a space, so a plus sign has to be sent as `%2B`.
    pub(crate) fn query_pairs(&self) -> Vec<(String, String)> {
        self.query.as_deref().map(form_pairs).unwrap_or_default()
    }
}

/// The pairs of a form in order.
pub(crate) fn form_pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (form_decoded(key), form_decoded(value))
        })
        .collect()
}

fn form_decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// One segment of a path, percent-decoded.
pub(crate) fn segment_decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// What is sent back. `Date` and the length are added by the server.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The id of a token that this request created, for faults that hide it.
    pub(crate) created: Option<String>,
}

impl Reply {
    pub(crate) fn empty(status: u16) -> Reply {
        Reply {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            created: None,
        }
    }

    pub(crate) fn json(status: u16, content_type: &str, body: &Value) -> Reply {
        Reply {
            body: body.to_string().into_bytes(),
            ..Reply::empty(status)
        }
        .with_header("content-type", content_type)
    }

    pub(crate) fn text(status: u16, content_type: &str, body: &str) -> Reply {
        Reply {
            body: body.as_bytes().to_vec(),
            ..Reply::empty(status)
        }
        .with_header("content-type", content_type)
    }

    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `{"errors":[...]}`, Vault's form of an error.
    pub(crate) fn vault_error(status: u16, errors: &[&str]) -> Reply {
        Reply::json(status, "application/json", &json!({ "errors": errors }))
    }
}
