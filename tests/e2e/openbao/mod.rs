//! A real OpenBao as a child process, for one test: started on a port of its own, killed when dropped (also by a panic).
//!
//! `OpenBao::dev()` is the quick one, all in memory. `OpenBao::raft_tls(dir)` keeps its data in `dir`, speaks TLS with a
//! CA of its own and can be killed, sealed and started again on the same address. A test that cannot have a server fails
//! with a sentence that says why; it is never skipped.

mod api;
mod cluster;
mod selftest;

pub use api::{Api, Secret};
pub use cluster::{Cluster, StandbyReads};

use std::{
    env, fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Certificate, Method};
use serde_json::json;
use tempfile::TempDir;

/// How long a server may take to answer. Generous: the build machine has two cores for everything.
const START: Duration = Duration::from_secs(60);
/// How often a port may turn out to be taken between choosing it and the server's own bind.
const PORT_ATTEMPTS: usize = 10;

/// A server with its address, its root token and what is needed to unseal it.
pub struct OpenBao {
    process: Option<Process>,
    arguments: Vec<String>,
    /// `http://127.0.0.1:PORT` or `https://127.0.0.1:PORT`; the same over restarts.
    pub address: String,
    /// The CA to trust, for `ca_file`. Only with [`OpenBao::raft_tls`].
    pub ca_file: Option<PathBuf>,
    /// Everything that the server wrote, over all its starts.
    pub log_file: PathBuf,
    root_token: String,
    unseal_key: String,
    http: reqwest::Client,
    _logs: TempDir,
}

impl OpenBao {
    /// A dev server in memory: unsealed, with the KV v2 mount `secret`. What it holds is lost with its process.
    pub async fn dev() -> OpenBao {
        let (logs, log_file) = log_folder();
        let root_token = format!("root-{}", uuid::Uuid::new_v4());
        let http = client(None);
        for _ in 0..PORT_ATTEMPTS {
            let [port] = free_ports();
            let address = format!("http://127.0.0.1:{port}");
            let arguments = vec![
                "server".to_owned(),
                "-dev".to_owned(),
                "-dev-no-store-token".to_owned(),
                format!("-dev-root-token-id={root_token}"),
                format!("-dev-listen-address=127.0.0.1:{port}"),
            ];
            let mut process = Process::spawn(&arguments, &log_file);
            // Not the health page, which another test's server on this port would answer, too: only
            // ours knows the token. The mount is ready a moment after it, the unseal key is printed last.
            let root = Api::new(http.clone(), &address, &root_token);
            let printed = || printed_unseal_key(&log_file);
            let ready = process
                .ready(async || {
                    root.get("auth/token/lookup-self").await
                        && root.get("secret/config").await
                        && printed().is_some()
                })
                .await;
            if ready.is_err() {
                continue;
            }
            return OpenBao {
                unseal_key: printed().expect("seen just now"),
                process: Some(process),
                arguments,
                address,
                ca_file: None,
                log_file,
                root_token,
                http,
                _logs: logs,
            };
        }
        panic!("no free port for OpenBao in {PORT_ATTEMPTS} attempts");
    }

    /// One node with raft storage in `dir` behind TLS: initialised with one key share, unsealed, active, without mounts.
    pub async fn raft_tls(dir: &Path) -> OpenBao {
        let (logs, log_file) = log_folder();
        let ca_file = write_certificates(dir);
        let http = client(Some(&ca_file));
        for _ in 0..PORT_ATTEMPTS {
            let [port, cluster_port] = free_ports();
            let address = format!("https://127.0.0.1:{port}");
            let arguments = vec![
                "server".to_owned(),
                format!(
                    "-config={}",
                    write_config(dir, "one", port, cluster_port, ["", ""])
                ),
            ];
            let mut process = Process::spawn(&arguments, &log_file);
            let nobody = Api::new(http.clone(), &address, "");
            if process
                .ready(async || nobody.health().await == Some(501))
                .await
                .is_err()
            {
                continue;
            }
            let keys = nobody
                .ok(
                    Method::PUT,
                    "sys/init",
                    json!({"secret_shares": 1, "secret_threshold": 1}),
                )
                .await;
            let text = |value: &serde_json::Value| {
                value.as_str().expect("init answers with text").to_owned()
            };
            let bao = OpenBao {
                root_token: text(&keys["root_token"]),
                unseal_key: text(&keys["keys_base64"][0]),
                process: Some(process),
                arguments,
                address,
                ca_file: Some(ca_file),
                log_file,
                http,
                _logs: logs,
            };
            bao.unseal().await;
            return bao;
        }
        panic!("no two free ports for OpenBao in {PORT_ATTEMPTS} attempts");
    }

    /// The API with the root token.
    pub fn root(&self) -> Api {
        Api::new(self.http.clone(), &self.address, &self.root_token)
    }

    /// The API with another token (an empty one: none).
    pub fn with_token(&self, token: &str) -> Api {
        Api::new(self.http.clone(), &self.address, token)
    }

    /// The root token, for programs that get it from their environment.
    pub fn root_token(&self) -> &str {
        &self.root_token
    }

    /// A client that trusts this server.
    pub fn client(&self) -> reqwest::Client {
        self.http.clone()
    }

    /// A call with the root token whose body is not JSON; it must succeed.
    pub async fn bytes(&self, method: Method, path: &str, body: Vec<u8>) -> Vec<u8> {
        let url = format!("{}/v1/{path}", self.address);
        let request = self.http.request(method, url).body(body);
        let sent = request.header("X-Vault-Token", &self.root_token).send();
        let reply = sent.await.expect("a reply");
        assert!(reply.status().is_success(), "{path}: {}", reply.status());
        reply.bytes().await.expect("a whole body").to_vec()
    }

    /// SIGKILL, as a power cut: nothing is flushed. Returns when the process is gone and its port is free.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts a raft server again after [`OpenBao::kill`]: same address, same data, sealed.
    pub async fn start_again(&mut self) {
        assert!(
            self.ca_file.is_some(),
            "a dev server holds nothing to start again with"
        );
        assert!(self.process.is_none(), "it still runs");
        let nobody = self.with_token("");
        for _ in 0..PORT_ATTEMPTS {
            let mut process = Process::spawn(&self.arguments, &self.log_file);
            if process
                .ready(async || nobody.health().await.is_some())
                .await
                .is_ok()
            {
                self.process = Some(process);
                return;
            }
        }
        panic!("{} stayed taken for {PORT_ATTEMPTS} attempts", self.address);
    }

    /// Seals it: from now on every call is a 503.
    pub async fn seal(&self) {
        self.root().ok(Method::PUT, "sys/seal", json!({})).await;
    }

    /// Unseals it and waits until it is active.
    pub async fn unseal(&self) {
        let nobody = self.with_token("");
        nobody
            .ok(Method::PUT, "sys/unseal", json!({"key": self.unseal_key}))
            .await;
        let deadline = Instant::now() + START;
        while nobody.health().await != Some(200) {
            assert!(
                Instant::now() < deadline,
                "OpenBao is not active {START:?} after it was unsealed"
            );
            pause().await;
        }
    }
}

/// The child alone, so that an attempt that failed is killed like one that served.
struct Process {
    child: Child,
    log_file: PathBuf,
    /// Where the log of this start begins.
    log_start: u64,
}

/// The server ended because another process has the port.
struct PortTaken;

impl Process {
    fn spawn(arguments: &[String], log_file: &Path) -> Process {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(log_file)
            .expect("a log file");
        let log_start = log.metadata().expect("the log file").len();
        let child = Command::new(program())
            .args(arguments)
            // Nothing of the developer's own Vault may reach it, nor the token in its home.
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log file"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program().display()));
        Process {
            child,
            log_file: log_file.to_owned(),
            log_start,
        }
    }

    /// Waits until `is_ready`. Panics with the end of the log when it ends for another reason than a taken port.
    async fn ready(&mut self, is_ready: impl AsyncFn() -> bool) -> Result<(), PortTaken> {
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = self.child.try_wait().expect("the state of a child") {
                let log = self.log();
                if log.contains("address already in use") {
                    return Err(PortTaken);
                }
                panic!("OpenBao ended with {status}:\n{log}");
            }
            if is_ready().await {
                return Ok(());
            }
            assert!(
                Instant::now() < deadline,
                "OpenBao is not ready after {START:?}:\n{}",
                self.log()
            );
            pause().await;
        }
    }

    fn log(&self) -> String {
        let log = fs::read(&self.log_file).expect("the log of OpenBao");
        String::from_utf8_lossy(&log[self.log_start as usize..]).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a child that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a dev server says of itself at the end of its start.
fn printed_unseal_key(log_file: &Path) -> Option<String> {
    let log = fs::read_to_string(log_file).expect("the log of OpenBao");
    let key = log
        .lines()
        .find_map(|line| line.strip_prefix("Unseal Key: "))?;
    Some(key.to_owned())
}

/// Between two looks at a condition that has a deadline.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// `$BAO`, else `bao` on the PATH, else what `make tools` fetched.
pub fn program() -> PathBuf {
    if let Some(named) = variable("BAO") {
        let named = PathBuf::from(named);
        assert!(
            named.is_file(),
            "BAO={} is not a file; set it to a bao 2.x program",
            named.display()
        );
        return named;
    }
    let path = variable("PATH").unwrap_or_default();
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools");
    env::split_paths(&path)
        .chain([fetched])
        .map(|folder| folder.join("bao"))
        .find(|program| program.is_file())
        .expect("the end-to-end tests need a real OpenBao: run `make tools`, or set BAO to a bao 2.x program")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the environment says where programs are"
)]
pub fn variable(name: &str) -> Option<std::ffi::OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn log_folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log_file = folder.path().join("openbao.log");
    (folder, log_file)
}

/// Ports that the system called free just now. All are held until the last is chosen, so that they differ.
fn free_ports<const N: usize>() -> [u16; N] {
    let held: [TcpListener; N] = std::array::from_fn(|_| {
        TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port on 127.0.0.1")
    });
    std::array::from_fn(|i| {
        held[i]
            .local_addr()
            .expect("the address of a listener")
            .port()
    })
}

/// A client that trusts `ca_file` and nothing else, and that no proxy of the environment gets between.
pub fn client(ca_file: Option<&Path>) -> reqwest::Client {
    client_with(ca_file, Duration::from_secs(30))
}

fn client_with(ca_file: Option<&Path>, timeout: Duration) -> reqwest::Client {
    // An error means that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = ca_file.map(|file| {
        let pem = fs::read(file).expect("the CA file");
        Certificate::from_pem(&pem).expect("a PEM certificate")
    });
    reqwest::Client::builder()
        .tls_certs_only(ca)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout)
        .build()
        .expect("an HTTP client")
}

/// A CA, and a certificate of it for 127.0.0.1; the path of the CA.
fn write_certificates(dir: &Path) -> PathBuf {
    let new_key = || KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name
        .push(rcgen::DnType::CommonName, "dtrotate test CA");
    let ca = CertifiedIssuer::self_signed(ca, new_key()).expect("a CA");
    let key = new_key();
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let mut server = CertificateParams::new(names).expect("names of a server");
    server
        .distinguished_name
        .push(rcgen::DnType::CommonName, "dtrotate test server");
    let server = server.signed_by(&key, &ca).expect("a certificate");
    let ca_file = dir.join("ca.pem");
    fs::write(&ca_file, ca.pem()).expect("writing the CA");
    fs::write(dir.join("server.pem"), server.pem()).expect("writing the certificate");
    fs::write(dir.join("server.key"), key.serialize_pem()).expect("writing the key");
    ca_file
}

/// The configuration of a raft node, with these lines besides; its path. Its data and certificates are in `dir`.
fn write_config(dir: &Path, node: &str, port: u16, cluster_port: u16, more: [&str; 2]) -> String {
    let data = dir.join(node);
    fs::create_dir_all(&data).expect("a folder for the data");
    let [in_storage, at_top] = more;
    let dir = dir.display();
    let config = format!(
        r#"
        {at_top}
        api_addr = "https://127.0.0.1:{port}"
        cluster_addr = "https://127.0.0.1:{cluster_port}"
        storage "raft" {{
          path = "{data}"
          node_id = "{node}"
          performance_multiplier = 1
          {in_storage}
        }}
        listener "tcp" {{
          address = "127.0.0.1:{port}"
          cluster_address = "127.0.0.1:{cluster_port}"
          tls_cert_file = "{dir}/server.pem"
          tls_key_file = "{dir}/server.key"
        }}
        "#,
        data = data.display(),
    );
    let file = format!("{dir}/{node}.hcl");
    fs::write(&file, config).expect("writing the configuration");
    file
}
