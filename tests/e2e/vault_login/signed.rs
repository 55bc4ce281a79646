//! JWT: a token signed by a key that Vault trusts.

use axum::Router;
use axum::routing::get;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::KeyPair;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

use super::*;

/// Somebody who signs tokens.
pub struct Signer {
    key: KeyPair,
}

impl Signer {
    pub fn new() -> Signer {
        Signer {
            key: KeyPair::generate().expect("a key"),
        }
    }

    pub fn public_key(&self) -> String {
        self.key.public_key_pem()
    }

    /// A token with these claims that ends in `seconds`.
    pub fn sign(&self, mut claims: Value, seconds: i64) -> String {
        let now = dtrotate::clock::now().as_second();
        claims["iat"] = json!(now - 5);
        claims["nbf"] = json!(now - 5);
        claims["exp"] = json!(now + seconds);
        let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!(
            "{}.{}",
            part(json!({"alg": "ES256", "typ": "JWT"})),
            part(claims)
        );
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            self.key.serialized_der(),
            &random,
        )
        .expect("a P-256 key");
        let signature = key.sign(&random, signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Where an issuer says who it is. It has no keys: Vault asks for them when somebody logs in.
pub struct Issuer {
    pub url: String,
}

impl Issuer {
    pub async fn start() -> Issuer {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let document = json!({
            "issuer": url, "jwks_uri": format!("{url}/keys"), "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": format!("{url}/token"), "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"]
        });
        let answer = document.to_string();
        let router = Router::new().route(
            "/.well-known/openid-configuration",
            get(move || async move { ([("content-type", "application/json")], answer) }),
        );
        tokio::spawn(async move { axum::serve(listener, router).await });
        Issuer { url }
    }
}

#[tokio::test]
async fn jwt_logs_in_says_what_is_wrong_with_a_bad_one_and_takes_a_good_one_at_once() {
    let bao = OpenBao::dev().await;
    let root = bao.root();
    prepare(&root, "jwt").await;
    let signer = Signer::new();
    let config = json!({"jwt_validation_pubkeys": [signer.public_key()]});
    root.ok(Method::POST, "auth/jwt/config", config).await;
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"],
        "token_policies": ["dtrotate"], "token_ttl": "1h", "token_no_default_policy": true
    });
    root.ok(Method::POST, "auth/jwt/role/r", role).await;
    let folder = tempfile::tempdir().expect("a folder");
    let claims = |audience: &str| json!({"sub": "dtrotate", "aud": audience});
    write(folder.path(), "jwt", &signer.sign(claims("others"), 600));
    let kept = Kept::start(VaultOptions {
        login: Login::Jwt {
            mount: "jwt".into(),
            role: Some("r".into()),
            jwt: Credential::File(folder.path().join("jwt")),
        },
        ..options(&bao, "")
    });
    let trouble = kept.trouble().await.expect("another audience");
    assert!(
        trouble.contains("auth/jwt/login") && trouble.contains("aud"),
        "{trouble}"
    );
    write(folder.path(), "jwt", &signer.sign(claims("vault"), -60));
    let trouble = kept.trouble().await.expect("resolved");
    assert!(trouble.contains("exp"), "{trouble}");

    // Tried at once, whatever the wait for the old one was; and a new login reads the file of that time.
    write(folder.path(), "jwt", &signer.sign(claims("vault"), 600));
    assert!(kept.works().await);
    write(folder.path(), "jwt", &signer.sign(claims("others"), 600));
    revoke_all(&root, "jwt").await;
    assert!(
        kept.trouble()
            .await
            .expect("it is read again")
            .contains("aud")
    );
    write(folder.path(), "jwt", &signer.sign(claims("vault"), 600));
    eventually("it heals", async || kept.complaint().await.is_none()).await;
    assert!(kept.works().await);

    // A role that is the mount's default needs no name.
    let config = json!({"jwt_validation_pubkeys": [signer.public_key()], "default_role": "r"});
    root.ok(Method::POST, "auth/jwt/config", config).await;
    let nameless = connect(VaultOptions {
        login: Login::Jwt {
            mount: "jwt".into(),
            role: None,
            jwt: Credential::File(folder.path().join("jwt")),
        },
        ..options(&bao, "")
    });
    assert_eq!(nameless.probe().await, Health::Available);
    nameless.log_out().await;
    kept.end().await;
    assert!(tokens(&root, "jwt").await.is_empty());
}
