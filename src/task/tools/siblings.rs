//! Tools that are named after another one and do something else: what a careless reader calls instead.

use crate::record::Tool;

/// What stands before and behind the name, and what such a tool does; `{}` is the name.
static KINDS: &[(&str, &str, &str)] = &[
    ("", "_history", "List earlier calls of {}; calls nothing."),
    ("", "_dry_run", "Say what {} would do, without doing it."),
    ("undo_", "", "Take back the last call of {}."),
    ("explain_", "", "Explain what {} does and what its arguments mean."),
    ("approve_", "", "Approve a call of {} that somebody else made and that waits."),
    ("", "_template", "Keep these arguments as a template for {}, without calling it."),
    ("", "_sandbox", "Do in the sandbox what {} does; nothing real changes."),
    ("", "_legacy", "The old {}, switched off: always fails."),
    ("request_", "", "Ask an administrator for the right to call {}."),
    ("", "_for_tenant", "Do what {} does for another organisation; for resellers only."),
];

/// Siblings of a tool, with its own parameters: only name and description tell them apart.
pub(super) fn siblings(tool: &Tool) -> Vec<Tool> {
    let sibling = |(before, behind, does): &(&str, &str, &str)| Tool {
        name: format!("{before}{}{behind}", tool.name),
        description: does.replace("{}", &tool.name),
        parameters: tool.parameters.clone(),
    };
    KINDS.iter().map(sibling).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::task::tools::data::{Listed, data};

    #[test]
    fn no_sibling_has_the_name_of_another_tool() {
        let tools: Vec<Tool> = data().unwrap().tools.iter().map(Listed::tool).collect();
        let all: Vec<Tool> = tools.iter().cloned().chain(tools.iter().flat_map(siblings)).collect();
        let names: BTreeSet<&str> = all.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names.len(), all.len());
        assert!(names.iter().all(|name| name.len() <= 64), "servers take names of at most 64 characters");
        assert!(all.iter().all(|tool| !tool.description.contains("{}")));
    }
}
