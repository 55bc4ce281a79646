//! The one reader of files whose path comes from outside: configuration, credentials, certificates, the resolver's files.
//!
//! A path may name a FIFO that nobody writes to, a device without an end, or a file on a network file system that hangs. So only
//! regular files are read, only up to a limit, and from async code never on the runtime's thread.

use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use tokio::sync::{Semaphore, oneshot};
use zeroize::Zeroizing;

/// The limit for a credential, a certificate bundle of one client, or a name server list: bytes.
pub const CREDENTIAL: usize = 64 * 1024;

/// The limit for a bundle of root certificates, bytes: that of a whole distribution has about 220,000.
pub const CERTIFICATES: usize = 4 * 1024 * 1024;

/// How long async code waits for the file system.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads that may wait for a hanging file system at the same time; each holds a thread.
const THREADS: usize = 8;

/// Why a file was not read. The text does not name the path, and never quotes the content.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refused.
    #[error("{}", in_words(.0))]
    Io(io::Error),
    /// A directory, FIFO, socket or device.
    #[error("it is not a regular file")]
    NotRegular,
    /// Nothing was returned of it.
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
    /// Not UTF-8.
    #[error("it is not text")]
    NotText,
    /// The file system did not answer.
    #[error("timeout: the file system did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        ReadError::Io(error)
    }
}

/// The usual mistakes, with what to do; otherwise the message of the system.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "not found; create it, or correct the path".to_owned(),
        io::ErrorKind::PermissionDenied => format!(
            "permission denied for the user with id {}; run this as a user who may read it, or change owner or mode of the file or its folder",
            rustix::process::geteuid().as_raw()
        ),
        _ => error.to_string(),
    }
}

/// Reads a regular file of at most `limit` bytes, on this thread. The buffer is wiped when dropped.
pub fn read(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    // Without O_NONBLOCK opening a FIFO waits for its writer.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(ReadError::NotRegular);
    }
    // Room for the whole file at once: a buffer that grows leaves copies behind.
    let expected = usize::try_from(found.len()).unwrap_or(limit).min(limit);
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected + 1));
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(ReadError::TooLarge(limit));
    }
    Ok(bytes)
}

/// The same for text.
pub fn read_text(path: &Path, limit: usize) -> Result<Zeroizing<String>, ReadError> {
    let bytes = read(path, limit)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(ReadError::NotText),
    }
}

/// Runs a function that reads files on a thread of its own, and gives up waiting for it after five seconds. It is not the runtime's pool
/// of blocking threads, because a runtime does not shut down before those have ended.
pub async fn off_runtime<T: Send + 'static>(
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ReadError> {
    within(TIMEOUT, read).await
}

async fn within<T: Send + 'static>(
    timeout: Duration,
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ReadError> {
    static SLOTS: Semaphore = Semaphore::const_new(THREADS);
    let reading = async {
        // Never closed.
        let slot = SLOTS.acquire().await.ok();
        let (sender, receiver) = oneshot::channel();
        let name = "bounded-file".to_owned();
        std::thread::Builder::new().name(name).spawn(move || {
            let _slot = slot;
            // After the timeout nobody waits for it.
            let _ = sender.send(read());
        })?;
        let panicked = |_| io::Error::other("the reading thread panicked").into();
        receiver.await.map_err(panicked)
    };
    let timed_out = |_| Err(ReadError::Timeout);
    tokio::time::timeout(timeout, reading)
        .await
        .unwrap_or_else(timed_out)
}

/// [`read`] for async code.
pub async fn read_async(path: PathBuf, limit: usize) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    off_runtime(move || read(&path, limit)).await?
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Instant;

    use super::*;

    fn refused(path: &Path) -> String {
        read(path, 100).err().map(|e| e.to_string()).unwrap()
    }

    #[test]
    fn only_regular_files_up_to_the_limit_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "x".repeat(100)).unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        assert_eq!(read(&at("link"), 100).unwrap().len(), 100);
        assert_eq!(
            read(&at("link"), 99).unwrap_err().to_string(),
            "it is larger than 99 bytes"
        );
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        for path in [at("fifo"), "/dev/zero".into(), "/dev/tty".into(), at(".")] {
            let why = refused(&path);
            let tty = path.ends_with("tty") && why.contains("No such device");
            assert!(tty || why == "it is not a regular file", "{path:?}: {why}");
        }
        // Their size is 0 although they have content.
        assert!(!read(Path::new("/proc/self/stat"), 4096).unwrap().is_empty());
        assert!(refused(&at("missing")).contains("not found; create it"));
        std::fs::write(at("file"), b"\xff").unwrap();
        assert!(matches!(read_text(&at("file"), 9), Err(ReadError::NotText)));
    }

    #[tokio::test]
    async fn a_hanging_file_system_costs_a_timeout_and_a_bounded_number_of_threads() {
        let (go, wait) = mpsc::channel::<()>();
        let wait = std::sync::Arc::new(std::sync::Mutex::new(wait));
        for _ in 0..3 * THREADS {
            let wait = wait.clone();
            let hanging = within(Duration::from_millis(5), move || {
                wait.lock().unwrap().recv().is_ok()
            });
            let hanging = hanging.await;
            assert!(matches!(hanging, Err(ReadError::Timeout)));
        }
        let threads = || std::fs::read_dir("/proc/self/task").unwrap();
        let named = |task: std::io::Result<std::fs::DirEntry>| {
            let comm = std::fs::read_to_string(task.unwrap().path().join("comm"));
            comm.is_ok_and(|name| name.trim() == "bounded-file")
        };
        let held = threads()
            .filter_map(|task| named(task).then_some(()))
            .count();
        assert!((1..=THREADS).contains(&held), "{held}");
        drop(go);
        let deadline = Instant::now() + Duration::from_secs(10);
        while off_runtime(|| ()).await.is_err() {
            assert!(Instant::now() < deadline, "the threads have ended");
            std::thread::yield_now();
        }
    }
    #[test]
    fn a_refusal_of_the_system_says_who_was_refused() {
        let denied = ReadError::from(io::Error::from(io::ErrorKind::PermissionDenied)).to_string();
        let user = rustix::process::geteuid().as_raw();
        assert!(denied.starts_with(&format!("permission denied for the user with id {user}; ")));
        let other = io::Error::other("a bad disk");
        assert_eq!(ReadError::from(other).to_string(), "a bad disk");
    }
}
