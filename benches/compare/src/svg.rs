//! Line charts and dot charts with logarithmic axes, as SVG text.
//!
//! It knows nothing of what the figures mean.

use std::fmt::Write as _;

/// One line or one kind of dot.
pub(crate) struct Series {
    /// Its name in the legend.
    pub(crate) name: String,
    /// Dashed lines and hollow dots: a limit.
    pub(crate) is_limit: bool,
    /// Drawn thicker.
    pub(crate) is_ours: bool,
    /// Which of the colours.
    pub(crate) colour: usize,
    /// Places and figures, all above 0.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Turns a figure into the text of an axis.
pub(crate) type Label = fn(f64) -> String;

const COLOURS: [&str; 20] = [
    "#d1345b", "#2a6f97", "#e09f3e", "#3a7d44", "#7b5ea7", "#00a6a6", "#8d6e63", "#d17ba0",
    "#5c6bc0", "#9e9d24", "#546e7a", "#f4511e", "#26c281", "#a67c00", "#4fc3f7", "#6d4c41",
    "#ab47bc", "#90a4ae", "#827717", "#ef9a9a",
];

const WIDTH: f64 = 860.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;

/// The colour with that number.
pub(crate) fn colour(number: usize) -> &'static str {
    COLOURS[number % COLOURS.len()]
}

/// A logarithmic axis from one end to another in the picture.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Self> {
        let (low, high) = values
            .filter(|value| value.is_finite() && *value > 0.0)
            .fold((f64::MAX, 0.0_f64), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        (low <= high).then(|| Self {
            low: low / 1.15,
            high: high * 1.15,
            from,
            to,
        })
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value / self.low).ln() / (self.high / self.low).ln();
        self.from + share * (self.to - self.from)
    }

    /// Powers of ten, and their double and fivefold where there are few.
    fn ticks(&self) -> Vec<f64> {
        let decades = (self.high / self.low).log10();
        let steps: &[f64] = if decades > 3.0 {
            &[1.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        let first = self.low.log10().floor() as i32;
        let last = self.high.log10().ceil() as i32;
        (first..=last)
            .flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power)))
            .filter(|tick| (self.low..=self.high).contains(tick))
            .collect()
    }
}

/// Escapes text for XML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn open(height: f64, label: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n",
        escape(label)
    )
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
        escape(text)
    );
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line class=\"grid\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn dot(svg: &mut String, series: &Series, (x, y): (f64, f64), title: &str) {
    let colour = colour(series.colour);
    let (fill, radius) = match (series.is_limit, series.is_ours) {
        (true, _) => ("none", 4.0),
        (_, true) => (colour, 5.5),
        _ => (colour, 3.5),
    };
    let _ = writeln!(
        svg,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{fill}\" stroke=\"{colour}\"><title>{}</title></circle>",
        escape(title)
    );
}

fn legend(svg: &mut String, series: &[Series]) {
    for (line, one) in series.iter().enumerate() {
        let y = TOP + 12.0 + 17.0 * line as f64;
        let x = WIDTH - RIGHT + 22.0;
        dot(svg, one, (x, y - 4.0), &one.name);
        text(svg, (x + 12.0, y), "start", &one.name);
    }
}

/// Lines over a numeric axis; both axes are logarithmic. `marks` are the places with a label below.
pub(crate) fn lines(
    series: &[Series],
    marks: &[(f64, String)],
    unit: &str,
    label: Label,
) -> String {
    let height = (420.0_f64).max(TOP + BOTTOM + 17.0 * series.len() as f64);
    let floor = height - BOTTOM;
    let xs = marks.iter().map(|mark| mark.0);
    let ys = series
        .iter()
        .flat_map(|one| one.points.iter().map(|point| point.1));
    let (Some(x), Some(y)) = (
        Axis::new(xs, LEFT, WIDTH - RIGHT),
        Axis::new(ys, floor, TOP),
    ) else {
        return String::new();
    };
    let mut svg = open(height, unit);
    for tick in y.ticks() {
        let at = y.place(tick);
        rule(&mut svg, (LEFT, at), (WIDTH - RIGHT, at));
        text(&mut svg, (LEFT - 8.0, at + 4.0), "end", &label(tick));
    }
    for (place, name) in marks {
        let at = x.place(*place);
        rule(&mut svg, (at, TOP), (at, floor));
        text(&mut svg, (at, floor + 18.0), "middle", name);
    }
    text(&mut svg, (LEFT, height - 6.0), "start", unit);
    for one in series {
        let path: Vec<_> = one
            .points
            .iter()
            .map(|&(a, b)| format!("{:.1},{:.1}", x.place(a), y.place(b)))
            .collect();
        let dashes = if one.is_limit {
            " stroke-dasharray=\"6 4\""
        } else {
            ""
        };
        let width = if one.is_ours { 3.5 } else { 1.6 };
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\"{dashes}/>",
            path.join(" "),
            colour(one.colour)
        );
        for &(a, b) in &one.points {
            dot(
                &mut svg,
                one,
                (x.place(a), y.place(b)),
                &format!("{}: {}", one.name, label(b)),
            );
        }
    }
    legend(&mut svg, series);
    svg + "</svg>\n"
}

/// One row for each name, with a dot for each series; a point's place is the row's number. The figure 1
/// has a line.
pub(crate) fn rows(series: &[Series], names: &[String], unit: &str, label: Label) -> String {
    const ROW: f64 = 24.0;
    const NAMES: f64 = 190.0;
    let height =
        (TOP + BOTTOM + ROW * names.len() as f64).max(TOP + 30.0 + 17.0 * series.len() as f64);
    let floor = TOP + ROW * names.len() as f64;
    let figures = series
        .iter()
        .flat_map(|one| one.points.iter().map(|point| point.1))
        .chain([1.0]);
    let Some(x) = Axis::new(figures, NAMES, WIDTH - RIGHT) else {
        return String::new();
    };
    let mut svg = open(height, unit);
    for tick in x.ticks() {
        let at = x.place(tick);
        rule(&mut svg, (at, TOP), (at, floor));
        text(&mut svg, (at, floor + 16.0), "middle", &label(tick));
    }
    let one = x.place(1.0);
    let _ = writeln!(
        svg,
        "<line class=\"one\" x1=\"{one:.1}\" y1=\"{TOP}\" x2=\"{one:.1}\" y2=\"{floor:.1}\"/>"
    );
    for (row, name) in names.iter().enumerate() {
        let y = TOP + ROW * (row as f64 + 0.5);
        text(&mut svg, (NAMES - 10.0, y + 4.0), "end", name);
        rule(&mut svg, (NAMES, y), (WIDTH - RIGHT, y));
    }
    for one in series {
        for &(row, figure) in &one.points {
            let place = (x.place(figure), TOP + ROW * (row + 0.5));
            dot(
                &mut svg,
                one,
                place,
                &format!("{}: {}", one.name, label(figure)),
            );
        }
    }
    text(&mut svg, (NAMES, floor + 34.0), "start", unit);
    legend(&mut svg, series);
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: Vec<(f64, f64)>) -> Series {
        Series {
            name: "a < b".into(),
            is_limit: false,
            is_ours: true,
            colour: 0,
            points,
        }
    }

    #[test]
    fn an_axis_puts_its_ends_inside_the_picture() {
        let axis = Axis::new([10.0, 1000.0].into_iter(), 0.0, 100.0).unwrap();
        assert!(axis.place(10.0) > 0.0 && axis.place(1000.0) < 100.0);
        assert!((axis.place(100.0) - 50.0).abs() < 1e-9);
        assert!(axis.ticks().contains(&100.0));
    }

    #[test]
    fn names_are_escaped_and_nothing_gives_nothing() {
        let svg = lines(
            &[series(vec![(1.0, 5.0), (2.0, 6.0)])],
            &[(1.0, "1".into()), (2.0, "2".into())],
            "u",
            |n| n.to_string(),
        );
        assert!(svg.contains("a &lt; b") && !svg.contains("a < b"));
        assert_eq!(lines(&[], &[], "u", |n| n.to_string()), "");
    }
}
