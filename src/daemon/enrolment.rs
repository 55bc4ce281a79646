//! Which secrets there are: the roster and the engine's groups are brought in line with the configuration, at the start and at a reload.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use crate::clock;
use crate::config::Settings;
use crate::rotation::event::EventName;
use crate::schedule::ticker::{GroupId, Groups};
use crate::telemetry::{self, Line};

use super::board::Board;
use super::roster::Entry;
use super::{Life, assemble, notify};

impl Life {
    /// Brings the roster in line with the settings; what did not change keeps its state.
    pub(super) fn enroll(&mut self) {
        let mut wanted: BTreeMap<String, _> = self
            .settings
            .secrets
            .iter()
            .map(|secret| (secret.plan.name.clone(), secret.clone()))
            .collect();
        let now = clock::now();
        self.roster.retain(|name, entry| match wanted.remove(name) {
            Some(settings) => {
                if entry.settings.as_ref() != Some(&settings) {
                    entry.plan = Arc::new(settings.plan.clone());
                    entry.settings = Some(settings);
                    entry.hurry(now);
                }
                true
            }
            None => {
                // What it left is finished by its document.
                entry.settings = None;
                entry
                    .record()
                    .is_some_and(|record| !record.retiring.is_empty() || !record.open.is_empty())
            }
        });
        for (name, settings) in wanted {
            let entry = Entry::new(Arc::new(settings.plan.clone()), Some(settings));
            self.roster.insert(name, entry);
        }
    }

    /// One job of the engine per distinct (expression, zone).
    pub(super) async fn regroup(&mut self) -> anyhow::Result<()> {
        let mut ids: HashMap<(String, String), GroupId> = HashMap::new();
        let mut groups = Groups::new();
        self.groups.clear();
        for (name, entry) in &self.roster {
            let Some(settings) = &entry.settings else {
                continue;
            };
            let key = (settings.schedule_text.clone(), settings.zone_name.clone());
            let next = GroupId(ids.len() as u32);
            let id = *ids.entry(key).or_insert(next);
            groups
                .entry(id)
                .or_insert_with(|| settings.schedule.clone());
            self.groups.entry(id).or_default().push(name.clone());
        }
        self.ticker.set(groups).await?;
        Ok(())
    }

    /// Reads the configuration again; a bad one is refused as a whole.
    pub(super) async fn reload(&mut self) {
        notify::reloading();
        match (self.reload)() {
            Ok(settings) => match self.adopt(settings).await {
                Ok(()) => {
                    let message = format!("{} secrets", self.settings.secrets.len());
                    Line::new(EventName::ConfigReloaded, message).write();
                }
                Err(error) => reject(&error.to_string()),
            },
            Err(problems) => reject(&problems),
        }
        notify::ready(&format!("{} secrets", self.roster.len()));
    }

    pub(super) async fn adopt(&mut self, settings: Settings) -> anyhow::Result<()> {
        let rewired = settings.vault != self.settings.vault
            || settings.journal != self.settings.journal
            || settings.environments != self.settings.environments;
        if rewired {
            self.office.wired = assemble::assemble(&settings)?;
            self.office.board = Arc::new(Board::new(settings.environments.keys()));
            if settings.journal != self.settings.journal {
                self.installation = None;
            }
        }
        telemetry::set_level(settings.log.level.unwrap_or("info"));
        self.settings = settings;
        if rewired {
            self.keep_logged_in();
        }
        self.enroll();
        self.regroup().await?;
        self.next_sweep = Instant::now();
        self.ring();
        Ok(())
    }
}

fn reject(problems: &str) {
    for problem in problems.lines().filter(|line| !line.is_empty()) {
        Line::new(
            EventName::ConfigRejected,
            format!("{problem}; the old configuration stays"),
        )
        .write();
    }
}
