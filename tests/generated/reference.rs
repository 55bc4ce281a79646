//! The reference of the configuration file in its three forms, from the declarations in `src/config/tables.rs`.

use dtrotate::config::{KeyDoc, KeyType, Role, TableDoc, is_repeated, tables, variable};

/// The column of the descriptions in `dtrotate.toml`.
const COLUMN: usize = 48;
/// The longest line there.
const WIDTH: usize = 140;

const HEAD: &str = "\
#:schema ./dtrotate.schema.json
# dtrotate: every key. Uncommented keys are required or commonly changed. A commented key shows its default, or an example (so marked).
#
# Lengths of time have units: \"90d\", \"15m\", \"1h30m\", \"250ms\" (w d h m s ms, the longest first). A bare number is refused.
# Unknown keys are refused. `dtrotate check --offline` reports every mistake with its line; `dtrotate check` then verifies every
# permission at Vault and Dynatrace.
#
# This file never holds credentials. They are in separate files; a relative path is looked up in $CREDENTIALS_DIRECTORY
# (systemd's LoadCredential=) and then in the folder of this file.
#
# Files conf.d/*.toml beside this one are merged into it. A [defaults] table there applies to the secrets of its file.
# An environment variable overrides a key: DTROTATE_SECTION__KEY, such as DTROTATE_VAULT__ADDRESS, DTROTATE_DYNATRACE__PROD__URL or
# DTROTATE_DEFAULTS__GRACE. Order of precedence: command line, DTROTATE_*, files, BAO_*, VAULT_*, default.
";

/// A second secret, which overrides defaults.
const SECOND_SECRET: &str = "
[[secret]]
name = \"ci-metrics\"
path = \"dynatrace/automation_script2\"
field = [\"api_token\", \"ingest_token\"]           # both fields get the same token, in one write
schedule = \"0 3 * * *\"
jitter = \"15m\"
";

/// `config/dtrotate.toml`
pub fn toml() -> String {
    let mut text = HEAD.to_owned();
    for table in tables() {
        let header = match table.name {
            name if is_repeated(name) => format!("[[{name}]]"),
            name => format!("[{}]", name.replace('*', "prod")),
        };
        let (summary, rest) = table.doc.split_once("\n\n").unwrap_or((table.doc, ""));
        text.push('\n');
        text += &described(&header, summary);
        for key in &table.keys {
            let value = format!("{} = {}", key.name, key.sample);
            let (value, doc) = match key.role {
                Role::Shown => (value, key.doc()),
                Role::Default => (format!("# {value}"), key.doc()),
                Role::Example => (format!("# {value}"), format!("Example. {}", key.doc())),
            };
            text += &described(&value, &doc);
        }
        for line in wrapped(rest, WIDTH - 2) {
            text += &format!("# {line}\n");
        }
        if table.name == "secret" {
            text += SECOND_SECRET;
        }
    }
    text
}

/// A line with its description beside it.
fn described(left: &str, doc: &str) -> String {
    let mut text = String::new();
    let mut left = left.to_owned();
    if left.len() >= COLUMN {
        text += &format!("{left}\n");
        left.clear();
    }
    for line in wrapped(doc, WIDTH - COLUMN - 2) {
        text += &format!("{left:COLUMN$}# {line}\n");
        left.clear();
    }
    text
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn heading(table: &TableDoc) -> String {
    match table.name {
        name if is_repeated(name) => format!("[[{name}]]"),
        name => format!("[{}]", name.replace('*', "NAME")),
    }
}

fn values(key: &KeyDoc) -> String {
    match &key.key_type {
        KeyType::Text => "string".to_owned(),
        KeyType::Texts | KeyType::List => "string or list of strings".to_owned(),
        KeyType::Labels => "table of strings".to_owned(),
        KeyType::Words(words) => words.join(", "),
        KeyType::Length => "length of time".to_owned(),
        KeyType::Flag => "true or false".to_owned(),
        KeyType::Integer(min, max) => format!("{min} to {max}"),
    }
}

fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The variable that overrides the key; a `[[secret]]` cannot be overridden.
fn override_of(table: &TableDoc, key: &KeyDoc) -> Option<String> {
    let name = variable(&table.name.replace('*', "NAME"), key.name);
    let one = match key.key_type {
        KeyType::Labels => "__LABEL",
        _ => "",
    };
    (!is_repeated(table.name)).then(|| name + one)
}

/// `docs/configuration.md`
pub fn page() -> String {
    let mut text = "\
# Configuration

Every table and key of `dtrotate.toml`. The same text is in `dtrotate.toml(5)`, and an editor shows it with `dtrotate schema`;
`config/dtrotate.toml` is a commented file to start from. This page is generated from `src/config/tables.rs`.

A file never holds credentials, only the names of files that do. Lengths of time have units (`90d`, `1h30m`). The column \"override\" names the
environment variable that overrides the key; in `NAME`, letters are in upper case and `-` is `_`.
"
    .to_owned();
    for table in tables() {
        text += &format!("\n## `{}`\n\n", heading(&table));
        text += &format!(
            "{}.\n",
            table.doc.replace("\n\n", ".\n\n").trim_end_matches('.')
        );
        text += "\n| key | values | default | description | override |\n| --- | --- | --- | --- | --- |\n";
        for key in &table.keys {
            let default = match key.role {
                Role::Default => format!("`{}`", key.sample),
                Role::Shown | Role::Example => String::new(),
            };
            let variable = override_of(&table, key).map(|name| format!("`{name}`"));
            text += &format!(
                "| `{}` | {} | {default} | {} | {} |\n",
                key.name,
                values(key),
                key.doc(),
                variable.unwrap_or_default(),
            );
        }
    }
    text
}

/// `docs/man/dtrotate.toml.5`
pub fn manual() -> String {
    let mut text = "\
.TH dtrotate.toml 5
.SH NAME
dtrotate.toml \\- configuration of dtrotate
.SH DESCRIPTION
A file in TOML. Files conf.d/*.toml beside it are merged into it; a [defaults] table there applies to the secrets of its file.
Credentials are never in it, only the names of the files that hold them: a relative path is looked up in $CREDENTIALS_DIRECTORY and
then in the folder of the configuration. Lengths of time have units, such as 90d or 1h30m.
"
    .to_owned();
    for table in tables() {
        text += &format!(".SH {}\n", heading(&table));
        for paragraph in table.doc.split("\n\n") {
            text += &format!(".PP\n{}\n", roff(&one_line(paragraph)));
        }
        for key in &table.keys {
            text += &format!(".TP\n.B {}\n{}\n", key.name, roff(&key.doc()));
            text += &format!("Values: {}.", roff(&values(key)));
            if key.role == Role::Default {
                text += &format!(" Default: {}.", roff(key.sample));
            }
            text.push('\n');
        }
    }
    text + "\
.SH ENVIRONMENT
DTROTATE_SECTION__KEY overrides a key outside [[secret]], such as DTROTATE_VAULT__ADDRESS or DTROTATE_DYNATRACE__PROD__URL.
BAO_ADDR, BAO_CACERT, BAO_CAPATH, BAO_CLIENT_CERT, BAO_CLIENT_KEY, BAO_NAMESPACE, BAO_TLS_SERVER_NAME and BAO_TOKEN, or the same with VAULT_, apply
where the file has no such key. BAO_SKIP_VERIFY and VAULT_SKIP_VERIFY are refused.
.SH FILES
.TP
.B /etc/dtrotate/dtrotate.toml
the configuration
.TP
.B /etc/dtrotate/dtrotate.schema.json
its JSON schema, for editors
.SH EXAMPLES
.nf
[vault]
address = \"https://vault.example.com:8200\"
[vault.auth]
method = \"approle\"
role_id_file = \"vault-role-id\"
secret_id_file = \"vault-secret-id\"

[dynatrace.prod]
url = \"https://abc12345.live.dynatrace.com\"
auth.path = \"dynatrace/master\"

[[secret]]
path = \"dynatrace/automation_script1\"
schedule = \"0 10 * * TUE\"
.fi
.SH SEE ALSO
dtrotate(1)
"
}

/// Text without a meaning of its own to roff.
fn roff(text: &str) -> String {
    let text = text
        .replace('\\', "\\\\")
        .replace('-', "\\-")
        .replace('`', "");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}
