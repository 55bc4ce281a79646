//! Journal documents of secrets at rest. A run needs the whole document (otherwise it would have to read it first, which is one more call for each
//! rotation), and nothing else does, so between two runs it is kept as the difference between its text and that of a similar one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use rotation::ports::JournalRead;
use rotation::record::Record;
use rotation::request::JournalSnapshot;

/// Shorter matches cost as much as the bytes themselves.
const LEAST: usize = 4;
/// Slots of the index of a model's text.
const SLOTS: usize = 4096;
/// A slot that is free.
const NOWHERE: u16 = u16::MAX;
/// Slots of the index of a text that is being packed.
const OWN_SLOTS: usize = 1024;

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

    /// Makes it small until it is needed.
    pub fn rest(&mut self, models: &mut Models) {
        if let Form::Open(record) = &self.form
            && let Some(packed) = models.pack(record)
        {
            self.form = Form::AtRest(packed);
        }
    }
}

/// The texts that documents are compared with: the first one of each environment or account, which has all that is the same there.
#[derive(Default)]
pub struct Models(BTreeMap<String, Arc<Model>>);

impl Models {
    fn pack(&mut self, record: &Record) -> Option<Packed> {
        let text = serde_json::to_vec(record).ok()?;
        let url = &record.coordinates.base_url;
        let model = match self.0.get(url) {
            Some(model) => model.clone(),
            None => {
                let model = Arc::new(Model::new(text.clone())?);
                self.0.insert(url.clone(), model.clone());
                model
            }
        };
        let bytes = model.pack(&text).into();
        Some(Packed { model, bytes })
    }
}

/// A text, and where each group of four bytes is in it.
struct Model {
    text: Vec<u8>,
    index: Box<[u16]>,
}

/// The difference between a document's text and a model's.
#[derive(Clone)]
struct Packed {
    model: Arc<Model>,
    bytes: Arc<[u8]>,
}

impl Packed {
    /// None = it is damaged, which is a fault of ours; then the next run reads the document.
    fn open(&self) -> Option<Record> {
        let text = self.model.unpack(&self.bytes)?;
        serde_json::from_slice(&text).ok()
    }
}

/// Parts of a text, alternating: bytes as they are, and a piece of the model or of the text so far. A piece is named by its length and by where it
/// begins, counted from the end of the one before: documents are alike in order and mostly in length.
impl Model {
    fn new(text: Vec<u8>) -> Option<Model> {
        u16::try_from(text.len()).ok()?;
        let mut index = vec![NOWHERE; SLOTS].into_boxed_slice();
        for (at, group) in text.windows(LEAST).enumerate() {
            index[slot(group)] = at as u16;
        }
        Some(Model { text, index })
    }

    fn pack(&self, text: &[u8]) -> Vec<u8> {
        let mut packed = Vec::with_capacity(text.len() / 4);
        let (mut at, mut begin, mut expected) = (0, 0, 0);
        let (mut own, mut noted) = ([usize::MAX; OWN_SLOTS], 0);
        while at < text.len() {
            let here = &text[at..];
            // Where the model continues after as many bytes as were different.
            let aligned = expected + (at - begin);
            let indexed = here.get(..LEAST).map(|group| self.index[slot(group)]);
            let indexed = indexed.filter(|from| *from != NOWHERE).map(usize::from);
            let found = [Some(aligned), indexed].into_iter().flatten();
            let found = found.map(|from| (common(here, self.text.get(from..)), from));
            for from in noted..at {
                if let Some(group) = text.get(from..from + LEAST) {
                    own[slot(group) % OWN_SLOTS] = from;
                }
            }
            noted = at;
            let earlier = here.get(..LEAST).map(|group| own[slot(group) % OWN_SLOTS]);
            let earlier = earlier.filter(|from| *from < at);
            let earlier =
                earlier.map(|from| (common(here, text.get(from..)), self.text.len() + from));
            let best = found.chain(earlier).max_by_key(|(length, _)| *length);
            match best.filter(|(length, _)| *length >= LEAST) {
                None => at += 1,
                Some((length, from)) => {
                    let literal = &text[begin..at];
                    put(&mut packed, literal.len());
                    packed.extend_from_slice(literal);
                    put(&mut packed, length);
                    put(&mut packed, zigzag(from, expected + literal.len()));
                    at += length;
                    begin = at;
                    expected = from + length;
                }
            }
        }
        put(&mut packed, text.len() - begin);
        packed.extend_from_slice(&text[begin..]);
        packed
    }

    fn unpack(&self, mut packed: &[u8]) -> Option<Vec<u8>> {
        let (mut text, mut expected) = (Vec::with_capacity(2 * self.text.len()), 0);
        loop {
            let length = take(&mut packed)?;
            text.extend_from_slice(packed.get(..length)?);
            packed = &packed[length..];
            if packed.is_empty() {
                return Some(text);
            }
            let count = take(&mut packed)?;
            let from = unzigzag(take(&mut packed)?, expected + length)?;
            match from.checked_sub(self.text.len()) {
                None => text.extend_from_slice(self.text.get(from..from.checked_add(count)?)?),
                // It may reach into itself.
                Some(from) => {
                    for at in from..from.checked_add(count)? {
                        let byte = *text.get(at)?;
                        text.push(byte);
                    }
                }
            }
            expected = from + count;
        }
    }
}

fn slot(group: &[u8]) -> usize {
    let group = [group[0], group[1], group[2], group[3]];
    (u32::from_le_bytes(group).wrapping_mul(0x9E37_79B1) >> 20) as usize
}

/// How many bytes two texts begin with alike.
fn common(text: &[u8], other: Option<&[u8]>) -> usize {
    let pairs = text.iter().zip(other.unwrap_or_default());
    pairs.take_while(|(a, b)| a == b).count()
}

/// Appends a number, seven bits in a byte.
fn put(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<usize> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= usize::from(first & 0x7f).checked_shl(shift)?;
        if first & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}

/// The distance from `expected` to `from` as a number that is small when it is small in either direction.
fn zigzag(from: usize, expected: usize) -> usize {
    match from.checked_sub(expected) {
        Some(ahead) => 2 * ahead,
        None => 2 * (expected - from) - 1,
    }
}

fn unzigzag(distance: usize, expected: usize) -> Option<usize> {
    match distance % 2 {
        0 => expected.checked_add(distance / 2),
        _ => expected.checked_sub(distance / 2 + 1),
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
        let model = Model::new(serde_json::to_vec(&record("dynatrace/one")).unwrap()).unwrap();
        let text = serde_json::to_vec(&record("dynatrace/two")).unwrap();
        let packed = model.pack(&text);
        assert!(
            packed.len() < text.len() / 8,
            "{} of {}",
            packed.len(),
            text.len()
        );
        assert_eq!(model.unpack(&packed), Some(text));
    }

    #[test]
    fn every_text_comes_back_and_a_damaged_one_is_refused() {
        let model = Model::new(b"the quick brown fox jumps over the lazy dog".to_vec()).unwrap();
        let texts: [&[u8]; 6] = [
            b"",
            b"x",
            b"the quick brown fox jumps over the lazy dog",
            b"over the lazy dog the quick brown fox, and over the lazy dog once more",
            b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            &[
                0, 255, 128, 127, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        ];
        for text in texts {
            let packed = model.pack(text);
            assert_eq!(model.unpack(&packed).as_deref(), Some(text));
            for end in 0..packed.len() {
                assert_ne!(model.unpack(&packed[..end]).as_deref(), Some(text));
            }
        }
        assert_eq!(model.unpack(&[0, 5, 250, 250, 250, 9]), None);
    }
}
