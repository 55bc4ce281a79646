//! UDP sockets for DNS that are never bound explicitly: the system chooses a random port when the first query is sent, as it does for
//! `getaddrinfo`. Sandboxes forbid to bind (`SocketBindDeny=any` in our own unit), and the DNS client would bind each socket.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use hickory_resolver::net::runtime::{RuntimeProvider, TokioRuntimeProvider};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use tokio::net::UdpSocket;

/// The runtime of the DNS client, except for how UDP sockets are made.
#[derive(Clone, Default)]
pub(super) struct Unbound(TokioRuntimeProvider);

type Future<T> = Pin<Box<dyn std::future::Future<Output = io::Result<T>> + Send>>;

impl RuntimeProvider for Unbound {
    type Handle = <TokioRuntimeProvider as RuntimeProvider>::Handle;
    type Timer = <TokioRuntimeProvider as RuntimeProvider>::Timer;
    type Udp = UdpSocket;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> Self::Handle {
        self.0.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Future<Self::Tcp> {
        self.0.connect_tcp(server, local, timeout)
    }

    fn bind_udp(&self, _local: SocketAddr, server: SocketAddr) -> Future<UdpSocket> {
        Box::pin(async move {
            let family = match server {
                SocketAddr::V4(_) => AddressFamily::INET,
                SocketAddr::V6(_) => AddressFamily::INET6,
            };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
            UdpSocket::from_std(socket.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_for_dns_is_not_bound() {
        let server = SocketAddr::from(([127, 0, 0, 1], 53));
        let local = SocketAddr::from(([0, 0, 0, 0], 12345));
        let socket = Unbound::default().bind_udp(local, server).await.unwrap();
        assert_eq!(socket.local_addr().unwrap().port(), 0);
    }
}
