//! Which states of the doorbell are one and the same.

use super::{Owner, Pipe, Word};

impl Pipe {
    /// One state for all that differ in nothing that matters: counts from the same start, numbers of the
    /// same order, and senders, who are alike (so in a list of steps they may change places).
    pub(super) fn canonical(mut self) -> Self {
        let taken = std::mem::take(&mut self.taken);
        self.sent -= taken;
        self.returned = self.returned.saturating_sub(taken);
        for (word, value) in self.buffers.iter_mut().flatten() {
            if *word == Word::Sent {
                *value -= taken;
            }
        }
        self.renumber();
        self.in_order()
    }

    fn renumber(&mut self) {
        let stores = self.buffers.iter().flatten();
        let stored = stores
            .filter(|(word, _)| *word == Word::Armed)
            .map(|&(_, value)| value);
        let seen = self.threads.iter().map(|thread| thread.armed);
        let mut used: Vec<u8> = seen.chain(stored).chain([self.armed]).collect();
        used.extend(self.tokens.iter().copied().chain([0, self.number]));
        used.sort_unstable();
        used.dedup();
        let rank = |number: u8| {
            let rank = used.binary_search(&number).expect("all are there");
            u8::try_from(rank).expect("a few numbers")
        };
        for thread in &mut self.threads {
            thread.armed = rank(thread.armed);
        }
        for (word, value) in self.buffers.iter_mut().flatten() {
            if *word == Word::Armed {
                *value = rank(*value);
            }
        }
        for token in &mut self.tokens {
            *token = rank(*token);
        }
        self.armed = rank(self.armed);
        self.number = rank(self.number);
    }

    fn in_order(mut self) -> Self {
        let key = |pipe: &Self, who: usize| (pipe.threads[who], pipe.buffers[who].clone());
        if self.senders == 2 && key(&self, 0) > key(&self, 1) {
            self.threads.swap(0, 1);
            self.buffers.swap(0, 1);
            if let Owner::Thread(owner) = &mut self.locks[0] {
                *owner = 1 - *owner;
            }
        }
        self
    }
}
