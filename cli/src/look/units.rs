//! Counts, sizes and times in few characters.

use std::time::Duration;

use shmpipe_measure::units::three;

/// A count: exact up to five digits, then with an SI prefix.
pub(crate) fn count(number: u64) -> String {
    if number < 100_000 {
        number.to_string()
    } else {
        rate(number as f64)
    }
}

/// A rate or a large count with three digits: `0`, `12.5`, `1.25M`.
pub(crate) fn rate(number: f64) -> String {
    let prefixes = [
        (1e18, "E"),
        (1e15, "P"),
        (1e12, "T"),
        (1e9, "G"),
        (1e6, "M"),
        (1e3, "k"),
    ];
    for (limit, prefix) in prefixes {
        if number >= 0.9995 * limit {
            return format!("{}{prefix}", three(number / limit));
        }
    }
    if number == 0.0 {
        "0".into()
    } else {
        three(number)
    }
}

/// A size in bytes: `64K`, `1M`, binary where it is a whole number of those, else with an SI prefix.
pub(crate) fn size(bytes: u64) -> String {
    for (shift, prefix) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{}{prefix}", bytes >> shift);
        }
    }
    count(bytes)
}

/// A time in one unit: `850µs`, `12s`, `3h`.
pub(crate) fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match time.as_micros() {
        micros @ ..1_000 => format!("{micros}µs"),
        micros @ ..1_000_000 => format!("{}ms", micros / 1000),
        _ if seconds < 120 => format!("{seconds}s"),
        _ if seconds < 120 * 60 => format!("{}m", seconds / 60),
        _ if seconds < 48 * 3600 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A share from 0 to 1 in per cent.
pub(crate) fn per_cent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// How full a pipe is, from 0 to 1, where its capacity is known.
pub(crate) fn fullness(fill: u64, capacity: Option<u64>) -> Option<f64> {
    let capacity = capacity.filter(|&capacity| capacity > 0)?;
    Some((fill as f64 / capacity as f64).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let expected = [
            (0, "0"),
            (99_999, "99999"),
            (100_000, "100k"),
            (1_250_000, "1.25M"),
        ];
        for (number, text) in expected {
            assert_eq!(count(number), text);
        }
        assert_eq!((rate(12.345), rate(999.9)), ("12.3".into(), "1.00k".into()));
        assert_eq!(count(u64::MAX), "18.4E", "no wider than others");
        assert_eq!(
            (size(65_536), size(1 << 20), size(65_540)),
            ("64K".into(), "1M".into(), "65540".into())
        );
        assert_eq!(time(Duration::from_millis(12)), "12ms");
        assert_eq!(time(Duration::from_secs(7200)), "2h");
        assert_eq!(per_cent(0.876), "88%");
    }
}
