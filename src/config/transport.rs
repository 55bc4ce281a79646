//! How a service is reached: the keys that `[vault]`, `[dynatrace.*]` and `[notify.webhook]` have in common.

use std::path::PathBuf;

use ::url::Url;

use super::context::Context;
use super::problem::{Place, Placed, Problem};
use super::section::Section;
use super::tables::Transport;
use super::url;
use crate::http::{self, CertificateFiles, ClientIdentity, Proxy, Trust};

/// Authorities that are added to the system's.
pub(super) fn added(ca_file: Option<PathBuf>) -> Trust {
    Trust {
        only: None,
        extra: ca_file,
    }
}

/// The options of a client for these addresses; without any, the address is not known yet.
pub(super) fn transport(
    section: &Section<'_>,
    table: &Transport,
    trust: Trust,
    addresses: &[(&Url, &Place)],
    context: &Context,
) -> http::Options {
    let name = section.name();
    for (address, place) in addresses {
        if url::is_exposed(address) && !table.allow_http.or_default() {
            let address = address.as_str().trim_end_matches('/');
            let problem = Problem::new(
                place,
                format!(
                    "\"{address}\" is plain http to a host that is not loopback: tokens would travel unencrypted"
                ),
            );
            context
                .problem(problem.help(format!("use https, or set allow_http = true in [{name}]")));
        }
    }
    let (proxy, auth) = (&table.proxy, table.proxy_auth_file.given());
    if let (Some(auth), false) = (auth, proxy.is_present() || section.is_misspelt("proxy")) {
        let message = "proxy_auth_file has no effect without proxy";
        context.problem(Problem::new(&auth.place, message));
    }
    http::Options {
        section: format!("[{name}]"),
        trust,
        tls_server_name: None,
        client_certificate: None,
        proxy: proxy.or_default().map(|url| Proxy {
            url,
            auth_file: table.proxy_auth_file.value(),
        }),
        timeout: table.timeout.or_default(),
        https_only: !addresses.is_empty()
            && addresses
                .iter()
                .all(|(address, _)| address.scheme() == "https"),
        usual_port: None,
    }
}

/// The two files of a client certificate.
pub(super) fn client_certificate(
    cert: &Placed<PathBuf>,
    key: &Placed<PathBuf>,
    context: &Context,
) -> CertificateFiles {
    let files = CertificateFiles {
        cert: cert.value.clone(),
        key: key.value.clone(),
    };
    if let Err(why) = context.look(|| ClientIdentity::read(&files)) {
        context.problem(Problem::new(&cert.place, why));
    }
    context.warn_if_exposed(&files.key);
    files
}
