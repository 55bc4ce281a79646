//! The program under test in a process of its own: its log, its CPU, its memory, its ops listener.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::Outcome;

/// Longer than anything here takes, even on a busy machine.
const LONG: Duration = Duration::from_secs(900);
/// The clock ticks of /proc in a second.
const TICKS: f64 = 100.0;

/// A running daemon, killed when dropped.
pub struct Daemon {
    child: Child,
    log: RefCell<Log>,
    began: Instant,
    ops: SocketAddr,
}

/// The events of a log that is still being written, each line read once.
struct Log {
    file: File,
    rest: Vec<u8>,
    seen: HashMap<String, Seen>,
}

#[derive(Clone)]
struct Seen {
    often: usize,
    first: Timestamp,
    last: Timestamp,
}

impl Log {
    fn read(&mut self) -> Outcome<()> {
        self.file.read_to_end(&mut self.rest)?;
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n');
        let whole: Vec<u8> = self.rest.drain(..whole.map_or(0, |end| end + 1)).collect();
        for line in String::from_utf8(whole)?.lines() {
            let text = |mark: &str| {
                let rest = &line[line.find(mark)? + mark.len()..];
                rest.split('"').next()
            };
            let (Some(event), Some(at)) = (text("\"event\":\""), text("\"timestamp\":\"")) else {
                continue;
            };
            let at: Timestamp = at.parse()?;
            match self.seen.get_mut(event) {
                Some(seen) => {
                    seen.often += 1;
                    seen.first = seen.first.min(at);
                    seen.last = seen.last.max(at);
                }
                None => {
                    let seen = Seen {
                        often: 1,
                        first: at,
                        last: at,
                    };
                    self.seen.insert(event.to_owned(), seen);
                }
            }
        }
        Ok(())
    }
}

impl Daemon {
    /// Starts `command`, whose log goes to `log`.
    pub fn start(mut command: Command, log: &std::path::Path, ops: SocketAddr) -> Outcome<Daemon> {
        let began = Instant::now();
        let child = command.stderr(File::create(log)?).spawn()?;
        let log = RefCell::new(Log {
            file: File::open(log)?,
            rest: Vec::new(),
            seen: HashMap::new(),
        });
        Ok(Daemon {
            child,
            log,
            began,
            ops,
        })
    }

    /// How often an event was written since the last [`Daemon::forget`].
    pub fn count(&self, event: &str) -> Outcome<usize> {
        let mut log = self.log.borrow_mut();
        log.read()?;
        Ok(log.seen.get(event).map_or(0, |seen| seen.often))
    }

    /// When an event was written first and last.
    pub fn times(&self, event: &str) -> Outcome<(Timestamp, Timestamp)> {
        let log = self.log.borrow();
        let seen = log.seen.get(event).ok_or_else(|| format!("no {event}"))?;
        Ok((seen.first, seen.last))
    }

    /// Counts events from now on.
    pub fn forget(&self) -> Outcome<()> {
        let mut log = self.log.borrow_mut();
        log.read()?;
        log.seen.clear();
        Ok(())
    }

    /// Waits until an event was written so often.
    pub fn until(&self, event: &str, often: usize) -> Outcome<()> {
        wait_for(&format!("{often} {event}"), || {
            Ok(self.count(event)? >= often)
        })
    }

    /// How long it took from the start until every secret was looked at.
    pub fn ready(&self) -> Outcome<Duration> {
        wait_for("a daemon that is ready", || {
            Ok(self
                .ask("/readyz")
                .is_ok_and(|reply| reply.starts_with("HTTP/1.1 200")))
        })?;
        Ok(self.began.elapsed())
    }

    /// Waits until it does nothing but idle.
    pub fn quiet(&self) -> Outcome<()> {
        let mut before = self.cpu()?;
        wait_for("a daemon that is idle", || {
            sleep(Duration::from_secs(1));
            let now = self.cpu()?;
            let used = now - std::mem::replace(&mut before, now);
            Ok(used < 0.06)
        })
    }

    /// The answer to a GET of the ops listener, with its head.
    pub fn ask(&self, path: &str) -> Outcome<String> {
        let mut stream = TcpStream::connect_timeout(&self.ops, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.ops
        )?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        Ok(reply)
    }

    /// Where its ops listener is.
    pub fn ops(&self) -> SocketAddr {
        self.ops
    }

    pub fn signal(&self, name: &str) -> Outcome<()> {
        let id = self.child.id().to_string();
        let done = Command::new("kill").args([name, &id]).status()?.success();
        done.then_some(())
            .ok_or_else(|| "the daemon is gone".into())
    }

    /// The seconds of CPU that it has had, those of threads that have ended included.
    pub fn cpu(&self) -> Outcome<f64> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The second field is the name, in brackets.
        let fields = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let ticks: Vec<f64> = fields
            .split(' ')
            .skip(11)
            .take(2)
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        Ok(ticks.iter().sum::<f64>() / TICKS)
    }

    /// Resident megabytes now.
    pub fn memory(&self) -> Outcome<f64> {
        self.status("VmRSS:")
    }

    /// The most resident megabytes since the last [`Daemon::forget_peak`].
    pub fn peak(&self) -> Outcome<f64> {
        self.status("VmHWM:")
    }

    pub fn forget_peak(&self) -> Outcome<()> {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?;
        Ok(())
    }

    fn status(&self, name: &str) -> Outcome<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let found = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes: f64 = found
            .and_then(|text| text.split_whitespace().next())
            .ok_or("no such line in /proc")?
            .parse()?;
        Ok(kilobytes * 1024.0 / 1e6)
    }

    /// Lets it idle for so long: the seconds of CPU that it needed.
    pub fn idle(&self, length: Duration) -> Outcome<f64> {
        let before = self.cpu()?;
        sleep(length);
        Ok(self.cpu()? - before)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only for a child that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `is_so`.
fn wait_for(what: &str, mut is_so: impl FnMut() -> Outcome<bool>) -> Outcome<()> {
    let deadline = Instant::now() + LONG;
    while !is_so()? {
        if Instant::now() > deadline {
            return Err(format!("there is no {what} after {LONG:?}").into());
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}
