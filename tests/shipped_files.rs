//! Every file that is shipped beside the binary is one that works.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::{Command, Output},
};

fn shipped(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The worst exposure that the unit may have, times ten: what is left at 1.1 is the network that it is for.
const EXPOSURE: &str = "--threshold=12";

/// The unit in a folder of its own, with a program that is there.
fn unit() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("dtrotate.service");
    let text = shipped("systemd/dtrotate.service");
    let here = text.replace(
        "ExecStart=/usr/bin/dtrotate",
        concat!("ExecStart=", env!("CARGO_BIN_EXE_dtrotate")),
    );
    assert_ne!(text, here, "ExecStart= is not the path of the package");
    fs::write(&file, here).expect("writing the unit");
    (folder, file)
}

/// `systemd-analyze` with these arguments; none when this machine has no such program, which it then says.
fn systemd_analyze(arguments: &[&str], unit: &Path) -> Option<Output> {
    match Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .output()
    {
        Ok(output) => Some(output),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Not println!, which the test runner keeps to itself when a test passes.
            let why =
                "skipped: systemd-analyze is not on this machine and did not check the unit\n";
            io::stderr().write_all(why.as_bytes()).expect("stderr");
            None
        }
        Err(error) => panic!("systemd-analyze: {error}"),
    }
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn systemd_accepts_the_unit_without_a_word() {
    let (_folder, file) = unit();
    let Some(output) = systemd_analyze(&["verify", "--man=no"], &file) else {
        return;
    };
    let said = printed(&output);
    let about_ours: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("dtrotate"))
        .collect();
    assert!(output.status.success() && about_ours.is_empty(), "{said}");
}

#[test]
fn the_unit_exposes_no_more_than_it_must() {
    let (_folder, file) = unit();
    let Some(output) = systemd_analyze(
        &["security", "--offline=true", "--no-pager", EXPOSURE],
        &file,
    ) else {
        return;
    };
    assert!(output.status.success(), "{}", printed(&output));
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
fn the_image_runs_as_nobody_and_hears_signals() {
    let dockerfile = shipped("Dockerfile");
    let (_, image) = dockerfile
        .split_once("FROM scratch\n")
        .expect("the last stage is empty but for what is copied");
    for line in [
        "USER 65532:65532",
        "STOPSIGNAL SIGTERM",
        "ENTRYPOINT [\"/usr/bin/dtrotate\"]",
    ] {
        assert!(
            image.lines().any(|it| it == line),
            "Dockerfile lacks {line}"
        );
    }
}
