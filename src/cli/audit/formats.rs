//! The audit as text, JSON and CSV, handed over in pieces: ten thousand tokens are never in memory as one text.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::daemon::audit::Audit;
use crate::ops::audit::{Audited, Finding, FindingKind, Relation};
use crate::ops::condition::Severity;
use crate::ops::humanize::{count, due, hanging, relative, wrapped};
use crate::sanitize;

/// What a spreadsheet takes for the beginning of a formula.
const FORMULA: [char; 4] = ['=', '+', '-', '@'];

/// The columns of the CSV.
const COLUMNS: [&str; 16] = [
    "environment",
    "token_id",
    "name",
    "relation",
    "secrets",
    "installation",
    "owner",
    "personal",
    "enabled",
    "created",
    "last_used",
    "last_used_ip",
    "expires",
    "wide_rights",
    "scopes",
    "findings",
];

/// For people: the tokens of each environment, then what was found.
pub(super) fn text(audit: &Audit, services: &[String], print: &mut dyn FnMut(String)) {
    for service in services {
        let here = || audit.tokens.iter().filter(|it| it.service == *service);
        let managed = here().filter(|it| it.relation.is_managed()).count();
        let all = count(here().count(), "token");
        let head = format!("{service}: {all}, {managed} managed by dtrotate");
        print(sanitize::line(&head) + "\n");
        here().for_each(|token| print(describe(token, &relation(token, audit.at), audit.at)));
        print("\n".to_owned());
    }
    for kind in FindingKind::ALL {
        let mut found = findings(audit).filter(|(_, finding)| finding.kind == kind);
        let Some(first) = found.next() else { continue };
        let word = kind.severity().as_str().to_uppercase();
        print(format!("{word} {}\n", kind.as_str()));
        print(wrapped(kind.explanation(), "  "));
        for (token, finding) in std::iter::once(first).chain(found) {
            let sentence = format!("{} of {}: {}", token.info.id, token.service, finding.detail);
            print(hanging("  - ", &sanitize::line(&sentence)));
        }
        print("\n".to_owned());
    }
    let [errors, warnings] = [Severity::Error, Severity::Warning].map(|it| number(audit, it));
    let incomplete = match audit.incomplete.is_empty() {
        true => "",
        false => "; the audit is incomplete",
    };
    let (errors, warnings) = (count(errors, "error"), count(warnings, "warning"));
    print(format!("{errors}, {warnings}{incomplete}\n"));
}

/// For machines: one document.
pub(super) fn json(audit: &Audit, exit_status: u8, print: &mut dyn FnMut(String)) {
    let document = json!({
        "at": audit.at,
        "installation": audit.installation,
        "errors": number(audit, Severity::Error),
        "warnings": number(audit, Severity::Warning),
        "incomplete": audit.incomplete.iter().map(|error| &error.what).collect::<Vec<_>>(),
        "exit_status": exit_status,
    });
    let head = safe(document);
    print(head.strip_suffix('}').unwrap_or(&head).to_owned());
    list("tokens", audit.tokens.iter().map(token_json), print);
    list("findings", findings(audit).map(finding_json), print);
    print("}\n".to_owned());
}

/// For spreadsheets: a line for each token.
pub(super) fn csv(audit: &Audit, print: &mut dyn FnMut(String)) {
    print(COLUMNS.join(",") + "\r\n");
    for token in &audit.tokens {
        let cells = cells(token).map(|text| cell(&text));
        print(cells.join(",") + "\r\n");
    }
}

fn findings(audit: &Audit) -> impl Iterator<Item = (&Audited, &Finding)> {
    let tokens = audit.tokens.iter();
    tokens.flat_map(|token| token.findings.iter().map(move |finding| (token, finding)))
}

fn number(audit: &Audit, severity: Severity) -> usize {
    let of = findings(audit).filter(|(_, finding)| finding.kind.severity() == severity);
    of.count()
}

/// What dtrotate has to do with a token.
fn relation(token: &Audited, now: Timestamp) -> String {
    let secrets = token.secrets.join(", ");
    match token.relation {
        Relation::Current => format!("current token of {secrets}"),
        Relation::Retiring => format!("old token of {secrets}, retiring"),
        Relation::Management => "management token, not rotated".to_owned(),
        Relation::Leftover if secrets.is_empty() => "left over".to_owned(),
        Relation::Leftover => format!("left over of {secrets}"),
        Relation::Pruned => match &token.pruned {
            Some(pruned) => format!(
                "disabled by `dtrotate prune` ({}), to be deleted {}",
                pruned.by,
                due(pruned.until, now)
            ),
            None => "disabled by `dtrotate prune`".to_owned(),
        },
        Relation::OtherInstallation => {
            let other = token.installation.as_deref().unwrap_or_default();
            format!("of installation {other}")
        }
        Relation::Unmanaged => "unmanaged".to_owned(),
    }
}

/// A token with what is known of it, under a headline.
pub(in crate::cli) fn describe(token: &Audited, headline: &str, now: Timestamp) -> String {
    let info = &token.info;
    let time = |at| relative(at, now);
    let expired = token.is_expired(now);
    let facts = [
        token.owner().map(|owner| format!("owner {owner}")),
        info.personal.then(|| "personal".to_owned()),
        (!info.enabled).then(|| "disabled".to_owned()),
        info.created.map(|at| format!("created {}", time(at))),
        Some(token.last_use(now)),
        Some(match info.expires {
            Some(at) if expired => format!("expired {}", time(at)),
            Some(at) => format!("expires {}", time(at)),
            None => "never expires".to_owned(),
        }),
        (!token.wide.is_empty()).then(|| format!("wide rights: {}", token.wide.join(" "))),
    ];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    let lines = [("  ", format!("{}: {headline}", info.id))];
    let more = [("    ", info.name.clone()), ("    ", facts.join(", "))];
    let lines = lines.into_iter().chain(more);
    let shown = lines.filter(|(_, text)| !text.trim().is_empty());
    shown
        .map(|(indent, text)| hanging(indent, &sanitize::line(&text)))
        .collect()
}

pub(in crate::cli) fn token_json(token: &Audited) -> Value {
    let info = &token.info;
    json!({
        "environment": token.service,
        "token_id": info.id,
        "name": info.name,
        "relation": token.relation,
        "secrets": token.secrets,
        "installation": token.installation,
        "pruned": token.pruned,
        "owner": token.owner(),
        "personal": info.personal,
        "enabled": info.enabled,
        "created": info.created,
        "last_used": info.last_used,
        "last_used_ip": info.last_used_ip,
        "expires": info.expires,
        "wide_rights": token.wide,
        "scopes": info.scopes,
        "findings": token.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(),
    })
}

fn finding_json((token, finding): (&Audited, &Finding)) -> Value {
    json!({
        "kind": finding.kind,
        "severity": finding.kind.severity(),
        "environment": token.service,
        "token_id": token.info.id,
        "message": finding.detail,
        "what_to_do": finding.kind.explanation(),
    })
}

/// A list in the document, behind what is there already.
fn list(name: &str, items: impl Iterator<Item = Value>, print: &mut dyn FnMut(String)) {
    print(format!(",\"{name}\":["));
    for (number, item) in items.enumerate() {
        let comma = if number == 0 { "" } else { "," };
        print(format!("{comma}{}", safe(item)));
    }
    print("]".to_owned());
}

fn safe(mut value: Value) -> String {
    sanitize::value(&mut value);
    value.to_string()
}

/// In the order of [`COLUMNS`].
fn cells(token: &Audited) -> [String; 16] {
    let info = &token.info;
    let time = |at: Option<Timestamp>| at.map_or(String::new(), |at| format!("{at:.0}"));
    let found = token.findings.iter().map(|finding| finding.kind.as_str());
    [
        token.service.clone(),
        info.id.to_string(),
        info.name.clone(),
        token.relation.as_str().to_owned(),
        token.secrets.join(" "),
        token.installation.clone().unwrap_or_default(),
        token.owner().unwrap_or_default().to_owned(),
        info.personal.to_string(),
        info.enabled.to_string(),
        time(info.created),
        time(info.last_used),
        info.last_used_ip.clone().unwrap_or_default(),
        time(info.expires),
        token.wide.join(" "),
        info.scopes.join(" "),
        found.collect::<Vec<_>>().join(" "),
    ]
}

/// A cell as RFC 4180 has it. A name that someone gave must not become a formula in a spreadsheet.
fn cell(text: &str) -> String {
    let mut text = sanitize::line(text);
    if text.trim_start().starts_with(FORMULA) {
        text.insert(0, '\'');
    }
    match text.contains([',', '"']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::audit::tests::{NOW, of, token};

    fn audit() -> Audit {
        let mut odd = token("dt0c01.ODD", "=cmd(),\"x\"\u{1b}[2J");
        odd.scopes = vec!["metrics.read".into(), "apiTokens.write".into()];
        odd.expires = None;
        odd.owner = Some(format!("dt0c01.{}.{}", "A".repeat(24), "B".repeat(64)));
        let others = token("dt0c01.OTHER", "job [dtrotate:zzzz.a7q2.1]");
        Audit {
            at: NOW,
            installation: Some("k3v9".into()),
            tokens: vec![
                of("prod", odd),
                of("prod", others),
                of("test", token("dt0c01.FINE", "fine")),
            ],
            incomplete: vec![],
        }
    }

    fn printed(format: impl FnOnce(&Audit, &mut dyn FnMut(String))) -> String {
        let mut all = String::new();
        format(&audit(), &mut |piece| all += &piece);
        assert!(!all.contains("BBBB"), "P5: {all}");
        assert!(!all.contains('\u{1b}'), "{all}");
        all
    }

    #[test]
    fn p5_text_fits_a_terminal_and_ends_with_explained_findings() {
        let services = ["prod".to_owned(), "test".to_owned()];
        let text = printed(|audit, print| text(audit, &services, print));
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        for part in [
            "prod: 2 tokens, 0 managed by dtrotate\n  dt0c01.ODD: unmanaged\n    =cmd(),\"x\"\\u{1b}[2J\n",
            "  dt0c01.OTHER: of installation zzzz\n",
            "ERROR manages_tokens\n  Whoever holds such a token",
            "  - dt0c01.ODD of prod: it has apiTokens.write\n",
            "\n1 error, 2 warnings\n",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(text.ends_with("1 error, 2 warnings\n"));
    }

    #[test]
    fn p5_json_is_one_document_with_tokens_and_findings() {
        let text = printed(|audit, print| json(audit, 1, print));
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&document["errors"], &document["warnings"]),
            (&1.into(), &2.into())
        );
        assert_eq!(document["exit_status"], 1);
        assert_eq!(document["tokens"].as_array().unwrap().len(), 3);
        let first = &document["tokens"][0];
        assert_eq!(
            first["findings"],
            json!(["manages_tokens", "never_expires"])
        );
        assert_eq!(first["wide_rights"], json!(["apiTokens.write"]));
        assert_eq!(document["tokens"][1]["installation"], "zzzz");
        let kinds: Vec<&Value> = document["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| &finding["kind"])
            .collect();
        assert_eq!(
            kinds,
            ["manages_tokens", "never_expires", "other_installation"]
        );
    }

    #[test]
    fn p5_csv_has_a_line_for_each_token_and_no_formula() {
        let text = printed(csv);
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[0], COLUMNS.join(","));
        assert!(
            lines[1].starts_with("prod,dt0c01.ODD,\"'=cmd(),\"\"x\"\"\\u{1b}[2J\",unmanaged,,,"),
            "{}",
            lines[1]
        );
        assert!(
            lines[1].ends_with(",manages_tokens never_expires"),
            "{}",
            lines[1]
        );
        assert!(lines[3].starts_with("test,dt0c01.FINE,fine,unmanaged,,,ada,false,true,"));
    }

    #[test]
    fn an_audit_without_tokens_is_whole_in_every_format() {
        let audit = Audit {
            tokens: vec![],
            ..audit()
        };
        let mut all = String::new();
        json(&audit, 0, &mut |piece| all += &piece);
        let document: Value = serde_json::from_str(&all).unwrap();
        assert_eq!(document["tokens"], json!([]));
        let mut all = String::new();
        text(&audit, &["prod".to_owned()], &mut |piece| all += &piece);
        assert_eq!(
            all,
            "prod: 0 tokens, 0 managed by dtrotate\n\n0 errors, 0 warnings\n"
        );
    }
}
