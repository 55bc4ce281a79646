//! Every file that is shipped beside the binary is one that works.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn shipped(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The configuration files that are shipped.
fn configurations() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let entries = fs::read_dir(folder).expect("config");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let files: Vec<PathBuf> = paths
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    assert!(files.len() >= 2, "{files:?}");
    files
}

#[test]
fn every_configuration_passes_the_check() {
    // The manifest of the passes has one, too: its lines are indented by four.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let manifest = shipped("docs/deploy/cronjob.yaml");
    let (_, block) = manifest
        .split_once("  dtrotate.toml: |\n")
        .expect("a configuration");
    let lines = block.lines().map_while(|line| match line {
        "" => Some(""),
        line => line.strip_prefix("    "),
    });
    let in_manifest = folder.path().join("cronjob.toml");
    let text = lines.collect::<Vec<_>>().join("\n");
    fs::write(&in_manifest, text).expect("writing it");
    let of_kubernetes = ["base", "example"].map(|name| {
        let file = format!("docs/deploy/kubernetes/{name}/dtrotate.toml");
        Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
    });
    let others = of_kubernetes.into_iter().chain([in_manifest]);
    for file in configurations().into_iter().chain(others) {
        let output = Command::new(env!("CARGO_BIN_EXE_dtrotate"))
            .arg("--config")
            .arg(&file)
            .args(["check", "--offline"])
            .env_clear()
            .output()
            .expect("dtrotate");
        assert!(output.status.success(), "{}", printed(&output));
        assert!(printed(&output).contains("the configuration is valid"));
    }
}

#[test]
fn the_schema_takes_every_configuration_and_no_unknown_key() {
    let schema = serde_json::from_str(&shipped("config/dtrotate.schema.json")).expect("JSON");
    let mut compiler = boon::Compiler::new();
    let mut schemas = boon::Schemas::new();
    compiler
        .add_resource("dtrotate.schema.json", schema)
        .expect("a schema");
    let schema = compiler
        .compile("dtrotate.schema.json", &mut schemas)
        .expect("a schema");
    let takes = |text: &str| {
        let value: Value = toml::from_str(text).expect("TOML");
        schemas
            .validate(&value, schema)
            .map_err(|error| error.to_string())
    };
    for file in configurations() {
        let text = fs::read_to_string(&file).expect("a configuration");
        let named = text.lines().next();
        assert_eq!(
            named,
            Some("#:schema ./dtrotate.schema.json"),
            "{}",
            file.display()
        );
        assert_eq!(takes(&text), Ok(()), "{}", file.display());
    }
    let good = shipped("config/minimal.toml");
    for (from, to) in [
        ("address =", "adress ="),
        ("method = \"approle\"", "method = \"magic\""),
        ("role_id_file =", "role_id ="),
        ("url =", "uri ="),
        ("schedule =", "shedule ="),
        ("[[secret]]", "[[secret]]\ngrace = 5"),
        ("[[secret]]", "[[secret]]\ngrace = \"1h1d\""),
        ("[[secret]]", "[[secret]]\nenabled = \"yes\""),
        ("[[secret]]", "[limits]\nconcurrency = 0\n[[secret]]"),
        ("[[secret]]", "[nosuch]\n[[secret]]"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "{from}");
        assert!(takes(&bad).is_err(), "{to}");
    }
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn the_unit_hands_over_every_credential_that_the_configuration_may_name() {
    let unit = shipped("systemd/dtrotate.service");
    let of_unit: BTreeSet<&str> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("LoadCredential="))
        .map(|line| {
            let (name, file) = line.split_once(':').expect("ID:PATH");
            assert_eq!(
                file,
                format!("/etc/dtrotate/{name}"),
                "beside the configuration"
            );
            assert!(
                unit.contains(&format!("\nSetCredential={name}:\\n\n")),
                "{name} may be absent"
            );
            name
        })
        .collect();
    let reference = shipped("config/dtrotate.toml");
    let named = reference.lines().filter_map(|line| {
        let (key, value) = line.trim_start_matches("# ").split_once(" = \"")?;
        let (value, _) = value.split_once('"')?;
        let ours = ["vault-", "notify-", "proxy-"]
            .iter()
            .any(|start| value.starts_with(start));
        (key.ends_with("_file") && ours).then_some(value)
    });
    assert_eq!(of_unit, named.collect());
}

#[test]
fn the_unit_keeps_what_the_daemon_relies_on() {
    let unit = shipped("systemd/dtrotate.service");
    let settings: Vec<&str> = unit
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .collect();
    for setting in [
        "Type=notify",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "RestartPreventExitStatus=2 78",
        "StartLimitIntervalSec=0",
        "DynamicUser=yes",
        "LimitCORE=0",
        "MemorySwapMax=0",
    ] {
        assert!(
            settings.contains(&setting),
            "systemd/dtrotate.service lacks {setting}"
        );
    }
    assert!(
        !settings
            .iter()
            .any(|line| line.starts_with("StateDirectory")),
        "no state on disk"
    );
}

#[test]
fn the_unit_of_a_pass_has_the_walls_and_credentials_of_the_daemon() {
    let settings = |file: &str| -> BTreeSet<String> {
        let unit = shipped(file);
        let lines = unit.lines().map(str::trim);
        let lines = lines.filter(|line| line.contains('=') && !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    let (daemon, pass) = (
        settings("systemd/dtrotate.service"),
        settings("docs/deploy/dtrotate-once.service"),
    );
    let of_the_daemon_alone = [
        "Description=",
        "StartLimit",
        "Type=",
        "NotifyAccess=",
        "ExecStart=",
        "ExecReload=",
        "Timeout",
        "Watchdog",
        "Restart",
        "SocketBindAllow=",
        "WantedBy=",
    ];
    let missing: Vec<&String> = daemon
        .difference(&pass)
        .filter(|line| {
            let restricts = line.starts_with("Restrict");
            restricts
                || !of_the_daemon_alone
                    .iter()
                    .any(|start| line.starts_with(start))
        })
        .filter(|line| !line.starts_with("RestartSec"))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let own: Vec<&String> = pass.difference(&daemon).collect();
    assert!(own.len() <= 5 && pass.contains("Type=oneshot"), "{own:?}");
}

#[test]
fn the_image_runs_as_nobody_and_hears_signals() {
    let dockerfile = shipped("Dockerfile");
    let (_, image) = dockerfile
        .split_once("FROM scratch\n")
        .expect("the last stage is empty but for what is copied");
    for line in [
        "USER 65532:65532",
        "STOPSIGNAL SIGTERM",
        "ENTRYPOINT [\"/usr/bin/dtrotate\"]",
        "ENV DTROTATE_OPS__LISTEN=0.0.0.0:9780",
    ] {
        assert!(
            image.lines().any(|it| it == line),
            "Dockerfile lacks {line}"
        );
    }
}

#[test]
fn the_workflows_prove_the_oldest_rust_and_run_every_check() {
    let manifest: Value = toml::from_str(&shipped("Cargo.toml")).expect("TOML");
    let oldest = manifest["workspace"]["package"]["rust-version"].as_str();
    let oldest = format!("rust:{}-bookworm", oldest.expect("a version"));
    let newest = shipped("Dockerfile");
    let newest = newest
        .lines()
        .find_map(|line| line.strip_prefix("ARG RUST_IMAGE="));
    let newest = newest.expect("the image that builds");
    for file in [".github/workflows/checks.yml", ".gitlab-ci.yml"] {
        let workflow = shipped(file);
        for part in [oldest.as_str(), newest, "bash .ci/run"] {
            assert!(workflow.contains(part), "{file} lacks {part}");
        }
    }
    for file in [".github/workflows/release.yml", ".gitlab-ci.yml"] {
        let workflow = shipped(file);
        assert!(workflow.contains("make release"), "{file}");
    }
}

/// What the Debian package holds: each file's place there, and its place here.
fn package() -> BTreeMap<PathBuf, PathBuf> {
    let manifest: Value = toml::from_str(&shipped("Cargo.toml")).expect("TOML");
    let assets = &manifest["package"]["metadata"]["deb"]["assets"];
    let mut files = BTreeMap::new();
    for asset in assets.as_array().expect("assets") {
        let [from, to] = [0, 1].map(|part| asset[part].as_str().expect("a path"));
        let Some((start, end)) = from.split_once('*') else {
            let name = Path::new(from).file_name().expect("a name");
            let to = if to.ends_with('/') {
                Path::new(to).join(name)
            } else {
                PathBuf::from(to)
            };
            files.insert(to, PathBuf::from(from));
            continue;
        };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(start);
        let before = files.len();
        for entry in fs::read_dir(&folder).expect("a folder") {
            let name = entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("text");
            if name.ends_with(end) {
                files.insert(Path::new(to).join(&name), folder.join(&name));
            }
        }
        assert!(files.len() > before, "{from} is nothing");
    }
    files
}

#[test]
fn what_a_file_of_the_package_names_is_in_the_package() {
    let package = package();
    let mut links = 0;
    for (place, source) in &package {
        let kind = place.extension().and_then(|extension| extension.to_str());
        if !matches!(kind, Some("md" | "toml")) {
            continue;
        }
        let text = shipped(source.to_str().expect("text"));
        let pages = text.split("](").skip(1);
        let pages = pages.map(|link| link.split([')', '#']).next().expect("a link"));
        let schemas = text
            .lines()
            .filter_map(|line| line.strip_prefix("#:schema "));
        for link in pages.chain(schemas) {
            if link.is_empty() || link.contains("://") {
                continue;
            }
            let mut target = place.parent().expect("a folder").to_path_buf();
            for part in Path::new(link).components() {
                match part {
                    Component::ParentDir => assert!(target.pop()),
                    Component::CurDir => {}
                    part => target.push(part),
                }
            }
            let there = package.keys().any(|file| file.starts_with(&target));
            assert!(there, "{}: {link}", place.display());
            links += 1;
        }
    }
    assert!(links > 30, "{links}");
}
