//! The tables of conversations, quarter by quarter.

use serde::Serialize;

use super::super::text::{self, or_none};
use crate::judge::analysis::summary::{ConversationRow, Summary};

/// A task at a context length.
#[derive(Serialize)]
pub(super) struct ConversationsView {
    task: String,
    context: String,
    rows: Vec<RowView>,
}

#[derive(Serialize)]
struct RowView {
    setting: String,
    history: &'static str,
    quarters: Vec<String>,
    first_wrong: String,
    horizon: String,
    own_mistake: String,
    forgot: String,
    unanswered: String,
    conversations: String,
}

/// A table for every task and context length that has conversations, in their order.
pub(super) fn tables(summary: &Summary) -> Vec<ConversationsView> {
    let alike = |a: &ConversationRow, b: &ConversationRow| (&a.task, a.context) == (&b.task, b.context);
    let tables = summary.conversations.chunk_by(alike);
    tables
        .map(|rows| ConversationsView {
            task: text::markdown(&rows[0].task),
            context: text::tokens(rows[0].context),
            rows: rows.iter().map(row).collect(),
        })
        .collect()
}

fn row(row: &ConversationRow) -> RowView {
    let turn = |turn: f64| format!("{}", (turn * 10.0).round() / 10.0);
    let share = |share: Option<f64>| or_none(share.map(text::percent));
    let turns = row.turns.map_or_else(String::new, |turns| format!(" of {} turns", turn(turns)));
    RowView {
        setting: text::code(&row.setting),
        history: if row.gold { "gold" } else { "own" },
        quarters: row.quarters.iter().map(|score| or_none(score.map(text::score))).collect(),
        first_wrong: row.first_wrong_turn.map_or_else(|| "none in half".into(), turn),
        horizon: or_none(row.horizon.map(turn)),
        own_mistake: share(row.own_mistake),
        forgot: share(row.forgot),
        unanswered: share(row.unanswered),
        conversations: format!("{}{turns}", row.n),
    }
}

#[cfg(test)]
mod tests {
    use super::super::render_markdown;
    use super::*;
    use crate::judge::analysis::testing;

    fn conversation(task: &str, gold: bool, first_wrong_turn: Option<f64>) -> ConversationRow {
        ConversationRow {
            task: task.into(),
            setting: "a|b".into(),
            context: 8192,
            gold,
            n: 12,
            turns: Some(60.25),
            quarters: vec![Some(0.9), None, Some(0.25), Some(0.0)],
            first_wrong_turn,
            horizon: Some(31.5),
            own_mistake: Some(0.5),
            forgot: Some(0.125),
            unanswered: None,
        }
    }

    #[test]
    fn tables_say_where_along_the_conversation_the_score_is_lost() {
        let mut summary = testing::summary();
        summary.conversations = vec![
            conversation("coherence/running_sum", false, Some(7.5)),
            conversation("coherence/running_sum", true, None),
            conversation("coherence/state_ledger", false, Some(1.0)),
        ];
        let report = render_markdown(&summary, None).unwrap();
        let start = report.find("## Conversations by turn").unwrap();
        let length = report[start..].find("\n## Noise floor").unwrap();
        insta::assert_snapshot!(&report[start..start + length]);
    }
}
