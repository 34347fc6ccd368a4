//! Amounts as people write them on a command line: `32k` tokens, `24GiB`, `98%`.

/// Tokens: a whole number, or one with `k` (1024) or `m` (1024 x 1024) behind it.
///
/// # Errors
/// A message for anything else, and for 0.
pub fn tokens(text: &str) -> Result<u32, String> {
    const UNITS: &[(&str, f64)] = &[("", 1.0), ("k", 1024.0), ("m", 1024.0 * 1024.0)];
    let number = amount(text, UNITS).ok_or("write tokens as 32768 or 32k (k is 1024)")?;
    whole(number)
        .and_then(|tokens| u32::try_from(tokens).ok())
        .ok_or_else(|| "no number of tokens: write 32768 or 32k (k is 1024)".into())
}

/// Bytes: `24GiB`, `24G` (the same), `24GB` (decimal), and so on from K to T, or `24B`. A number without a unit is
/// refused: whoever writes 24 means no 24 bytes.
///
/// # Errors
/// A message for anything else, and for 0.
pub fn bytes(text: &str) -> Result<u64, String> {
    const KIB: f64 = 1024.0;
    const UNITS: &[(&str, f64)] = &[
        ("b", 1.0),
        ("k", KIB),
        ("kib", KIB),
        ("kb", 1e3),
        ("m", KIB * KIB),
        ("mib", KIB * KIB),
        ("mb", 1e6),
        ("g", KIB * KIB * KIB),
        ("gib", KIB * KIB * KIB),
        ("gb", 1e9),
        ("t", KIB * KIB * KIB * KIB),
        ("tib", KIB * KIB * KIB * KIB),
        ("tb", 1e12),
    ];
    if amount(text, &[("", 1.0)]).is_some() {
        let number = text.trim();
        return Err(format!(
            "`{number}` has no unit: write {number}GiB, {number}GB (decimal), {number}MiB, or {number}B for bytes"
        ));
    }
    let number = amount(text, UNITS).ok_or("write memory as 24GiB, 24GB (decimal) or 800MiB")?;
    whole(number.round()).ok_or_else(|| "not an amount of memory".into())
}

/// A share: `10%` is 0.1, `2pp` (percentage points) is 0.02, a plain number stays itself.
///
/// # Errors
/// A message for anything that is no number, or negative.
pub fn share(text: &str) -> Result<f64, String> {
    const UNITS: &[(&str, f64)] = &[("", 1.0), ("%", 0.01), ("pp", 0.01)];
    amount(text, UNITS).ok_or_else(|| format!("`{text}` is no share: write 10%, 2pp or 0.1"))
}

/// A limit for a change: as [`share`], but a plain number must be a share (0..1): whoever writes 2 means 2%, and 200%
/// would never be reached.
///
/// # Errors
/// A message for anything else.
pub fn change(text: &str) -> Result<f64, String> {
    match amount(text, &[("", 1.0)]) {
        Some(plain) if plain >= 1.0 => {
            let number = text.trim();
            Err(format!("`{number}` has no unit: write {number}% or {number}pp, or a share such as 0.02"))
        }
        _ => share(text),
    }
}

/// A rate (tokens/s): `30t/s`, `30 tok/s`, `30tps`, `30 tokens/s`, or a plain number.
///
/// # Errors
/// A message for anything else, and for 0.
pub fn rate(text: &str) -> Result<f64, String> {
    const UNITS: &[(&str, f64)] = &[
        ("", 1.0),
        ("t/s", 1.0),
        ("tk/s", 1.0),
        ("tok/s", 1.0),
        ("token/s", 1.0),
        ("tokens/s", 1.0),
        ("tps", 1.0),
    ];
    let rate = amount(text, UNITS).filter(|rate| *rate > 0.0);
    rate.ok_or_else(|| format!("`{text}` is no rate: write 30t/s, 30tok/s or 30tps"))
}

/// A time (s): `2s`, `800ms`, `1.5min`. A number without a unit is refused.
///
/// # Errors
/// A message for anything else, and for 0.
pub fn seconds(text: &str) -> Result<f64, String> {
    const UNITS: &[(&str, f64)] = &[("ms", 1e-3), ("s", 1.0), ("sec", 1.0), ("min", 60.0), ("m", 60.0)];
    if amount(text, &[("", 1.0)]).is_some() {
        let number = text.trim();
        return Err(format!("`{number}` has no unit: write {number}s or {number}ms"));
    }
    let seconds = amount(text, UNITS).filter(|seconds| *seconds > 0.0);
    seconds.ok_or_else(|| format!("`{text}` is no time: write 2s, 800ms or 1.5min"))
}

/// A price: a positive number.
///
/// # Errors
/// A message for anything else.
pub fn price(text: &str) -> Result<f64, String> {
    let price = amount(text, &[("", 1.0)]).filter(|price| *price > 0.0);
    price.ok_or_else(|| format!("`{text}` is no price: write 2.5"))
}

/// A budget of time (s): `90s`, `20min` (or `20m`), `2h`, `1.5d`. A number without a unit is refused.
///
/// # Errors
/// A message for anything else, and for 0.
pub fn budget(text: &str) -> Result<f64, String> {
    const UNITS: &[(&str, f64)] =
        &[("s", 1.0), ("sec", 1.0), ("m", 60.0), ("min", 60.0), ("h", 3600.0), ("d", 86400.0)];
    let number = text.trim();
    if amount(text, &[("", 1.0)]).is_some() {
        return Err(format!("`{number}` has no unit: write {number}min, {number}h or {number}s"));
    }
    let seconds = amount(text, UNITS).filter(|seconds| *seconds > 0.0);
    seconds.ok_or_else(|| format!("`{number}` is no time: write 20min, 2h or 90s"))
}

/// A number that is not negative, with one of the units behind it.
fn amount(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let &(_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    let number: f64 = number.parse().ok()?;
    Some(number * scale).filter(|value| value.is_finite())
}

/// A positive whole number that a `f64` holds exactly.
fn whole(value: f64) -> Option<u64> {
    const LARGEST: f64 = 9_007_199_254_740_992.0;
    ((1.0..=LARGEST).contains(&value) && value.fract() == 0.0).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rates_and_times_are_read_as_people_write_them() {
        for text in ["30t/s", "30 tok/s", "30tps", "30 Tokens/s", "30"] {
            assert_eq!(rate(text), Ok(30.0), "{text}");
        }
        for bad in ["0", "-1", "30s", "fast", ""] {
            assert!(rate(bad).unwrap_err().contains("30t/s"), "{bad}");
        }
        assert_eq!((seconds("2s"), seconds("800ms"), seconds("1.5 min")), (Ok(2.0), Ok(0.8), Ok(90.0)));
        assert!(
            seconds("2").unwrap_err().contains("2s or 2ms")
                && seconds("0s").is_err()
                && seconds("2x").is_err()
        );
    }

    #[test]
    fn amounts_are_read_with_their_units() {
        assert_eq!(tokens("32k"), Ok(32_768));
        assert_eq!(tokens("1.5K"), Ok(1536));
        assert_eq!(tokens("1000"), Ok(1000));
        assert_eq!(bytes("24GiB"), Ok(24 << 30));
        assert_eq!(bytes("24G"), Ok(24 << 30));
        assert_eq!(bytes("24 gb"), Ok(24_000_000_000));
        assert_eq!(bytes("1.1GB"), Ok(1_100_000_000));
        assert!((share("98%").unwrap() - 0.98).abs() < 1e-12);
        assert!((share("2pp").unwrap() - 0.02).abs() < 1e-12);
        assert_eq!(share("0.1"), Ok(0.1));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "k", "32q", "-1", "0", "1e9", "nan", "inf", "99999999999k", "0.3"] {
            assert!(tokens(text).is_err(), "{text}");
        }
        for text in ["", "GiB", "-1G", "0", "0GiB", "1XB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        for text in ["", "%", "-1%", "1e-3", "half"] {
            assert!(share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_without_a_unit_is_no_amount_of_memory_and_no_percentage() {
        for text in ["24", " 24 ", "0.5", "25769803776"] {
            let said = bytes(text).unwrap_err();
            assert!(said.contains("has no unit") && said.contains("GiB"), "{said}");
        }
        assert_eq!(bytes("25769803776B"), Ok(24 << 30));
        for text in ["2", "10", "1"] {
            assert!(change(text).unwrap_err().contains("has no unit"), "{text}");
        }
        assert_eq!((change("0.02"), change("10%")), (Ok(0.02), Ok(0.1)));
        assert_eq!(share("2"), Ok(2.0), "a weight is a plain number");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,20}") {
            let _ = (tokens(&text), bytes(&text), share(&text));
        }
    }
}
