//! The commands of the runbook, run as they are printed beside a running daemon: each works and says something. Those that ask the machine
//! itself (`journalctl`, `systemctl`) are run by `tests/packaging/systemd.sh`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::openbao;
use crate::ops::{free, ready};
use crate::world::{World, program};

/// Programs that ask the machine.
const MACHINE: [&str; 4] = ["journalctl", "systemctl", "timedatectl", "top"];

/// The lines of the pages that are run here.
fn lines() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbooks");
    let mut all = vec![];
    for file in fs::read_dir(folder).expect("the runbook") {
        let file = file.expect("a file").path();
        let page = file
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&file).expect("a page");
        let blocks = text.split("\n```sh\n").skip(1);
        let blocks = blocks.filter_map(|rest| rest.split("\n```").next());
        for line in blocks.flat_map(str::lines) {
            let first = line.split_whitespace().next().unwrap_or("#");
            if first != "#" && !MACHINE.contains(&first) {
                all.push((page.clone(), line.to_owned()));
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_the_runbook_that_asks_dtrotate_vault_or_dynatrace_works() {
    let mut world = World::new(1).await;
    world.set("ops.listen", free());
    world.root.write_shipped_policy().await;
    let daemon = world.start("e2e");
    ready(&world).await;
    let bin = world.folder.path().join("bin");
    fs::create_dir(&bin).expect("a folder for programs");
    let vault = fs::canonicalize(openbao::program()).expect("OpenBao");
    symlink(program(), bin.join("dtrotate")).expect("dtrotate");
    symlink(vault, bin.join("vault")).expect("vault");
    let name = &world.secrets[0];
    let listen = world.config["ops"]["listen"].as_str().expect("an address");
    let key = world.document(0);
    let (_, key) = key.rsplit_once('/').expect("a document");
    let all = lines();
    assert!(all.len() > 40, "{all:?}");
    for (page, line) in &all {
        let command = line
            .replace("https://ENVIRONMENT", world.dynatrace.url())
            .replace("http://127.0.0.1:9780", &format!("http://{listen}"))
            .replace("MOUNT", "secret")
            .replace("NAME", name)
            .replace("PATH", name)
            .replace("KEY", key);
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &command])
            .current_dir(world.folder.path())
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("HOME", world.folder.path())
            .env("DTROTATE_CONFIG", world.config_file())
            .env("VAULT_ADDR", &world.site.vault.address)
            .env("VAULT_TOKEN", world.site.vault.root_token())
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || bash.output()).await;
        let output = output.expect("a thread").expect("bash");
        let said = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{page}: {line}: {said}{complaint}");
        assert!(!said.trim().is_empty(), "{page}: {line}: {complaint}");
    }
    drop(daemon);
}
