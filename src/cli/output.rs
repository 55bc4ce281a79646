//! The one way in which commands print. Results go to stdout, problems and the progress line to stderr; logs are `telemetry`'s.
//!
//! Results are written by a thread: a reader that stops (`| less`) must not stop a run that holds a claim. A reader that has gone
//! (`| head -1`) or a full disk ends the printing, never the work.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread::JoinHandle;

use serde::Serialize;

use crate::sanitize;
use crate::telemetry;

/// The results of one command, in the order in which they are handed over.
pub(super) struct Output {
    sender: mpsc::Sender<Message>,
    thread: JoinHandle<io::Result<()>>,
}

enum Message {
    /// Whole lines, safe to show.
    Text(String),
    /// How many of how many secrets are done.
    Progress(usize, usize),
}

impl Output {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's: there can be no further thread.
    pub(super) fn start() -> io::Result<Output> {
        let (sender, receiver) = mpsc::channel();
        let mut printer = Printer::new();
        let thread = std::thread::Builder::new().name("output".to_owned());
        let thread = thread.spawn(move || {
            for message in receiver {
                printer.print(message);
            }
            printer.finish()
        })?;
        Ok(Output { sender, thread })
    }

    /// Prints whole lines, which must be safe to show.
    pub(super) fn text(&self, lines: impl Into<String>) {
        self.send(Message::Text(lines.into()));
    }

    /// Prints one JSON document on one line, without secrets and hazards.
    pub(super) fn json(&self, document: &impl Serialize) {
        let mut value = serde_json::to_value(document).expect("results are plain data");
        sanitize::value(&mut value);
        self.text(value.to_string() + "\n");
    }

    /// Shows on a terminal how many of how many secrets are done.
    pub(super) fn progress(&self, done: usize, all: usize) {
        self.send(Message::Progress(done, all));
    }

    fn send(&self, message: Message) {
        // The thread ends only with this sender.
        let _ = self.sender.send(message);
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// The system's, of the first write that failed.
    pub(super) fn finish(self) -> io::Result<()> {
        drop(self.sender);
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    }
}

/// Prints lines that are the whole work of a command, such as a schema.
///
/// # Errors
/// The system's, unless the reader has gone: it has seen what it wanted.
pub(super) fn print(lines: &str) -> io::Result<()> {
    let written = file(io::stdout()).and_then(|file| telemetry::write_all(&file, lines.as_bytes()));
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Prints one sentence to stderr. That it cannot be written must not end the command.
pub(super) fn complain(sentence: &str) {
    write_stderr(&(sanitize::line(sentence) + "\n"));
}

/// Prints problems of the configuration to stderr, which have many lines and are safe to show.
pub(super) fn complain_at_length(problems: &str) {
    write_stderr(&format!("{problems}\n"));
}

fn write_stderr(text: &str) {
    if let Ok(file) = file(io::stderr()) {
        let _ = telemetry::write_all(&file, text.as_bytes());
    }
}

/// Not the handle of the standard library, which keeps what it could not write.
fn file(stream: impl AsFd) -> io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}

struct Printer {
    stdout: io::Result<File>,
    /// Where the progress line goes, if a person can see it.
    terminal: Option<File>,
    progress: Option<(usize, usize)>,
}

impl Printer {
    fn new() -> Printer {
        let terminal = io::stderr().is_terminal().then(|| file(io::stderr()).ok());
        Printer {
            stdout: file(io::stdout()),
            terminal: terminal.flatten(),
            progress: None,
        }
    }

    fn print(&mut self, message: Message) {
        match message {
            Message::Text(text) => {
                self.show("");
                if let Ok(stdout) = &self.stdout
                    && let Err(error) = telemetry::write_all(stdout, text.as_bytes())
                {
                    self.stdout = Err(error);
                }
            }
            Message::Progress(done, all) => self.progress = (done < all).then_some((done, all)),
        }
        let line = self
            .progress
            .map(|(done, all)| format!("{done} of {all} secrets\r"));
        self.show(&line.unwrap_or_default());
    }

    /// Replaces the progress line. The cursor stays at its beginning, so that a line of the log takes its place.
    fn show(&self, line: &str) {
        if let Some(terminal) = &self.terminal {
            // Nobody is served by an error about it.
            let _ = telemetry::write_all(terminal, format!("\r\x1b[K{line}").as_bytes());
        }
    }

    fn finish(self) -> io::Result<()> {
        self.stdout.map(drop)
    }
}
