//! The end of a token that a person revoked: its event, and that the run which was started for it is finished by it.

use super::command::RunResult;
use super::context::{AfterWrite, Context};
use super::event::{EventName, Report};
use super::request::Goal;
use super::token::TokenId;

/// What follows the write that ends the revoked token.
pub fn finished(cx: &Context<'_>, then: AfterWrite) -> AfterWrite {
    match cx.request.goal {
        Goal::Revoke(_) => AfterWrite::Finish(RunResult::Done { wake: None }),
        _ => then,
    }
}

/// The event of its disable, if that ends it; none = it is deleted next.
pub fn report(cx: &Context<'_>, id: &TokenId, how: &str) -> Option<Report> {
    let order = cx.record.revoking.as_ref()?;
    (!order.delete).then(|| report_gone(cx, id, how))
}

/// The event of its end.
pub fn report_gone(cx: &Context<'_>, id: &TokenId, how: &str) -> Report {
    let by = cx.record.revoking.as_ref().map_or("", |order| &order.by);
    let message = format!("{id} {how}; it was revoked by {by} and is not brought back");
    Report::new(EventName::TokenRevoked, message).token(id)
}
