//! How many cells cutting, merging and comparing have looked at, counted for tests: "the cost follows the change" is a
//! claim about this number, and it is the same on every machine.

#[cfg(feature = "testing")]
thread_local! {
    static CELLS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

pub(crate) fn count(cells: usize) {
    #[cfg(feature = "testing")]
    CELLS.set(CELLS.get() + cells);
    #[cfg(not(feature = "testing"))]
    let _ = cells;
}

/// Takes the count of this thread, leaving 0.
#[cfg(feature = "testing")]
pub(crate) fn take() -> usize {
    CELLS.take()
}
