//! The list of API tokens v2: its parameters, selector, order, fields and pages.

use std::cmp::Ordering;
use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Environment;
use super::body::{self, Violation};
use super::secret::uuid;
use super::table::{Table, Token};
use super::time;
use crate::calls::lock;
use crate::message::{Incoming, Reply};

const DEFAULT_FIELDS: [&str; 5] = ["id", "name", "enabled", "owner", "creationDate"];
const ALL_FIELDS: [&str; 12] = [
    "id",
    "name",
    "enabled",
    "owner",
    "creationDate",
    "personalAccessToken",
    "expirationDate",
    "lastUsedDate",
    "lastUsedIpAddress",
    "modifiedDate",
    "scopes",
    "additionalMetadata",
];
const PAGE_SIZES: std::ops::RangeInclusive<usize> = 100..=10_000;
const DEFAULT_PAGE_SIZE: usize = 200;

/// The query and offset behind each `nextPageKey`. A page is cut from the list as it is when it is asked for, so tokens created or
/// deleted between two pages shift what follows.
pub(crate) type Pages = HashMap<String, (Query, usize)>;

/// The parameters of a list.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    page_size: usize,
    fields: Vec<&'static str>,
    selector: Selector,
    used_from: Option<Timestamp>,
    used_to: Option<Timestamp>,
    descending: bool,
    sort: SortKey,
}

#[derive(Debug, Clone, Copy)]
enum SortKey {
    Name,
    LastUsed,
    Created,
    Expires,
    Modified,
}

#[derive(Debug, Clone, Default)]
struct Selector {
    owner: Option<String>,
    personal: Option<bool>,
    scopes: Vec<String>,
}

/// Answers the list for a caller who may read.
pub(crate) fn answer(
    environment: &Environment,
    table: &Table,
    incoming: &Incoming,
) -> Result<Reply, Reply> {
    let pairs = incoming.query_pairs();
    let next = pairs.iter().find(|(key, _)| key == "nextPageKey");
    let (query, offset) = match next {
        Some(_) if pairs.len() > 1 => {
            return Err(body::violated(&[Violation::query(
                "nextPageKey",
                "must be the only parameter",
            )]));
        }
        Some((_, key)) => lock(&environment.pages).get(key).cloned().ok_or_else(|| {
            body::violated(&[Violation::query("nextPageKey", "is not a valid page key")])
        })?,
        None => (Query::read(&pairs, environment.site.clock.now())?, 0),
    };
    let matching = query.matching(table);
    let mut page: Vec<Value> = matching
        .iter()
        .skip(offset)
        .take(query.page_size)
        .map(|token| shown(environment, token, &query.fields))
        .collect();
    let short = incoming.overrides.short_list;
    if short {
        page.truncate(page.len() / 2);
    }
    let page_length = page.len();
    let mut answer = json!({
        "totalCount": matching.len(),
        "pageSize": query.page_size,
        "apiTokens": page,
    });
    let endless = incoming.overrides.endless_pages;
    let seen = if endless {
        offset
    } else {
        offset + page_length
    };
    if endless || (seen < matching.len() && !short) {
        let key = uuid().replace('-', "");
        answer["nextPageKey"] = Value::String(key.clone());
        lock(&environment.pages).insert(key, (query, seen));
    } else if environment.either() {
        answer["nextPageKey"] = Value::Null;
    }
    Ok(body::ok(&answer))
}

impl Query {
    fn read(pairs: &[(String, String)], now: Timestamp) -> Result<Query, Reply> {
        let mut query = Query {
            page_size: DEFAULT_PAGE_SIZE,
            fields: DEFAULT_FIELDS.to_vec(),
            selector: Selector::default(),
            used_from: None,
            used_to: None,
            descending: true,
            sort: SortKey::Created,
        };
        let mut violations = Vec::new();
        for (key, value) in pairs {
            if let Err(message) = query.take(key, value, now) {
                violations.push(Violation::query(key, message));
            }
        }
        if violations.is_empty() {
            Ok(query)
        } else {
            Err(body::violated(&violations))
        }
    }

    fn take(&mut self, key: &str, value: &str, now: Timestamp) -> Result<(), String> {
        let instant = || {
            time::parse(value, now)
                .map(Some)
                .ok_or_else(|| "is not a valid time".to_owned())
        };
        match key {
            "pageSize" => {
                self.page_size = value
                    .parse()
                    .ok()
                    .filter(|size| PAGE_SIZES.contains(size))
                    .ok_or("must be between 100 and 10000")?;
            }
            "fields" => self.fields = fields(value)?,
            "apiTokenSelector" => {
                self.selector = Selector::read(value).ok_or("is not a valid selector")?
            }
            "from" => self.used_from = instant()?,
            "to" => self.used_to = instant()?,
            "sort" => {
                let descending = value.strip_prefix('-');
                self.descending = descending.is_some();
                let name = descending.unwrap_or_else(|| value.strip_prefix('+').unwrap_or(value));
                self.sort = match name {
                    "name" => SortKey::Name,
                    "lastUsedDate" => SortKey::LastUsed,
                    "creationDate" => SortKey::Created,
                    "expirationDate" => SortKey::Expires,
                    "modifiedDate" => SortKey::Modified,
                    _ => return Err(format!("cannot sort by {name}")),
                };
            }
            _ => return Err("is not a parameter of this operation".to_owned()),
        }
        Ok(())
    }

    fn matching<'a>(&self, table: &'a Table) -> Vec<&'a Token> {
        let mut tokens: Vec<&Token> = table
            .iter()
            .filter(|token| token.listed() && self.selects(token))
            .collect();
        tokens.sort_by(|one, other| {
            let order = self.order(one, other).then(one.order.cmp(&other.order));
            if self.descending {
                order.reverse()
            } else {
                order
            }
        });
        tokens
    }

    fn selects(&self, token: &Token) -> bool {
        let selector = &self.selector;
        selector
            .owner
            .as_ref()
            .is_none_or(|owner| *owner == token.owner)
            && selector
                .personal
                .is_none_or(|personal| personal == token.personal)
            && (selector.scopes.is_empty() || selector.scopes.iter().any(|scope| token.has(scope)))
            && self
                .used_from
                .is_none_or(|from| token.last_used.is_some_and(|at| at >= from))
            && self
                .used_to
                .is_none_or(|to| token.last_used.is_some_and(|at| at <= to))
    }

    /// Ascending; a token that never expires comes after all that do.
    fn order(&self, one: &Token, other: &Token) -> Ordering {
        let far = Timestamp::MAX;
        match self.sort {
            SortKey::Name => one.name.cmp(&other.name),
            SortKey::LastUsed => one.last_used.cmp(&other.last_used),
            SortKey::Created => one.created.cmp(&other.created),
            SortKey::Expires => one
                .expires
                .unwrap_or(far)
                .cmp(&other.expires.unwrap_or(far)),
            SortKey::Modified => one.modified.cmp(&other.modified),
        }
    }
}

/// A plain list (the id always comes), or changes of the default set by `+f` and `-f`.
fn fields(value: &str) -> Result<Vec<&'static str>, String> {
    let known = |name: &str| {
        ALL_FIELDS
            .into_iter()
            .find(|field| *field == name)
            .ok_or_else(|| format!("unknown field: {name}"))
    };
    let parts: Vec<&str> = value.split(',').collect();
    let signed = parts
        .iter()
        .filter(|part| part.starts_with(['+', '-']))
        .count();
    if signed == 0 {
        let mut chosen = vec!["id"];
        for part in parts {
            chosen.push(known(part)?);
        }
        return Ok(chosen);
    }
    if signed != parts.len() {
        return Err("either all fields or none must begin with + or -".to_owned());
    }
    let mut chosen = DEFAULT_FIELDS.to_vec();
    for part in parts {
        let field = known(&part[1..])?;
        if part.starts_with('+') {
            chosen.push(field);
        } else if field != "id" {
            chosen.retain(|own| *own != field);
        }
    }
    Ok(chosen)
}

impl Selector {
    /// Comma-joined `owner("x")`, `personalAccessToken(true)`, `scope("a","b")`.
    fn read(text: &str) -> Option<Selector> {
        let mut selector = Selector::default();
        let mut rest = text;
        loop {
            let (name, after) = rest.split_once('(')?;
            let (arguments, after) = arguments(after)?;
            match (name.trim(), arguments.as_slice()) {
                ("owner", [Argument::Quoted(owner)]) => selector.owner = Some(owner.clone()),
                ("personalAccessToken", [Argument::Bare(flag)]) => {
                    selector.personal = Some(flag.parse().ok()?)
                }
                ("scope", scopes) if !scopes.is_empty() => {
                    for scope in scopes {
                        let Argument::Quoted(scope) = scope else {
                            return None;
                        };
                        selector.scopes.push(scope.clone());
                    }
                }
                _ => return None,
            }
            if after.is_empty() {
                return Some(selector);
            }
            rest = after.strip_prefix(',')?;
        }
    }
}

enum Argument {
    Quoted(String),
    Bare(String),
}

/// Reads `"a","b")` or `true)`; returns the arguments and what follows the parenthesis.
fn arguments(mut rest: &str) -> Option<(Vec<Argument>, &str)> {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(quoted) = rest.strip_prefix('"') {
            let (text, after) = quoted.split_once('"')?;
            found.push(Argument::Quoted(text.to_owned()));
            rest = after.trim_start();
        } else {
            let end = rest.find([',', ')'])?;
            found.push(Argument::Bare(rest[..end].trim().to_owned()));
            rest = &rest[end..];
        }
        if let Some(after) = rest.strip_prefix(')') {
            return Some((found, after));
        }
        rest = rest.strip_prefix(',')?;
    }
}

/// A token's metadata with every field.
pub(crate) fn shown_whole(environment: &Environment, token: &Token) -> Value {
    shown(environment, token, &ALL_FIELDS)
}

/// The fields asked for; those without a value are left out.
fn shown(environment: &Environment, token: &Token, fields: &[&str]) -> Value {
    let text = |at: Timestamp| Value::String(environment.text(at));
    let mut object = Map::new();
    for field in fields {
        let value = match *field {
            "id" => Some(json!(token.id)),
            "name" => Some(json!(token.name)),
            "enabled" => Some(json!(token.enabled)),
            "owner" => Some(json!(token.owner)),
            "creationDate" => Some(text(token.created)),
            "personalAccessToken" => Some(json!(token.personal)),
            "expirationDate" => token.expires.map(text),
            "lastUsedDate" => token.last_used.map(text),
            "lastUsedIpAddress" => token.last_used_ip.map(|ip| json!(ip)),
            "modifiedDate" => token.modified.map(text),
            "scopes" => Some(json!(token.scopes)),
            _ => None,
        };
        if let Some(value) = value {
            object.insert((*field).to_owned(), value);
        }
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::{Selector, fields};

    #[test]
    fn reads_selectors() {
        let selector = Selector::read(r#"owner("a,b"),personalAccessToken(true),scope("x","y")"#)
            .expect("valid");
        assert_eq!(selector.owner.as_deref(), Some("a,b"));
        assert_eq!(selector.personal, Some(true));
        assert_eq!(selector.scopes, ["x", "y"]);
        for text in [
            "",
            "name(\"x\")",
            "owner(x)",
            "owner(\"x\"",
            "personalAccessToken(\"true\")",
            "scope()",
            "owner(\"x\"),",
        ] {
            assert!(Selector::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn reads_fields() {
        assert_eq!(fields("name").expect("valid"), ["id", "name"]);
        assert!(fields("+scopes,-owner").expect("valid").contains(&"scopes"));
        assert!(!fields("+scopes,-owner").expect("valid").contains(&"owner"));
        for text in ["", " scopes", "+scopes,name", "token"] {
            assert!(fields(text).is_err(), "{text}");
        }
    }
}
