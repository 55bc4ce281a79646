//! The daemon as a child of the demo.

use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::event::Event;
use crate::cli::output;

/// Longer than anything in the demo takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The daemon, running or not, and its events.
pub(super) struct Daemon {
    configuration: PathBuf,
    child: Mutex<Option<Child>>,
    sender: Sender<Event>,
    events: Mutex<Receiver<Event>>,
}

impl Daemon {
    pub(super) fn new(configuration: PathBuf) -> Daemon {
        let (sender, events) = channel();
        Daemon {
            configuration,
            child: Mutex::default(),
            sender,
            events: Mutex::new(events),
        }
    }

    /// Starts it. Its log is shown in short lines.
    pub(super) fn start(&self) -> io::Result<()> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--config").arg(&self.configuration).arg("run");
        // It is stopped by the demo alone, also when Ctrl-C is pressed.
        let child = command.env_clear().process_group(0).stdin(Stdio::null());
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let log = child.stderr.take();
        *lock(&self.child) = Some(child);
        let sender = self.sender.clone();
        thread::spawn(move || log.map(|log| read(log, &sender)));
        Ok(())
    }

    /// Kills it without a warning.
    pub(super) fn kill(&self) -> io::Result<()> {
        let Some(mut child) = lock(&self.child).take() else {
            return Ok(());
        };
        child.kill()?;
        child.wait().map(drop)
    }

    /// Asks it to end, and waits until it has.
    pub(super) fn stop(&self) -> io::Result<()> {
        let Some(mut child) = lock(&self.child).take() else {
            return Ok(());
        };
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)?;
        }
        child.wait().map(drop)
    }

    /// Waits for an event.
    ///
    /// # Errors
    /// It does not come.
    pub(super) fn wait(&self, is_it: impl Fn(&Event) -> bool) -> io::Result<Event> {
        let events = lock(&self.events);
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let event = events.recv_timeout(left).map_err(io::Error::other)?;
            if is_it(&event) {
                return Ok(event);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows and passes on what the daemon writes, until it ends.
fn read(log: ChildStderr, sender: &Sender<Event>) {
    for line in BufReader::new(log).lines().map_while(Result::ok) {
        let Some(event) = Event::parse(&line) else {
            continue;
        };
        if let Some(line) = event.line() {
            // The demo does not need a reader.
            let _ = output::print(&(line + "\n"));
        }
        // Nor a tour.
        let _ = sender.send(event);
    }
}
