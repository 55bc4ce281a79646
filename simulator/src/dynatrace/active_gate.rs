//! ActiveGate tokens, by the classic route and by fleet management. They can be listed, read, created and deleted; there is
//! neither a change nor a look-up by value. Whether expired ones are purged is undocumented: here they stay.

use std::collections::HashMap;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::body::{self, Fields, Violation};
use super::history::Actor;
use super::route::{Api, Route, Target};
use super::secret::uuid;
use super::table::{ActiveGate, NewToken, Table, Token};
use super::{Environment, needs, scopes, shown_active_gate_id, time, v2};
use crate::calls::lock;
use crate::clock::Clock;
use crate::message::{Incoming, Reply};

const PAGE_SIZES: std::ops::RangeInclusive<usize> = 100..=3000;
const DEFAULT_PAGE_SIZE: usize = 100;
/// Two years, the longest life of an ActiveGate token.
const LONGEST: SignedDuration = SignedDuration::from_hours(2 * 366 * 24);

/// The ActiveGate tokens of one environment.
pub(crate) struct ActiveGates {
    pub(crate) table: Table,
    /// Size and offset of the page behind each key.
    pages: HashMap<String, (usize, usize)>,
    pub(crate) connected: Vec<Connected>,
}

/// An ActiveGate that has presented a token.
pub(crate) struct Connected {
    hostname: String,
    token_id: String,
    /// Whether the token was accepted when it was presented.
    accepted: bool,
}

impl ActiveGates {
    pub(crate) fn new(clock: Clock) -> ActiveGates {
        ActiveGates {
            table: Table::new(clock),
            pages: HashMap::new(),
            connected: Vec::new(),
        }
    }

    /// An ActiveGate starts and presents its token: whether that is accepted.
    pub(crate) fn connect(
        &mut self,
        hostname: &str,
        value: &str,
        from: IpAddr,
        now: Timestamp,
    ) -> bool {
        let accepted = self.table.authenticates(value, now).is_some();
        let token_id = shown_active_gate_id(value);
        if accepted {
            self.table.touch(&token_id, from, now);
        }
        self.connected.retain(|one| one.hostname != hostname);
        self.connected.push(Connected {
            hostname: hostname.to_owned(),
            token_id,
            accepted,
        });
        accepted
    }

    /// The ActiveGates that are connected, with the state of the token that each has read at its start.
    pub(crate) fn list_connected(
        &self,
        environment: &Environment,
        caller: &Token,
        now: Timestamp,
    ) -> Result<Reply, Reply> {
        needs(caller, &[scopes::READ_ACTIVE_GATES], "Read ActiveGates")?;
        let state = |one: &Connected| {
            let token = self.table.get(&one.token_id);
            let valid = token.is_some_and(|token| !token.expired(now));
            if one.accepted && valid {
                "VALID"
            } else {
                "INVALID"
            }
        };
        let gates: Vec<Value> = self
            .connected
            .iter()
            .enumerate()
            .map(|(number, one)| {
                json!({
                    "id": format!("0x{number:08x}"),
                    "hostname": one.hostname,
                    "type": "ENVIRONMENT",
                    "osType": "LINUX",
                    "environments": [environment.id],
                    "offlineSince": null,
                    "activeGateTokens": [{ "id": one.token_id, "state": state(one) }],
                })
            })
            .collect();
        Ok(body::ok(&json!({ "activeGates": gates })))
    }

    pub(crate) fn answer(
        &mut self,
        environment: &Environment,
        caller: &Token,
        target: &Target,
        incoming: &Incoming,
    ) -> Result<Reply, Reply> {
        let fleet = target.api == Api::Fleet;
        let may = |allowed: &[&str]| needs(caller, allowed, "ActiveGate tokens");
        let (read, create, write) = if fleet {
            scopes::FLEET_ACTIVE_GATE
        } else {
            scopes::ACTIVE_GATE
        };
        match (incoming.method.as_str(), &target.route) {
            ("GET", Route::ActiveGateTokens) => {
                may(&[read])?;
                self.list(environment, fleet, incoming)
            }
            ("POST", Route::ActiveGateTokens) => {
                may(&[create, write])?;
                self.create(environment, caller, fleet, incoming)
            }
            ("GET", Route::ActiveGateToken(id)) => {
                may(&[read])?;
                let token = self.table.get(id).filter(|token| token.found());
                Ok(token.map_or_else(body::not_found, |token| {
                    body::ok(&shown(environment, token, fleet))
                }))
            }
            ("DELETE", Route::ActiveGateToken(id)) => {
                may(&[write])?;
                Ok(if self.table.delete(id, Actor::Token(caller.id.clone())) {
                    Reply::empty(204)
                } else {
                    body::not_found()
                })
            }
            _ => Err(body::error(405, "HTTP 405 Method Not Allowed")),
        }
    }

    fn list(
        &mut self,
        environment: &Environment,
        fleet: bool,
        incoming: &Incoming,
    ) -> Result<Reply, Reply> {
        let (size_key, page_key) = if fleet {
            ("page-size", "page-key")
        } else {
            ("pageSize", "nextPageKey")
        };
        let refused = |key: &str, message: &str| body::violated(&[Violation::query(key, message)]);
        let pairs = incoming.query_pairs();
        let (mut size, mut offset) = (DEFAULT_PAGE_SIZE, 0);
        for (key, value) in &pairs {
            if key == page_key && pairs.len() > 1 {
                return Err(refused(key, "must be the only parameter"));
            } else if key == page_key {
                let page = self.pages.get(value).copied();
                (size, offset) = page.ok_or_else(|| refused(key, "is not a valid page key"))?;
            } else if key == size_key {
                let asked = value.parse().ok().filter(|size| PAGE_SIZES.contains(size));
                size = asked.ok_or_else(|| refused(key, "must be between 100 and 3000"))?;
            } else {
                return Err(refused(key, "is not a parameter of this operation"));
            }
        }
        let mut tokens: Vec<&Token> = self.table.iter().filter(|token| token.listed()).collect();
        tokens.sort_by_key(|token| std::cmp::Reverse(token.order));
        let mut page: Vec<Value> = tokens
            .iter()
            .skip(offset)
            .take(size)
            .map(|token| shown(environment, token, fleet))
            .collect();
        let endless = incoming.overrides.endless_pages;
        let short = incoming.overrides.short_list;
        if short {
            page.truncate(page.len() / 2);
        }
        let seen = if endless { offset } else { offset + page.len() };
        let mut answer = json!({
            "totalCount": tokens.len(),
            "pageSize": size,
            "activeGateTokens": page,
        });
        if endless || (seen < tokens.len() && !short) {
            let key = uuid().replace('-', "");
            answer["nextPageKey"] = json!(key);
            self.pages.insert(key, (size, seen));
        }
        Ok(body::ok(&answer))
    }

    fn create(
        &mut self,
        environment: &Environment,
        caller: &Token,
        fleet: bool,
        incoming: &Incoming,
    ) -> Result<Reply, Reply> {
        let mut fields = Fields::read(incoming)?;
        let now = environment.site.clock.now();
        let name = fields.name();
        let name = fields.required("name", name);
        let removed = lock(&environment.settings).active_gate_type_removed;
        let kind = if fleet {
            None
        } else {
            fields.string("activeGateType")
        };
        let kind_fits = match &kind {
            Some(kind) => !removed && (kind == "ENVIRONMENT" || kind == "CLUSTER"),
            None => removed || fleet,
        };
        if !kind_fits {
            fields.violation(Violation::body(
                "activeGateType",
                "must be ENVIRONMENT or CLUSTER",
            ));
        }
        if removed && !fleet && fields.value("seedToken").is_some() {
            fields.violation(Violation::body("seedToken", "is not a field"));
        }
        let seed = fields.boolean("seedToken").unwrap_or(false);
        let expires = expiry(&mut fields, now);
        fields.finish()?;
        let new = NewToken {
            name: incoming.overrides.name(name.unwrap_or_default()),
            owner: caller.owner.clone(),
            scopes: Vec::new(),
            personal: false,
            enabled: true,
            created: now,
            expires,
            hidden: incoming.overrides.hide,
            active_gate: Some(ActiveGate { kind, seed }),
        };
        let token = self.table.create(new, Actor::Token(caller.id.clone()));
        Ok(v2::created(environment, token))
    }
}

fn expiry(fields: &mut Fields, now: Timestamp) -> Option<Timestamp> {
    let text = fields.string("expirationDate")?;
    let at = time::parse(&text, now).filter(|at| *at > now && *at <= now + LONGEST);
    if at.is_none() {
        let message = "must be a time in the future, at most two years ahead";
        fields.violation(Violation::body("expirationDate", message));
    }
    at
}

pub(crate) fn shown(environment: &Environment, token: &Token, fleet: bool) -> Value {
    let mut object = json!({
        "id": token.id,
        "name": token.name,
        "owner": token.owner,
        "creationDate": environment.text(token.created),
    });
    if let Some(expires) = token.expires {
        object["expirationDate"] = json!(environment.text(expires));
    }
    if let Some(last_used) = token.last_used {
        object["lastUsedDate"] = json!(environment.text(last_used));
    }
    if let Some(active_gate) = &token.active_gate {
        object["seedToken"] = json!(active_gate.seed);
        if let Some(kind) = active_gate.kind.as_ref().filter(|_| !fleet) {
            object["activeGateType"] = json!(kind);
        }
    }
    object
}
