//! Writing the contents of a delta.

use smallvec::SmallVec;

use crate::codec::contents::{ColumnNumber, Ends, Form, Places, Written, ends_of, number_of, whole_of};
use crate::kernel::Payload;
use crate::numbers::{write_number, zigzag};

struct WriteColumn<'a> {
    field: u32,
    form: Form,
    recent: Written<'a>,
    /// The number before; of ends, the place of the source before.
    last: i64,
    out: Vec<u8>,
}

pub(in crate::codec) struct WriteContents<'a> {
    places: Places,
    columns: Vec<WriteColumn<'a>>,
    /// The columns of each field.
    by_field: Vec<SmallVec<[u32; 2]>>,
}

impl<'a> WriteContents<'a> {
    pub(in crate::codec) fn new(places: Places) -> Self {
        Self { places, columns: Vec::new(), by_field: Vec::new() }
    }

    /// Finds the column of a field and form, or begins it.
    pub(in crate::codec) fn column(&mut self, field: u32, form: Form) -> ColumnNumber {
        if !form.has_column() {
            return ColumnNumber::NONE;
        }
        if self.by_field.len() <= field as usize {
            self.by_field.resize_with(field as usize + 1, SmallVec::new);
        }
        let of_field = &mut self.by_field[field as usize];
        let known = of_field.iter().find(|number| self.columns[**number as usize].form == form);
        ColumnNumber(known.copied().unwrap_or_else(|| {
            let number = self.columns.len() as u32;
            of_field.push(number);
            self.columns.push(WriteColumn { field, form, recent: Written::default(), last: 0, out: Vec::new() });
            number
        }))
    }

    pub(in crate::codec) fn write(&mut self, number: ColumnNumber, payload: &'a Payload) {
        let Some(column) = self.columns.get_mut(number.0 as usize) else { return };
        let bytes = payload.bytes();
        let number = match column.form {
            Form::Tombstone | Form::Empty(_) => return,
            Form::Bytes(_) => return column.recent.write(&mut column.out, bytes),
            Form::Fixed => return column.out.extend_from_slice(bytes),
            Form::Short(len) => return column.out.extend(bytes.iter().take(len.into())),
            Form::Ends(_) => return column.write_ends(&self.places, payload),
            Form::Number => number_of(bytes),
            Form::Whole => <[u8; 8]>::try_from(bytes).ok().and_then(whole_of),
        };
        let number = number.unwrap_or_default();
        write_number(&mut column.out, zigzag(number.wrapping_sub(column.last)));
        column.last = number;
    }

    /// The length of all columns, their lengths, and each of them.
    pub(in crate::codec) fn finish(mut self) -> Vec<Vec<u8>> {
        self.columns.sort_unstable_by_key(|column| (column.field, column.form.code()));
        let mut lens = Vec::with_capacity(2 * self.columns.len());
        self.columns.iter().for_each(|column| write_number(&mut lens, column.out.len() as u64));
        let len = lens.len() + self.columns.iter().map(|column| column.out.len()).sum::<usize>();
        let mut all = Vec::with_capacity(4);
        write_number(&mut all, len as u64);
        [all, lens].into_iter().chain(self.columns.into_iter().map(|column| column.out)).collect()
    }
}

impl<'a> WriteColumn<'a> {
    fn write_ends(&mut self, places: &Places, payload: &'a Payload) {
        let Some(Ends { open, source, target, number, edge_type }) = ends_of(payload) else { return };
        let Self { out, recent, last, .. } = self;
        out.extend(open);
        let mut end = |id: &[u8; 16], from: i64| match places.get(id) {
            Some(place) => {
                // Places have 32 bits, so adding one does not overflow.
                write_number(out, 1 + zigzag(i64::from(place) - from));
                i64::from(place)
            }
            None => {
                out.push(0);
                out.extend_from_slice(id);
                from
            }
        };
        *last = end(source, *last);
        end(target, *last);
        write_number(out, number);
        recent.write(out, edge_type);
    }
}
