//! The configured paths as a tree of keys, so that one pass over an event finds all fields.

use std::ops::Range;

use super::{cursor::Key, text::unescape};

/// The top-level key whose value is replaced.
const GEO: &str = "geo";

/// One key of a path; the root stands for the event itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    key: String,
    children: Vec<Node>,
    ends_path: bool,
    slots: Range<usize>,
    /// Whether this is the event's top-level `geo`.
    pub(super) is_geo: bool,
}

impl Node {
    /// The tree of `paths`. Its slots are numbered so that those at and below any node are one range.
    pub(super) fn root<'p>(paths: impl IntoIterator<Item = &'p [String]>) -> Self {
        let mut root = Self::default();
        root.child_mut(GEO).is_geo = true;
        for path in paths {
            path.iter().fold(&mut root, |node, key| node.child_mut(key)).ends_path = true;
        }
        root.number(0);
        root
    }

    fn child_mut(&mut self, key: &str) -> &mut Self {
        let at = self.children.iter().position(|child| child.key == key).unwrap_or_else(|| {
            self.children.push(Self { key: key.to_owned(), ..Self::default() });
            self.children.len() - 1
        });
        &mut self.children[at]
    }

    /// Gives slots to this node and those below it, and returns the first free number.
    fn number(&mut self, first: usize) -> usize {
        let mut next = first + usize::from(self.ends_path);
        for child in &mut self.children {
            next = child.number(next);
        }
        self.slots = first..next;
        next
    }

    /// Slots of the values at and below this node.
    pub(super) fn slots(&self) -> Range<usize> {
        self.slots.clone()
    }

    /// Slot of the value at this node, if a path ends here.
    pub(super) fn slot(&self) -> Option<usize> {
        self.ends_path.then_some(self.slots.start)
    }

    /// Slot of the value at the end of `path`, which must be one that the tree was made of.
    pub(super) fn slot_of(&self, path: &[String]) -> Option<usize> {
        let mut node = self;
        for key in path {
            node = node.children.iter().find(|child| child.key == *key)?;
        }
        node.slot()
    }

    /// Whether paths go on below this node.
    pub(super) fn leads_on(&self) -> bool {
        !self.children.is_empty()
    }

    /// The node below this one under `key`.
    pub(super) fn child(&self, key: Key<'_>) -> Option<&Self> {
        if key.has_escapes {
            return self.find(&unescape(key.quoted)?);
        }
        self.find(key.quoted.get(1..key.quoted.len() - 1)?)
    }

    fn find(&self, key: &[u8]) -> Option<&Self> {
        self.children.iter().find(|child| child.key.as_bytes() == key)
    }
}
