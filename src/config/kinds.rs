//! The kinds of values that keys accept: how each is read and what is said about a value that does not fit.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ::url::Url;
use rustls::pki_types::ServerName;

use super::context::{Context, did_you_mean};
use super::file::{Node, Value};
use super::problem::{Place, Placed, Problem};
use super::{duration, redact, rights, url, validate};
use crate::credential::{self, Credential};
use crate::dynatrace::{BaseUrl, TRIAL_WORDS};
use crate::http;
use crate::schedule::calendar::Window;
use rotation::plan::{Lifetime, Verification};

/// The values that a key accepts, for the schema and the reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// A string.
    Text,
    /// A string or a list of strings.
    Texts,
    /// The same; the list may be empty.
    List,
    /// A table of strings.
    Labels,
    /// One of these strings.
    Words(Vec<&'static str>),
    /// A length of time.
    Length,
    /// `true` or `false`.
    Flag,
    /// A whole number between these bounds.
    Integer(i64, i64),
}

impl KeyType {
    /// What it is, for a message about something else.
    fn wanted(&self) -> &'static str {
        match self {
            KeyType::Text | KeyType::Words(_) => "a string",
            KeyType::Texts | KeyType::List => "a string or a list of strings",
            KeyType::Labels => "a table of strings",
            KeyType::Length => "a length of time such as \"15m\"",
            KeyType::Flag => "true or false",
            KeyType::Integer(..) => "a whole number",
        }
    }

    /// The text of a value of this type; `None` after a problem that was reported. A length may be written as a number, which has no unit.
    pub(super) fn text<'a>(&self, node: &'a Node, context: &Context) -> Option<&'a str> {
        let is_number = matches!(self, KeyType::Integer(..));
        match &node.value {
            Value::Variable(text) => return Some(text),
            Value::Text(text) if !is_number && !matches!(self, KeyType::Flag | KeyType::Labels) => {
                return Some(text);
            }
            Value::Boolean(text) if *self == KeyType::Flag => return Some(text),
            Value::Integer(text) if is_number || *self == KeyType::Length => return Some(text),
            _ => {}
        }
        let message = format!("this must be {}, not {}", self.wanted(), node.value.what());
        context.problem(Problem::new(&node.place, message));
        None
    }
}

/// A kind of value.
pub trait Kind {
    type Value: Clone;
    /// The key names the file of a credential. The key without `_file` would be the credential itself, which is refused.
    const NAMES_CREDENTIAL: bool = false;
    /// Messages repeat the value, and an error follows it as half a sentence; otherwise it is a whole one.
    const QUOTED: bool = true;

    fn key_type() -> KeyType;

    /// From the text of a value; the error is half a sentence that follows it.
    fn parse(text: &str, context: &Context) -> Result<Self::Value, String>;

    /// From a file or a variable; `None` after a problem that was reported.
    fn read(node: &Node, context: &Context) -> Option<Self::Value> {
        let text = Self::key_type().text(node, context)?;
        let refused = |why: String| {
            let message = match Self::QUOTED {
                true => format!("\"{text}\" {why}"),
                false => why,
            };
            context.problem(Problem::new(&node.place, message));
        };
        Self::parse(text, context).map_err(refused).ok()
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident($key_type:expr $(, $constant:ident = $is:literal)*): $value:ty = $parse:expr;)+) => {$(
        $(#[$doc])*
        pub struct $name;
        impl Kind for $name {
            type Value = $value;
            $(const $constant: bool = $is;)*
            fn key_type() -> KeyType {
                $key_type
            }
            fn parse(text: &str, context: &Context) -> Result<$value, String> {
                $parse(text, context)
            }
        }
    )+};
}

kinds! {
    /// Any string.
    Text(KeyType::Text): String = |text: &str, _| Ok(text.to_owned());
    /// A mount or a path in Vault.
    VaultPath(KeyType::Text): String = |text, _| validate::vault_path(text);
    /// A namespace of Vault; `""` is none.
    Namespace(KeyType::Text): Option<String> = |text: &str, _| not_empty(text.trim_matches('/'), validate::vault_path);
    /// The address of a Vault server.
    Server(KeyType::Text): Url = |text, _| url::server(text);
    /// The address of an environment.
    EnvironmentUrl(KeyType::Text): url::EnvironmentUrl = |text, _| url::dynatrace(text);
    /// The address of a service, without a path.
    Origin(KeyType::Text): BaseUrl = |text, _| url::origin_only(text);
    /// The UUID of an account.
    Uuid(KeyType::Text): String = |text: &str, _| match redact::is_uuid(text) {
        true => Ok(text.to_lowercase()),
        false => Err("is not the UUID of an account: 32 hexadecimal digits and four dashes, as Account Management shows it".to_owned()),
    };
    /// The id of an environment.
    EnvironmentId(KeyType::Text): String = |text, _| validate::environment_id(text);
    /// How a new value is tried.
    Trial(KeyType::Text): Verification = |text, _| verification(text);
    /// The name of a field or a role.
    Name(KeyType::Text): String = |text, _| validate::field(text);
    /// The name of a secret.
    SecretName(KeyType::Text): String = |text, _| validate::secret_name(text);
    /// The name of a server's certificate; `""` is the host of the address.
    TlsName(KeyType::Text): Option<ServerName<'static>> = |text, _| not_empty(text, validate::server_name);
    /// The address of a proxy; `""` is none.
    Proxy(KeyType::Text): Option<Url> = |text, _| not_empty(text, url::proxy);
    /// Where to listen; `""` is nowhere.
    Listen(KeyType::Text): Option<SocketAddr> = |text, _| not_empty(text, listen);
    /// A window in which nothing that is due begins.
    BlackoutWindow(KeyType::Text): Window = |text, _| Window::parse(text);
    /// The name of a scope.
    Scope(KeyType::Text): String = |text, _| rights::scope(text);
    /// The name of a token.
    TokenName(KeyType::Text): String = |text, _| rights::token_name(text);
    /// A folder in Vault; a slash at its end is not part of it.
    VaultFolder(KeyType::Text): String = |text, _| folder(text);
    /// A pattern for paths.
    PathPattern(KeyType::Text): glob::Pattern = |text, _| path_pattern(text);
    /// The lifetime of a new token.
    TokenLifetime(KeyType::Text): Lifetime = |text, _| lifetime(text);
    /// A length of time.
    Length(KeyType::Length): Duration = |text, _| positive(text);
    /// The same; it may be zero.
    LengthOrZero(KeyType::Length): Duration = |text, _| duration::parse(text);
    /// `true` or `false`.
    Flag(KeyType::Flag): bool = |text: &str, _| text.parse().map_err(|_| "is not true or false".to_owned());
    /// A file that is read by others, or later.
    File(KeyType::Text, NAMES_CREDENTIAL = true, QUOTED = false): PathBuf = file;
    /// The file that holds a credential.
    CredentialFile(KeyType::Text, NAMES_CREDENTIAL = true, QUOTED = false): Credential = |text, context: &Context| {
        let path = file(text, context)?;
        let credential = Credential::File(path.clone());
        context.look(|| match credential.read() {
            Err(error) if error.may_come() && context.options.starting => {
                context.warn(format!("{error}; it is waited for"));
                Ok(())
            }
            read => read.map(drop),
        })?;
        context.warn_if_exposed(&path);
        Ok(credential)
    };
    /// The file that holds `USER:PASSWORD`.
    LoginFile(KeyType::Text, NAMES_CREDENTIAL = true, QUOTED = false): PathBuf = |text, context: &Context| {
        let path = file(text, context)?;
        context.look(|| credential::read_login(&path))?;
        context.warn_if_exposed(&path);
        Ok(path)
    };
    /// A PEM file of authorities, or a folder of them; `""` is none.
    Authorities(KeyType::Text, QUOTED = false): Option<PathBuf> = |text: &str, context: &Context| {
        let path = (!text.is_empty()).then(|| context.resolve(text));
        path.as_ref().map_or(Ok(()), |path| context.look(|| http::certificates(path)))?;
        Ok(path)
    };
}

fn not_empty<T>(
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    match text {
        "" => Ok(None),
        text => parse(text).map(Some),
    }
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "is not an address to listen on; write IP:PORT such as \"127.0.0.1:9780\" or \"[::]:9780\", or \"\" for none".to_owned()
    })
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    match text {
        "inherit" => Ok(Lifetime::Inherit),
        "never" => Ok(Lifetime::Never),
        text if text.starts_with(|c: char| c.is_ascii_digit()) => positive(text).map(Lifetime::For),
        _ => Err(
            "is not a lifetime; expected \"inherit\", \"never\" or a length such as \"90d\"".into(),
        ),
    }
}

fn verification(text: &str) -> Result<Verification, String> {
    match text {
        "auto" => Ok(Verification::Auto),
        "listed" => Ok(Verification::Listed),
        word if TRIAL_WORDS.contains(&word) => Ok(Verification::Trial(word.to_owned())),
        path if path.starts_with("GET /platform/") && validate::visible(path).is_ok() => {
            Ok(Verification::Trial(path.to_owned()))
        }
        _ => {
            let words = ["auto", "listed"].into_iter().chain(TRIAL_WORDS);
            let meant =
                did_you_mean(text, words).map_or(String::new(), |meant| format!("; {meant}"));
            Err(format!(
                "is not a way to verify a token (expected \"auto\", \"listed\", \"{}\" or a call such as \"GET /platform/document/v1/documents\"){meant}",
                TRIAL_WORDS.join("\", \"")
            ))
        }
    }
}

/// A folder, with or without the slash at its end.
fn folder(text: &str) -> Result<String, String> {
    let path = validate::vault_path(text.strip_suffix('/').unwrap_or(text))?;
    let Some(at) = path.find(['*', '?', '[']) else {
        return Ok(path);
    };
    let advice = match path[..at].rsplit_once('/') {
        Some((folder, _)) => format!("write \"{folder}/\""),
        None => "name a folder such as \"dynatrace/apps/\"".to_owned(),
    };
    Err(format!(
        "is a pattern, and discover names a folder: every secret below it is found; {advice}, and leave secrets out with exclude"
    ))
}

fn path_pattern(text: &str) -> Result<glob::Pattern, String> {
    validate::field(text)?;
    glob::Pattern::new(text).map_err(|error| format!("is not a valid pattern: {}", error.msg))
}

fn positive(text: &str) -> Result<Duration, String> {
    match duration::parse(text)? {
        Duration::ZERO => Err("must be longer than zero".into()),
        length => Ok(length),
    }
}

/// The path of a file that is named.
fn file(text: &str, context: &Context) -> Result<PathBuf, String> {
    let wrong = match text {
        "" => "must not be empty: it is the name of a file",
        text if redact::is_uuid(text) => "is a credential itself; write it to a file and name that",
        text if text.contains("://") => "is a web address; write it to a file and name that",
        text => return Ok(context.resolve(text)),
    };
    Err(format!("this {wrong}"))
}

/// One or several of a kind, each with its place.
pub struct Several<K>(PhantomData<K>);

/// The same, or none.
pub struct AnyNumber<K>(PhantomData<K>);

impl<K: Kind> Kind for AnyNumber<K> {
    type Value = Vec<Placed<K::Value>>;

    fn key_type() -> KeyType {
        KeyType::List
    }

    fn parse(text: &str, context: &Context) -> Result<Self::Value, String> {
        Several::<K>::parse(text, context)
    }

    fn read(node: &Node, context: &Context) -> Option<Self::Value> {
        match &node.value {
            Value::List(items) if items.is_empty() => Some(vec![]),
            _ => Several::<K>::read(node, context),
        }
    }
}

impl<K: Kind> Kind for Several<K> {
    type Value = Vec<Placed<K::Value>>;

    fn key_type() -> KeyType {
        KeyType::Texts
    }

    fn parse(text: &str, context: &Context) -> Result<Self::Value, String> {
        let place = Place::Variable("default".into());
        let value = K::parse(text, context)?;
        Ok(vec![Placed { value, place }])
    }

    fn read(node: &Node, context: &Context) -> Option<Self::Value> {
        let items = match &node.value {
            Value::List(items) if items.is_empty() => {
                context.problem(Problem::new(&node.place, "this list is empty"));
                return None;
            }
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let item = |node: &Node| {
            let place = node.place.clone();
            Some(Placed {
                value: K::read(node, context)?,
                place,
            })
        };
        let read: Vec<_> = items.iter().map(item).collect();
        read.into_iter().collect()
    }
}

/// A type whose values have names in the configuration.
pub trait Words: Clone + 'static {
    const WORDS: &'static [(&'static str, Self)];
}

/// One of a few words.
pub struct OneOf<T>(PhantomData<T>);

impl<T: Words> Kind for OneOf<T> {
    type Value = T;

    fn key_type() -> KeyType {
        KeyType::Words(T::WORDS.iter().map(|(word, _)| *word).collect())
    }

    fn parse(text: &str, _: &Context) -> Result<T, String> {
        if let Some((_, value)) = T::WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(value.clone());
        }
        let words = T::WORDS.iter().map(|(word, _)| *word);
        let quoted: Vec<String> = words.clone().map(|word| format!("\"{word}\"")).collect();
        let expected = match quoted.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => quoted.concat(),
        };
        let why = format!("is invalid (expected {expected})");
        Err(match did_you_mean(text, words) {
            Some(meant) => format!("{why}; {meant}"),
            None => why,
        })
    }
}

/// A whole number within bounds.
pub struct Whole<const MIN: i64, const MAX: i64>;

impl<const MIN: i64, const MAX: i64> Kind for Whole<MIN, MAX> {
    type Value = usize;

    fn key_type() -> KeyType {
        KeyType::Integer(MIN, MAX)
    }

    fn parse(text: &str, _: &Context) -> Result<usize, String> {
        let number = text
            .parse()
            .ok()
            .filter(|number| (MIN..=MAX).contains(number));
        let number = number.and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| format!("is not a number between {MIN} and {MAX}"))
    }
}
