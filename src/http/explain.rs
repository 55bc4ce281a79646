//! The sentence for a request that failed: its cause, by the types in the error's chain where they show it, and what to do. It holds no
//! URL, header or body.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, InvalidMessage};

use super::Options;

/// What the types of an error show.
pub(super) enum Cause<'a> {
    /// TLS.
    Tls(&'a rustls::Error),
    /// Nobody listens.
    Refused,
    /// The proxy did not open a tunnel.
    Tunnel,
    /// Anything else.
    Other,
}

/// Finds the cause of an error.
pub(super) fn cause(error: &reqwest::Error) -> Cause<'_> {
    for error in chain(error) {
        if let Some(tls) = error.downcast_ref() {
            return Cause::Tls(tls);
        }
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return Cause::Refused;
        }
        // hyper-util does not export its type.
        if error.to_string().starts_with("tunnel error") && error.source().is_none() {
            return Cause::Tunnel;
        }
    }
    Cause::Other
}

/// The causes of an error, from the outside to the inside.
fn chain(error: &reqwest::Error) -> Vec<&(dyn Error + 'static)> {
    let mut causes = Vec::new();
    let mut next = Error::source(error);
    while let Some(cause) = next {
        causes.push(cause);
        let io = cause.downcast_ref::<io::Error>();
        // `source` of an `io::Error` skips the error that it holds.
        let held = io.and_then(io::Error::get_ref);
        next = match held {
            Some(held) => Some(held as &(dyn Error + 'static)),
            None => cause.source(),
        };
    }
    causes
}

/// The words of the causes, each once.
pub(super) fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = String::new();
    for cause in chain(&error) {
        let words = cause.to_string();
        if !text.contains(&words) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&words);
        }
    }
    match text.is_empty() {
        true => error.to_string(),
        false => text,
    }
}

/// The server refused the handshake because of our certificate, or because we showed none. It did so before it read a request.
pub(super) fn wants_certificate(error: &rustls::Error) -> bool {
    use AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked,
        CertificateUnknown, UnknownCA, UnsupportedCertificate,
    };
    let rustls::Error::AlertReceived(alert) = error else {
        return false;
    };
    matches!(
        alert,
        AccessDenied
            | BadCertificate
            | CertificateExpired
            | CertificateRequired
            | CertificateRevoked
            | CertificateUnknown
            | UnknownCA
            | UnsupportedCertificate
    )
}

/// The sentence for a failure of TLS.
pub(super) fn tls(error: &rustls::Error, options: &Options) -> String {
    let section = &options.section;
    match error {
        rustls::Error::InvalidCertificate(error) => certificate(error, options),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => format!(
            "the server speaks plain http on this port; use its port for https, or write http:// in the address and set allow_http in {section}"
        ),
        error if wants_certificate(error) => {
            let keys = match options.client_certificate {
                Some(_) => "it does not accept the one in client_cert_file of",
                None => "set client_cert_file and client_key_file in",
            };
            format!("the server wants a client certificate ({error}): {keys} {section}")
        }
        error => format!("TLS failed: {error}"),
    }
}

fn certificate(error: &CertificateError, options: &Options) -> String {
    let section = &options.section;
    match error {
        // A bad signature: the authority was replaced by one of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            let cure = match (&options.trust.only, &options.trust.extra) {
                (Some(only), _) => format!(
                    "only those in {} count, because ca_file replaces the system's; set ca_extra_file in {section} instead to add to the system's",
                    only.display()
                ),
                (None, Some(extra)) => format!("{} does not have it either", extra.display()),
                (None, None) => format!("for a private CA set ca_file in {section} to its PEM file"),
            };
            format!("the server's certificate comes from an unknown certificate authority: {cure}")
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "the server's certificate is for {} and not for {}; use a name of the certificate in the address, or set tls_server_name in {section}",
            names(presented),
            expected.to_str()
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired; renew it there, or correct this machine's clock".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet; correct this machine's clock, or the certificate".to_owned()
        }
        error => format!("the server's certificate is invalid: {error}"),
    }
}

/// The names of a certificate: `DnsName("a.example.com")` is how rustls writes one.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inner = name
            .split_once('(')
            .map_or(name.as_str(), |(_, inner)| inner);
        inner.trim_end_matches(')').trim_matches('"').to_owned()
    };
    let mut names: Vec<String> = presented.iter().take(5).map(bare).collect();
    if presented.len() > names.len() {
        names.push("others".to_owned());
    }
    match names.is_empty() {
        true => "no name".to_owned(),
        false => names.join(", "),
    }
}
