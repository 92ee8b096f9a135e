//! Figures as text, in the units that people use: `64 KiB`, `1.20 M/s`, `152 ns`.

/// A size in bytes: `8 B`, `64 KiB` where it is a whole number of those, else `3.41 MB`.
pub fn size(bytes: usize) -> String {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    match bytes {
        0..KIB => format!("{bytes} B"),
        _ if bytes.is_multiple_of(MIB) => format!("{} MiB", bytes / MIB),
        _ if bytes < MIB && bytes.is_multiple_of(KIB) => format!("{} KiB", bytes / KIB),
        _ => format!("{}B", scaled(bytes as f64)),
    }
}

/// A number with its SI prefix: `512 `, `9.81 M`. The unit goes right behind it.
pub fn scaled(number: f64) -> String {
    for (limit, prefix) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if number >= 0.9995 * limit {
            return format!("{} {prefix}", three(number / limit));
        }
    }
    format!("{} ", three(number))
}

/// So many in a second: `1.20 M/s`.
pub fn rate(per_second: f64) -> String {
    format!("{}/s", scaled(per_second).trim_end())
}

/// Nanoseconds with a fitting unit.
pub fn time(nanos: f64) -> String {
    match nanos {
        n if n >= 999.5e6 => format!("{} s", three(n / 1e9)),
        n if n >= 999.5e3 => format!("{} ms", three(n / 1e6)),
        n if n >= 999.5 => format!("{} µs", three(n / 1e3)),
        n => format!("{} ns", three(n)),
    }
}

/// Three significant digits, and no more than two decimals.
pub fn three(number: f64) -> String {
    // The limits are those of the rounded figure: 9.996 is written 10.0.
    let decimals = match number.abs() {
        n if n >= 99.95 => 0,
        n if n >= 9.995 => 1,
        _ => 2,
    };
    format!("{number:.decimals$}")
}

/// A count for a message, so that a small one can be told from none.
pub fn few(count: f64) -> String {
    match count {
        0.0 => "0".into(),
        n if n < 0.01 => format!("{n:.0e}"),
        n => three(n),
    }
}

/// How many times faster or slower than something else.
pub fn times(ratio: f64) -> String {
    if ratio >= 1.0 {
        format!("{}× faster", three(ratio))
    } else {
        format!("{}× slower", three(1.0 / ratio))
    }
}

/// From one figure to another, in the words of `text`: their common unit is written once.
pub fn range(low: f64, high: f64, text: impl Fn(f64) -> String) -> String {
    let (low, high) = (text(low), text(high));
    let unit = |text: &str| text.find(|c: char| !c.is_ascii_digit() && c != '.');
    match (unit(&low), unit(&high)) {
        (Some(a), Some(b)) if low[a..] == high[b..] => format!("{}–{high}", &low[..a]),
        _ => format!("{low}–{high}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_slower_is_said_to_be_slower() {
        assert_eq!(times(41.27), "41.3× faster");
        assert_eq!(times(0.5), "2.00× slower");
    }

    #[test]
    fn sizes_are_whole_binary_units_or_decimal_figures() {
        let expected = [
            (8, "8 B"),
            (1 << 10, "1 KiB"),
            (64 << 10, "64 KiB"),
            (1 << 20, "1 MiB"),
            (3_410_123, "3.41 MB"),
            (12_345, "12.3 kB"),
        ];
        for (bytes, text) in expected {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn numbers_keep_three_significant_digits() {
        let expected = [
            (0.0, "0.00"),
            (0.1834, "0.18"),
            (9.996, "10.0"),
            (85.34, "85.3"),
            (99.96, "100"),
            (4210.4, "4210"),
        ];
        for (number, text) in expected {
            assert_eq!(three(number), text);
        }
    }

    #[test]
    fn rates_and_times_have_three_digits_and_a_unit() {
        assert_eq!(rate(9_810_000.0), "9.81 M/s");
        assert_eq!(rate(12.0), "12.0/s");
        let expected = [
            (65.26, "65.3 ns"),
            (999.7, "1.00 µs"),
            (45_200.0, "45.2 µs"),
            (2.5e9, "2.50 s"),
        ];
        for (nanos, text) in expected {
            assert_eq!(time(nanos), text);
        }
    }

    #[test]
    fn a_range_names_a_common_unit_once() {
        assert_eq!(range(148.0, 161.0, time), "148–161 ns");
        assert_eq!(range(948.0, 1610.0, time), "948 ns–1.61 µs");
        assert_eq!(range(0.5, 1.25, |n| format!("{}×", three(n))), "0.50–1.25×");
    }
}
