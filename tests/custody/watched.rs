//! A custody that fails where a test wants it to.

use std::io::{Error, Result};

use idvault::keys::root::{Custody, Evidence, Handle, Root};

/// A custody that does what a test wants before or after each step.
pub(crate) struct Watched<F> {
    pub(crate) inner: Box<dyn Custody>,
    pub(crate) watch: F,
}

/// A call of a custody, before it is made or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    BeforeMake,
    AfterMake,
    BeforePut,
    AfterPut,
    BeforeSettle,
    AfterSettle,
}

impl At {
    pub(crate) const ALL: [Self; 6] =
        [Self::BeforeMake, Self::AfterMake, Self::BeforePut, Self::AfterPut, Self::BeforeSettle, Self::AfterSettle];
}

impl<F: FnMut(At) -> bool + Send> Watched<F> {
    /// Fails where the test wants it.
    fn pass(&mut self, at: At) -> Result<()> {
        if (self.watch)(at) { Ok(()) } else { Err(Error::other("the test wants it so")) }
    }
}

impl<F: FnMut(At) -> bool + Send> Custody for Watched<F> {
    fn make(&mut self, generation: u64) -> Result<Root> {
        self.pass(At::BeforeMake)?;
        let root = self.inner.make(generation)?;
        self.pass(At::AfterMake)?;
        Ok(root)
    }

    fn open(&self, handle: &Handle) -> Result<Option<Root>> {
        self.inner.open(handle)
    }

    fn put(&mut self, root: &Root) -> Result<()> {
        self.pass(At::BeforePut)?;
        self.inner.put(root)?;
        self.pass(At::AfterPut)
    }

    fn settle(&mut self, kept: &Handle) -> Result<Evidence> {
        self.pass(At::BeforeSettle)?;
        let evidence = self.inner.settle(kept)?;
        self.pass(At::AfterSettle)?;
        Ok(evidence)
    }

    fn generations(&self) -> Result<Vec<u64>> {
        self.inner.generations()
    }

    fn clear(&mut self) -> Result<Evidence> {
        self.inner.clear()
    }

    fn describe(&self) -> Evidence {
        self.inner.describe()
    }
}
