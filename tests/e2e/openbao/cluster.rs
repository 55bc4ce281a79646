//! Three OpenBao nodes with raft storage behind TLS: one leads, two stand by. Leaders can be killed, frozen, stepped down and sealed.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Api, OpenBao, Process, START, Secret, client, client_with, free_ports, log_folder, pause,
    write_certificates, write_config,
};

/// Whether standbys answer reads from their own state, which lags behind (the default of OpenBao since 2.5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StandbyReads {
    On,
    Off,
}

/// Three nodes; all are killed when it is dropped.
pub struct Cluster {
    nodes: Vec<OpenBao>,
    /// To look at single nodes: nobody waits long for one that is frozen.
    hasty: reqwest::Client,
}

impl Cluster {
    /// Starts, initialises, joins and unseals them, and waits until all three have a vote.
    pub async fn start(dir: &Path, reads: StandbyReads) -> Cluster {
        let ca_file = write_certificates(dir);
        let ports: [u16; 6] = free_ports();
        let mut cluster = Cluster {
            nodes: Vec::new(),
            hasty: client_with(Some(&ca_file), Duration::from_secs(1)),
        };
        for (number, pair) in ports.chunks(2).enumerate() {
            let leader = format!("https://127.0.0.1:{}", ports[0]);
            let join = match number {
                0 => String::new(),
                _ => format!(
                    "retry_join {{\n leader_api_addr = \"{leader}\"\n leader_ca_cert_file = \"{}\"\n}}",
                    ca_file.display()
                ),
            };
            let reads = match reads {
                StandbyReads::On => "",
                StandbyReads::Off => "disable_standby_reads = true",
            };
            let name = format!("node{number}");
            let config = write_config(dir, &name, pair[0], pair[1], [&join, reads]);
            let (logs, log_file) = log_folder();
            let mut node = OpenBao {
                process: None,
                arguments: vec!["server".to_owned(), format!("-config={config}")],
                address: format!("https://127.0.0.1:{}", pair[0]),
                ca_file: Some(ca_file.clone()),
                log_file,
                root_token: String::new(),
                unseal_key: String::new(),
                http: client(Some(&ca_file)),
                _logs: logs,
            };
            node.process = Some(Process::spawn(&node.arguments, &node.log_file));
            cluster.take_in(node).await;
        }
        cluster.all_vote().await;
        cluster
    }

    /// Initialises the first node; gives its keys to the others, which joined it by themselves.
    async fn take_in(&mut self, mut node: OpenBao) {
        let nobody = node.with_token("");
        until("a node answers", async || nobody.health().await.is_some()).await;
        match self.nodes.first() {
            None => {
                let shares = json!({"secret_shares": 1, "secret_threshold": 1});
                let keys = nobody.ok(Method::PUT, "sys/init", shares).await;
                let text = |value: &Value| value.as_str().expect("text").to_owned();
                node.root_token = text(&keys["root_token"]);
                node.unseal_key = text(&keys["keys_base64"][0]);
                node.unseal().await;
            }
            Some(first) => {
                node.root_token = first.root_token.clone();
                node.unseal_key = first.unseal_key.clone();
                until("a node joins", async || nobody.health().await == Some(503)).await;
                unseal(&node).await;
            }
        }
        self.nodes.push(node);
    }

    async fn all_vote(&self) {
        let root = self.nodes[0].root();
        let quick = json!({"server_stabilization_time": "1s"});
        let path = "sys/storage/raft/autopilot/configuration";
        root.ok(Method::POST, path, quick).await;
        until("three nodes vote", async || {
            let path = "sys/storage/raft/configuration";
            let reply = root.raw(Method::GET, path, Value::Null).await;
            let servers = reply.body["data"]["config"]["servers"].as_array().cloned();
            let votes = servers.unwrap_or_default();
            votes
                .iter()
                .filter(|server| server["voter"] == true)
                .count()
                == 3
        })
        .await;
    }

    /// The addresses of all nodes.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.address.clone()).collect()
    }

    /// A handle to the whole, by its first node, that outlives what is done to the nodes.
    pub fn handle(&self) -> OpenBao {
        let node = &self.nodes[0];
        let (logs, log_file) = log_folder();
        OpenBao {
            process: None,
            arguments: Vec::new(),
            address: node.address.clone(),
            ca_file: node.ca_file.clone(),
            log_file,
            root_token: node.root_token.clone(),
            unseal_key: node.unseal_key.clone(),
            http: node.http.clone(),
            _logs: logs,
        }
    }

    /// The node that leads now, as a standby or it itself says and it confirms.
    pub async fn leader(&self) -> usize {
        let mut leads = None;
        until("a leader", async || {
            leads = self.find_leader().await;
            leads.is_some()
        })
        .await;
        leads.expect("seen just now")
    }

    async fn find_leader(&self) -> Option<usize> {
        for (number, _) in self.nodes.iter().enumerate() {
            if self.look(number, "").health().await == Some(200) {
                return Some(number);
            }
        }
        None
    }

    /// The API of one node, for those in haste.
    fn look(&self, number: usize, token: &str) -> Api {
        Api::new(self.hasty.clone(), &self.nodes[number].address, token)
    }

    /// The freshest version of a secret that any node shows; none when nobody answers.
    pub async fn secret(&self, mount: &str, path: &str) -> Option<Secret> {
        let asked = (0..self.nodes.len()).map(|number| async move {
            let api = self.look(number, &self.nodes[number].root_token);
            let path = format!("{mount}/data/{path}");
            let reply = api.try_raw(Method::GET, &path, Value::Null).await?;
            let data = &reply.body["data"];
            Some(Secret {
                version: data["metadata"]["version"].as_u64()?,
                data: data["data"].clone(),
            })
        });
        let found = futures_util::future::join_all(asked).await;
        found
            .into_iter()
            .flatten()
            .max_by_key(|secret| secret.version)
    }

    /// The leader gives its place up.
    pub async fn step_down(&self) {
        let leader = self.leader().await;
        let root = self.nodes[leader].root();
        root.ok(Method::PUT, "sys/step-down", json!({})).await;
    }

    /// SIGKILL.
    pub fn kill(&mut self, number: usize) {
        self.nodes[number].kill();
    }

    /// Starts a killed node again; it is sealed.
    pub async fn start_again(&mut self, number: usize) {
        self.nodes[number].start_again().await;
    }

    /// Unseals a node and waits until it serves or stands by.
    pub async fn unseal(&self, number: usize) {
        unseal(&self.nodes[number]).await;
    }

    /// SIGSTOP: it does nothing, and its connections stay.
    pub fn freeze(&self, number: usize) {
        self.signal(number, "-STOP");
    }

    /// SIGCONT.
    pub fn thaw(&self, number: usize) {
        self.signal(number, "-CONT");
    }

    fn signal(&self, number: usize, name: &str) {
        let process = self.nodes[number].process.as_ref().expect("it runs");
        let status = std::process::Command::new("kill")
            .args([name, &process.child.id().to_string()])
            .status()
            .expect("kill");
        assert!(status.success());
    }
}

async fn unseal(node: &OpenBao) {
    let nobody = node.with_token("");
    until("a node is unsealed", async || {
        let key = json!({"key": node.unseal_key});
        nobody.raw(Method::PUT, "sys/unseal", key).await;
        matches!(nobody.health().await, Some(200 | 429))
    })
    .await;
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + START;
    while !done().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        pause().await;
    }
}
