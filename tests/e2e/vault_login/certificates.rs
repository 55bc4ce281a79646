//! TLS certificates: the connection itself shows who calls.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};

use dtrotate::http::{self, CertificateFiles};

use super::*;

/// An authority whom Vault trusts.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "clients");
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("a CA"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Puts a new certificate for `name`, and its key, into `cert.pem` and `key.pem`.
    fn issue(&self, folder: &Path, name: &str) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.0).expect("a certificate");
        write(folder, "key.pem", &key.serialize_pem());
        write(folder, "cert.pem", &cert.pem());
    }
}

#[tokio::test]
async fn a_certificate_logs_in_renews_and_is_followed_when_its_files_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let bao = OpenBao::raft_tls(folder.path()).await;
    let root = bao.root();
    root.mount_kv("secret", 2).await;
    prepare(&root, "cert").await;
    let authority = Authority::new();
    let role = json!({
        "certificate": authority.pem(), "allowed_common_names": ["dtrotate"],
        "token_policies": ["dtrotate"], "token_ttl": "8s", "token_no_default_policy": true
    });
    root.ok(Method::POST, "auth/cert/certs/r", role).await;
    let files = tempfile::tempdir().expect("a folder");
    authority.issue(files.path(), "somebody");
    let kept = Kept::start(VaultOptions {
        login: Login::Cert {
            mount: "cert".into(),
            role: Some("r".into()),
        },
        http: http::Options {
            client_certificate: Some(CertificateFiles {
                cert: files.path().join("cert.pem"),
                key: files.path().join("key.pem"),
            }),
            ..options(&bao, "").http
        },
        ..options(&bao, "")
    });
    let trouble = kept.trouble().await.expect("another name");
    assert!(
        trouble.contains("auth/cert/login: Vault answered"),
        "{trouble}"
    );
    write(files.path(), "cert.pem", "no certificate");
    let trouble = kept.trouble().await.expect("no certificate");
    assert!(
        trouble.contains("cert.pem holds no certificate"),
        "{trouble}"
    );

    authority.issue(files.path(), "dtrotate");
    assert!(kept.works().await);
    let first = tokens(&root, "cert").await;
    assert_eq!(first.len(), 1);
    let look_up = async |accessor: &str| {
        let body = json!({ "accessor": accessor });
        root.raw(Method::POST, "auth/token/lookup-accessor", body)
            .await
            .body
    };
    eventually("a renewal", async || {
        look_up(&first[0]).await["data"]["last_renewal"].is_string()
    })
    .await;

    // A new certificate takes over while the token of the old one still works: that one could no longer be renewed.
    authority.issue(files.path(), "dtrotate");
    eventually("a login with the new certificate", async || {
        assert!(kept.works().await, "there is no gap");
        tokens(&root, "cert")
            .await
            .iter()
            .any(|accessor| *accessor != first[0])
    })
    .await;
    eventually("the old token ends", async || {
        !tokens(&root, "cert").await.contains(&first[0])
    })
    .await;
    let second = tokens(&root, "cert").await;
    eventually("a renewal with the new certificate", async || {
        look_up(&second[0]).await["data"]["last_renewal"].is_string()
    })
    .await;
    assert!(kept.works().await);
    kept.end().await;
    assert!(tokens(&root, "cert").await.is_empty());
}
