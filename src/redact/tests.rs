//! Each form in which a secret was seen to come back.

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;

const SECRET: &str = "CANARYQWERTYUIOPASDFGHJKLZXCVBNM0123456789CANARYQWERTYUIOPASDFGH";
const OPAQUE: &str = "fsjh_eiu-3QWbCANARY9x";

fn token() -> String {
    format!("dt0c01.ST2EY72KQINMH574WMNVI7YN.{SECRET}")
}

#[test]
fn p5_every_family_of_dotted_tokens_loses_its_secret_and_keeps_its_id() {
    for (given, expected) in [
        (
            "token 'dt0c01.ABC.SECRET' is bad",
            "token 'dt0c01.ABC.[hidden]' is bad",
        ),
        ("dt0g02.ABCDEFGH.SECRET", "dt0g02.ABCDEFGH.[hidden]"),
        ("dt0s16.ABC.SECRET", "dt0s16.ABC.[hidden]"),
        ("dt0s02.ABC.SECRET", "dt0s02.ABC.[hidden]"),
        ("dt0a01.1.deadbeef", "dt0a01.1.[hidden]"),
        ("DT0C01.abc.secret_x-y", "DT0C01.abc.[hidden]"),
        (
            "x=dt0c01.A.B,dt0c01.C.D",
            "x=dt0c01.A.[hidden],dt0c01.C.[hidden]",
        ),
        ("xdt0c01.A.B.C.D", "xdt0c01.A.[hidden]"),
        ("id dt0c01.ABC.", "id dt0c01.ABC."),
        ("id dt0c01.ABC", "id dt0c01.ABC"),
        ("dt0 and dt0c01 and dt0c0", "dt0 and dt0c01 and dt0c0"),
        (
            "dé dt0c01.A.é dt0c01.A.B",
            "dé dt0c01.A.é dt0c01.A.[hidden]",
        ),
        ("dt0c01%2EABC%2eSECRET", "dt0c01%2EABC%2e[hidden]"),
        ("dt0c01\\u002eABC.SECRET", "dt0c01\\u002eABC.[hidden]"),
        (
            "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln here",
            "[hidden] here",
        ),
        (
            "Bearer hvs.CAESIJ0000-_00, hvb.AAAAAAAA",
            "Bearer [hidden], [hidden]",
        ),
        ("s.abcdefghijklmnopqrstuvwx", "[hidden]"),
        ("https://me:p/w@x@host/path", "https://[hidden]@host/path"),
        ("https://token@host", "https://[hidden]@host"),
        (
            "proxy = \"user:PASSWORD@host:1\"",
            "proxy = \"[hidden]@host:1\"",
        ),
    ] {
        assert_eq!(by_shape(given), expected);
    }
}

#[test]
fn what_is_no_secret_is_left_alone() {
    for text in [
        "https://abc12345.live.dynatrace.com/e/0c0ffee0-aaaa-bbbb-cccc-0123456789ab",
        "vaults.example.com s.example.com eyJ, write to ops@example.com at 10:30",
        "missing scope: apiTokens.write (metrics.ingest, logs.ingest)",
        "secret/data/dynatrace/automation_script1#api_token: permission denied",
        "100% of %zz and \\u00",
        "[dtrotate:a1b2c3d4.e5f6a7b8.12]",
        // What these decode to has a colon and an `@`.
        "dt0c01.T2TI62I9KQA1CX0ZSBFFAYR3 was stored",
        "request 457KRPQE6UP9OQKID3WIPTC1",
    ] {
        assert_eq!(by_shape(text), text);
        assert_eq!(redact(text, &[token().as_bytes(), b"x", b""]), text);
    }
}

/// Whether any 12 characters of the secret can still be read.
fn shows(text: &str, secret: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let secret = secret.to_ascii_lowercase();
    (0..=secret.len() - PART).any(|at| lower.contains(&secret[at..at + PART]))
}

#[test]
fn p5_a_known_value_is_hidden_in_every_form() {
    let token = token();
    let basic = BASE64_STANDARD.encode(format!("user:{token}"));
    let opaque = BASE64_URL_SAFE_NO_PAD.encode(format!("xy{OPAQUE}"));
    let spaced = SECRET.replace("QWERTY", "QW ER\n\"T\" + \"Y");
    let percent: String = OPAQUE.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for text in [
        format!("secret part {SECRET}"),
        format!("part {}", &SECRET[20..40]),
        SECRET.to_ascii_lowercase(),
        format!("https://{}.evil.example", SECRET.to_ascii_lowercase()),
        format!("split {spaced}"),
        format!("basic {basic}=="),
        format!("form {percent}"),
        format!("no token {OPAQUE} here"),
        format!("cut {}...", &OPAQUE[..13]),
        format!("base64 {opaque}"),
    ] {
        let shown = redact(&text, &[token.as_bytes(), OPAQUE.as_bytes()]);
        assert!(shown.contains(HIDDEN), "{text} -> {shown}");
        let joined: String = shown.chars().filter(|c| !" \n\"+".contains(*c)).collect();
        for hidden in [SECRET, OPAQUE] {
            assert!(!shows(&joined, hidden), "{text} -> {shown}");
        }
        assert!(!shown.contains(&basic[20..40]) && !shown.contains(&percent[..30]));
    }
    assert!(
        !by_shape(&format!("basic {basic}")).contains(&basic[20..40]),
        "by shape, too"
    );
    let body = br#"{"role_id":"r","secret_id":"CANARY-0c0ffee0-aaaa"}"#;
    assert_eq!(
        redact("bad CANARY-0c0ffee0-aaaa.", &[body]),
        "bad [hidden]."
    );
}

proptest! {
    #[test]
    fn p5_any_part_at_any_place_is_hidden(
        before in ".{0,20}", after in ".{0,20}", from in 0_usize..40, length in 12_usize..24,
    ) {
        let text = format!("{before}{}{after}", &SECRET[from..from + length]);
        prop_assert!(!shows(&redact(&text, &[token().as_bytes()]), SECRET));
    }

    #[test]
    fn the_id_of_a_token_stays_whatever_it_decodes_to(public in "[A-Z0-9]{24}") {
        let text = format!("dt0c01.{public} was stored");
        prop_assert_eq!(by_shape(&text), text);
    }

    #[test]
    fn any_text_can_be_redacted(text in "[é日%a-f0-9]{0,40}|\\PC*", from in 0_usize..20) {
        let known = text.as_bytes().get(from..).unwrap_or_default();
        let _ = redact(&text, &[known]);
    }
}
