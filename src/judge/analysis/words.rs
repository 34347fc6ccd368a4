//! Numbers as words, for verdicts, warnings and reports alike.

/// A share in percent; one decimal below 10%.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 10.0 || percent.fract() == 0.0 {
        format!("{percent:.0}%")
    } else {
        format!("{percent:.1}%")
    }
}

/// A difference of scores (0..1) in points, without a sign.
pub(crate) fn points(share: f64) -> String {
    let value = (share * 1000.0).round() / 10.0;
    if value == 1.0 { "1 point".into() } else { format!("{value} points") }
}

/// A whole number with thousands separated.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes with a binary unit.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{} {}", significant(value), UNITS[unit]) }
}

/// A length of time that is only about known: `40 s`, `25 min`, `3.4 hours`, `12 days`, `1.8 years`.
pub(crate) fn about(seconds: f64) -> String {
    const MINUTE: f64 = 60.0;
    const HOUR: f64 = 3600.0;
    const DAY: f64 = 86_400.0;
    const YEAR: f64 = 365.25 * DAY;
    let seconds = seconds.max(0.0);
    let digits = |value: f64| if value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") };
    if seconds < 90.0 {
        format!("{:.0} s", if seconds > 20.0 { (seconds / 5.0).round() * 5.0 } else { seconds.ceil() })
    } else if seconds < 90.0 * MINUTE {
        format!("{:.0} min", seconds / MINUTE)
    } else if seconds < 2.0 * DAY {
        format!("{} hours", digits(seconds / HOUR))
    } else if seconds < 2.0 * YEAR {
        format!("{} days", digits(seconds / DAY))
    } else {
        format!("{} years", digits(seconds / YEAR))
    }
}

/// Three significant digits, no exponent; whole numbers above 100.
pub(crate) fn significant(value: f64) -> String {
    let size = value.abs();
    let digits = if size >= 100.0 || size == 0.0 {
        0
    } else if size >= 10.0 {
        1
    } else if size >= 1.0 {
        2
    } else {
        (2.0 - size.log10().floor()).min(9.0) as usize
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(about(0.0), "0 s");
        assert_eq!(about(42.0), "40 s");
        assert_eq!(about(1500.0), "25 min");
        assert_eq!(about(12_240.0), "3.4 hours");
        // 954,543 minutes.
        assert_eq!(about(57_272_580.0), "663 days");
        assert_eq!(about(1e9), "32 years");
        assert_eq!(percent(0.05), "5%");
        assert_eq!(percent(0.025), "2.5%");
        assert_eq!(percent(0.424), "42%");
        assert_eq!(points(0.01), "1 point");
        assert_eq!(points(0.024), "2.4 points");
        assert_eq!(thousands(12_345_678), "12,345,678");
        assert_eq!(thousands(999), "999");
    }
}
