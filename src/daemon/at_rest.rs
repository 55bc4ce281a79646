//! Journal documents of secrets at rest. A run needs the whole document (otherwise it would have to read it first, which is one more call for each
//! rotation), and nothing else does, so between two runs it is kept compressed, with a similar document as the dictionary.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};

use rotation::ports::JournalRead;
use rotation::record::Record;
use rotation::request::JournalSnapshot;

/// A journal document as last known.
#[derive(Clone)]
pub struct Document {
    /// The version to check-and-set against.
    pub version: u64,
    form: Form,
}

#[derive(Clone)]
enum Form {
    /// There is none.
    Absent,
    Open(Box<Record>),
    AtRest(Packed),
}

impl From<JournalSnapshot> for Document {
    fn from(known: JournalSnapshot) -> Self {
        Document {
            version: known.cas,
            form: known.record.map_or(Form::Absent, Form::Open),
        }
    }
}

impl Document {
    /// What was read; none = it cannot be read.
    pub fn read(read: JournalRead) -> Result<Document, String> {
        let (cas, record) = match read {
            JournalRead::Present { version, record } => (version, Some(record)),
            JournalRead::Absent { cas } => (cas, None),
            JournalRead::Unreadable { why } => return Err(why),
        };
        Ok(JournalSnapshot { cas, record }.into())
    }

    /// Its content, if there is one.
    pub fn record(&self) -> Option<Cow<'_, Record>> {
        match &self.form {
            Form::Absent => None,
            Form::Open(record) => Some(Cow::Borrowed(record)),
            Form::AtRest(packed) => packed.open().map(Cow::Owned),
        }
    }

    /// The same, as a run is started with.
    pub fn snapshot(&self) -> JournalSnapshot {
        JournalSnapshot {
            cas: self.version,
            record: self.record().map(|record| Box::new(record.into_owned())),
        }
    }

    /// There is no document, as far as is known.
    pub fn is_absent(&self) -> bool {
        matches!(self.form, Form::Absent)
    }

    /// Compresses it until it is needed.
    pub fn rest(&mut self, models: &mut Models) {
        if let Form::Open(record) = &self.form
            && let Some(packed) = models.pack(record)
        {
            self.form = Form::AtRest(packed);
        }
    }
}

/// The dictionaries: the text of the first document of each environment or account, which has all that is the same there.
#[derive(Default)]
pub struct Models(BTreeMap<String, Arc<[u8]>>);

impl Models {
    fn pack(&mut self, record: &Record) -> Option<Packed> {
        let text = serde_json::to_vec(record).ok()?;
        let url = &record.coordinates.base_url;
        let model = match self.0.get(url) {
            Some(model) => model.clone(),
            None => {
                let model: Arc<[u8]> = text.as_slice().into();
                self.0.insert(url.clone(), model.clone());
                model
            }
        };
        let bytes = compress_prepend_size_with_dict(&text, &model).into();
        Some(Packed { model, bytes })
    }
}

/// A document's text, compressed with a model's as the dictionary.
#[derive(Clone)]
struct Packed {
    model: Arc<[u8]>,
    bytes: Arc<[u8]>,
}

impl Packed {
    /// None = it is damaged, which would be a bug; the next run then reads the document again.
    fn open(&self) -> Option<Record> {
        let text = decompress_size_prepended_with_dict(&self.bytes, &self.model).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use rotation::marker::Epoch;
    use rotation::plan::{Kind, Place};

    fn record(name: &str) -> Record {
        let epoch = Epoch {
            installation: "abc123".into(),
            secret: name.len().to_string(),
        };
        let coordinates = Place {
            mount: "secret".into(),
            fields: vec!["token".into()],
            environment: "production".into(),
            base_url: "https://e".into(),
            kind: Kind::Api,
        }
        .at(name);
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        Record::blank(name, epoch, coordinates, now)
    }

    #[test]
    fn a_document_comes_back_as_it_was() {
        let mut models = Models::default();
        for name in [
            "one",
            "another",
            "dynatrace/a/somewhat/longer/name",
            "éèê/ü",
        ] {
            let mut record = record(name);
            record.write_id = format!("{:032x}", name.len() * 0x1234_5678_9abc);
            record.unknown.insert("new".into(), "x".repeat(300).into());
            let known = JournalSnapshot {
                cas: 7,
                record: Some(Box::new(record)),
            };
            let mut document = Document::from(known.clone());
            document.rest(&mut models);
            assert!(matches!(document.form, Form::AtRest(_)));
            assert_eq!(document.snapshot(), known);
        }
        assert_eq!(models.0.len(), 1);
    }

    #[test]
    fn what_is_alike_takes_little_space() {
        let mut models = Models::default();
        models.pack(&record("dynatrace/one")).unwrap();
        let other = record("dynatrace/two");
        let packed = models.pack(&other).unwrap().bytes.len();
        let text = serde_json::to_vec(&other).unwrap().len();
        assert!(packed < text / 6, "{packed} of {text}");
    }
}
