//! The status page in a browser: a healthy, a failing and a stuck secret, on a phone and on a desk, by day and by night.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;
use simulator::{Action, Answer, Operation, Rule};

use crate::browser::Browser;
use crate::world::{World, until};

/// Ratio of contrast of every text with what is behind it; the worst one, with the text. By WCAG 2, where 4.5 is enough for everybody.
const CONTRAST: &str = r#"(() => {
  const parse = text => { const n = text.match(/[\d.]+/g).map(Number); return { rgb: n.slice(0, 3), a: n[3] ?? 1 }; };
  const light = rgb => { const [r, g, b] = rgb.map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
    return .2126 * r + .7152 * g + .0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.a > 0) return c.rgb; } return [255, 255, 255]; };
  let worst = { ratio: 99, text: '' };
  for (const e of document.body.querySelectorAll('*')) {
    const text = [...e.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join('');
    if (!text) continue;
    const a = light(parse(getComputedStyle(e).color).rgb), b = light(behind(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < worst.ratio) worst = { ratio, text };
  }
  return worst;
})()"#;

/// `s0` rotated and its old token is still used, `s1` is tried again, `s2` is stuck, `s3` is switched off.
async fn world() -> World {
    let mut world = World::new(4).await;
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("its address").to_string();
    drop(socket);
    world.set("ops.listen", address);
    let secrets = world.config["secret"].as_array_mut().expect("the secrets");
    let off = secrets[3].as_table_mut().expect("a secret");
    off.insert("enabled".to_owned(), false.into());
    let failing = secrets[1].as_table_mut().expect("a secret");
    for (key, value) in [
        ("schedule", "*/2 * * * * *"),
        ("grace", "1s"),
        ("max_grace", "2s"),
    ] {
        failing.insert(key.to_owned(), value.into());
    }
    world.set("defaults.grace", "4s");
    world.set("defaults.max_grace", "2h");
    let old = world.current_id(0).await;
    assert_eq!(world.command(&["rotate", "dynatrace/s0"]).await.0, Some(0));
    world.set("defaults.grace", "1h");
    let later = world.dynatrace.token(&old).expect("the old token").created;
    let later = later + std::time::Duration::from_secs(30);
    world.dynatrace.touch(&old, [192, 0, 2, 7].into(), later);
    world.dynatrace.disable(&world.current_id(2).await);
    assert_eq!(world.command(&["rotate", "dynatrace/s2"]).await.0, Some(1));
    let refuse = Action::Refuse(Answer::dynatrace(503, "maintenance until noon"));
    world
        .dynatrace
        .fault(Rule::on(Operation::CreateToken).always().then(refuse));
    let (code, text) = world.command(&["rotate", "dynatrace/s1"]).await;
    assert!(code == Some(69) && text.contains("maintenance"), "{text}");
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_tells_of_a_healthy_a_failing_and_a_stuck_secret() {
    let world = world().await;
    let _daemon = world.start("e2e");
    let url = format!(
        "http://{}/",
        world.config["ops"]["listen"].as_str().expect("an address")
    );
    until("the old token to be held", async || {
        let answer = reqwest::get(format!("{url}status")).await;
        let Ok(answer) = answer else { return false };
        let status: Value = answer.json().await.expect("JSON");
        status["secrets"][0]["retiring"][0]["held_since"].is_string()
            && status["secrets"][1]["state"] == "retrying"
            && status["daemon"]["ready"] == true
    })
    .await;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("status-page");
    fs::create_dir_all(&folder).expect("a folder");
    let mut browser = Browser::start();
    let mut papers = Vec::new();
    for (device, width, height) in [("phone", 360, 740), ("desk", 1280, 900)] {
        for scheme in ["light", "dark"] {
            browser.open(&url, width, height, scheme);
            let text = |browser: &mut Browser, of: &str| {
                let text = browser.evaluate(&format!("document.querySelector('{of}').innerText"));
                text.as_str().expect("a text").to_owned()
            };
            let headline = text(&mut browser, "h1");
            assert!(headline.contains("a human"), "{headline}");
            browser
                .evaluate("document.querySelectorAll('details').forEach(one => one.open = true)");
            let healthy = text(&mut browser, "[id=\"dynatrace/s0\"]");
            for word in ["dt0c01.", "still used from 192.0.2.7", "disabled in"] {
                assert!(healthy.contains(word), "no {word} in\n{healthy}");
            }
            let strip = "document.querySelector('[id=\"dynatrace/s0\"] .strip').ariaLabel";
            let strip = browser.evaluate(strip);
            assert_eq!(strip, "last 1 rotation: all succeeded");
            let soon = text(&mut browser, ".soon");
            for word in ["Next 24 hours", "rotate", "1 old token is disabled"] {
                assert!(soon.contains(word), "no {word} in\n{soon}");
            }
            let failing = text(&mut browser, "[id=\"dynatrace/s1\"]");
            // After ten seconds its environment counts as unavailable.
            let states = ["retrying", "waiting"];
            assert!(
                states.iter().any(|state| failing.contains(state)),
                "{failing}"
            );
            assert!(failing.contains("last rotations\nfailed"), "{failing}");
            let stuck = text(&mut browser, "[id=\"dynatrace/s2\"]");
            assert!(
                stuck.contains("invalid") || stuck.contains("stuck"),
                "{stuck}"
            );
            let first = text(&mut browser, "article");
            for word in ["dynatrace/s2", "token_disabled", "enable", "runbook"] {
                assert!(first.contains(word), "no {word} in\n{first}");
            }
            let open = text(&mut browser, "main");
            assert!(open.contains("maintenance until noon"), "{open}");
            let wide = browser.evaluate("document.documentElement.scrollWidth - innerWidth");
            assert!(
                wide.as_i64() <= Some(0),
                "{device}: it must be scrolled sideways"
            );
            let weight =
                browser.evaluate("getComputedStyle(document.querySelector('h1')).fontWeight");
            assert_eq!(weight, "600", "the page's own policy lets its style in");
            let contrast = browser.evaluate(CONTRAST);
            assert!(
                contrast["ratio"].as_f64() >= Some(4.5),
                "{device} {scheme}: {contrast}"
            );
            papers.push(browser.evaluate("getComputedStyle(document.body).backgroundColor"));
            let file = folder.join(format!("{device}-{scheme}.png"));
            fs::write(file, browser.screenshot()).expect("a picture");
        }
    }
    assert_ne!(papers[0], papers[1], "light and dark");
}
