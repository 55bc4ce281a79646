//! The state of a secret: what the value in Vault is to us. A pure function of what is known.

use super::capabilities::Proof;
use super::command::{Command, RunResult, SecretSnapshot, ValueRef};
use super::context::Context;
use super::genuine::{Genuine, genuine, is_named, proven_in};
use super::ownership::{Kinship, kinship};
use super::policy;
use super::record::{Current, Reason, Retiring, RetiringState, Trigger};
use super::request::{Goal, after};
use super::token::TokenInfo;
use super::view::{Fact, Lookup};

/// So many older versions show whether a field was there before; Vault keeps ten, unless configured otherwise.
const EXAMINED: usize = 20;

/// What the value in Vault is to us.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretState {
    /// The recorded current token.
    Current(TokenInfo),
    /// Dynatrace does not know the value, and the recorded token with its rights is to be replaced: a person asked for it, or Vault was restored.
    Missing(Current),
    /// A token of ours that nobody committed: its holder died after the store.
    UncommittedStore(TokenInfo),
    /// A retiring token that a person put back.
    RolledBack(TokenInfo),
    /// A token that a person revoked: it is replaced, and never enabled.
    Revoked(TokenInfo),
    /// A token that a person put there.
    Foreign(TokenInfo),
    /// Nothing was ever there, and the configuration asks for a first token.
    Vacant,
    /// Nothing can be done without a person.
    Blocked(Reason, String),
}

/// The state of the secret.
pub fn secret_state(cx: &Context<'_>) -> Fact<SecretState> {
    let secret = cx.view.secret(cx.record)?;
    let value = match policy::value_of(secret, cx.place(), &cx.plan().name) {
        Ok(value) => value,
        Err(_) if is_vacant(cx, secret)? => return Ok(SecretState::Vacant),
        Err((reason, message)) => return Ok(SecretState::Blocked(reason, message)),
    };
    let info = match cx.view.value()? {
        Lookup::Found(info) => info.clone(),
        Lookup::NotFound => return Ok(unknown_value(cx, value)),
    };
    let record = cx.record;
    if let Some(entry) = record.retiring(&info.id).filter(|entry| entry.is_newer()) {
        // Whether it may become the current token again, only the version that wrote this knows.
        return Err(Command::Finish(RunResult::JournalUnreadable(format!(
            "{} holds {}, and only a newer version of dtrotate knows how that token retires; start that version, or put another token there",
            cx.place(),
            entry.id
        ))));
    }
    let is_revoked = record.is_revoked(&info.id);
    let is_known = record.is_current(&info.id) || record.retiring(&info.id).is_some();
    if !is_revoked && let Some(not) = not_genuine(cx, &info)? {
        return Ok(not);
    }
    // One that is revoked before it was recorded is recorded first.
    let is_rolled_back = !is_revoked && record.retiring(&info.id).is_some();
    if is_rolled_back
        && let Some(entry) = record.retiring(&info.id)
        && (info.enabled || entry.state != RetiringState::Grace)
    {
        return Ok(SecretState::RolledBack(info));
    }
    // Whoever disabled a revoked one: it is replaced. So is the current one by a command, once dtrotate may have disabled it itself.
    let went_back = record.health.went_back_at.is_some() && record.is_current(&info.id);
    let is_replaced = is_revoked || went_back && cx.wanted().1 == Trigger::Command;
    let looked_at = TokenInfo {
        enabled: info.enabled || is_replaced,
        ..info.clone()
    };
    let unfit = policy::unfit(&looked_at, cx.place(), cx.plan().manages_tokens);
    if let Some((reason, message)) = unfit {
        let message = match reason == Reason::TokenDisabled && went_back {
            true => disabled_before_the_restore(cx, &info),
            false => message,
        };
        return Ok(SecretState::Blocked(reason, message));
    }
    if is_revoked && is_known {
        return Ok(SecretState::Revoked(info));
    }
    if record.is_current(&info.id) {
        return Ok(SecretState::Current(info));
    }
    let is_ours = match kinship(record, &info).filter(|_| !cx.is_new) {
        // It was verified before it was stored, and nobody else ever had it.
        Some(Kinship::Open(_) | Kinship::Claimed(_)) => true,
        // People may have had it, and put a part of it there.
        Some(Kinship::Earlier(_) | Kinship::Unknown(_)) => {
            cx.env().capabilities.proof == Proof::Listed || cx.view.value_is_proven()?
        }
        Some(Kinship::Copy) | None => false,
    };
    match is_ours {
        true => Ok(SecretState::UncommittedStore(info)),
        false => foreign(cx, info),
    }
}

/// The value shows the id of the current or of a retiring token and is not its value, or nothing shows that it is; none = it is, or the
/// token is neither. A revoked one is replaced in any case.
fn not_genuine(cx: &Context<'_>, info: &TokenInfo) -> Fact<Option<SecretState>> {
    let proof = cx.env().capabilities.proof;
    let current = cx.record.current.as_ref().filter(|it| it.id == info.id);
    let entry = cx.record.retiring(&info.id);
    let known_from = match (current, entry) {
        (Some(current), _) => Some(current.version),
        (None, Some(entry)) => proven_in(entry),
        (None, None) => return Ok(None),
    };
    Ok(match (genuine(cx, info, known_from)?, current) {
        (Genuine::Yes, _) => None,
        (Genuine::No, _) => Some(not_its_value(cx, info, known_from)),
        // No call ever proved its value, or none is possible now: that it is the recorded one is all that there is.
        (Genuine::Unknown, Some(current))
            if proof == Proof::Listed || current.unproven || current.named || !info.enabled =>
        {
            None
        }
        (Genuine::Unknown, Some(_)) => Some(not_its_value(cx, info, None)),
        (Genuine::Unknown, None) => Some(unproven_former(cx, info)),
    })
}

/// The value shows the id of a token of this secret, and the rest of it is wrong.
fn not_its_value(cx: &Context<'_>, info: &TokenInfo, whole_in: Option<u64>) -> SecretState {
    if let Some(current) = given_up(cx) {
        return SecretState::Missing(current.clone());
    }
    let (id, name) = (&info.id, &cx.plan().name);
    let whole = whole_in.map_or(String::new(), |version| {
        format!(" (version {version} of the secret has it)")
    });
    let replace = cx.record.recorded().map_or(String::new(), |current| {
        format!(
            ", or run `dtrotate rotate {name} --yes` to replace it by a new one with the rights of {}",
            current.id
        )
    });
    SecretState::Blocked(
        Reason::TokenUnknown,
        format!(
            "the value in {} shows the id of {id}, and the rest of it is not that token's value, so it does not work: put the whole value \
             there{whole}{replace}",
            cx.place()
        ),
    )
}

/// Vault was restored, and its value is a token that is disabled: nobody can say by whom.
fn disabled_before_the_restore(cx: &Context<'_>, info: &TokenInfo) -> String {
    let name = &cx.plan().name;
    format!(
        "{} in {} is disabled: by dtrotate, because Vault was restored from a backup and it was a former token by then, or by a person. It is not \
         replaced automatically: run `dtrotate rotate {name}` to replace it, or enable it in Dynatrace",
        info.id,
        cx.place()
    )
}

/// A former token that someone put back, as far as its id shows.
fn unproven_former(cx: &Context<'_>, info: &TokenInfo) -> SecretState {
    let (id, name) = (&info.id, &cx.plan().name);
    let why = match (cx.env().capabilities.proof, info.enabled) {
        (Proof::Listed, _) => "no call can show that for this kind of token",
        (_, true) => "no call with it succeeds",
        (_, false) => "it is disabled, so its value cannot be tried",
    };
    SecretState::Blocked(
        Reason::TokenUnproven,
        format!(
            "nothing proves that the value in {} is that of {id}, a former token that someone put back: {why}, and no version of the secret has \
             it to compare. If it is, run `dtrotate adopt {name} --token {id}`; otherwise put another value there",
            cx.place()
        ),
    )
}

/// A token that a person put there: its owner and its rights are taken over, so the value itself must be proven (rule A9), or a person names
/// the token.
fn foreign(cx: &Context<'_>, info: TokenInfo) -> Fact<SecretState> {
    if is_named(cx, &info) || cx.view.value_is_proven()? {
        return Ok(SecretState::Foreign(info));
    }
    let (name, id) = (&cx.plan().name, &info.id);
    let (why, else_do) = match cx.env().capabilities.proof {
        Proof::Listed => ("no call can show that for this kind of token", ""),
        _ => (
            "no call with it succeeds",
            ", or choose the trial with `verify`",
        ),
    };
    Ok(SecretState::Blocked(
        Reason::TokenUnproven,
        format!(
            "nothing proves that the value in {} is the token {id} whose id it shows: {why}. If it is, run `dtrotate adopt {name} --token \
             {id}`{else_do}",
            cx.place()
        ),
    ))
}

/// The first token is to be made: the configuration asks for it, no document ever recorded a token, and the secret or the field never was
/// there, as far as its versions show (rule A16). What a person deleted is not made again.
fn is_vacant(cx: &Context<'_>, secret: &SecretSnapshot) -> Fact<bool> {
    let record = cx.record;
    let lost_document = cx.is_new && cx.journal_version > 0;
    let held = record.current.is_some() || record.held_before || !record.retiring.is_empty();
    if !cx.plan().desired.create || held || lost_document || !secret.is_vacant() {
        return Ok(false);
    }
    if cx.env().history {
        for number in (1..secret.version()).rev().take(EXAMINED) {
            let past = cx.view.version(number)?;
            if matches!(past, SecretSnapshot::Present { vacant: false, .. }) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// A person who asks for a rotation may say that the value is none that anybody needs: the recorded token, whose rights the next one gets.
fn given_up<'a>(cx: &Context<'a>) -> Option<&'a Current> {
    let is_asked = matches!(&cx.request.goal, Goal::Rotate(it) if it.accept_recorded_rights);
    cx.record.recorded().filter(|_| is_asked)
}

/// The environment does not know the value.
fn unknown_value(cx: &Context<'_>, value: &ValueRef) -> SecretState {
    let recorded = cx.record.recorded();
    let same = recorded.filter(|current| value.id.as_ref() == Some(&current.id));
    let replaced = match cx.wanted().1 {
        Trigger::Command | Trigger::Sweep => same,
        _ => None,
    };
    if let Some(current) = replaced.or(given_up(cx)) {
        return SecretState::Missing(current.clone());
    }
    let name = &cx.plan().name;
    let shown = match &value.id {
        Some(id) => format!("the token {id}"),
        None => "the value, which shows no token id,".to_owned(),
    };
    let advice = if same.is_some() && cx.record.current.is_none() {
        format!(
            "it was revoked without a replacement: run `dtrotate rotate {name}` to give the secret another token"
        )
    } else if same.is_some() {
        format!(
            "it existed before, so someone deleted it or it expired more than a week ago: run `dtrotate rotate {name}` to replace it"
        )
    } else if let Some(current) = recorded {
        format!(
            "is it a former token, or one of another environment? Put a token of this environment there, or run `dtrotate rotate {name} --yes` \
             to replace it by a new one with the rights of {}",
            current.id
        )
    } else {
        "is it whole, with its secret part and without anything in front such as `Api-Token`, and of this environment? Put a token of this environment \
         there"
            .to_owned()
    };
    SecretState::Blocked(
        Reason::TokenUnknown,
        format!(
            "Dynatrace does not know {shown} in {}; {advice}",
            cx.place()
        ),
    )
}

/// Where a retiring token is in the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// It is the current value, again or still.
    InVault,
    /// It was current since its grace began, or that cannot be ruled out, up to this version.
    WasCurrent(u64),
    /// The secret has not moved past its base: a store of it by someone else could still be accepted.
    Unfenced(u64),
    /// It is out of use, and stays so.
    OutOfUse,
}

/// Where a retiring token is in the secret, from a fresh read.
pub fn position(cx: &Context<'_>, entry: &Retiring) -> Fact<Position> {
    let secret = cx.view.secret(cx.record)?;
    if cx.view.held(cx.record)? == Some(&entry.id) {
        return Ok(Position::InVault);
    }
    if !cx.env().history {
        return Ok(Position::OutOfUse);
    }
    let version = secret.version();
    if version <= entry.base {
        return Ok(Position::Unfenced(version));
    }
    if entry.clean() > version {
        // The counter of versions went back: what was known of them is void.
        return Ok(Position::WasCurrent(version.saturating_sub(1)));
    }
    // Versions that cannot be read prove nothing, but they do not keep a token forever.
    let most = cx.plan().max_grace.max(cx.plan().grace);
    let lenient = cx.now.wall >= after(entry.since, most);
    for number in entry.clean() + 1..version {
        let past = cx.view.version(number)?;
        let suspicious = match (past.value(), past) {
            (Some(value), _) => value.id.as_ref().is_none_or(|id| *id == entry.id),
            (None, SecretSnapshot::Present { .. }) => false,
            (None, _) => !lenient,
        };
        if suspicious {
            return Ok(Position::WasCurrent(version - 1));
        }
    }
    Ok(Position::OutOfUse)
}

/// A retirement is due whose token could still be stored by someone: the version to write unchanged, so that it no longer can.
pub fn fence_base(cx: &Context<'_>) -> Option<u64> {
    let SecretSnapshot::Present { version, .. } = *cx.view.known_secret()? else {
        return None;
    };
    let mut retiring = cx.record.retiring.iter();
    let waits = retiring
        .any(|entry| entry.due <= cx.now.wall && entry.base == version && cx.belongs_here(entry));
    (waits && cx.env().history).then_some(version)
}
