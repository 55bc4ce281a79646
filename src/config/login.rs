//! `[vault.auth]`: how to log in to Vault. Credentials are named here and never held by a file of the configuration.

use super::credential::Credential;
use super::problem::{Placed, Problem};
use super::section::Section;
use super::services::Surroundings;
use super::settings::Auth;
use super::{checks, mask};

#[derive(Clone, Copy, PartialEq)]
enum Method {
    Token,
    AppRole,
    Later,
}

/// `[vault.auth]`
pub(super) fn auth(section: Section<'_>, around: &Surroundings<'_>) -> Option<Auth> {
    const METHODS: [(&str, Method); 5] = [
        ("token", Method::Token),
        ("approle", Method::AppRole),
        ("kubernetes", Method::Later),
        ("jwt", Method::Later),
        ("cert", Method::Later),
    ];
    let from_environment = around.token_of_environment();
    let overruled = from_environment.is_some() && !around.options.daemon;
    let method = section.choice("method", &METHODS);
    let mount = section.parsed("mount", checks::vault_path);
    let files = ["token_file", "role_id_file", "secret_id_file"].map(|key| {
        let written = section.text(key)?;
        if mask::is_uuid(&written.value) {
            let problem = Problem::new(
                &written.place,
                format!("{key} holds the credential itself instead of the name of a file"),
            );
            around.reading.problem(problem);
            return None;
        }
        Some(written)
    });
    refuse_inline(&section, around);
    section.not_yet(&["role", "jwt_file", "cert_file", "key_file"]);

    let chosen = match &method {
        Some(method) if method.value == Method::Later => {
            let message = "this login method is reserved for a later version: not yet";
            around
                .reading
                .problem(Problem::new(&method.place, message).help("use \"token\" or \"approle\""));
            None
        }
        Some(method) => Some(method.value),
        None if from_environment.is_some() => Some(Method::Token),
        None if section.has("method") => None,
        None => {
            section.missing(
                "no way to log in to Vault: give [vault.auth] method, BAO_TOKEN or VAULT_TOKEN",
            );
            None
        }
    };
    let auth = chosen.and_then(|method| {
        let wanted = Wanted {
            method,
            mount,
            files,
            used: !overruled,
        };
        login(wanted, &section, from_environment.clone(), around)
    });
    section.finish();
    match from_environment {
        Some(token) if overruled => Some(Auth::Token { token }),
        _ => auth,
    }
}

/// What `[vault.auth]` asks for.
struct Wanted {
    method: Method,
    mount: Option<Placed<String>>,
    /// token, role id, secret id
    files: [Option<Placed<String>>; 3],
    used: bool,
}

fn login(
    wanted: Wanted,
    section: &Section<'_>,
    from_environment: Option<Credential>,
    around: &Surroundings<'_>,
) -> Option<Auth> {
    let Wanted {
        method,
        mount,
        files,
        used,
    } = wanted;
    let alien = |file: &Option<Placed<String>>, key: &str, method: &str| {
        if let Some(file) = file {
            around.problem(
                &file.place,
                format!("{key} does not belong to the login method \"{method}\""),
            );
        }
    };
    let [token, role_id, secret_id] = &files;
    if method == Method::Token {
        alien(&mount, "mount", "token");
        alien(role_id, "role_id_file", "token");
        alien(secret_id, "secret_id_file", "token");
        let credential = match token {
            Some(file) => around.credential(file, used),
            None if section.has("token_file") => None,
            None if from_environment.is_some() => from_environment,
            None => {
                section.missing(
                    "the login method \"token\" needs token_file, BAO_TOKEN or VAULT_TOKEN",
                );
                None
            }
        };
        return Some(Auth::Token { token: credential? });
    }
    alien(token, "token_file", "approle");
    let needed = |file: &Option<Placed<String>>, key: &str| match file {
        Some(file) => around.credential(file, used),
        None => {
            if !section.has(key) {
                section.missing(&format!("the login method \"approle\" needs {key}"));
            }
            None
        }
    };
    let (role_id, secret_id) = (
        needed(role_id, "role_id_file"),
        needed(secret_id, "secret_id_file"),
    );
    Some(Auth::AppRole {
        mount: mount.map_or_else(|| "approle".to_owned(), |mount| mount.value),
        role_id: role_id?,
        secret_id: secret_id?,
    })
}

/// Credentials in place of files.
fn refuse_inline(section: &Section<'_>, around: &Surroundings<'_>) {
    for (key, file) in [
        ("token", "token_file"),
        ("role_id", "role_id_file"),
        ("secret_id", "secret_id_file"),
    ] {
        section.refused_elsewhere(key);
        if let Some((_, place)) = section.keys().find(|(given, _)| *given == key) {
            let problem = Problem::new(
                place,
                format!(
                    "\"{key}\" is given in the configuration itself; secrets never stand there"
                ),
            );
            around.reading.problem(problem.help(format!("write it into a file and name that with {file}; a secret that others could read is to be replaced")));
        }
    }
}
