use super::super::render_markdown;
use crate::judge::analysis::summary::ConversationRow;
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
