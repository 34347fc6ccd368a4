//! Names of the parts of a split GGUF file.

/// What the name of a part says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SplitName<'a> {
    /// The name before `-00001-of-00003.gguf`, with its folder when it had one.
    pub prefix: &'a str,
    /// From 1.
    pub part: u32,
    /// How many there are.
    pub of: u32,
}

impl SplitName<'_> {
    /// The name of another part.
    pub(super) fn name_of(&self, part: u32) -> String {
        format!("{}-{part:05}-of-{:05}.gguf", self.prefix, self.of)
    }
}

/// Reads the name of a part; `None` for any other name.
pub(super) fn split_name(name: &str) -> Option<SplitName<'_>> {
    let stem = name.strip_suffix(".gguf")?;
    let (rest, of) = stem.rsplit_once("-of-")?;
    let (prefix, part) = rest.rsplit_once('-')?;
    let number = |digits: &str| {
        let plain = digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    };
    let (part, of): (u32, u32) = (number(part)?, number(of)?);
    (1..=of).contains(&part).then_some(SplitName { prefix, part, of })
}
