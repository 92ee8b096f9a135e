//! Figures as text: sizes, rates, and numbers with three significant digits.

/// A size in bytes: `8 B`, `64 KiB` where it is a whole number of those, else `3.41 MB`.
pub(crate) fn size(bytes: usize) -> String {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    match bytes {
        0..KIB => format!("{bytes} B"),
        _ if bytes.is_multiple_of(MIB) => format!("{} MiB", bytes / MIB),
        _ if bytes < MIB && bytes.is_multiple_of(KIB) => format!("{} KiB", bytes / KIB),
        _ => format!("{}B", scaled(bytes as f64)),
    }
}

/// A number with its SI prefix: `512`, `9.81 M`. The unit goes right behind it.
pub(crate) fn scaled(number: f64) -> String {
    for (limit, prefix) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if number >= limit {
            return format!("{} {prefix}", three_digits(number / limit));
        }
    }
    format!("{} ", three_digits(number))
}

/// A number with three significant digits, and no more than three decimals.
pub(crate) fn three_digits(number: f64) -> String {
    // The limits are those of the rounded figure: 9.996 is written 10.0.
    let decimals = match number.abs() {
        n if n >= 99.95 => 0,
        n if n >= 9.995 => 1,
        n if n >= 0.9995 => 2,
        _ => 3,
    };
    format!("{number:.decimals$}")
}

/// How many times faster or slower than something else.
pub(crate) fn times(ratio: f64) -> String {
    if ratio >= 1.0 {
        format!("{}× faster", three_digits(ratio))
    } else {
        format!("{}× slower", three_digits(1.0 / ratio))
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
            (0.0, "0.000"),
            (0.1834, "0.183"),
            (1.0, "1.00"),
            (9.996, "10.0"),
            (85.34, "85.3"),
            (99.96, "100"),
            (4210.4, "4210"),
        ];
        for (number, text) in expected {
            assert_eq!(three_digits(number), text);
        }
    }

    #[test]
    fn rates_carry_an_si_prefix() {
        assert_eq!(scaled(9_810_000.0), "9.81 M");
        assert_eq!(scaled(1_500.0), "1.50 k");
        assert_eq!(scaled(12.0), "12.0 ");
    }
}
