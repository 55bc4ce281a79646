//! promtool judges what a running daemon exports, and the alerts that are shipped.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::world::{World, until};

fn promtool(arguments: &[&str], input: &str) -> Output {
    use std::io::Write;
    let program = crate::program("PROMTOOL");
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deploy/prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    let mut pipe = child.stdin.take().expect("its input");
    pipe.write_all(input.as_bytes()).expect("its input");
    drop(pipe);
    child.wait_with_output().expect("promtool")
}

/// It found nothing to say.
#[track_caller]
fn assert_clean(arguments: &[&str], input: &str) {
    let output = promtool(arguments, input);
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
    assert!(output.status.success(), "{arguments:?}: {text:?}");
    if arguments.contains(&"metrics") {
        assert_eq!(text, ["", ""], "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_finds_nothing_wrong_with_the_metrics() {
    let mut world = World::new(2).await;
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("its address").to_string();
    drop(socket);
    world.set("ops.listen", address.as_str());
    world.set("defaults.schedule", "*/2 * * * * *");
    let daemon = world.start("e2e");
    until("a rotation", async || {
        daemon.events("rotation_succeeded") > 0
    })
    .await;
    let answer = reqwest::get(format!("http://{address}/metrics")).await;
    let text = answer.expect("an answer").text().await.expect("a text");
    assert_clean(&["check", "metrics"], &text);
    let exported: Vec<&str> = dtrotate::ops::metrics::names().collect();
    for name in &exported {
        assert!(
            text.contains(&format!("# TYPE {name} ")),
            "{name} is not exported"
        );
    }
    // It does find what is wrong.
    let wrong = "# TYPE dtrotate_calls counter\ndtrotate_calls 1\n";
    assert!(!promtool(&["check", "metrics"], wrong).status.success());
}

#[test]
fn prometheus_accepts_the_alerts_and_they_fire_when_they_should() {
    assert_clean(&["check", "rules", "dtrotate.rules.yml"], "");
    assert_clean(&["test", "rules", "dtrotate.tests.yml"], "");
}
