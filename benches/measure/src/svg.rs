//! Dots with whiskers on a logarithmic axis, as SVG: the one kind of chart that there is.
//!
//! It knows nothing of what the figures mean.

use std::fmt::Write as _;

use crate::statistics::Spread;

/// A mark of a row, with a class of the style.
pub(crate) struct Mark {
    pub(crate) class: &'static str,
    pub(crate) spread: Spread,
}

/// One line of a chart.
pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) marks: Vec<Mark>,
    /// A text for each column, and whether it is one that is lost.
    pub(crate) values: Vec<(String, bool)>,
    /// Behind the columns.
    pub(crate) remark: String,
}

/// A chart, whose rows are drawn from the top down.
pub(crate) struct Chart<'a> {
    /// For whom cannot see it.
    pub(crate) title: &'a str,
    /// Drawn above it.
    pub(crate) head: &'a [&'a str],
    /// Classes of marks, and what they mean.
    pub(crate) legend: &'a [(&'static str, String)],
    /// Headings of columns, and how wide each is.
    pub(crate) columns: &'a [(&'a str, f64)],
    /// What the axis shows.
    pub(crate) axis: &'a str,
    /// The text of a place on the axis.
    pub(crate) tick: &'a dyn Fn(f64) -> String,
    /// A figure with a line of its own, which is on the axis in any case.
    pub(crate) even: Option<f64>,
    /// Drawn below it.
    pub(crate) notes: &'a [String],
}

/// The colours of the classes, for light and for dark surroundings.
pub(crate) const STYLE: &str = "\
.ground{fill:#ffffff} text{fill:#1f2328} .soft{fill:#59636e} .grid{stroke:#d1d9e0} .even{stroke:#59636e}
.ours{fill:#0969da;stroke:#0969da} .other{fill:#bc4c00;stroke:#bc4c00} .limit{fill:none;stroke:#59636e}
text.lost{fill:#cf222e;font-weight:bold} .small{font-size:11px}
@media (prefers-color-scheme: dark){
.ground{fill:#0d1117} text{fill:#f0f6fc} .soft{fill:#9198a1} .grid{stroke:#3d444d} .even{stroke:#9198a1}
.ours{fill:#4493f8;stroke:#4493f8} .other{fill:#db8f3a;stroke:#db8f3a} .limit{stroke:#9198a1}
text.lost{fill:#ff7b72}}
";

const WIDTH: f64 = 860.0;
const LEFT: f64 = 236.0;
const RIGHT: f64 = 566.0;
const STEP: f64 = 26.0;
const MARGIN: f64 = 16.0;

/// A logarithmic axis from one end to another in the picture.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    /// Over those values, of which one that is not above 0 has no place.
    fn new(values: impl Iterator<Item = f64>) -> Option<Self> {
        let values = values.filter(|value| value.is_finite() && *value > 0.0);
        let (low, high) = values.fold((f64::MAX, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        (low <= high).then(|| Self {
            low: low / 1.1,
            high: high * 1.1,
        })
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value / self.low).ln() / (self.high / self.low).ln();
        LEFT + share * (RIGHT - LEFT)
    }

    /// Powers of ten, and their double and fivefold where there is room.
    fn ticks(&self) -> Vec<f64> {
        let steps: &[f64] = match (self.high / self.low).log10() {
            decades if decades > 6.0 => &[1.0],
            decades if decades > 3.0 => &[1.0, 3.0],
            _ => &[1.0, 2.0, 5.0],
        };
        let (first, last) = (self.low.log10().floor(), self.high.log10().ceil());
        (first as i32..=last as i32)
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

/// Text at a place, with an anchor (`start`, `middle` or `end`) and a class.
fn write(svg: &mut String, (x, y): (f64, f64), anchor: &str, class: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
        escape(text)
    );
}

fn line(svg: &mut String, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    );
}

/// A dot for one's own and for limits, a square for others: they differ without colours too.
fn dot(svg: &mut String, class: &str, (x, y): (f64, f64)) {
    let _ = match class {
        "other" => writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\"/>",
            x - 4.0,
            y - 4.0
        ),
        _ => writeln!(
            svg,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"/>"
        ),
    };
}

/// Draws it; empty where it has no row with a mark.
pub(crate) fn draw(chart: &Chart, rows: &[Row]) -> String {
    let spreads = rows
        .iter()
        .flat_map(|row| &row.marks)
        .map(|mark| mark.spread);
    if rows.iter().all(|row| row.marks.is_empty()) {
        return String::new();
    }
    let Some(axis) = Axis::new(
        spreads
            .flat_map(|one| [one.low, one.high])
            .chain(chart.even),
    ) else {
        return String::new();
    };
    let legend = 26.0 + 20.0 * chart.head.len() as f64;
    let top = legend + 34.0;
    let floor = top + STEP * rows.len() as f64 - 8.0;
    let height = floor + 50.0 + 16.0 * chart.notes.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\" role=\"img\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>\n",
        escape(chart.title)
    );
    for (number, text) in chart.head.iter().enumerate() {
        let class = if number == 0 { "head" } else { "soft" };
        write(
            &mut svg,
            (MARGIN, 26.0 + 20.0 * number as f64),
            "start",
            class,
            text,
        );
    }
    let mut place = LEFT + 6.0;
    for (class, text) in chart.legend {
        dot(&mut svg, class, (place, legend - 4.0));
        write(&mut svg, (place + 12.0, legend), "start", "", text);
        place += 34.0 + 7.0 * text.chars().count() as f64;
    }
    let mut ends = Vec::new();
    for (heading, width) in chart.columns {
        let end = ends.last().unwrap_or(&RIGHT) + width;
        write(&mut svg, (end, legend), "end", "soft", heading);
        ends.push(end);
    }
    for tick in axis.ticks() {
        let x = axis.place(tick);
        let class = if chart.even == Some(tick) {
            "even"
        } else {
            "grid"
        };
        line(&mut svg, class, (x, top - 18.0), (x, floor));
        write(
            &mut svg,
            (x, floor + 16.0),
            "middle",
            "soft small",
            &(chart.tick)(tick),
        );
    }
    for (number, row) in rows.iter().enumerate() {
        let y = top + STEP * number as f64;
        write(&mut svg, (LEFT - 12.0, y + 4.0), "end", "", &row.label);
        // Several marks lie below one another.
        let first = y - 4.0 * (row.marks.len() as f64 - 1.0);
        for (number, Mark { class, spread }) in row.marks.iter().enumerate() {
            let y = first + 8.0 * number as f64;
            line(
                &mut svg,
                class,
                (axis.place(spread.low), y),
                (axis.place(spread.high), y),
            );
            dot(&mut svg, class, (axis.place(spread.median), y));
        }
        for ((text, is_lost), end) in row.values.iter().zip(&ends) {
            let class = if *is_lost { "lost" } else { "" };
            write(&mut svg, (*end, y + 4.0), "end", class, text);
        }
        let behind = ends.last().unwrap_or(&RIGHT) + 10.0;
        write(&mut svg, (behind, y + 4.0), "start", "soft", &row.remark);
    }
    let middle = f64::midpoint(LEFT, RIGHT);
    let axis = format!("{}, logarithmic scale", chart.axis);
    write(
        &mut svg,
        (middle, floor + 34.0),
        "middle",
        "soft small",
        &axis,
    );
    for (number, note) in chart.notes.iter().enumerate() {
        let y = floor + 54.0 + 16.0 * number as f64;
        write(&mut svg, (MARGIN, y), "start", "soft small", note);
    }
    svg.replace(" class=\"\"", "")
        .replace("class=\"head\"", "font-size=\"16\" font-weight=\"bold\"")
        + "</svg>\n"
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The numbers that an attribute has in a picture.
    pub(crate) fn numbers(svg: &str, attribute: &str) -> Vec<f64> {
        let start = format!(" {attribute}=\"");
        let parts = svg.split(start.as_str()).skip(1);
        let numbers = parts.filter_map(|part| part.split('"').next()?.parse().ok());
        numbers.collect()
    }

    fn row(median: f64) -> Row {
        let (low, high) = (median / 2.0, median * 2.0);
        Row {
            label: "a < b".into(),
            marks: vec![Mark {
                class: "ours",
                spread: Spread { low, median, high },
            }],
            values: vec![("0.50".into(), true)],
            remark: "c".into(),
        }
    }

    fn chart(rows: &[Row]) -> String {
        let chart = Chart {
            title: "t",
            head: &["first", "second"],
            legend: &[("ours", "mine".into())],
            columns: &[("times", 60.0)],
            axis: "times",
            tick: &|n| format!("{n}"),
            even: Some(1.0),
            notes: &["note".into()],
        };
        draw(&chart, rows)
    }

    #[test]
    fn a_tenfold_figure_is_as_far_from_the_next_at_each_place_of_the_axis() {
        let svg = chart(&[row(1.0), row(10.0), row(100.0)]);
        let x = numbers(&svg, "cx");
        let [_, a, b, c] = x[..] else {
            panic!("one in the legend, three in rows: {x:?}");
        };
        assert!((b - a - (c - b)).abs() < 0.2, "{x:?}");
        assert!(x.iter().all(|x| (LEFT..=RIGHT).contains(x)), "{x:?}");
        assert!(svg.contains("times, logarithmic scale"));
    }

    #[test]
    fn whiskers_reach_over_the_middle_half_and_stay_on_the_axis() {
        let svg = chart(&[row(8.0)]);
        let whisker = svg
            .lines()
            .find(|line| line.starts_with("<line class=\"ours\""));
        let whisker = whisker.expect("a whisker");
        let (from, to) = (numbers(whisker, "x1")[0], numbers(whisker, "x2")[0]);
        assert!(from < to && from >= LEFT && to <= RIGHT, "{whisker}");
    }

    #[test]
    fn names_are_escaped_what_is_lost_is_marked_and_nothing_gives_nothing() {
        let svg = chart(&[row(1.0)]);
        assert!(svg.contains("a &lt; b") && !svg.contains("a < b"));
        assert!(svg.contains("<text class=\"lost\"") && svg.contains(">0.50<"));
        assert!(svg.contains("prefers-color-scheme: dark"));
        let mut empty = row(1.0);
        empty.marks.clear();
        let nothing = Chart {
            title: "",
            head: &[],
            legend: &[],
            columns: &[],
            axis: "",
            tick: &|_| String::new(),
            even: None,
            notes: &[],
        };
        assert_eq!(draw(&nothing, &[empty]), "");
    }
}
