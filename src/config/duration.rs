//! Lengths of time as people write them: `90d`, `15m`, `1h30m`. A bare number is refused, because its unit is unknown.

use std::time::Duration;

/// Units from long to short; a written length names each at most once, in this order.
const UNITS: [(&str, u128); 6] = [
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Longer than anything that makes sense, short enough that no sum of a few of them leaves the range of a timestamp.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Reads a length; the error is half a sentence that follows the value.
pub fn parse(text: &str) -> Result<Duration, String> {
    if text.is_empty() {
        return Err("is empty; write a length such as \"15m\"".into());
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!(
            "has no unit; write \"{text}s\", \"{text}m\", \"{text}h\" or \"{text}d\""
        ));
    }
    let malformed = || {
        "is not a length; write it like \"90d\", \"15m\" or \"1h30m\" (units w d h m s ms)"
            .to_owned()
    };
    let (mut rest, mut total, mut next_unit) = (text, 0_u128, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..]
            .bytes()
            .take_while(u8::is_ascii_alphabetic)
            .count();
        let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
        if digits == 0 {
            return Err(malformed());
        }
        let Some(which) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(match unit {
                "" => malformed(),
                unit => format!("has the unknown unit \"{unit}\" (units are w d h m s ms)"),
            });
        };
        if which < next_unit {
            return Err(
                "has its units out of order; write the longest first, each once, like \"1h30m\""
                    .into(),
            );
        }
        next_unit = which + 1;
        let amount = number
            .parse::<u64>()
            .map(u128::from)
            .unwrap_or(u128::from(u64::MAX));
        total = total.saturating_add(amount.saturating_mul(UNITS[which].1));
        rest = &rest[digits + letters..];
    }
    match u64::try_from(total).map(Duration::from_millis) {
        Ok(length) if length <= LONGEST => Ok(length),
        _ => Err("is longer than 100 years".into()),
    }
}

/// A length as people write it.
pub fn show(length: Duration) -> String {
    let mut rest = length.as_millis();
    let mut text = String::new();
    for (unit, size) in &UNITS[1..] {
        if rest >= *size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    match text.is_empty() {
        true => "0s".to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_and_shown() {
        for (text, seconds) in [
            ("90d", 90 * 86_400),
            ("15m", 900),
            ("1h30m", 5_400),
            ("1w", 604_800),
            ("0s", 0),
            ("1w2d3h4m5s", 604_800 + 2 * 86_400 + 3 * 3_600 + 4 * 60 + 5),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("1s250ms"), Ok(Duration::from_millis(1_250)));
        assert_eq!(show(Duration::from_millis(1_250)), "1s250ms");
        assert_eq!(show(Duration::from_secs(7 * 86_400 + 5_400)), "7d1h30m");
        assert_eq!(show(Duration::ZERO), "0s");
    }

    #[test]
    fn what_is_no_length_says_why() {
        for (text, why) in [
            ("", "is empty"),
            ("90", "has no unit; write \"90s\""),
            ("90x", "unknown unit \"x\""),
            ("1 h", "is not a length"),
            ("h", "is not a length"),
            ("-1h", "is not a length"),
            ("1.5h", "is not a length"),
            ("30m1h", "out of order"),
            ("1h1h", "out of order"),
            ("5µs", "is not a length"),
            ("40000d", "longer than 100 years"),
            ("99999999999999999999999w", "longer than 100 years"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
