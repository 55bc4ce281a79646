//! `[vault]`: where Vault is and how it is reached.

use std::rc::Rc;

use super::context::Context;
use super::login;
use super::problem::{Place, Problem};
use super::section::Section;
use super::table::Table;
use super::tables::VaultTable;
use super::transport::{client_certificate, transport};
use crate::http::{CertificateFiles, Trust};
use crate::vault::VaultOptions;

/// The port on which Vault listens where nobody changed it.
const USUAL_PORT: u16 = 8200;

/// `[vault]`
pub(super) fn vault(section: Section<'_>, context: &Context) -> Option<VaultOptions> {
    section.has_tables(["auth"]);
    let table = VaultTable::read(&section);
    refuse_skip_verify(context);
    if !table.address.is_present() {
        section.missing(
            "address",
            "Vault's address is missing: set address in [vault], BAO_ADDR or VAULT_ADDR",
        );
    }
    let addresses = table.address.value().unwrap_or_default();
    let trust = Trust {
        only: table.ca_file.or_default(),
        extra: table.ca_extra_file.or_default(),
    };
    let placed = addresses.iter().map(|one| (&one.value, &one.place));
    let placed: Vec<_> = placed.collect();
    let mut http = transport(&section, &table.transport, trust, &placed, context);
    http.tls_server_name = table.tls_server_name.or_default();
    http.usual_port = Some(USUAL_PORT);
    let certificate = certificate(&table, context);
    let auth = login::login(section.table("auth"), certificate, context);
    section.finish();
    let (login, client_certificate) = auth?;
    http.client_certificate = client_certificate;
    Some(VaultOptions {
        addresses: addresses.into_iter().map(|address| address.value).collect(),
        namespace: table.namespace.or_default(),
        http,
        login,
    })
}

/// The certificate that a listener may want from every client.
fn certificate(table: &VaultTable, context: &Context) -> Option<CertificateFiles> {
    let (cert, key) = (&table.client_cert_file, &table.client_key_file);
    if cert.is_present() != key.is_present() && !context.is_incomplete() {
        let (half, lacking) = match (cert.given(), key.given()) {
            (Some(half), _) => (half, "client_key_file"),
            (None, Some(half)) => (half, "client_cert_file"),
            (None, None) => return None,
        };
        let problem = Problem::new(&half.place, "a client certificate is two files");
        context.problem(problem.help(format!("set {lacking} in [vault] as well")));
    }
    Some(client_certificate(cert.given()?, key.given()?, context))
}

/// Vault's own client would not verify the server's certificate with these; tokens never travel over such a connection.
fn refuse_skip_verify(context: &Context) {
    for name in ["BAO_SKIP_VERIFY", "VAULT_SKIP_VERIFY"] {
        let value = context.options.environment.get(name);
        let value = value.map_or("", |value| value.trim()).to_lowercase();
        if !matches!(value.as_str(), "" | "0" | "f" | "false") {
            let place = Place::Variable(Rc::from(name));
            let message =
                "the certificate of Vault is always verified, because tokens are sent to it";
            context.problem(Problem::new(&place, message).help(
                "unset the variable; for a private CA set ca_file in [vault], for a certificate of another name tls_server_name",
            ));
        }
    }
}
