//! Completion scripts. Commands and options are in the script; the names of secrets, environments and labels come from the configuration
//! at the moment of the completion, and nobody is asked for them: the script calls `dtrotate __complete -- WORD...`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Arg;
use clap_complete::Shell;

use crate::config::{self, Settings};

use super::{Exit, command_line, output, variables};

/// The first argument of a call by a completion script.
const ASKS: &str = "__complete";
/// What a script makes of a value that it does not know.
const UNKNOWN: &str = ":_default'";

const BASH: &str = r#"
# The names of secrets, environments and labels are those of the configuration.
_dtrotate_from_configuration() {
    _dtrotate "$@"
    local word found=()
    while IFS= read -r word; do
        found+=("$(printf '%q' "$word")")
    done < <("${COMP_WORDS[0]}" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [[ ${#found[@]} -gt 0 ]]; then
        COMPREPLY=("${found[@]}")
    fi
}
complete -F _dtrotate_from_configuration -o nosort -o bashdefault -o default dtrotate 2>/dev/null ||
    complete -F _dtrotate_from_configuration -o bashdefault -o default dtrotate
"#;

const ZSH: &str = r#"
# The names of secrets, environments and labels are those of the configuration.
_dtrotate_from_configuration() {
    local -a typed found
    typed=("${(@Q)${(z)LBUFFER}}")
    [[ $LBUFFER == *[[:space:]] ]] && typed+=("")
    found=(${(f)"$(dtrotate __complete -- "${(@)typed[2,-1]}" 2>/dev/null)"})
    compadd -a found
}
"#;

const FISH: &str = r#"
# The names of secrets, environments and labels are those of the configuration.
complete -c dtrotate -f -a "(dtrotate __complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)"
"#;

/// The script for a shell.
pub(super) fn script(shell: Shell) -> String {
    let mut script = vec![];
    clap_complete::generate(shell, &mut command_line(), "dtrotate", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => script + BASH,
        Shell::Zsh => {
            let script = script.replace(UNKNOWN, ":_dtrotate_from_configuration'");
            // Before the function that uses it, which runs at the end of the script.
            script.replacen("\n_dtrotate() {", &format!("{ZSH}\n_dtrotate() {{"), 1)
        }
        Shell::Fish => script + FISH,
        _ => script,
    }
}

/// The words of a command line that a completion script asks about, the last one incomplete.
pub(super) fn asked() -> Option<Vec<String>> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next()?;
    let words = arguments.filter_map(|word| word.into_string().ok());
    (first == ASKS).then(|| words.skip_while(|word| word == "--").collect())
}

/// Prints what can complete the last word, one candidate a line. A configuration that cannot be read has no names.
pub(super) fn answer(words: &[String]) -> Exit {
    let line = Line::read(words);
    let options = config::Options {
        environment: variables(),
        config_dir: line.config_dir.clone(),
        daemon: false,
        offline: true,
        ..config::Options::default()
    };
    if line.wanted == Wanted::Nothing {
        return Exit::Success;
    }
    let file = line.config.clone().or_else(|| {
        let named = variables().remove("DTROTATE_CONFIG");
        named.map(PathBuf::from)
    });
    let file = file.unwrap_or_else(|| PathBuf::from(super::DEFAULT_CONFIG));
    if let Ok(settings) = config::load(&file, &options) {
        let found = line.candidates(&settings);
        let lines: String = found.iter().map(|one| format!("{one}\n")).collect();
        // A script that has gone wants nothing.
        let _ = output::print(&lines);
    }
    Exit::Success
}

/// What the last word may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Secrets,
    Environments,
    Labels,
    /// A command, an option, or a value that the configuration does not know.
    Nothing,
}

/// What is known of a command line.
struct Line {
    config: Option<PathBuf>,
    config_dir: Option<PathBuf>,
    wanted: Wanted,
    /// The names before the last word.
    given: Vec<String>,
    /// The last word.
    begun: String,
}

impl Line {
    fn read(words: &[String]) -> Line {
        let (begun, before) = words
            .split_last()
            .map_or((String::new(), words), |(last, rest)| (last.clone(), rest));
        let mut line = Line {
            config: None,
            config_dir: None,
            wanted: Wanted::Nothing,
            given: vec![],
            begun,
        };
        let all = command_line();
        let mut command: Option<&clap::Command> = None;
        let mut option: Option<&Arg> = None;
        for word in before {
            if let Some(arg) = option.take() {
                line.take(arg, word);
            } else if let Some(long) = word.strip_prefix("--") {
                let (name, value) = long
                    .split_once('=')
                    .map_or((long, None), |(name, value)| (name, Some(value)));
                let args = command.into_iter().chain([&all]);
                let mut args = args.flat_map(clap::Command::get_arguments);
                let arg = args.find(|arg| arg.get_long() == Some(name));
                let arg = arg.filter(|arg| arg.get_action().takes_values());
                match (arg, value) {
                    (Some(arg), Some(value)) => line.take(arg, value),
                    (arg, None) => option = arg,
                    (None, Some(_)) => {}
                }
            } else if !word.starts_with('-') {
                match command {
                    Some(_) => line.given.push(word.clone()),
                    None => command = all.find_subcommand(word),
                }
            }
        }
        line.wanted = match (option, command) {
            (Some(arg), _) => wanted_by(arg),
            (None, Some(command)) if !line.begun.starts_with('-') => {
                let mut names = command.get_positionals();
                let names = names.find(|arg| matches!(arg.get_id().as_str(), "names" | "name"));
                let several = |arg: &Arg| !matches!(arg.get_action(), clap::ArgAction::Set);
                let more = names.filter(|arg| several(arg) || line.given.is_empty());
                more.map_or(Wanted::Nothing, |_| Wanted::Secrets)
            }
            _ => Wanted::Nothing,
        };
        line
    }

    /// An option with its value.
    fn take(&mut self, arg: &Arg, value: &str) {
        match arg.get_id().as_str() {
            "config" => self.config = Some(value.into()),
            "config_dir" => self.config_dir = Some(value.into()),
            _ => {}
        }
    }

    /// What may stand there, in the order of the alphabet.
    fn candidates(&self, settings: &Settings) -> BTreeSet<String> {
        let secrets = settings.secrets.iter();
        let all: BTreeSet<String> = match self.wanted {
            Wanted::Secrets => secrets.map(|secret| secret.plan.name.clone()).collect(),
            Wanted::Environments => settings.environments.keys().cloned().collect(),
            Wanted::Labels => secrets
                .flat_map(|secret| secret.labels.iter())
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            Wanted::Nothing => BTreeSet::new(),
        };
        let fits = |one: &String| one.starts_with(&self.begun) && !self.given.contains(one);
        all.into_iter().filter(fits).collect()
    }
}

fn wanted_by(arg: &Arg) -> Wanted {
    match arg.get_id().as_str() {
        "environment" => Wanted::Environments,
        "labels" => Wanted::Labels,
        _ => Wanted::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(words: &[&str]) -> Wanted {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        Line::read(&words).wanted
    }

    #[test]
    fn what_a_word_may_be_follows_from_the_words_before_it() {
        for (words, expected) in [
            (&["rotate", ""][..], Wanted::Secrets),
            (&["rotate", "a", "--json", "b"], Wanted::Secrets),
            (&["--config", "x", "status", "dyn"], Wanted::Secrets),
            (&["rotate", "--environment", "p"], Wanted::Environments),
            (&["check", "--label", ""], Wanted::Labels),
            (&["check", "--label", "team=a", ""], Wanted::Secrets),
            (&["undo", ""], Wanted::Secrets),
            (&["undo", "a", ""], Wanted::Nothing),
            (&["undo", "a", "--token", ""], Wanted::Nothing),
            (&["rotate", "--dr"], Wanted::Nothing),
            (&["rot"], Wanted::Nothing),
            (&["completions", ""], Wanted::Nothing),
            (&["--config", ""], Wanted::Nothing),
            (&[], Wanted::Nothing),
        ] {
            assert_eq!(wanted(words), expected, "{words:?}");
        }
        let words = ["--config=x", "rotate", "--config-dir", "y", "a", ""];
        let line = Line::read(&words.map(str::to_owned));
        assert_eq!(line.config, Some("x".into()));
        assert_eq!(line.config_dir, Some("y".into()));
        assert_eq!(line.given, ["a"]);
    }
}
