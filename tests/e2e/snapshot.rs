//! Vault goes back in time: a real snapshot of a real raft storage is restored, at rest and in the middle of a rotation.

use std::sync::Arc;

use reqwest::Method;
use simulator::{Action, Operation, Rule};

use crate::world::{Daemon, LONG, Site, World, until};

const SNAPSHOT: &str = "sys/storage/raft/snapshot";

/// Secrets on a raft storage of its own, and a daemon that sweeps every second.
async fn world(site: &Arc<Site>, secrets: usize) -> World {
    let mut world = World::on(Arc::clone(site), "", secrets).await;
    world.set("daemon.sweep", "1s");
    world
}

async fn rotate(world: &World, number: usize) {
    let name = world.secrets[number].as_str();
    assert_eq!(world.command(&["rotate", name]).await.0, Some(0));
}

/// A daemon that knows the secret.
async fn started(world: &World) -> Daemon {
    let daemon = world.start("e2e");
    until("it to be known", async || {
        daemon.events("secret_adopted") == 1
    })
    .await;
    daemon
}

async fn restore(site: &Site, snapshot: Vec<u8>) {
    let path = "sys/storage/raft/snapshot-force";
    site.vault.bytes(Method::POST, path, snapshot).await;
    until("it to serve again", async || {
        site.root.get("secret/config").await
    })
    .await;
}

/// Every value works, and there is no token but those.
async fn settled(world: &World) {
    until("all to settle", async || {
        let mut valid = true;
        for number in 0..world.secrets.len() {
            valid &= world.dynatrace.is_valid(&world.value(number).await);
        }
        valid && world.tokens() == world.secrets.len() && world.is_quiet().await
    })
    .await;
}

async fn assert_nothing_lost(world: &World) {
    world.assert_valid().await;
    let broken = world.broken().await;
    let lost = |line: &&String| line.starts_with("P2") || line.starts_with("P5");
    let lost: Vec<_> = broken.iter().filter(lost).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p2_vault_restored_at_rest_gets_a_value_that_works() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::raft(folder.path()).await;
    let world = world(&site, 1).await;
    let daemon = started(&world).await;
    rotate(&world, 0).await;
    let snapshot = site.vault.bytes(Method::GET, SNAPSHOT, vec![]).await;
    // What it had then is gone.
    rotate(&world, 0).await;
    rotate(&world, 0).await;
    settled(&world).await;
    restore(&site, snapshot).await;
    until("it to be reported", async || {
        daemon.events("vault_went_back") > 0
    })
    .await;
    settled(&world).await;
    drop(daemon);
    assert_nothing_lost(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p2_vault_restored_in_the_middle_of_a_rotation_loses_no_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::raft(folder.path()).await;
    let world = world(&site, 1).await;
    let daemon = started(&world).await;
    let snapshot = site.vault.bytes(Method::GET, SNAPSHOT, vec![]).await;
    let rule = Rule::on(Operation::CreateToken).then(Action::HoldAnswer);
    let held = world.dynatrace.fault(rule);
    let name = world.secrets[0].clone();
    let restored = async {
        assert!(held.wait_held(1, LONG).await);
        restore(&site, snapshot).await;
        held.release();
    };
    let arguments = ["rotate", name.as_str()];
    tokio::join!(world.command(&arguments), restored);
    settled(&world).await;
    drop(daemon);
    assert_nothing_lost(&world).await;
}
