//! Bars on a logarithmic scale, as inline SVG.

use std::fmt::Write as _;

/// One group of bars, such as a workload.
pub(crate) struct Group {
    pub(crate) name: String,
    /// Which series, and its value; none that is not above 0.
    pub(crate) bars: Vec<(usize, f64)>,
}

const LEFT: f64 = 90.0;
const TOP: f64 = 12.0;
const HEIGHT: f64 = 240.0;
const BAR: f64 = 22.0;
const GAP: f64 = 28.0;

/// Colours of the series, told apart also by their lightness.
pub(crate) const COLOURS: [&str; 5] = ["#0b5fa5", "#56a3d9", "#b35900", "#e6a04d", "#8a8a8a"];

/// A chart of groups of bars; `unit` writes a value of the scale.
pub(crate) fn bars(groups: &[Group], unit: impl Fn(f64) -> String) -> String {
    let values = groups
        .iter()
        .flat_map(|group| group.bars.iter().map(|bar| bar.1));
    let (low, high) = values
        .filter(|value| *value > 0.0)
        .fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    if high == 0.0 {
        return String::new();
    }
    // Whole decades, and one more below so that the smallest bar has a height.
    let (bottom, top) = (
        low.log10().floor() - 0.3,
        high.log10().ceil().max(low.log10().floor() + 1.0),
    );
    let y = |value: f64| TOP + HEIGHT * (top - value.log10()) / (top - bottom);
    let width = |group: &Group| BAR * group.bars.len() as f64 + GAP;
    let whole: f64 = groups.iter().map(width).sum();
    let (right, foot) = (LEFT + whole, TOP + HEIGHT);
    let mut out = format!(
        "<svg viewBox=\"0 0 {:.0} {:.0}\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\">",
        right + 10.0,
        foot + 40.0
    );
    #[expect(clippy::cast_possible_truncation, reason = "decades are few")]
    let decades = (bottom.ceil() as i32)..=(top as i32);
    for decade in decades {
        let value = 10_f64.powi(decade);
        let at = y(value);
        let _ = write!(
            out,
            "<path d=\"M{LEFT} {at:.1}H{right:.1}\" stroke=\"#ddd\"/><text x=\"{:.0}\" y=\"{:.1}\" \
             text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            at + 4.0,
            unit(value)
        );
    }
    let mut x = LEFT + GAP / 2.0;
    for group in groups {
        let middle = x + BAR * group.bars.len() as f64 / 2.0;
        for &(series, value) in &group.bars {
            if value > 0.0 {
                let at = y(value);
                let _ = write!(
                    out,
                    "<rect x=\"{x:.1}\" y=\"{at:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"><title>{}</title></rect>",
                    BAR - 3.0,
                    foot - at,
                    COLOURS[series % COLOURS.len()],
                    unit(value)
                );
            }
            x += BAR;
        }
        x += GAP;
        let _ = write!(
            out,
            "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            foot + 20.0,
            group.name
        );
    }
    out + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenfold_value_is_one_decade_higher_and_nothing_leaves_the_picture() {
        let groups = [Group {
            name: "8 B".into(),
            bars: vec![(0, 1.0), (1, 10.0), (2, 0.0)],
        }];
        let chart = bars(&groups, |value| format!("{value}"));
        assert_eq!(
            chart.matches("<rect").count(),
            2,
            "0 has no place on the scale"
        );
        let heights: Vec<f64> = chart
            .split(" height=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
            .collect();
        assert!(
            (heights[1] - heights[0] - HEIGHT / 1.3).abs() < 0.2,
            "{heights:?}"
        );
        assert!(heights.iter().all(|height| (0.0..=HEIGHT).contains(height)));
        assert_eq!(bars(&[], |value| format!("{value}")), "");
    }
}
