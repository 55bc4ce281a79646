//! What is for many secrets at once: labels, several paths in one table, blackouts, folders.

use dtrotate::config::rediscovered;

use super::refused::{refuses, refuses_in_secret, refuses_table};
use super::{Files, PROD, SECRET, VAULT, daemon, daemon_with};

#[test]
fn labels_of_the_defaults_are_added_to_those_of_a_secret() {
    let text = format!(
        "{VAULT}{PROD}{SECRET}labels = {{ team = \"a\", contact = \"#a\" }}\n\
         [[secret]]\npath = \"b\"\nschedule = \"@daily\"\n[defaults.labels]\nteam = \"all\"\n\"cost-center.eu\" = \"7\"\n"
    );
    let variables = [("DTROTATE_DEFAULTS__LABELS__TIER", "1")];
    let files = Files::new(&text).with(
        "conf.d/c.toml",
        "[defaults]\nlabels.team = \"c\"\n[[secret]]\npath = \"c\"\nschedule = \"@daily\"\n",
    );
    let settings = files.settings(&daemon_with(&variables));
    let labels = settings.secrets.iter();
    let labels: Vec<String> = labels.map(|secret| secret.labels.to_string()).collect();
    assert_eq!(
        labels,
        [
            "contact=#a cost-center.eu=7 team=a tier=1",
            "cost-center.eu=7 team=all tier=1",
            "cost-center.eu=7 team=c tier=1",
        ]
    );
}

#[test]
fn p7_labels_that_could_not_be_shown_are_refused() {
    refuses_in_secret(
        "labels = «\"team=a\"",
        "this must be a table of strings, not a string",
    );
    refuses_in_secret(
        "labels = { team = «1 }",
        "this must be a string, not a number",
    );
    refuses_in_secret(
        "labels = { «1st = \"a\" }",
        "\"1st\" is not a name of a label; use a letter, then letters, digits, \"_\", \"-\" and \".\" (at most 63)",
    );
    refuses_in_secret(
        "labels = { a-b = \"a\", «a_b = \"b\" }",
        "\"a_b\" and another label are both label_a_b in metrics and the log; rename one of them",
    );
    refuses_table(
        "[defaults]\nlabels = { «team = \"\" }",
        "the label \"team\" is empty",
    );
    let files = Files::new(&format!("{VAULT}{PROD}{SECRET}"));
    let variables = [("DTROTATE_DEFAULTS__LABELS", "team=a")];
    assert_eq!(
        files.problems(&daemon_with(&variables)),
        [
            "$DTROTATE_DEFAULTS__LABELS: \"team=a\" is not a table such as { team = \"checkout\" }; a variable sets one label, such as \
             DTROTATE_DEFAULTS__LABELS__TEAM"
        ]
    );
}

#[test]
fn several_paths_are_one_secret_each() {
    let text = format!(
        "{VAULT}{PROD}[[secret]]\npaths = [\"a\", \"b/c\"]\nschedule = \"@daily\"\ngrace = \"1h\"\nlabels.team = \"x\"\n"
    );
    let settings = Files::new(&text).settings(&daemon());
    let [a, c] = &settings.secrets[..] else {
        panic!("two");
    };
    assert_eq!((&*a.plan.name, &*c.plan.name), ("a", "b/c"));
    assert_eq!(c.plan.coordinates.path, "b/c");
    assert_eq!((a.plan.grace, &a.labels), (c.plan.grace, &c.labels));
}

#[test]
fn p7_paths_that_cannot_be_meant_are_refused() {
    let secret = |keys: &str| format!("{VAULT}{PROD}[[secret]]\nschedule = \"@daily\"\n{keys}\n");
    refuses(&secret("paths = «[]"), "this list is empty");
    refuses(
        &secret("paths = [\"a\", «\"/b\"]"),
        "\"/b\" begins or ends with \"/\"; write \"b\"",
    );
    refuses(
        &secret("path = «\"c\"\npaths = [\"a\"]"),
        "a secret has either path or paths; add this one to the list",
    );
    refuses(
        &secret("name = «\"c\"\npaths = [\"a\"]"),
        "name belongs to one secret, and paths makes several, each named by its path; give this one its own [[secret]]",
    );
    let twice = secret("paths = [\"a\", \"b\", \"a\"]");
    assert_eq!(
        Files::new(&twice).problems(&daemon()),
        [
            "main.toml:11:20: field \"token\" of secret/a is configured by two secrets (first given here: main.toml:11:10)"
        ]
    );
}

#[test]
fn blackouts_are_in_the_time_zone_of_the_schedule() {
    let text = format!(
        "{VAULT}{PROD}{SECRET}timezone = \"Europe/Vienna\"\n\
         [[secret]]\npath = \"b\"\nschedule = \"@daily\"\nblackout = []\n\
         [[secret]]\npath = \"c\"\nschedule = \"@daily\"\nblackout = \"22:00 - 06:00\"\n\
         [defaults]\nblackout = [\"FRI 18:00 - MON 06:00\", \"2026-12-20 - 2027-01-06\"]\n"
    );
    let settings = Files::new(&text).settings(&daemon());
    let ends = |secret: usize, at: &str| {
        let end = settings.secrets[secret].blackouts.end(at.parse().unwrap());
        end.map(|end| end.to_string())
    };
    let (saturday, christmas) = ("2026-11-28T00:00:00Z", "2026-12-24T00:00:00Z");
    assert_eq!(ends(0, saturday).as_deref(), Some("2026-11-30T05:00:00Z"));
    assert_eq!(ends(0, christmas).as_deref(), Some("2027-01-06T23:00:00Z"));
    assert_eq!((ends(1, saturday), ends(1, christmas)), (None, None));
    assert_eq!(ends(2, saturday).as_deref(), Some("2026-11-28T06:00:00Z"));
}

#[test]
fn p7_blackouts_that_cannot_be_meant_are_refused() {
    refuses_in_secret(
        "blackout = [\"SAT - SUN\", «\"weekends\"]",
        "\"weekends\" is not a window; write it like \"FRI 18:00 - MON 06:00\", \"22:00 - 06:00\" or \"2026-12-20 - 2027-01-06\"",
    );
    refuses_in_secret(
        "blackout = «\"FRI 18:00 - 06:00\"",
        "\"FRI 18:00 - 06:00\" mixes two kinds of days; give both ends as weekdays, dates, or times",
    );
    refuses_in_secret(
        "blackout = «\"2027-01-06 - 2026-12-20\"",
        "\"2027-01-06 - 2026-12-20\" ends before it begins; exchange the two",
    );
    refuses_in_secret(
        "blackout = [«\"MON - SUN\"]",
        "\"MON - SUN\" ends where it begins, so it is the whole week, and no rotation could ever begin; let it end earlier, or stop the secret with \
         enabled = false",
    );
    refuses_in_secret(
        "blackout = «[\"MON - FRI\", \"SAT - SUN\"]",
        "these windows leave no time of a week in which a rotation may begin",
    );
}

#[test]
fn a_folder_finds_secrets_with_the_settings_of_its_table() {
    let text = format!(
        "{VAULT}{PROD}[account.main]\nuuid = \"0F5C7A6E-1F2B-4C3D-8E9F-0A1B2C3D4E5F\"\nauth.path = \"apps/oauth-client\"\n\
         {SECRET}[[secret]]\npath = \"apps/own\"\nschedule = \"@daily\"\n\
         [[secret]]\ndiscover = \"apps/\"\nexclude = [\"apps/sandbox-*\", \"**/old\"]\nschedule = \"@weekly\"\nlabels.team = \"x\"\n\
         [[secret]]\ndiscover = \"apps\"\nfield = \"other\"\nschedule = \"@weekly\"\n"
    );
    let settings = Files::new(&text).settings(&daemon());
    assert_eq!(settings.secrets.len(), 2, "what is found is not known yet");
    let [usual, other] = &settings.discoveries[..] else {
        panic!("two")
    };
    let finder = settings.finder(usual);
    let found = |path: &str| finder.secret(path).map(|secret| secret.plan.name.clone());
    assert_eq!(found("apps/a").as_deref(), Some("apps/a"));
    assert_eq!(found("apps/b/c").as_deref(), Some("apps/b/c"));
    for not_taken in [
        "apps",
        "apps/",
        "application",
        "apps/sandbox-1",
        "apps/b/old",
        "apps/own",
        "apps/oauth-client",
        "dt/master",
    ] {
        assert_eq!(found(not_taken), None, "{not_taken}");
    }
    let secret = finder.secret("apps/a").expect("found");
    assert_eq!(secret.schedule_text, "@weekly");
    assert_eq!(secret.labels.to_string(), "team=x");
    // Another field of the same secret is another secret.
    let secret = settings.finder(other).secret("apps/own").expect("found");
    assert_eq!(secret.plan.name, "secret/apps/own#other");
    let again = rediscovered(&settings.finders(), "secret/apps/own#other", None);
    assert_eq!(again.expect("found").plan.coordinates.path, "apps/own");
    assert!(rediscovered(&settings.finders(), "apps/own", None).is_none());
    let elsewhere = &settings.secrets[0].plan.coordinates;
    assert!(rediscovered(&settings.finders(), "apps/a", Some(elsewhere)).is_none());
}

#[test]
fn p7_folders_that_cannot_be_meant_are_refused() {
    let secret = |keys: &str| format!("{VAULT}{PROD}[[secret]]\nschedule = \"@daily\"\n{keys}\n");
    refuses(
        &secret("discover = «\"/apps/\""),
        "\"/apps/\" begins or ends with \"/\"; write \"apps\"",
    );
    refuses(
        &secret("discover = «\"apps/team/*\""),
        "\"apps/team/*\" is a pattern, and discover names a folder: every secret below it is found; write \"apps/team/\", and leave secrets out with \
         exclude",
    );
    refuses(
        &secret("discover = \"apps\"\nexclude = «\"a/**b\""),
        "\"a/**b\" is not a valid pattern: recursive wildcards must form a single path component",
    );
    refuses(
        &secret("path = \"a\"\nexclude = «\"b\""),
        "exclude has no effect without discover",
    );
    refuses(
        &secret("discover = \"apps\"\npath = «\"a\""),
        "path is of a secret whose path is known, and discover finds secrets; give this one its own [[secret]]",
    );
    refuses(
        &secret("discover = \"apps\"\nscopes = [\"metrics.read\"]\ncreate = «true"),
        "create has no effect with discover: the secrets that discover finds already exist",
    );
    let twice = secret(
        "discover = \"apps\"\n[[secret]]\nschedule = \"@daily\"\ndiscover = \"apps/inner/\"",
    );
    assert_eq!(
        Files::new(&twice).problems(&daemon()),
        [
            "main.toml:14:12: two tables would discover the same secrets; make it one table, or name folders of which none is in another (first \
             given here: main.toml:11:12)"
        ]
    );
}
