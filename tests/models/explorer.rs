//! Visits every state that can be reached.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

/// A state of a model.
pub(crate) trait State: Clone + Eq + Hash {
    /// What a step is called.
    type Step: Copy + Debug;

    /// Every state that one step leads to, and what the step is.
    fn steps(&self) -> Vec<(Self::Step, Self)>;

    /// What is wrong with this state; `is_end` when no step leads out of it.
    fn fault(&self, is_end: bool) -> Option<String>;
}

/// What a search found.
pub(crate) struct Found {
    pub(crate) states: usize,
    /// The fault and the steps that led to it, one a line.
    pub(crate) fault: Option<String>,
}

impl Found {
    /// # Panics
    ///
    /// With the steps, when there is a fault; or when the search was not one of many states.
    pub(crate) fn assert_clean(self, name: &str, at_least: usize) {
        if let Some(fault) = self.fault {
            panic!("{name}: {fault}");
        }
        println!("{name}: {} states", self.states);
        assert!(
            self.states >= at_least,
            "{name}: only {} states",
            self.states
        );
    }

    /// # Panics
    ///
    /// When no fault that says `wanted` was found.
    pub(crate) fn assert_found(self, name: &str, wanted: &str) {
        let fault = self.fault.unwrap_or_default();
        assert!(
            fault.starts_with(wanted),
            "{name}: no {wanted} in {} states; {fault}",
            self.states
        );
        println!("{name}: found within {} states: {fault}", self.states);
    }
}

/// Searches all that can come of `starts`, shortest ways first, up to the first fault.
pub(crate) fn explore<S: State>(starts: impl IntoIterator<Item = S>) -> Found {
    // How each state was first reached: from which, by what step.
    let mut reached: Vec<Option<(usize, S::Step)>> = Vec::new();
    let mut known: HashMap<S, usize> = HashMap::new();
    let mut frontier: Vec<S> = Vec::new();
    for start in starts {
        known.insert(start.clone(), reached.len());
        reached.push(None);
        frontier.push(start);
    }
    while !frontier.is_empty() {
        let mut next = Vec::new();
        for state in frontier {
            let index = known[&state];
            let steps = state.steps();
            if let Some(fault) = state.fault(steps.is_empty()) {
                return Found {
                    states: known.len(),
                    fault: Some(format!("{fault}\n{}", way_to(&reached, index))),
                };
            }
            for (label, after) in steps {
                if !known.contains_key(&after) {
                    known.insert(after.clone(), reached.len());
                    reached.push(Some((index, label)));
                    next.push(after);
                }
            }
        }
        frontier = next;
    }
    Found {
        states: known.len(),
        fault: None,
    }
}

fn way_to<T: Copy + Debug>(reached: &[Option<(usize, T)>], mut index: usize) -> String {
    let mut steps = Vec::new();
    while let Some((before, step)) = reached[index] {
        steps.push(format!("  {step:?}"));
        index = before;
    }
    steps.reverse();
    steps.join("\n")
}
