//! Medians with their spread.
//!
//! It knows nothing of what the figures mean; ratios are formed by [`Record::ratios`](crate::record::Record::ratios).

/// The middle of some figures, and the bounds of their middle half.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// A quarter of the figures lie below it.
    pub low: f64,
    /// Half of them.
    pub median: f64,
    /// Three quarters.
    pub high: f64,
}

impl Spread {
    /// Of these figures, in any order; `None` of none.
    pub fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        Some(Self {
            low: quantile(&figures, 0.25)?,
            median: quantile(&figures, 0.5)?,
            high: quantile(&figures, 0.75)?,
        })
    }
}

/// The middle one, or the mean of the middle two; `None` of none.
pub fn median(figures: Vec<f64>) -> Option<f64> {
    Spread::of(figures).map(|spread| spread.median)
}

/// What lies at that share of the way through the figures, which are in order; between two of them by proportion.
fn quantile(ordered: &[f64], share: f64) -> Option<f64> {
    let place = share * ordered.len().checked_sub(1)? as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    let (below, above) = (ordered[low], ordered[high]);
    Some(below + (above - below) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn half_of_the_figures_lie_within_the_spread() {
        let spread = Spread::of((1..=9).map(f64::from).collect());
        let (low, median, high) = (3.0, 5.0, 7.0);
        assert_eq!(spread, Some(Spread { low, median, high }));
        let spread = Spread::of(vec![10.0, 20.0]).unwrap();
        assert_eq!((spread.low, spread.high), (12.5, 17.5));
        let (low, median, high) = (4.0, 4.0, 4.0);
        assert_eq!(Spread::of(vec![4.0]), Some(Spread { low, median, high }));
    }
}
