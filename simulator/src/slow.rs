//! What takes its turn more seldom than the rest.

/// Parts of a process that may be slow, all of a kind together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slow {
    Supervisor,
    /// One of the partitions, or one of the window actors: the others wait for it.
    Partition(usize),
    Window(usize),
    Worker(usize),
    Committer,
    Barrier,
    Store,
    Reader,
    Writer,
}

impl Slow {
    /// The store twice, for it is the last to know of an epoch.
    pub(crate) const ALL: [Self; 11] = [
        Self::Store,
        Self::Supervisor,
        Self::Partition(0),
        Self::Partition(1),
        Self::Window(0),
        Self::Worker(0),
        Self::Committer,
        Self::Barrier,
        Self::Store,
        Self::Reader,
        Self::Writer,
    ];
}
