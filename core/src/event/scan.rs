//! One pass over an event that validates all of it and keeps only where the fields' values are.

use std::ops::Range;

use super::{
    cursor::{Cursor, Malformed},
    text::Raw,
    trie::Node,
};

/// What is found of an event.
#[derive(Debug)]
pub(super) struct Scan<'s, 'a> {
    cursor: Cursor<'a>,
    /// The values by slot.
    pub(super) values: &'s mut [Raw<'a>],
    /// Spans of the values of the top-level `geo`.
    pub(super) geo: Vec<Range<u32>>,
    /// Whether the event is an object.
    pub(super) is_object: bool,
}

impl<'s, 'a> Scan<'s, 'a> {
    /// Reads all of `text` into `values`, which has a slot for each path of the tree and is empty.
    pub(super) fn run(text: &'a str, root: &Node, values: &'s mut [Raw<'a>]) -> Result<Self, Malformed> {
        let mut scan = Self { cursor: Cursor::new(text), values, geo: Vec::new(), is_object: false };
        scan.is_object = scan.cursor.peek_token() == Some(b'{');
        if scan.is_object {
            scan.object(root)?;
        } else {
            scan.cursor.value()?;
        }
        scan.cursor.end()?;
        Ok(scan)
    }

    /// Reads an object for what lies below `node`. Recurses no deeper than the configured paths go.
    fn object(&mut self, node: &Node) -> Result<(), Malformed> {
        self.cursor.step();
        if self.cursor.peek_token() == Some(b'}') {
            self.cursor.step();
            return Ok(());
        }
        loop {
            match node.child(self.cursor.key()?) {
                Some(child) => self.value(child)?,
                None => self.cursor.value()?,
            }
            match self.cursor.peek_token() {
                Some(b',') => self.cursor.step(),
                Some(b'}') => {
                    self.cursor.step();
                    return Ok(());
                }
                _ => return self.cursor.malformed("`,` or `}`"),
            }
        }
    }

    /// Reads a value that `node` wants to know of.
    fn value(&mut self, node: &Node) -> Result<(), Malformed> {
        let first = self.cursor.peek_token();
        let start = self.cursor.at();
        let mut has_escapes = false;
        if node.leads_on() {
            // Of a duplicate key the last counts: what an earlier one gave further down is forgotten.
            self.values[node.slots()].fill(Raw::default());
        }
        match first {
            Some(b'"') => has_escapes = self.cursor.string()?,
            Some(b'{') if node.leads_on() => self.object(node)?,
            _ => self.cursor.value()?,
        }
        if let Some(slot) = node.slot() {
            self.values[slot] = Raw { text: self.cursor.since(start), has_escapes };
        }
        if node.is_geo {
            self.geo.push(start as u32..self.cursor.at() as u32);
        }
        Ok(())
    }
}
