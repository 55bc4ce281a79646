//! Whom a client trusts, and what it shows of itself in the TLS handshake.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use zeroize::Zeroizing;

use super::{BuildError, Options};
use crate::bounded_file;

/// The authorities whose certificates are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Replaces the system's roots: a PEM file, or a folder of them.
    pub only: Option<PathBuf>,
    /// A PEM file, added to the roots.
    pub extra: Option<PathBuf>,
}

/// The files of a client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate and its intermediates, PEM.
    pub cert: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// A client's certificate chain and private key, as they stood in their files. No `Debug`; wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    pem: Zeroizing<Vec<u8>>,
}

impl ClientIdentity {
    /// Reads the two files.
    ///
    /// # Errors
    /// They cannot be read, or are not a certificate with its private key.
    pub fn read(files: &CertificateFiles) -> Result<Self, BuildError> {
        let mut pem = read(&files.cert)?;
        pem.push(b'\n');
        pem.extend_from_slice(&read(&files.key)?);
        let identity = ClientIdentity { pem };
        match identity.certified() {
            Some(_) => Ok(identity),
            None => Err(BuildError::Pem {
                path: files.cert.clone(),
                what: "certificate with its private key",
            }),
        }
    }

    fn certified(&self) -> Option<Arc<CertifiedKey>> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.pem).collect();
        let key = PrivateKeyDer::from_pem_slice(&self.pem).ok()?;
        let provider = rustls::crypto::ring::default_provider();
        Some(Arc::new(
            CertifiedKey::from_der(chain.ok()?, key, &provider).ok()?,
        ))
    }
}

/// The TLS settings of a client.
pub(super) fn config(
    options: &Options,
    identity: Option<&ClientIdentity>,
) -> Result<ClientConfig, BuildError> {
    let failed = |error: Error| BuildError::Tls(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let roots = Arc::new(roots(options)?);
    let builder = match &options.tls_server_name {
        Some(name) if !roots.is_empty() => {
            let inner = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
            let proxy = options
                .proxy
                .as_ref()
                .and_then(|proxy| proxy.url.host_str());
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(OtherName {
                    inner: inner.map_err(|error| BuildError::Tls(error.to_string()))?,
                    name: name.clone(),
                    proxy: proxy.map(str::to_owned),
                }))
        }
        _ => builder.with_root_certificates(roots),
    };
    let mut config = match identity.and_then(ClientIdentity::certified) {
        None => builder.with_no_client_auth(),
        Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The roots that count. None are needed where no address is https.
fn roots(options: &Options) -> Result<RootCertStore, BuildError> {
    let mut roots = RootCertStore::empty();
    match &options.trust.only {
        Some(path) => add(&mut roots, path)?,
        // A certificate of the system's that cannot be read is the system's affair.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if let Some(path) = &options.trust.extra {
        add(&mut roots, path)?;
    }
    match roots.is_empty() && options.https_only {
        true => Err(BuildError::NoRoots(options.section.clone())),
        false => Ok(roots),
    }
}

/// Adds the certificates of a file, or of the files of a folder.
fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), BuildError> {
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|_| no_certificate(path))?;
    }
    Ok(())
}

/// Reads the certificates of a PEM file, or of the PEM files of a folder; at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BuildError> {
    let files = match path.is_dir() {
        false => vec![path.to_owned()],
        true => {
            let entries = std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let mut files: Vec<PathBuf> = entries
                .map_err(|error| unreadable(path, &error))?
                .iter()
                .map(std::fs::DirEntry::path)
                .filter(|path| path.is_file())
                .collect();
            files.sort_unstable();
            files
        }
    };
    let mut all = Vec::new();
    for file in files {
        let pem = read(&file)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        all.extend(found.map_err(|_| no_certificate(&file))?);
    }
    match all.is_empty() {
        true => Err(no_certificate(path)),
        false => Ok(all),
    }
}

fn no_certificate(path: &Path) -> BuildError {
    BuildError::Pem {
        path: path.to_owned(),
        what: "certificate",
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, BuildError> {
    let read = bounded_file::read(path, bounded_file::CERTIFICATES);
    read.map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, why: &dyn std::error::Error) -> BuildError {
    BuildError::Read {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

/// Wants another name in the server's certificate than the host of the address. A proxy that speaks TLS keeps its own.
#[derive(Debug)]
struct OtherName {
    inner: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
    proxy: Option<String>,
}

impl ServerCertVerifier for OtherName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let of_proxy = self.proxy.as_deref() == Some(&*server_name.to_str());
        let name = if of_proxy { server_name } else { &self.name };
        self.inner
            .verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
