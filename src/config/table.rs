//! Declares the tables of a configuration file. Each key is declared once, as a field with a doc comment, a kind and a sample; reading,
//! defaults, schema, reference files and the names of `DTROTATE_*` overrides follow from that.

use super::context::Context;
use super::kinds::{KeyType, Kind};
use super::problem::Placed;
use super::section::Section;

/// What the sample of a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An example of a key that is required, or that most people set.
    Shown,
    /// The value where the key is absent.
    Default,
    /// An example of a key that is optional and has no fixed default.
    Example,
}

/// The declaration of a key.
#[derive(Clone, Debug)]
pub struct KeyDoc {
    /// Its name.
    pub name: &'static str,
    /// Its description, one line or several.
    pub(super) doc: &'static str,
    /// The values it accepts.
    pub key_type: KeyType,
    /// What `sample` is.
    pub role: Role,
    /// A value as TOML.
    pub sample: &'static str,
    /// Variables of Vault's client that hold where the key is absent, without `BAO_` or `VAULT_`.
    pub(super) variables: &'static [&'static str],
}

impl KeyDoc {
    /// Its description on one line, with the variables.
    pub fn doc(&self) -> String {
        let words: Vec<&str> = self.doc.split_whitespace().collect();
        let variables = self.variables.iter();
        let variables: Vec<String> = variables
            .flat_map(|name| ["BAO", "VAULT"].map(|prefix| format!("`{prefix}_{name}`")))
            .collect();
        match (words.join(" "), variables.is_empty()) {
            (text, true) => text,
            (text, false) => {
                let text = text.trim_end_matches('.');
                format!("{text}; default: {}.", variables.join(", "))
            }
        }
    }
}

/// The declaration of a table.
#[derive(Clone, Debug)]
pub struct TableDoc {
    /// Its dotted name; `*` stands for a name of the user's choice.
    pub name: &'static str,
    /// Its description: the first line is a summary.
    pub doc: &'static str,
    /// Its keys.
    pub keys: Vec<KeyDoc>,
}

/// A table that was declared with [`table!`].
pub trait Table: Sized {
    const DOC: &'static str;

    fn keys() -> Vec<KeyDoc>;

    /// Reads its keys; problems are reported to the section's context.
    fn read(section: &Section<'_>) -> Self;

    /// Reads its keys and refuses all others.
    fn read_all(section: Section<'_>) -> Self {
        let table = Self::read(&section);
        section.finish();
        table
    }

    fn describe(name: &'static str) -> TableDoc {
        TableDoc {
            name,
            doc: Self::DOC.trim(),
            keys: Self::keys(),
        }
    }
}

/// What a table says about one key.
pub struct Given<T> {
    placed: Option<Placed<T>>,
    /// The key is there and its value was refused; the problem is reported already.
    refused: bool,
    default: fn() -> Option<T>,
}

impl<T: Clone> Given<T> {
    pub fn new(placed: Option<Placed<T>>, is_there: bool, default: fn() -> Option<T>) -> Given<T> {
        Given {
            refused: is_there && placed.is_none(),
            placed,
            default,
        }
    }

    /// The value that was written and accepted.
    pub fn given(&self) -> Option<&Placed<T>> {
        self.placed.as_ref()
    }

    /// Whether the key is there, valid or not.
    pub fn is_present(&self) -> bool {
        self.refused || self.placed.is_some()
    }

    /// The value, or a copy of the declared default; `None` where there is none, and where one was written and refused.
    pub fn value(&self) -> Option<T> {
        match &self.placed {
            Some(placed) => Some(placed.value.clone()),
            None if self.refused => None,
            None => (self.default)(),
        }
    }

    /// The value of a key that is declared with a default, also where one was written and refused.
    pub fn or_default(&self) -> T {
        self.value()
            .or_else(self.default)
            .expect("a key that is read like this has a default of its kind")
    }
}

/// The declared default of a key.
pub fn default_of<K: Kind>(role: Role, sample: &str) -> Option<K::Value> {
    let text = sample.trim_matches('"');
    let parsed = (role == Role::Default).then(|| K::parse(text, &Context::default()));
    parsed?.ok()
}

/// A key whose name is a word of the language is declared as `r#match`.
pub fn key_name(declared: &'static str) -> &'static str {
    declared.strip_prefix("r#").unwrap_or(declared)
}

/// `table! { /// doc  given struct NAME { /// doc  key: Kind = Role "sample", } }` declares a table whose fields are [`Given`];
/// with `values` in place of `given` they are the values, with the defaults filled in, and absent examples are `None`.
/// `NAME with field: OTHER` adds the keys of another table; `or ["X"]` behind a sample lets `BAO_X` and `VAULT_X` hold where the key is
/// absent.
macro_rules! table {
    ($(#[doc = $doc:literal])+ given struct $name:ident $(with $part:ident: $part_type:ident)? {
        $($(#[doc = $key_doc:literal])+ $key:ident: $kind:ty = $role:ident $sample:literal $(or $variables:expr)?,)+
    }) => {
        $(#[doc = $doc])+
        pub struct $name {
            $($(#[doc = $key_doc])+ pub $key: $crate::config::table::Given<<$kind as Kind>::Value>,)+
            $(pub $part: $part_type,)?
        }
        impl Table for $name {
            table!(@declaration [$($doc)+] { $($key: $kind = $role $sample [$($key_doc)+] [$($variables)?],)+ } $($part_type)?);
            fn read(section: &Section<'_>) -> Self {
                $name {
                    $($key: table!(@given section $key: $kind = $role $sample [$($variables)?]),)+
                    $($part: $part_type::read(section),)?
                }
            }
        }
    };
    ($(#[doc = $doc:literal])+ values struct $name:ident {
        $($(#[doc = $key_doc:literal])+ $key:ident: $kind:ty = $role:ident $sample:literal,)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $key_doc])+ pub $key: table!(@value $role $kind),)+
        }
        impl Table for $name {
            table!(@declaration [$($doc)+] { $($key: $kind = $role $sample [$($key_doc)+] [],)+ });
            fn read(section: &Section<'_>) -> Self {
                $name { $($key: table!(@read $role table!(@given section $key: $kind = $role $sample [])),)+ }
            }
        }
    };
    (@declaration [$($doc:literal)+] {
        $($key:ident: $kind:ty = $role:ident $sample:literal [$($key_doc:literal)+] [$($variables:expr)?],)+
    } $($part:ident)?) => {
        const DOC: &'static str = concat!($($doc, "\n"),+);
        fn keys() -> Vec<$crate::config::table::KeyDoc> {
            let own = [$($crate::config::table::KeyDoc {
                name: $crate::config::table::key_name(stringify!($key)),
                doc: concat!($($key_doc, "\n"),+),
                key_type: <$kind as Kind>::key_type(),
                role: Role::$role,
                sample: $sample,
                variables: table!(@variables $($variables)?),
            },)+];
            own.into_iter()$(.chain($part::keys()))?.collect()
        }
    };
    (@given $section:ident $key:ident: $kind:ty = $role:ident $sample:literal [$($variables:expr)?]) => {
        $section.read::<$kind>(
            $crate::config::table::key_name(stringify!($key)),
            table!(@variables $($variables)?),
            || $crate::config::table::default_of::<$kind>(Role::$role, $sample),
        )
    };
    (@variables) => { &[] };
    (@variables $variables:expr) => { &$variables };
    (@value Default $kind:ty) => { <$kind as Kind>::Value };
    (@value $role:ident $kind:ty) => { Option<<$kind as Kind>::Value> };
    (@read Default $given:expr) => { $given.or_default() };
    (@read $role:ident $given:expr) => { $given.value() };
}
pub(super) use table;
