//! Values as trees of JSON and back, by way of their text. Each type then has one writer and one reader in the binary, those of the
//! journal, where `serde_json::to_value`, `from_value` and `to_string_pretty` would compile three more of each.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A value as a tree; numbers keep their digits, maps their order.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn tree<T: Serialize + ?Sized>(of: &T) -> serde_json::Result<Value> {
    serde_json::from_slice(&serde_json::to_vec(of)?)
}

/// The value that a tree is of.
///
/// # Errors
/// When the tree is of nothing of the kind.
pub fn value<T: DeserializeOwned>(tree: &Value) -> serde_json::Result<T> {
    serde_json::from_slice(&serde_json::to_vec(tree)?)
}

/// A value as indented JSON.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn pretty<T: Serialize + ?Sized>(of: &T) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&tree(of)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    /// Keys that are not in alphabetical order, a float and an integer beyond it, a text, nothing, an enum.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Kept {
        zone: f64,
        count: u64,
        below: i64,
        text: String,
        absent: Option<u8>,
        list: Vec<Shape>,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", rename_all = "lowercase")]
    enum Shape {
        Flat,
        Round { radius: u32 },
    }

    proptest! {
        #[test]
        fn there_and_back_nothing_changes(zone in any::<f64>(), count: u64, below: i64, text: String, radius: u32) {
            prop_assume!(zone.is_finite());
            let list = vec![Shape::Flat, Shape::Round { radius }];
            let kept = Kept { zone, count, below, text, absent: None, list };
            prop_assert_eq!(&value::<Kept>(&tree(&kept).unwrap()).unwrap(), &kept);
            prop_assert_eq!(pretty(&kept).unwrap(), serde_json::to_string_pretty(&kept).unwrap());
        }
    }
}
