//! A headless Chromium, spoken to over its pipe (`--remote-debugging-pipe`: JSON messages that end in a zero byte).

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long one answer may take on a slow machine.
const LONG: Duration = Duration::from_secs(60);

/// A browser with one page; killed when dropped.
pub struct Browser {
    process: Child,
    to: File,
    from: Receiver<Value>,
    asked: u64,
    session: Option<String>,
    _folder: TempDir,
}

impl Browser {
    /// Starts the program that `CHROMIUM` names.
    pub fn start() -> Browser {
        let program = crate::program("CHROMIUM");
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = |name: &str| {
            let path = folder.path().join(name);
            let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo");
            assert!(made.success());
            path
        };
        let (to, from) = (pipe("to"), pipe("from"));
        // The browser reads from file descriptor 3 and writes to 4.
        let process = Command::new("sh")
            .arg("-c")
            .arg(r#"exec "$0" --headless=new --no-sandbox --disable-gpu --hide-scrollbars --remote-debugging-pipe --user-data-dir="$3" about:blank 3<"$1" 4>"$2""#)
            .arg(program)
            .args([&to, &from, &folder.path().join("profile")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh");
        let to = fs::OpenOptions::new()
            .write(true)
            .open(to)
            .expect("the pipe");
        let mut reader = BufReader::new(File::open(from).expect("the pipe"));
        let (sender, from) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while reader
                .read_until(0, &mut message)
                .is_ok_and(|read| read > 0)
            {
                message.pop();
                let parsed = serde_json::from_slice(&message).expect("JSON of the browser");
                if sender.send(parsed).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let mut browser = Browser {
            process,
            to,
            from,
            asked: 0,
            session: None,
            _folder: folder,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        browser
    }

    /// Calls a method of the protocol and takes its result.
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.asked += 1;
        let mut message = json!({ "id": self.asked, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).expect("the pipe");
        loop {
            let answer = self.from.recv_timeout(LONG);
            let answer = answer.unwrap_or_else(|error| panic!("{method}: {error}"));
            if answer["id"] == self.asked {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// Opens `url` in a window of this size, on a machine whose owner likes it light or dark.
    pub fn open(&mut self, url: &str, width: u32, height: u32, scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        );
        self.call("Page.enable", json!({}));
        let opened = self.call("Page.navigate", json!({ "url": url }));
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
        let loaded = "new Promise(done => document.readyState === 'complete' ? done(location.href) : addEventListener('load', () => done(location.href)))";
        assert_eq!(self.evaluate(loaded), url);
    }

    /// The value of an expression in the page; a promise is waited for.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let ask = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", ask);
        let thrown = &answer["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {thrown}");
        answer["result"]["value"].clone()
    }

    /// A picture of the whole page, as PNG.
    pub fn screenshot(&mut self) -> Vec<u8> {
        self.capture(true)
    }

    /// A picture of what the window shows, as PNG.
    pub fn window(&mut self) -> Vec<u8> {
        self.capture(false)
    }

    fn capture(&mut self, beyond_the_window: bool) -> Vec<u8> {
        let part = json!({ "captureBeyondViewport": beyond_the_window });
        let answer = self.call("Page.captureScreenshot", part);
        let text = answer["data"].as_str().expect("a picture");
        BASE64_STANDARD.decode(text).expect("Base64")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
