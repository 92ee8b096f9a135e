//! What `top` knows: the last survey, what went on since the one before, and how full each pipe was.

use std::collections::{HashMap, VecDeque};

use clap::ValueEnum;
use shmpipe::observe::{Pipe, Survey};

use crate::look::names;
use crate::look::rates::Rates;
use crate::look::units::fullness;
use crate::stat;

/// How many looks the sparkline goes back.
const HISTORY: usize = 64;

/// What to sort by; the largest first except for labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    /// Messages a second
    Messages,
    /// Bytes a second
    Bytes,
    /// How full it is
    Fill,
    /// Share of the time that senders are blocked
    Blocked,
    /// Share of the time that receivers wait
    Waiting,
    /// The label, in the order of the alphabet
    Label,
}

impl Order {
    pub(crate) fn next(self) -> Self {
        let all = Self::value_variants();
        let at = all.iter().position(|&order| order == self).unwrap_or(0);
        all[(at + 1) % all.len()]
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages/s",
            Self::Bytes => "bytes/s",
            Self::Fill => "fill",
            Self::Blocked => "blocked",
            Self::Waiting => "waiting",
            Self::Label => "label",
        }
    }
}

/// All that is on the screen, and what the user has chosen.
pub(crate) struct Board {
    survey: Option<Survey>,
    rates: HashMap<u64, Rates>,
    /// Fullness from 0 to 1, the latest last.
    history: HashMap<u64, VecDeque<f64>>,
    pub(crate) order: Order,
    pub(crate) is_reversed: bool,
    pub(crate) filter: String,
    /// Whether keys go to the filter.
    pub(crate) is_typing: bool,
    /// Whether the picture stands still.
    pub(crate) is_held: bool,
    pub(crate) shows_help: bool,
    /// Which row; may be beyond the last.
    pub(crate) selected: usize,
}

/// One line of the table.
pub(crate) struct Row<'a> {
    pub(crate) pipe: &'a Pipe,
    pub(crate) rates: Option<&'a Rates>,
    pub(crate) history: Vec<f64>,
}

impl Board {
    pub(crate) fn new(order: Order, filter: String) -> Self {
        Self {
            survey: None,
            rates: HashMap::new(),
            history: HashMap::new(),
            order,
            is_reversed: false,
            filter,
            is_typing: false,
            is_held: false,
            shows_help: false,
            selected: 0,
        }
    }

    /// Takes in another look at the machine; what is gone is forgotten.
    pub(crate) fn take_in(&mut self, survey: Survey) {
        let mut histories = HashMap::new();
        self.rates.clear();
        for pipe in &survey.pipes {
            let before = self.survey.as_ref();
            if let Some(rates) = before.and_then(|before| stat::rates(before, pipe)) {
                self.rates.insert(pipe.inode, rates);
            }
            let mut history = self.history.remove(&pipe.inode).unwrap_or_default();
            history.push_back(fullness_of(pipe).unwrap_or(0.0));
            if history.len() > HISTORY {
                history.pop_front();
            }
            histories.insert(pipe.inode, history);
        }
        self.history = histories;
        self.survey = Some(survey);
    }

    pub(crate) fn survey(&self) -> Option<&Survey> {
        self.survey.as_ref()
    }

    /// The pipes that pass the filter, in order.
    pub(crate) fn rows(&self) -> Vec<Row<'_>> {
        let pipes = self.survey.iter().flat_map(|survey| &survey.pipes);
        let mut rows: Vec<_> = pipes
            .filter(|pipe| self.passes(pipe))
            .map(|pipe| Row {
                pipe,
                rates: self.rates.get(&pipe.inode),
                history: self
                    .history
                    .get(&pipe.inode)
                    .map_or_else(Vec::new, |history| history.iter().copied().collect()),
            })
            .collect();
        let key = |row: &Row<'_>| match self.order {
            Order::Messages => row.rates.map_or(0.0, |rates| rates.messages),
            Order::Bytes => row.rates.map_or(0.0, |rates| rates.bytes),
            Order::Fill => fullness_of(row.pipe).unwrap_or(0.0),
            Order::Blocked => row.rates.map_or(0.0, |rates| rates.blocked),
            Order::Waiting => row.rates.map_or(0.0, |rates| rates.waiting),
            Order::Label => 0.0,
        };
        rows.sort_by(|one, other| {
            let by_label = || names::title(one.pipe).cmp(&names::title(other.pipe));
            let by_key = key(other).total_cmp(&key(one));
            by_key
                .then_with(by_label)
                .then(one.pipe.inode.cmp(&other.pipe.inode))
        });
        if self.is_reversed {
            rows.reverse();
        }
        rows
    }

    fn passes(&self, pipe: &Pipe) -> bool {
        let wanted = self.filter.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&wanted);
        let sides = [&pipe.senders, &pipe.receivers];
        has(&names::title(pipe))
            || sides
                .iter()
                .flat_map(|side| &side.processes)
                .any(|process| has(&names::process(process)))
    }

    /// Chooses another row.
    pub(crate) fn move_by(&mut self, rows: isize) {
        let last = self.rows().len().saturating_sub(1);
        self.selected = self
            .selected
            .min(last)
            .saturating_add_signed(rows)
            .min(last);
    }
}

/// From 0 to 1, where it is known.
pub(super) fn fullness_of(pipe: &Pipe) -> Option<f64> {
    let look = pipe.look.as_ref().ok()?;
    fullness(look.fill, look.capacity)
}
