//! Arbitrary text is refused or accepted, and never a panic.

use proptest::prelude::*;

use super::{Files, PROD, SECRET, VAULT, daemon, daemon_with};

/// Pieces that lead deep into the reader.
const PIECES: [&str; 30] = [
    "[vault]\n",
    "[vault.auth]\n",
    "[dynatrace.prod]\n",
    "[dynatrace.prod.auth]\n",
    "[defaults]\n",
    "[[secret]]\n",
    "secret = 1\n",
    "path = ",
    "schedule = ",
    "grace = ",
    "jitter = ",
    "url = ",
    "field = ",
    "token = ",
    "secret_id = \"\"\"",
    "timezone = ",
    "\"@daily\"\n",
    "\"0 0 * * *\"\n",
    "\"1h\"\n",
    "\"a\"\n",
    "\"\"\n",
    "'x\\y'\n",
    "[\"a\", \"b\"]\n",
    "{ a = 1 }\n",
    "0x7f\n",
    "99999999999999999999\n",
    "2020-01-01\n",
    "dt0c01.A.B",
    "ü€\u{1f600}",
    "\r\n",
];

fn renders(text: &str) {
    let files = Files::new(text).with("conf.d/x.toml", text);
    if let Err(problems) = files.load(&daemon()) {
        assert!(!problems.is_empty());
        assert_eq!(problems.lines().len(), problems.len());
        let rendered = problems.render(false);
        let headings = rendered.lines().filter(|line| line.starts_with("error: "));
        assert_eq!(headings.count(), problems.len(), "{rendered}");
        problems.render(true);
    }
}

proptest! {
    // As many cases as `PROPTEST_CASES` says (`make fuzz`), else proptest's own number.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text(text in any::<String>()) {
        renders(&text);
    }

    #[test]
    fn likely_text(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..40)) {
        renders(&pieces.concat());
    }

    #[test]
    fn a_good_file_with_a_hole(at in 0_usize..400, length in 0_usize..20, filler in "[\\PC\\n]{0,4}") {
        let mut text = format!("{VAULT}{PROD}[defaults]\nfield = [\"a\", \"b\"]\ntimezone = \"Europe/Vienna\"\n{SECRET}");
        let from = at.min(text.len());
        let to = (at + length).min(text.len());
        text.replace_range(from..to, &filler);
        renders(&text);
    }

    #[test]
    fn arbitrary_variables(name in "DTROTATE_[A-Z_]{0,30}", value in any::<String>()) {
        let files = Files::new(&format!("{VAULT}{PROD}{SECRET}"));
        let options = daemon_with(&[(name.as_str(), value.as_str())]);
        if let Err(problems) = files.load(&options) {
            assert!(!problems.to_string().is_empty());
        }
    }

    #[test]
    fn arbitrary_values_in_known_places(value in any::<String>()) {
        let quoted = toml::Value::String(value.clone()).to_string();
        for key in ["path", "schedule", "timezone", "grace", "field", "name", "environment", "lifetime"] {
            renders(&format!("{VAULT}{PROD}[[secret]]\n{key} = {quoted}\n"));
        }
        let files = Files::new(&format!("{PROD}{SECRET}"));
        for name in ["VAULT_ADDR", "BAO_TOKEN", "DTROTATE_DYNATRACE__PROD__URL", "DTROTATE_OPS__LISTEN"] {
            let _ = files.problems(&daemon_with(&[(name, value.as_str())]));
        }
    }
}
