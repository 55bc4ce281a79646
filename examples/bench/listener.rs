//! The health check of a daemon whose ops listener is attacked.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::figures::{Figures, Goal};
use crate::process::Daemon;

/// Connections with half a request.
const HALF_OPEN: usize = 1000;
/// Health checks under them.
const CHECKS: usize = 20;

/// The longest of some health checks from 127.0.0.1 while 127.0.0.2 holds many connections on which it never completes a request.
pub fn half_open(daemon: &Daemon, figures: &mut Figures) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0));
    let open = || {
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind(from)?;
            socket.connect(daemon.ops()).await?.into_std()
        })?;
        stream.set_nonblocking(false)?;
        (&stream).write_all(b"GET /healthz HTTP/1.1\r\nHost: ")?;
        Outcome::Ok(stream)
    };
    let held: Vec<TcpStream> = (0..HALF_OPEN).map(|_| open()).collect::<Outcome<_>>()?;
    let mut longest = Duration::ZERO;
    for _ in 0..CHECKS {
        let began = Instant::now();
        if !daemon.ask("/healthz")?.starts_with("HTTP/1.1 200") {
            return Err("a health check failed".into());
        }
        longest = longest.max(began.elapsed());
    }
    figures.add(
        format!("/healthz under {} half-open connections", held.len()),
        longest.as_secs_f64() * 1e3,
        "ms",
        Goal::AtMost(100.0),
        format!("the longest of {CHECKS}, all answered"),
    );
    Ok(())
}
