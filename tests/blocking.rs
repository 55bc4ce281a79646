//! Nothing slow outside stops the daemon: a reader of the log that has stopped reading, a configuration that cannot be read.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(30);

/// A daemon whose Vault does not exist, logging into a stream that is full already.
struct Daemon {
    child: Child,
    reader: UnixStream,
    listen: String,
    folder: tempfile::TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0").expect("a port");
        let listen = port.local_addr().expect("its address").to_string();
        drop(port);
        let config = format!(
            "vault = {{ address = \"http://127.0.0.1:1\", auth = {{ method = \"token\", token_file = \"token\" }} }}\n\
             dynatrace.prod = {{ url = \"http://127.0.0.1:1\", auth = {{ path = \"d/m\" }} }}\n\
             log.format = \"json\"\n\
             ops.listen = \"{listen}\"\n\
             secret = [{{ path = \"d/s\", schedule = \"@yearly\" }}]\n"
        );
        let path = folder.path().join("dtrotate.toml");
        std::fs::write(&path, config).expect("the configuration");
        std::fs::write(folder.path().join("token"), "token").expect("the token");
        let (mut ours, reader) = UnixStream::pair().expect("a stream");
        ours.set_nonblocking(true).expect("a stream");
        while ours.write(&[b'\n'; 4096]).is_ok() {}
        while ours.write(b"\n").is_ok() {}
        ours.set_nonblocking(false).expect("a stream");
        let child = Command::new(env!("CARGO_BIN_EXE_dtrotate"))
            .args(["run", "--config"])
            .arg(&path)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(OwnedFd::from(ours))
            .spawn()
            .expect("dtrotate");
        Daemon {
            child,
            reader,
            listen,
            folder,
        }
    }

    fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.listen)?;
        stream.set_read_timeout(Some(LONG))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn wait_alive(&self) {
        let deadline = Instant::now() + LONG;
        while !self
            .get("/healthz")
            .is_ok_and(|text| text.contains("alive"))
        {
            assert!(Instant::now() < deadline, "it does not answer");
            std::thread::yield_now();
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status();
        assert!(sent.expect("kill").success());
    }

    fn stop(&mut self) -> ExitStatus {
        self.signal("-TERM");
        let deadline = Instant::now() + LONG;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "SIGTERM is ignored");
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_stopped_log_reader_stops_neither_health_nor_the_end() {
    let mut daemon = Daemon::start();
    daemon.wait_alive();
    let metrics = daemon.get("/metrics").expect("metrics");
    assert!(metrics.contains("\ndtrotate_log_lines_dropped_total 0\n"));
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn a_configuration_that_is_a_fifo_is_refused_and_stops_nothing() {
    let mut daemon = Daemon::start();
    daemon.wait_alive();
    let config = daemon.folder.path().join("dtrotate.toml");
    std::fs::remove_file(&config).expect("the configuration");
    let fifo = Command::new("mkfifo").arg(&config).status();
    assert!(fifo.expect("mkfifo").success());
    daemon.signal("-HUP");
    let deadline = Instant::now() + LONG;
    loop {
        let asked = Instant::now();
        let metrics = daemon.get("/metrics").expect("metrics");
        assert!(asked.elapsed() < Duration::from_secs(2), "it is blocked");
        if metrics.contains("\ndtrotate_config_last_reload_successful 0\n") {
            break;
        }
        assert!(Instant::now() < deadline, "the reload never ends");
        std::thread::yield_now();
    }
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn what_is_buffered_is_written_when_the_reader_comes_back() {
    let mut daemon = Daemon::start();
    daemon.wait_alive();
    let mut reader = daemon.reader.try_clone().expect("a stream");
    let read = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("lines");
        text
    });
    assert_eq!(daemon.stop().code(), Some(0));
    daemon.reader.shutdown(Shutdown::Write).expect("a stream");
    let text = read.join().expect("the reader");
    let lines: Vec<&str> = text.split('\n').filter(|line| !line.is_empty()).collect();
    let first = lines.first().expect("a line");
    assert!(first.contains("\"daemon_starting\""), "{first}");
    let last = lines.last().expect("a line");
    assert!(last.contains("\"shutdown_finished\""), "{last}");
}
