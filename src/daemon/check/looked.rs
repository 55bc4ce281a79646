//! What there is to say of one secret and its token.

use crate::clock;
use crate::config::SecretSettings;
use rotation::capabilities::Expiry;
use rotation::error::{CallError, ErrorKind};
use rotation::marker::Marker;
use rotation::plan::Lifetime;
use rotation::policy;
use rotation::ports::SecretData;
use rotation::record::Current;
use rotation::token::{TokenInfo, TokenValue, in_brackets};

use super::super::assemble::KeyVersions;
use super::words::{ends, grade};
use super::{Findings, Grade};

/// One secret, looked at.
pub(super) struct Looked<'a> {
    pub(super) secret: &'a SecretSettings,
    pub(super) findings: Findings,
    pub(super) token: Option<TokenInfo>,
    /// What Vault says of its journal document.
    pub(super) document: Result<Option<KeyVersions>, CallError>,
}

impl Looked<'_> {
    pub(super) fn add(&mut self, grade: Grade, text: impl Into<String>) {
        self.findings.add(grade, &self.secret.plan.name, text);
    }
}

/// Further fields of the secret that hold something else than the first one.
pub(super) fn other_fields(looked: &mut Looked<'_>, data: &SecretData, value: &TokenValue) {
    let fields = &looked.secret.plan.coordinates.fields;
    let others: Vec<&str> = fields[1..]
        .iter()
        .filter(|field| data.value(field).is_some_and(|other| other != *value))
        .map(String::as_str)
        .collect();
    if !others.is_empty() {
        let text = format!(
            "{} holds another value than {}; a rotation puts the new token into both, and the other one is not retired. Use a \
             separate [[secret]] for a field with a separate token",
            others.join(", "),
            fields[0]
        );
        looked.add(Grade::Warn, text);
    }
}

/// What there is to say of a token that Dynatrace knows.
pub(super) fn judge(
    looked: &mut Looked<'_>,
    place: &str,
    info: &TokenInfo,
    current: &Current,
    expiry: Expiry,
    manager: Option<&TokenInfo>,
) {
    let plan = &looked.secret.plan;
    let now = clock::now();
    let id = &info.id;
    if let Some((_, message)) = policy::unfit(info, &plan.coordinates, plan.manages_tokens) {
        return looked.add(Grade::Error, message);
    }
    if let Err(message) = policy::lifetime(plan, expiry, current, now) {
        return looked.add(Grade::Error, message);
    }
    let owner = info.owner.as_deref().unwrap_or("an unknown owner");
    let scopes = in_brackets(&info.scopes);
    looked.add(
        Grade::Ok,
        format!("{place} holds {id} of {owner}{scopes}; it {}", ends(info)),
    );
    let (base, _) = Marker::split(&info.name);
    if let Some(drift) = policy::drift(&plan.desired, &info.scopes, &base) {
        let text =
            format!("{id} differs from the configuration: {drift}; the next rotation applies it");
        looked.add(Grade::Warn, text);
    }
    match info.expires {
        Some(at) if at <= now => looked.add(
            Grade::Warn,
            format!("{id} has expired, so consumers are locked out until the next rotation; run `dtrotate rotate {}`", plan.name),
        ),
        None if plan.lifetime == Lifetime::Inherit && expiry == Expiry::Optional => looked.add(
            Grade::Warn,
            format!(
                "{id} never expires, and neither will its successors; set `lifetime` to a length such as \"90d\", or to \"never\" if that is \
                 meant"
            ),
        ),
        _ => {}
    }
    if let (Some(owner), Some(new)) = (&info.owner, manager.and_then(|it| it.owner.as_ref()))
        && owner != new
    {
        looked.add(
            Grade::Warn,
            format!(
                "{id} belongs to {owner}, and its successor will belong to {new}, the owner of the management token; make sure that nothing \
                 depends on the owner"
            ),
        );
    }
}

/// Nothing can prove the value: a token that a person made is taken over by name.
pub(super) fn unproven(looked: &mut Looked<'_>, info: &TokenInfo, current: &Current) {
    if current.marked || current.named {
        return;
    }
    let (id, name) = (&info.id, &looked.secret.plan.name);
    let text = format!(
        "no call can show that the value is the token {id} whose id it shows. If it is, run `dtrotate adopt {name} --token {id}`; or remove it and set \
         `create = true`, and dtrotate makes the first one"
    );
    looked.add(Grade::Warn, text);
}

/// Whether the value of a token that is listed works, as far as a call with it can show.
pub(super) fn trial(
    looked: &mut Looked<'_>,
    info: &TokenInfo,
    current: &Current,
    tried: Result<TokenInfo, CallError>,
) {
    let (id, name) = (&info.id, &looked.secret.plan.name);
    let text = match tried {
        Ok(_) => return looked.add(Grade::Ok, format!("the value of {id} works")),
        Err(error) if error.kind != ErrorKind::Refused => {
            return looked.add(grade(&error), error.what);
        }
        Err(_) if current.version == 0 && current.marked => format!(
            "nothing that {id} may call proves that its value works, so new tokens are accepted when they are listed as ordered; give it the scope \
             app-engine:apps:run, or choose the trial with `verify`"
        ),
        Err(error) => format!(
            "nothing proves that the value is the token {id} whose id it shows: {}. If it is, run `dtrotate adopt {name} --token {id}`, or choose the \
             trial with `verify`",
            error.what
        ),
    };
    looked.add(Grade::Warn, text);
}
