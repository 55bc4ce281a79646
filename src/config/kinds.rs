//! The kinds of values that keys accept: how each is read and what is said about a value that does not fit.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::time::Duration;

use super::context::{Context, did_you_mean};
use super::file::{Node, Value};
use super::problem::{Place, Placed, Problem};
use super::{duration, redact, url, validate};
use rotation::plan::Lifetime;

/// The values that a key accepts, for the schema and the reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// A string.
    Text,
    /// A string or a list of strings.
    Texts,
    /// One of these strings.
    Words(Vec<&'static str>),
    /// A length of time.
    Length,
    /// `true` or `false`.
    Flag,
    /// A whole number between these bounds.
    Integer(i64, i64),
}

/// A kind of value.
pub trait Kind {
    type Value: Clone;
    /// The key names the file of a credential. The key without `_file` would be the credential itself, which is refused.
    const NAMES_CREDENTIAL: bool = false;

    fn key_type() -> KeyType {
        KeyType::Text
    }

    /// The value of `key`, or `None` after a problem that was reported.
    fn read(node: &Node, key: &str, context: &Context) -> Option<Self::Value>;
}

/// A value from the sample of a declaration.
pub fn from_sample<K: Kind>(sample: &str) -> Option<K::Value> {
    let node = Node {
        place: Place::Variable("sample".into()),
        value: Value::Override(sample.trim_matches('"').to_owned()),
    };
    K::read(&node, "", &Context::default())
}

fn wrong_type(node: &Node, wanted: &str, context: &Context) {
    let message = format!("this must be {wanted}, not {}", node.value.what());
    context.problem(Problem::new(&node.place, message));
}

fn text<'a>(node: &'a Node, wanted: &str, context: &Context) -> Option<&'a str> {
    match &node.value {
        Value::Text(text) | Value::Override(text) => Some(text),
        _ => {
            wrong_type(node, wanted, context);
            None
        }
    }
}

/// A string that `parse` accepts; its error is half a sentence that follows the value.
fn parsed<T>(
    node: &Node,
    context: &Context,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let text = text(node, "a string", context)?;
    let refused = |why| {
        let message = format!("\"{text}\" {why}");
        context.problem(Problem::new(&node.place, message));
    };
    parse(text).map_err(refused).ok()
}

macro_rules! parsed_kinds {
    ($($(#[$doc:meta])* $name:ident: $value:ty = $parse:expr;)+) => {$(
        $(#[$doc])*
        pub struct $name;
        impl Kind for $name {
            type Value = $value;
            fn read(node: &Node, _key: &str, context: &Context) -> Option<$value> {
                parsed(node, context, $parse)
            }
        }
    )+};
}

parsed_kinds! {
    /// Any string.
    Text: String = |text| Ok(text.to_owned());
    /// A mount or a path in Vault.
    VaultPath: String = validate::vault_path;
    /// The name of a field or a role.
    Name: String = validate::field;
    /// The name of a secret.
    SecretName: String = validate::secret_name;
    /// The address of a proxy; `""` is none.
    Proxy: Option<String> = |text| match text {
        "" => Ok(None),
        text => url::proxy(text).map(Some),
    };
    /// Where to listen; `""` is nowhere.
    Listen: Option<SocketAddr> = |text| match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            "is not an address to listen on; write IP:PORT such as \"127.0.0.1:9780\" or \"[::]:9780\", or \"\" for none".to_owned()
        }),
    };
    /// The lifetime of a new token.
    TokenLifetime: Lifetime = lifetime;
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    match text {
        "inherit" => Ok(Lifetime::Inherit),
        "never" => Ok(Lifetime::Never),
        text => match duration::parse(text) {
            Ok(length) if length.is_zero() => Err("must be longer than zero".into()),
            Ok(length) => Ok(Lifetime::For(length)),
            Err(why) if text.starts_with(|c: char| c.is_ascii_digit()) => Err(why),
            Err(_) => Err(
                "is not a lifetime; expected \"inherit\", \"never\" or a length such as \"90d\""
                    .into(),
            ),
        },
    }
}

/// The file that holds a credential.
pub struct CredentialFile;

impl Kind for CredentialFile {
    type Value = String;
    const NAMES_CREDENTIAL: bool = true;

    fn read(node: &Node, key: &str, context: &Context) -> Option<String> {
        let text = text(node, "a string", context)?;
        let instead = match text {
            text if redact::is_uuid(text) => "the credential itself",
            text if text.contains("://") => "a web address",
            text => return Some(text.to_owned()),
        };
        let message = format!("{key} holds {instead} instead of the name of a file");
        context.problem(Problem::new(&node.place, message));
        None
    }
}

/// A string, or a list of strings that is not empty.
pub struct Texts;

impl Kind for Texts {
    type Value = Vec<Placed<String>>;

    fn key_type() -> KeyType {
        KeyType::Texts
    }

    fn read(node: &Node, _key: &str, context: &Context) -> Option<Self::Value> {
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if items.is_empty() {
            context.problem(Problem::new(&node.place, "this list is empty"));
        }
        let item = |item: &Node| {
            let text = text(item, "a string or a list of strings", context)?;
            Some(Placed {
                value: text.to_owned(),
                place: item.place.clone(),
            })
        };
        let texts: Vec<_> = items.iter().filter_map(item).collect();
        (!texts.is_empty()).then_some(texts)
    }
}

/// The names of one field or several, each once.
pub struct Fields;

impl Kind for Fields {
    type Value = Vec<String>;

    fn key_type() -> KeyType {
        KeyType::Texts
    }

    fn read(node: &Node, key: &str, context: &Context) -> Option<Self::Value> {
        let mut names: Vec<String> = Vec::new();
        let mut refused = false;
        for text in Texts::read(node, key, context)? {
            let why = match validate::field(&text.value) {
                Err(why) => why,
                Ok(name) if names.contains(&name) => "is listed twice".to_owned(),
                Ok(name) => {
                    names.push(name);
                    continue;
                }
            };
            refused = true;
            let message = format!("\"{}\" {why}", text.value);
            context.problem(Problem::new(&text.place, message));
        }
        (!refused).then_some(names)
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

    fn read(node: &Node, _key: &str, context: &Context) -> Option<T> {
        let text = text(node, "a string", context)?;
        let words = || T::WORDS.iter().map(|(word, _)| *word);
        if let Some((_, value)) = T::WORDS.iter().find(|(word, _)| *word == text) {
            return Some(value.clone());
        }
        let quoted: Vec<String> = words().map(|word| format!("\"{word}\"")).collect();
        let expected = match quoted.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => quoted.concat(),
        };
        let message = format!("invalid value \"{text}\": expected {expected}");
        let problem = Problem::new(&node.place, message);
        context.problem(match did_you_mean(text, words()) {
            Some(meant) => problem.help(meant),
            None => problem,
        });
        None
    }
}

/// A length of time; `ZERO`: it may be zero. A bare number is refused.
pub struct Length<const ZERO: bool>;

impl<const ZERO: bool> Kind for Length<ZERO> {
    type Value = Duration;

    fn key_type() -> KeyType {
        KeyType::Length
    }

    fn read(node: &Node, _key: &str, context: &Context) -> Option<Duration> {
        if let Value::Integer(number) = node.value {
            let number = number.map(|n| n.to_string()).unwrap_or_default();
            let message = format!(
                "a bare number has no unit; write \"{number}s\", \"{number}m\", \"{number}h\" or \"{number}d\""
            );
            context.problem(Problem::new(&node.place, message));
            return None;
        }
        let text = text(node, "a length of time such as \"15m\"", context)?;
        let why = match duration::parse(text) {
            Ok(length) if length.is_zero() && !ZERO => "must be longer than zero".to_owned(),
            Ok(length) => return Some(length),
            Err(why) => why,
        };
        let message = format!("\"{text}\" {why}");
        context.problem(Problem::new(&node.place, message));
        None
    }
}

/// `true` or `false`.
pub struct Flag;

impl Kind for Flag {
    type Value = bool;

    fn key_type() -> KeyType {
        KeyType::Flag
    }

    fn read(node: &Node, _key: &str, context: &Context) -> Option<bool> {
        match &node.value {
            Value::Boolean(flag) => Some(*flag),
            Value::Override(text) if text == "true" => Some(true),
            Value::Override(text) if text == "false" => Some(false),
            _ => {
                wrong_type(node, "true or false", context);
                None
            }
        }
    }
}

/// A whole number within bounds.
pub struct Whole<const MIN: i64, const MAX: i64>;

impl<const MIN: i64, const MAX: i64> Kind for Whole<MIN, MAX> {
    type Value = usize;

    fn key_type() -> KeyType {
        KeyType::Integer(MIN, MAX)
    }

    fn read(node: &Node, _key: &str, context: &Context) -> Option<usize> {
        let number = match &node.value {
            Value::Integer(number) => *number,
            Value::Override(text) => text.parse().ok(),
            _ => {
                wrong_type(node, "a whole number", context);
                return None;
            }
        };
        let number = number.filter(|number| (MIN..=MAX).contains(number));
        let number = number.and_then(|number| usize::try_from(number).ok());
        if number.is_none() {
            let message = format!("this must be between {MIN} and {MAX}");
            context.problem(Problem::new(&node.place, message));
        }
        number
    }
}
