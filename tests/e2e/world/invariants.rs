//! What must be true of every world, judged after the fact from three histories: the versions of each secret in OpenBao, every change
//! of every token in the stand-in, and all that was written down. So it holds for every instant, not only for the moments of a look.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use simulator::{Change, TokenChange};

use super::{Issuer, World, note};

/// A value of a secret, from one version on until something else took its place.
#[derive(Debug)]
struct Reign {
    version: u64,
    /// None: no value, deleted, or no token of this environment.
    token: Option<String>,
    from: Timestamp,
    /// None: it is the current one.
    until: Option<Timestamp>,
}

impl World {
    /// Fails with every invariant that is broken. For worlds in which nobody but dtrotate deletes values or tokens.
    pub async fn assert_holds(&self) {
        let broken = self.broken().await;
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }

    /// One sentence for each invariant that is broken; each begins with its promise.
    pub async fn broken(&self) -> Vec<String> {
        let mut broken = vec![];
        let history = self.issuer.history();
        for number in 0..self.secrets.len() {
            let reigns = self.reigns(number, &mut broken).await;
            self.always_valid(number, &reigns, &history, &mut broken);
            self.nothing_early(number, &reigns, &history, &mut broken);
            self.journal_is_closed(number, &mut broken).await;
        }
        self.nothing_left_behind(&mut broken).await;
        self.no_value_shows(&mut broken).await;
        broken
    }

    /// How often the value of a secret was replaced.
    pub async fn replaced(&self, number: usize) -> usize {
        let reigns = self.reigns(number, &mut vec![]).await;
        let changes = reigns.windows(2);
        changes
            .filter(|pair| pair[0].token != pair[1].token)
            .count()
    }

    /// The versions of a secret with what they held and how long. Other people's fields stand in every one of them.
    async fn reigns(&self, number: usize, broken: &mut Vec<String>) -> Vec<Reign> {
        let path = &self.secrets[number];
        let mut ids = BTreeMap::new();
        for value in self.issuer.issued() {
            if let Some((id, _)) = value.rsplit_once('.') {
                ids.insert(value.clone(), id.to_owned());
            }
        }
        let mut reigns: Vec<Reign> = vec![];
        // A secret whose first version is dtrotate's has no field of somebody else.
        let mut noted = false;
        for (version, told) in self.root.versions("secret", path).await {
            let from = time(&told["created_time"]);
            let read = self.root.secret_version("secret", path, version).await;
            let token = read.and_then(|read| {
                noted |= !read.data["note"].is_null();
                if noted && read.data["note"] != note(number) {
                    broken.push(format!("P4: version {version} of {path} lost a field"));
                }
                ids.get(read.data["token"].as_str()?).cloned()
            });
            if let Some(last) = reigns.last_mut() {
                last.until = Some(from);
            }
            reigns.push(Reign {
                version,
                token,
                from,
                until: None,
            });
        }
        reigns
    }

    /// P1: while a value stood in Vault, dtrotate did nothing to its token, and it works now.
    fn always_valid(
        &self,
        number: usize,
        reigns: &[Reign],
        history: &[TokenChange],
        broken: &mut Vec<String>,
    ) {
        let path = &self.secrets[number];
        for reign in reigns {
            let Some(id) = &reign.token else { continue };
            for change in history.iter().filter(|change| change.token_id == *id) {
                let inside =
                    change.at >= reign.from && reign.until.is_none_or(|until| change.at < until);
                let ours = change.by.is_call();
                if inside && ours && matches!(change.change, Change::Disabled | Change::Deleted) {
                    broken.push(format!(
                        "P1: {id} was {:?} while it was version {} of {path}",
                        change.change, reign.version
                    ));
                }
            }
            let now = self.issuer.token(id);
            if reign.until.is_none() && !now.is_some_and(|token| token.enabled) {
                broken.push(format!("P1: {path} holds {id}, which does not work"));
            }
        }
    }

    /// P3: a token that was ever a value is disabled after its grace, and deleted after its quarantine.
    fn nothing_early(
        &self,
        number: usize,
        reigns: &[Reign],
        history: &[TokenChange],
        broken: &mut Vec<String>,
    ) {
        let (grace, max_grace, quarantine) = (
            self.seconds("defaults.grace"),
            self.seconds("defaults.max_grace"),
            self.seconds("defaults.quarantine"),
        );
        let mut last_reign: BTreeMap<&str, Timestamp> = BTreeMap::new();
        for reign in reigns {
            if let (Some(id), Some(until)) = (&reign.token, reign.until) {
                last_reign.insert(id, until);
            }
        }
        for (id, ended) in last_reign {
            let (mut disabled, mut expires) = (None, None);
            // What was late has ended by its backstop, which is later than any grace.
            let has_ended = |end: Option<Timestamp>, at| {
                end.is_some_and(|end| end <= at && !earlier(ended, max_grace, end))
            };
            for change in history.iter().filter(|change| change.token_id == id) {
                let ours = change.by.is_call();
                match change.change {
                    Change::Disabled => {
                        if ours && earlier(ended, grace, change.at) {
                            broken.push(format!(
                                "P3: {id} of secret {number} was disabled at {}, its grace began at {ended}",
                                change.at
                            ));
                        }
                        disabled = Some(change.at);
                    }
                    Change::Enabled => disabled = None,
                    Change::Redated { to } => expires = to,
                    Change::Deleted if ours => match disabled {
                        // What cannot be disabled has no quarantine.
                        None if matches!(self.issuer, Issuer::ActiveGate(_))
                            && !earlier(ended, grace, change.at) => {}
                        Some(since) if !earlier(since, quarantine, change.at) => {}
                        _ if has_ended(expires, change.at) => {}
                        since => broken.push(format!(
                            "P3: {id} of secret {number} was deleted at {}, disabled since {since:?}; its grace began at {ended}",
                            change.at
                        )),
                    },
                    _ => {}
                }
            }
        }
    }

    /// P2: the document of a secret is closed, or says in a sentence what a human must do.
    async fn journal_is_closed(&self, number: usize, broken: &mut Vec<String>) {
        let path = &self.secrets[number];
        let record = self.record(number).await;
        if record.is_null() {
            broken.push(format!("P2: {path} has no document"));
            return;
        }
        if !record["claim"].is_null() {
            broken.push(format!("P2: a claim stands on {path}: {}", record["claim"]));
        }
        let failure = &record["failure"];
        let sentence = failure["message"].as_str().unwrap_or_default();
        if !failure.is_null() && (!failure["retry_at"].is_null() || sentence.len() < 20) {
            broken.push(format!(
                "P2: {path} is neither settled nor stuck: {failure}"
            ));
        }
    }

    /// P2: every token that dtrotate made is a current value, or its document knows it.
    async fn nothing_left_behind(&self, broken: &mut Vec<String>) {
        let (mut known, mut open) = (vec![], vec![]);
        for number in 0..self.secrets.len() {
            let secret = self.root.secret("secret", &self.secrets[number]).await;
            let value = secret.map(|secret| secret.data["token"].clone());
            if let Some((id, _)) = value
                .as_ref()
                .and_then(Value::as_str)
                .and_then(|value| value.rsplit_once('.'))
            {
                known.push(id.to_owned());
            }
            let record = self.record(number).await;
            let list = |key: &str| record[key].as_array().cloned().unwrap_or_default();
            let ids = list("retiring").into_iter();
            known.extend(ids.filter_map(|entry| entry["id"].as_str().map(str::to_owned)));
            let epoch = &record["epoch"];
            for attempt in list("open") {
                open.push(format!(
                    "[dtrotate:{}.{}.{}]",
                    epoch["installation"].as_str().unwrap_or_default(),
                    epoch["secret"].as_str().unwrap_or_default(),
                    attempt["attempt"]
                ));
            }
        }
        for token in self.issuer.tokens() {
            let ours = token.name.contains("[dtrotate:");
            let is_open = open.iter().any(|marker| token.name.ends_with(marker));
            if ours && !is_open && !known.contains(&token.id) {
                broken.push(format!("P2: nobody knows {} ({})", token.id, token.name));
            }
        }
    }

    /// P5: no value stands in a log, in what a command wrote, or in a document.
    async fn no_value_shows(&self, broken: &mut Vec<String>) {
        let mut written = self.outputs.lock().expect("the outputs").clone();
        for file in [self.files("log"), self.files("out")].concat() {
            written += &fs::read_to_string(file).expect("a text");
        }
        for number in 0..self.secrets.len() {
            written += &self.record(number).await.to_string();
        }
        let mut values = self.issuer.issued();
        values.extend(
            self.simulator
                .account()
                .iter()
                .flat_map(simulator::Account::credentials),
        );
        values.push(self.site.token.clone());
        let secrets: BTreeSet<&str> = values
            .iter()
            .map(|value| value.rsplit('.').next().unwrap_or(value))
            .collect();
        // Every word of the text, and for the newest values any part of it.
        let words = written.split(|c: char| !c.is_ascii_alphanumeric());
        let mut shown = words.filter(|word| secrets.contains(word)).count();
        let newest = values.iter().rev().take(100);
        let newest = newest.map(|value| value.rsplit('.').next().unwrap_or(value));
        shown += newest.filter(|secret| written.contains(secret)).count();
        if shown > 0 {
            broken.push(format!("P5: values were written, {shown} times"));
        }
    }
}

/// `at` is less than `length` after `since`.
fn earlier(since: Timestamp, length: Duration, at: Timestamp) -> bool {
    let length = SignedDuration::try_from(length).expect("a short time");
    since.duration_until(at) < length
}

fn time(text: &Value) -> Timestamp {
    let text = text.as_str().expect("a time");
    text.parse().expect("a time")
}
