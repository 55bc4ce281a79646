//! Signals, through signal-hook: the first SIGTERM or SIGINT asks for a stop, a second one ends the process at once (that is safe: the next
//! start resumes from the journal), SIGHUP asks for a reload.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::StreamExt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook_tokio::Signals;
use tokio::sync::mpsc;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

/// Starts listening.
pub fn listen() -> std::io::Result<mpsc::UnboundedReceiver<Signal>> {
    let second = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // Order matters: the exit looks at the flag before this signal sets it.
        flag::register_conditional_shutdown(signal, 1, second.clone())?;
        flag::register(signal, second.clone())?;
    }
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(signal) = signals.next().await {
            let asked = if signal == SIGHUP {
                Signal::Reload
            } else {
                Signal::Stop
            };
            if sender.send(asked).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}
