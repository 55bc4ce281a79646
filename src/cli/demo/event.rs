//! A line of the daemon's log, and what the demo shows of it.

use serde::Deserialize;

/// What the demo needs of a line.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Event {
    timestamp: String,
    level: String,
    pub(super) event: String,
    message: String,
    pub(super) secret: Option<String>,
    pub(super) token_id: Option<String>,
    pub(super) old_token_id: Option<String>,
}

/// Characters of a line.
const WIDTH: usize = 100;

impl Event {
    pub(super) fn parse(line: &str) -> Option<Event> {
        serde_json::from_str(line).ok()
    }

    /// One short line; none for what says nothing about a secret.
    pub(super) fn line(&self) -> Option<String> {
        let token = short(self.token_id.as_deref());
        let words = match (self.event.as_str(), &self.old_token_id) {
            ("daemon_ready", _) => "the daemon is ready".to_owned(),
            ("secret_adopted", _) => format!("{token} is the current value"),
            ("rotation_succeeded", Some(old)) => {
                format!("rotated: {token} replaces {}", short(Some(old)))
            }
            ("rotation_recovered", _) => "continues the rotation that was killed".to_owned(),
            ("orphan_deleted", _) => format!("{token} deleted: the killed attempt left it"),
            ("secret_changed_elsewhere", _) => {
                "a person stored another token: it is kept".to_owned()
            }
            ("retirement_held", _) => {
                format!("old token {token} is still used: its grace is extended")
            }
            ("token_disabled", _) => format!("old token {token} disabled"),
            ("token_deleted", _) => format!("old token {token} deleted"),
            _ if self.secret.is_none() && self.level == "INFO" => return None,
            _ => with_short_ids(&self.message),
        };
        let secret = self.secret.as_deref().unwrap_or_default();
        let time = self.timestamp.get(11..19).unwrap_or_default();
        let line = format!("{time}  {secret:<21} {words}");
        Some(match line.char_indices().nth(WIDTH) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        })
    }
}

/// The same with the beginnings of ids.
fn with_short_ids(text: &str) -> String {
    let word = |word: &str| match word.starts_with("dt0c01.") {
        true => {
            let id = word.trim_end_matches([',', ';', ':', '.']);
            short(Some(id)) + &word[id.len()..]
        }
        false => word.to_owned(),
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// The beginning of an id, enough to distinguish it from others.
pub(super) fn short(id: Option<&str>) -> String {
    let id = id.unwrap_or("a token");
    match id.char_indices().nth(15) {
        Some((end, _)) => format!("{}…", &id[..end]),
        None => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_short_and_names_both_tokens() {
        let log = r#"{"timestamp":"2026-11-30T03:16:40.131712Z","level":"INFO","event":"rotation_succeeded","message":"long",
            "secret":"dynatrace/a","token_id":"dt0c01.VFDTNGM6IRBPNCBUXTOMMOQ6","old_token_id":"dt0c01.XZPAV2O3QLG3GVZTNC6DFDDK"}"#;
        let line = Event::parse(log).unwrap().line().unwrap();
        assert_eq!(
            line,
            "03:16:40  dynatrace/a           rotated: dt0c01.VFDTNGM6… replaces dt0c01.XZPAV2O3…"
        );
        let quiet = r#"{"timestamp":"2026-11-30T03:16:40Z","level":"INFO","event":"vault_login","message":"logged in"}"#;
        assert_eq!(Event::parse(quiet).unwrap().line(), None);
        let held = r#"{"timestamp":"2026-11-30T03:16:40Z","level":"INFO","event":"secret_moved","message":"dt0c01.VFDTNGM6IRBPNCBUXTOMMOQ6, too","secret":"a"}"#;
        let line = Event::parse(held).unwrap().line().unwrap();
        assert!(line.ends_with(" dt0c01.VFDTNGM6…, too"), "{line}");
        let warning = format!(
            r#"{{"timestamp":"2026-11-30T03:16:40Z","level":"WARN","event":"x","message":"{}"}}"#,
            "ä".repeat(300)
        );
        let line = Event::parse(&warning).unwrap().line().unwrap();
        assert_eq!(line.chars().count(), WIDTH + 1);
    }
}
