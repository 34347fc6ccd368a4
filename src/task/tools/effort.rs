//! How much is done at most for a schema: what comes from a server or from a user's file may ask for more than anybody has time for.

use std::cell::Cell;

/// Says whether whoever asked has waited long enough.
pub type GiveUp<'g> = &'g (dyn Fn() -> bool + Sync);

/// Work that is left, and whether anybody still waits for it.
#[expect(missing_debug_implementations, reason = "a closure has none")]
pub struct Effort<'g> {
    left: Cell<u64>,
    give_up: GiveUp<'g>,
}

impl<'g> Effort<'g> {
    /// So much work, in units of whoever does it, until somebody gives up.
    pub const fn new(work: u64, give_up: GiveUp<'g>) -> Self {
        Self { left: Cell::new(work), give_up }
    }

    /// Takes work off; `None`: there is no more, from then on.
    pub fn spend(&self, work: u64) -> Option<()> {
        let left = self.left.get().checked_sub(work).filter(|_| !(self.give_up)());
        self.left.set(left.unwrap_or(0));
        left.map(|_| ())
    }

    /// Work that is left.
    pub fn left(&self) -> u64 {
        self.left.get()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn what_is_spent_is_gone_and_who_gives_up_gets_no_more() {
        let effort = Effort::new(3, &|| false);
        assert_eq!((effort.spend(2), effort.spend(2), effort.left()), (Some(()), None, 0));
        assert_eq!(effort.spend(1), None, "what was left is gone, too");
        let late = AtomicBool::new(false);
        let give_up = || late.load(Ordering::Relaxed);
        let effort = Effort::new(10, &give_up);
        assert_eq!(effort.spend(1), Some(()));
        late.store(true, Ordering::Relaxed);
        assert_eq!((effort.spend(1), effort.left()), (None, 0));
    }
}
