//! Reading the contents of a delta.

use smallvec::SmallVec;

use crate::codec::contents::{ColumnNumber, Form, MAX_SHARED_LEN, Read, at_distance, number_payload, unzigzag};
use crate::codec::cursor::Cursor;
use crate::codec::error::DecodeError;
use crate::kernel::{Part, Payload};
use crate::kinds::entity::NODE;
use crate::kinds::payload::{FLOAT, OPEN_ENDS};

const NO_COLUMN: DecodeError = DecodeError::Malformed("a content without a column");

struct ReadColumn<'a> {
    form: Form,
    recent: Read,
    last: i64,
    rest: Cursor<'a>,
}

pub(in crate::codec) struct ReadContents<'a> {
    /// Field and code of the form of each column, sorted.
    names: Vec<(u32, u64)>,
    columns: Vec<ReadColumn<'a>>,
}

impl<'a> ReadContents<'a> {
    /// Finds the columns, one for each of these fields and forms.
    pub(in crate::codec) fn new(
        mut cursor: Cursor<'a>,
        forms: impl Iterator<Item = (u32, Form)>,
    ) -> Result<Self, DecodeError> {
        let with_column = forms.filter(|(_, form)| form.has_column());
        let mut names: Vec<(u32, u64)> = with_column.map(|(field, form)| (field, form.code())).collect();
        names.sort_unstable();
        names.dedup();
        let mut lens = Vec::with_capacity(names.len().min(cursor.rest().len()));
        for _ in &names {
            lens.push(cursor.number()?);
        }
        let mut columns = Vec::with_capacity(lens.len());
        for ((_, code), len) in names.iter().zip(lens) {
            let (form, rest) = (Form::of_code(*code)?, Cursor::new(cursor.take(len)?));
            columns.push(ReadColumn { form, recent: Read::default(), last: 0, rest });
        }
        cursor.end()?;
        Ok(Self { names, columns })
    }

    pub(in crate::codec) fn column(&self, field: u32, form: Form) -> ColumnNumber {
        let found = form.has_column().then(|| self.names.binary_search(&(field, form.code())).ok());
        found.flatten().map_or(ColumnNumber::NONE, |number| ColumnNumber(number as u32))
    }

    /// The next content of a column; not for ends.
    pub(in crate::codec) fn read(&mut self, number: ColumnNumber) -> Result<Payload, DecodeError> {
        let Some(column) = self.columns.get_mut(number.0 as usize) else { return Err(NO_COLUMN) };
        Ok(match column.form {
            Form::Number => number_payload(column.read_number()?),
            Form::Whole => Payload::new(FLOAT, &(column.read_number()? as f64).to_be_bytes()),
            Form::Fixed => Payload::new(FLOAT, &column.rest.array::<8>()?),
            Form::Short(len) => {
                let mut bytes = [0; 8];
                bytes[..usize::from(len)].copy_from_slice(column.rest.take(len.into())?);
                Payload::new(FLOAT, &bytes)
            }
            Form::Bytes(kind) => column.recent.read(&mut column.rest, kind)?.clone(),
            Form::Tombstone | Form::Empty(_) | Form::Ends(_) => return Err(NO_COLUMN),
        })
    }

    /// The next ends of a column. `parts` are all of the delta, in the order of the wire.
    pub(in crate::codec) fn read_ends(&mut self, number: ColumnNumber, parts: &[Part]) -> Result<Payload, DecodeError> {
        let Some(column) = self.columns.get_mut(number.0 as usize) else { return Err(NO_COLUMN) };
        let Form::Ends(kind) = column.form else { return Err(NO_COLUMN) };
        let mut bytes = SmallVec::<[u8; 128]>::new();
        let rest = &mut column.rest;
        if kind == OPEN_ENDS {
            bytes.push(rest.byte()?);
        }
        let mut end = |from: i64| {
            let Some(difference) = rest.number()?.checked_sub(1) else {
                bytes.extend_from_slice(&rest.array::<16>()?);
                return Ok(from);
            };
            let place = from.wrapping_add(unzigzag(difference));
            let part = usize::try_from(place).ok().and_then(|place| parts.get(place));
            let part = part.filter(|part| part.entity.kind() == NODE);
            bytes.extend_from_slice(part.ok_or(DecodeError::Malformed("an end that is no node"))?.entity.id());
            Ok(place)
        };
        column.last = end(column.last)?;
        end(column.last)?;
        bytes.extend_from_slice(&rest.number()?.to_be_bytes());
        let edge_type = column.recent.read(&mut column.rest, 0)?.bytes();
        if edge_type.len() > MAX_SHARED_LEN {
            return Err(DecodeError::Malformed("ends whose type is too long"));
        }
        bytes.extend_from_slice(edge_type);
        Ok(Payload::new(kind, &bytes))
    }

    pub(in crate::codec) fn end(self) -> Result<(), DecodeError> {
        self.columns.into_iter().try_for_each(|column| column.rest.end())
    }
}

impl ReadColumn<'_> {
    fn read_number(&mut self) -> Result<i64, DecodeError> {
        self.last = at_distance(self.last as u64, unzigzag(self.rest.number()?)) as i64;
        Ok(self.last)
    }
}
