//! The runbook, served beside the status page: whoever reads it at night has it without a copy of the source.

macro_rules! pages {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../docs/runbooks/", $name)))),*]
    };
}

/// The pages below `docs/runbooks/`, by name.
const PAGES: &[(&str, &str)] = pages![
    "DtrotateConfigRejected.md",
    "DtrotateCurrentInvalid.md",
    "DtrotateDown.md",
    "DtrotateDynatraceUnavailable.md",
    "DtrotateMainLoopStuck.md",
    "DtrotateNeedsHuman.md",
    "DtrotateNotReady.md",
    "DtrotateRestarting.md",
    "DtrotateRotationFailing.md",
    "DtrotateRotationOverdue.md",
    "DtrotateRotationStuck.md",
    "DtrotateTokenExpiresSoon.md",
    "DtrotateTokenStillUsed.md",
    "DtrotateVaultUnavailable.md",
    "README.md",
    "stuck-dynatrace-refused.md",
    "stuck-field-missing.md",
    "stuck-lifetime-too-short.md",
    "stuck-mint-refused.md",
    "stuck-moved.md",
    "stuck-name-not-kept.md",
    "stuck-retirement-refused.md",
    "stuck-secret-missing.md",
    "stuck-token-disabled.md",
    "stuck-token-kind.md",
    "stuck-token-limit-reached.md",
    "stuck-token-manages.md",
    "stuck-token-personal.md",
    "stuck-token-unknown.md",
    "stuck-token-unproven.md",
    "stuck-unavailable.md",
    "stuck-vault-refused.md",
    "stuck-verify-failed.md",
];

/// The page with this name, as Markdown.
pub fn page(name: &str) -> Option<&'static str> {
    let found = PAGES.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/runbooks");
        let files = std::fs::read_dir(folder).unwrap();
        let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let known = PAGES.iter().map(|(name, _)| (*name).to_owned());
        assert_eq!(known.collect::<BTreeSet<_>>(), files.collect());
        assert_eq!(page("../security.md"), None);
    }
}
