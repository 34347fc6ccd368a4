//! Python's arithmetic on constants, as far as calls are written with it: numbers, and strings and lists put
//! together.

use super::Python;

/// Elements of a list or bytes of a string that an operation may make.
const MAX_LENGTH: usize = 1 << 18;

/// An operator between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Floor,
    Remainder,
    Power,
}

/// An operator in front of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Plus,
    Minus,
    Invert,
    Not,
}

type Calculated = Result<Python, String>;

/// What Python makes of a sign and a value.
///
/// # Errors
/// Where Python has none, or the number is too large for this.
pub(crate) fn signed(sign: Sign, value: &Python) -> Calculated {
    match (sign, value) {
        (Sign::Not, _) => Ok(Python::Bool(!is_true(value))),
        (_, Python::Float(float)) => match sign {
            Sign::Plus => Ok(Python::Float(*float)),
            Sign::Minus => Ok(Python::Float(-float)),
            _ => Err("a float has no inverse".into()),
        },
        (Sign::Plus, Python::Int(_)) => Ok(value.clone()),
        (Sign::Minus, Python::Int(digits)) => Ok(match digits.strip_prefix('-') {
            Some(digits) => Python::int(digits),
            None => Python::int(&format!("-{digits}")),
        }),
        _ => {
            let whole = whole(value).ok_or_else(|| format!("a sign in front of {}", value.kind().name()))?;
            Ok(int(match sign {
                Sign::Minus => -whole,
                Sign::Invert => !whole,
                Sign::Plus | Sign::Not => whole,
            }))
        }
    }
}

/// What Python makes of an operator and its two values.
///
/// # Errors
/// Where Python has none, or the result is too large for this.
pub(crate) fn calculated(operator: Operator, a: &Python, b: &Python) -> Calculated {
    use Operator::{Add, Multiply};
    match (operator, a, b) {
        (Add, Python::Text(a), Python::Text(b)) => {
            bounded(a.len() + b.len()).map(|()| Python::Text(format!("{a}{b}")))
        }
        (Add, Python::List(a), Python::List(b)) => Ok(Python::List([a.as_slice(), b].concat())),
        (Add, Python::Tuple(a), Python::Tuple(b)) => Ok(Python::Tuple([a.as_slice(), b].concat())),
        (Multiply, Python::Text(text), times) | (Multiply, times, Python::Text(text)) => {
            Ok(Python::Text(text.repeat(repetitions(text.len(), times)?)))
        }
        (Multiply, Python::List(values), times) | (Multiply, times, Python::List(values)) => {
            Ok(Python::List(
                std::iter::repeat_n(values, repetitions(values.len(), times)?).flatten().cloned().collect(),
            ))
        }
        _ => numbers(operator, a, b),
    }
}

fn bounded(length: usize) -> Result<(), String> {
    if length > MAX_LENGTH { Err("the result is too long".into()) } else { Ok(()) }
}

/// How often something of a length is repeated; a negative number of times is none.
fn repetitions(length: usize, times: &Python) -> Result<usize, String> {
    let times = whole(times).ok_or("only whole numbers repeat")?;
    let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
    bounded(length.max(1).saturating_mul(times)).map(|()| times)
}

fn numbers(operator: Operator, a: &Python, b: &Python) -> Calculated {
    let none = || format!("no arithmetic of {} and {}", a.kind().name(), b.kind().name());
    let is_float = |value: &Python| matches!(value, Python::Float(_));
    if is_float(a) || is_float(b) {
        return floats(operator, float(a).ok_or_else(none)?, float(b).ok_or_else(none)?).map(Python::Float);
    }
    wholes(operator, whole(a).ok_or_else(none)?, whole(b).ok_or_else(none)?)
}

fn wholes(operator: Operator, a: i128, b: i128) -> Calculated {
    let too_large = || "a number is too large".to_owned();
    let by_zero = || if b == 0 { Err("a division by zero".to_owned()) } else { Ok(()) };
    let value = match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide => {
            by_zero()?;
            return Ok(Python::Float(a as f64 / b as f64));
        }
        Operator::Floor => {
            by_zero()?;
            a.checked_div_euclid(b).map(|quotient| quotient - i128::from(b < 0 && a.rem_euclid(b) != 0))
        }
        Operator::Remainder => {
            by_zero()?;
            let rest = a.checked_rem_euclid(b);
            rest.map(|rest| if b < 0 && rest != 0 { rest + b } else { rest })
        }
        Operator::Power if b < 0 => return floats(operator, a as f64, b as f64).map(Python::Float),
        Operator::Power => u32::try_from(b).ok().and_then(|exponent| a.checked_pow(exponent)),
    };
    value.map(int).ok_or_else(too_large)
}

fn floats(operator: Operator, a: f64, b: f64) -> Result<f64, String> {
    let divides = matches!(operator, Operator::Divide | Operator::Floor | Operator::Remainder);
    if b == 0.0 && divides || a == 0.0 && b < 0.0 && operator == Operator::Power {
        return Err("a division by zero".into());
    }
    let value = match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide => a / b,
        Operator::Floor => (a / b).floor(),
        Operator::Remainder => a - b * (a / b).floor(),
        Operator::Power => a.powf(b),
    };
    if value.is_nan() { Err("no real number".into()) } else { Ok(value) }
}

fn int(value: i128) -> Python {
    Python::int(&value.to_string())
}

fn whole(value: &Python) -> Option<i128> {
    match value {
        Python::Bool(is) => Some(i128::from(*is)),
        // One bit less, so that a sign always fits.
        Python::Int(digits) => digits.parse().ok().filter(|whole: &i128| *whole > i128::MIN / 2),
        _ => None,
    }
}

fn float(value: &Python) -> Option<f64> {
    match value {
        Python::Float(float) => Some(*float),
        Python::Int(digits) => digits.parse().ok(),
        Python::Bool(is) => Some(f64::from(u8::from(*is))),
        _ => None,
    }
}

fn is_true(value: &Python) -> bool {
    match value {
        Python::None => false,
        Python::Bool(is) => *is,
        Python::Int(digits) => digits != "0",
        Python::Float(float) => *float != 0.0,
        Python::Text(text) => !text.is_empty(),
        Python::List(values) | Python::Tuple(values) => !values.is_empty(),
        Python::Dict(entries) => !entries.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(digits: &str) -> Python {
        if digits.contains('.') { Python::float(digits).unwrap() } else { Python::int(digits) }
    }

    /// By Python 3.
    #[test]
    fn numbers_come_out_as_in_python() {
        use Operator::{Add, Divide, Floor, Multiply, Power, Remainder, Subtract};
        for (a, operator, b, result) in [
            ("2", Add, "3", "5"),
            ("2", Subtract, "3.5", "-1.5"),
            ("98765432109876543210", Multiply, "10", "987654321098765432100"),
            ("7", Divide, "2", "3.5"),
            ("6", Divide, "2", "3.0"),
            ("-7", Floor, "2", "-4"),
            ("7", Floor, "-2", "-4"),
            ("-7", Floor, "-2", "3"),
            ("-6", Floor, "-2", "3"),
            ("-7", Remainder, "2", "1"),
            ("7", Remainder, "-2", "-1"),
            ("-7", Remainder, "-2", "-1"),
            ("6", Remainder, "-2", "0"),
            ("-7.5", Remainder, "2", "0.5"),
            ("2", Power, "10", "1024"),
            ("2", Power, "-1", "0.5"),
        ] {
            let shown = calculated(operator, &value(a), &value(b)).unwrap().to_string();
            assert_eq!(shown, result, "{a} {operator:?} {b}");
        }
        for (a, operator, b) in [
            ("1", Divide, "0"),
            ("1", Remainder, "0"),
            ("1.5", Floor, "0"),
            ("9", Power, "999999"),
            ("0", Power, "-1"),
        ] {
            assert!(calculated(operator, &value(a), &value(b)).is_err(), "{a} {operator:?} {b}");
        }
    }

    #[test]
    fn texts_and_lists_are_put_together() {
        let text = |text: &str| Python::Text(text.into());
        assert_eq!(calculated(Operator::Add, &text("a"), &text("b")), Ok(text("ab")));
        assert_eq!(calculated(Operator::Multiply, &text("ab"), &value("2")), Ok(text("abab")));
        assert_eq!(calculated(Operator::Multiply, &value("-1"), &text("ab")), Ok(text("")));
        let list = |values: &[&str]| Python::List(values.iter().copied().map(value).collect());
        assert_eq!(calculated(Operator::Add, &list(&["1"]), &list(&["2"])), Ok(list(&["1", "2"])));
        for (a, b) in [(text("a"), value("1")), (list(&[]), text("a")), (Python::None, value("1"))] {
            assert!(calculated(Operator::Add, &a, &b).is_err());
        }
        assert!(calculated(Operator::Multiply, &text("ab"), &value("999999999")).is_err());
    }

    #[test]
    fn signs_are_those_of_python() {
        for (sign, of, result) in [
            (Sign::Plus, Python::Bool(true), "1"),
            (Sign::Minus, Python::Bool(true), "-1"),
            (
                Sign::Minus,
                value("98765432109876543210987654321098765432109876543210"),
                "-98765432109876543210987654321098765432109876543210",
            ),
            (Sign::Minus, value("-5"), "5"),
            (Sign::Minus, value("2.5"), "-2.5"),
            (Sign::Invert, value("5"), "-6"),
            (Sign::Not, Python::Text(String::new()), "True"),
        ] {
            assert_eq!(signed(sign, &of).unwrap().to_string(), result);
        }
        assert!(signed(Sign::Minus, &Python::Text("a".into())).is_err());
        assert!(signed(Sign::Minus, &Python::None).is_err());
    }
}
