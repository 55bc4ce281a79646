//! The daemon on a real cluster of three OpenBao nodes, while leaders come and go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::openbao::{Cluster, StandbyReads};
use crate::world::{Daemon, LONG, Site, World, within};

/// A world on a cluster, with a daemon that rotates every secret every second.
struct Stage {
    cluster: Cluster,
    world: World,
    daemon: Daemon,
    _nodes: TempDir,
}

impl Stage {
    async fn set(reads: StandbyReads, secrets: usize) -> Stage {
        let nodes = tempfile::tempdir().expect("a folder");
        let cluster = Cluster::start(nodes.path(), reads).await;
        let vault = cluster.handle();
        let root = vault.root();
        root.mount_kv("secret", 2).await;
        root.write_shipped_policy().await;
        let versions = json!({ "max_versions": 1000 });
        root.ok(reqwest::Method::POST, "secret/config", versions)
            .await;
        let token = root.periodic_token(&["dtrotate"], "1h").await;
        let ca_file = vault.ca_file.clone().expect("a CA");
        let site = Arc::new(Site { vault, root, token });
        let mut world = World::on(site, "", secrets).await;
        // A standby first, so that it is asked for what the leader has just written.
        let mut addresses = cluster.addresses();
        addresses.reverse();
        world.set("vault.address", addresses);
        world.set("vault.ca_file", ca_file.display().to_string());
        world.set("defaults.schedule", "* * * * * *");
        let daemon = world.start("e2e");
        let stage = Stage {
            cluster,
            world,
            daemon,
            _nodes: nodes,
        };
        stage.rotates_on("the start").await;
        stage
    }

    /// P1 at a look: the freshest value that any node shows works.
    async fn assert_valid(&self) {
        for path in &self.world.secrets {
            let Some(secret) = self.cluster.secret("secret", path).await else {
                continue;
            };
            let value = secret.data["token"].as_str().expect("a value");
            let valid = self.world.dynatrace.is_valid(value);
            assert!(valid, "P1: {path} holds a dead token");
        }
    }

    /// Looks at the values for so long.
    async fn watch(&self, time: Duration) {
        let until = Instant::now() + time;
        within(LONG, async || {
            self.assert_valid().await;
            Instant::now() >= until
        })
        .await;
    }

    /// Every secret rotates twice from now on.
    async fn rotates_on(&self, after: &str) {
        let rotated = || {
            let lines = self.daemon.lines();
            let count = |path: &String| {
                let lines = lines.iter();
                lines
                    .filter(|line| {
                        line["event"] == "rotation_succeeded" && line["secret"] == path.as_str()
                    })
                    .count()
            };
            self.world.secrets.iter().map(count).collect::<Vec<_>>()
        };
        let before = rotated();
        let went_on = within(LONG, async || {
            self.assert_valid().await;
            let now = rotated();
            now.iter()
                .zip(&before)
                .all(|(now, before)| *now >= before + 2)
        })
        .await;
        assert!(went_on, "rotations do not go on after {after}");
    }

    /// No more rotations: all is settled and nothing was broken at any time. P4: nobody else was there.
    async fn settle(&mut self) {
        self.world.set("defaults.schedule", "0 0 1 1 *");
        self.daemon.signal("-HUP");
        let quiet = within(LONG, async || {
            self.world.is_quiet().await && self.world.tokens() == self.world.secrets.len()
        })
        .await;
        assert!(quiet, "P2: something was left behind");
        self.daemon.signal("-TERM");
        assert_eq!(self.daemon.exit_code(), Some(0));
        self.world.assert_holds().await;
        let lines = self.daemon.lines();
        let is = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
        assert_eq!(is("secret_changed_elsewhere"), 0, "no false conflict");
        assert_eq!(is("rotation_stuck"), 0);
    }

    /// P8: nothing needed a human, unless the cluster was away for longer than an election takes on a machine with nothing else to do.
    fn assert_no_error(&self) {
        let lines = self.daemon.lines();
        let mut outages = lines
            .iter()
            .filter(|line| line["event"] == "vault_available");
        for error in lines.iter().filter(|line| line["level"] == "ERROR") {
            assert_eq!(error["event"], "vault_unavailable", "{error}");
            let end = outages.next().expect("the end of an outage is reported");
            let long = end["duration_ms"].as_u64() >= Some(10_000);
            assert!(long, "what heals without a human is no ERROR: {error}");
        }
    }
}

/// Leaders step down, die and freeze; the daemon rotates on.
async fn elections(reads: StandbyReads) {
    let mut stage = Stage::set(reads, 8).await;

    for _ in 0..2 {
        stage.cluster.step_down().await;
        stage.rotates_on("a step-down").await;
    }
    let leader = stage.cluster.leader().await;
    stage.cluster.kill(leader);
    stage.rotates_on("the death of the leader").await;
    stage.cluster.start_again(leader).await;
    stage.cluster.unseal(leader).await;

    let leader = stage.cluster.leader().await;
    stage.cluster.freeze(leader);
    stage.watch(Duration::from_secs(4)).await;
    stage.rotates_on("the leader froze").await;
    stage.cluster.thaw(leader);
    stage.rotates_on("the old leader thawed").await;

    stage.settle().await;
    stage.assert_no_error();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_come_and_go_with_stale_standbys() {
    elections(StandbyReads::On).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_come_and_go_with_standbys_that_forward() {
    elections(StandbyReads::Off).await;
}

/// All nodes die, and are sealed when they are back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_sealed_for_longer_than_a_grace_is_one_error_and_loses_nothing() {
    let mut stage = Stage::set(StandbyReads::On, 4).await;
    for number in 0..3 {
        stage.cluster.kill(number);
    }
    for number in 0..3 {
        stage.cluster.start_again(number).await;
    }
    let told = within(LONG, async || {
        stage.assert_valid().await;
        stage.daemon.events("vault_unavailable") > 0
    });
    assert!(told.await, "P8: it is reported");
    stage.watch(Duration::from_secs(3)).await;
    for number in 0..3 {
        stage.cluster.unseal(number).await;
    }
    stage.rotates_on("it was unsealed").await;
    stage.settle().await;
    let lines = stage.daemon.lines();
    let told: Vec<_> = lines
        .iter()
        .filter(|line| line["level"] == "ERROR" || line["event"] == "vault_available")
        .collect();
    let events: Vec<_> = told.iter().map(|line| &line["event"]).collect();
    assert_eq!(events, ["vault_unavailable", "vault_available"], "{told:?}");
    let sentence = told[0]["message"].as_str().expect("a sentence");
    assert!(sentence.contains("sealed"), "{sentence}");
}
